"""What the head hid: the background that a turn uncovers, guessed from the background that shows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled

Image = NDArray[np.uint8]
LARGEST = 256  # pixels of the longer side at which patches are matched
REACH = 0.7  # inter-ocular distances behind the head's outline that may come to show
WIDE = 8.0  # pixels of a blur's sigma up to which it is made at full size
R = 3  # patches are 2R + 1 pixels wide
PASSES = (6, 4, 3)  # of matching and voting, at a quarter, half and all of the working size
NEAR = 1.0  # inter-ocular distances within which patches are as good wherever they were found ...
FAR = 2.0  # ... and what each squared working pixel beyond costs: left of a head is not right of it
FEW = 400  # whole patches of background, below which there is nothing worth copying


def push_pull(image: NDArray, weight: NDArray) -> NDArray[np.float32]:
    """Fill pixels of low weight (H, W) from their surroundings, coarse to fine."""
    weight = weight.astype(np.float32, copy=False)
    level = (image.astype(np.float32) * weight[..., None], weight)
    pyramid = [level]
    while min(pyramid[-1][1].shape) > 3:
        c, a = (cv2.pyrDown(x) for x in pyramid[-1])
        f = np.minimum(1, 2 * a) / np.maximum(a, 1e-6)
        pyramid.append((c * f[..., None], a * f))
    c, a = pyramid[-1]
    out = c / np.maximum(a, 1e-6)[..., None]
    for c, a in pyramid[-2::-1]:
        up = cv2.pyrUp(out, dstsize=(c.shape[1], c.shape[0]))
        up *= (1 - np.clip(a, 0, 1))[..., None]
        up += c
        out = up
    return np.asarray(out, np.float32)


def blurred(values: NDArray, sigma: float, wide: float = WIDE) -> NDArray[np.float32]:
    """A Gaussian blur (H, W) or (H, W, C) whose cost does not grow with its width: one that is more than `wide` pixels
    is made small first."""
    values = values.astype(np.float32, copy=False)
    h, w = values.shape[:2]
    k = wide / sigma
    if k >= 1:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
    size = max(1, round(k * w)), max(1, round(k * h))
    small = cv2.GaussianBlur(cv2.resize(values, size, interpolation=cv2.INTER_AREA), (0, 0), wide)
    smooth = cv2.INTER_LINEAR if wide >= WIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (w, h), interpolation=smooth), np.float32)


def squared(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """The squared length (H, W) of colours (H, W, 3)."""
    return np.asarray(cv2.transform(cv2.multiply(colours, colours), np.ones((1, 3), np.float32)), np.float32)


def behind(image: Image, alpha: NDArray[np.float32], unit: float, beside: float = 0.03) -> Image:
    """The background alone (H, W, 3), where the person of `alpha` (H, W) in 0..1 stands before it.

    `unit` is the inter-ocular distance in pixels; so much of it `beside` the person is guessed, too. Near the outline
    texture is copied by matching patches, coarse to fine (Wexler et al. 2007, with the search of Barnes et al. 2009),
    so that brickwork stays brickwork; deeper, where no turn looks, colours are spread smoothly."""
    h, w = alpha.shape
    k = min(1.0, LARGEST / max(h, w))
    small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    a = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    # Shut the person out generously, or hair would be copied into the background.
    size = max(1, round(unit * k * beside))
    hidden = cv2.dilate((a > 0.02).astype(np.uint8), _disc(size))
    if hidden.all():
        return image
    smooth = push_pull(small, 1.0 - hidden.astype(np.float32))
    reach = cv2.distanceTransform(hidden, cv2.DIST_L2, 3)
    band = (hidden > 0) & (reach < REACH * unit * k)
    found = _matched(small, _nearest(small, hidden), hidden, band, reach, NEAR * unit * k)
    if found is None:
        out = cv2.resize(smooth, (w, h), interpolation=cv2.INTER_CUBIC)
        return _grained(np.clip(out, 0, 255).astype(np.uint8), image, alpha)
    return _detailed(image, hidden, k, *found)


def continued(
    image: Image, known: NDArray[np.bool_], wanted: NDArray[np.bool_], unit: float, largest: int = LARGEST
) -> Image | None:
    """`image` (H, W, 3) with the pixels `wanted` (H, W) made like the `known` ones (H, W) near them.

    For what a picture's border cut off. `largest` is the side at which patches are matched. None where too little is
    known to copy from."""
    k = min(1.0, largest / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    size = small.shape[1::-1]
    hidden = (cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA) < 0.999).astype(np.uint8)
    band = (hidden > 0) & (cv2.resize(wanted.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    if hidden.all() or not band.any():
        return None
    reach = cv2.distanceTransform(hidden, cv2.DIST_L2, 3)
    start = _nearest(small, hidden)
    # Far out no line of single pixels may go on: what is drawn there has no end.
    far = np.clip(reach / 10, 0, 1)[..., None] * (hidden > 0)[..., None]
    start = (start + far * (cv2.GaussianBlur(start, (0, 0), 6.0) - start)).astype(np.float32)
    found = _matched(small, start, hidden, band, reach, NEAR * unit * k, coarse=False)
    if found is None:
        return None
    part = about(wanted)
    out = image.copy()
    np.copyto(out[part], _detailed(image, hidden, k, *found, part), where=wanted[part][..., None])
    return out


def about(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the box about a mask (H, W), a pixel wider."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return slice(max(0, y - 1), y + h + 1), slice(max(0, x - 1), x + w + 1)


def _detailed(
    image: Image,
    hidden: NDArray[np.uint8],
    k: float,
    colours: NDArray[np.float32],
    places: NDArray[np.int32],
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> Image:
    """What was matched at `k` times the picture's size, at its full size; only a `part` of it, rows and columns."""
    h, w = image.shape[:2]
    # The picture's own fine detail comes from where the patch was found; its colours from what the patches agree on.
    low = cv2.resize(cv2.GaussianBlur(colours, (0, 0), 1.0), (w, h), interpolation=cv2.INTER_CUBIC)
    fine = cv2.subtract(image, blurred(image, 1.0 / k, 2.5), dtype=cv2.CV_32F)
    y, x = np.mgrid[0 : hidden.shape[0], 0 : hidden.shape[1]].astype(np.float32)
    offset = np.dstack([places[..., 1] - x, places[..., 0] - y]).astype(np.float32) / np.float32(k)
    offset = cv2.resize(offset, (w, h), interpolation=cv2.INTER_NEAREST)[part]
    rows, columns = np.arange(h, dtype=np.float32)[part[0], None], np.arange(w, dtype=np.float32)[part[1]]
    fine *= np.float32(1) - cv2.resize(hidden.astype(np.float32), (w, h))[..., None]  # nobody's face may come back
    copied = cv2.remap(fine, columns + offset[..., 0], rows + offset[..., 1], cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
    copied += low[part]
    return np.clip(copied, 0, 255, out=copied).astype(np.uint8)  # type: ignore[return-value]


def _nearest(image: Image, hidden: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each hidden pixel with the colour of the nearest that shows: what is left of a head stays left of it."""
    _, labels = cv2.distanceTransformWithLabels(hidden, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(labels.max()) + 1, 3), np.float32)
    seen = hidden == 0
    colours[labels[seen]] = image[seen]
    return np.where(seen[..., None], image, cv2.GaussianBlur(colours[labels], (0, 0), 2.0)).astype(np.float32)


def _disc(radius: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def _grained(fill: Image, image: Image, alpha: NDArray[np.float32]) -> Image:
    """The fill with noise as strong as the visible background's: a smooth patch would show."""
    seen = alpha < 0.02
    if seen.sum() < 500:
        return fill
    residual = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 1.2)
    strength = min(6.0, 1.4826 * float(np.median(np.abs(residual[seen]))))
    if strength < 0.3:
        return fill
    noise = np.random.default_rng(0).normal(0, 1, fill.shape[:2]).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * (strength / 0.45)
    return np.clip(fill + noise[..., None], 0, 255).astype(np.uint8)


def _matched(
    small: Image,
    smooth: NDArray[np.float32],
    hidden: NDArray[np.uint8],
    band: NDArray[np.bool_],
    reach: NDArray,
    near: float,
    coarse: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.int32]] | None:
    """Colours (h, w, 3) of the band, and where in the picture each pixel's patch was found (h, w, 2), row first.

    `near` is in pixels. None where too little background shows to copy from; unless all `coarse` levels must have
    something, those that have nothing are passed over."""
    places: NDArray[np.int32] | None = None
    colours = smooth
    for level, passes in enumerate(PASSES):
        shrink = 2 ** (len(PASSES) - 1 - level)
        size = (max(2, small.shape[1] // shrink), max(2, small.shape[0] // shrink))
        picture = cv2.resize(small, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        away = cv2.resize(hidden, size, interpolation=cv2.INTER_LINEAR_EXACT) > 0
        inside = away & (cv2.resize(band.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)
        whole = cv2.erode((~away).astype(np.uint8), np.ones((2 * R + 1, 2 * R + 1), np.uint8),
                          borderType=cv2.BORDER_CONSTANT, borderValue=0)  # fmt: skip
        sources = np.argwhere(whole > 0).astype(np.int32)
        if len(sources) < FEW / shrink**2 or not inside.any():
            if coarse or shrink == 1:
                return None
            continue
        # What lies deeper in the hole is guessed from guesses: it counts less.
        depth = cv2.resize(reach, size, interpolation=cv2.INTER_LINEAR) / shrink
        weight = np.where(inside, 1.25**-depth, ~away).astype(np.float32)
        colours = np.where(away[..., None], cv2.resize(colours, size, interpolation=cv2.INTER_LINEAR), picture)
        colours = np.ascontiguousarray(colours, np.float32)
        centres = np.argwhere(cv2.dilate(inside.astype(np.uint8), np.ones((2 * R + 1, 2 * R + 1))) > 0)
        if places is None:
            places = sources[np.random.default_rng(0).integers(len(sources), size=away.shape)]
        else:
            places = np.ascontiguousarray(cv2.resize(places.astype(np.float32), size, interpolation=cv2.INTER_NEAREST))
            places = (places * 2 + np.moveaxis(np.mgrid[0 : size[1], 0 : size[0]] % 2, 0, -1)).astype(np.int32)
        cost = np.empty(away.shape, np.float32)
        for n in range(passes):
            _search(colours, weight, centres, whole, sources, places, cost, np.zeros(away.shape, np.uint8), 2, n + 1,
                    FAR * shrink**2, (near / shrink) ** 2)  # fmt: skip
            spread = float(np.percentile(cost[centres[:, 0], centres[:, 1]], 75)) + 1.0
            _vote(colours, weight, centres, inside, places, cost, spread, np.zeros((*away.shape, 4), np.float32))
    assert places is not None
    if coarse:
        colours = _met(colours, weight, centres, inside, away, places, cost, spread, near)
    colours = push_pull(colours, 1.0 - ((hidden > 0) & ~band).astype(np.float32))
    y, x = np.mgrid[0 : small.shape[0], 0 : small.shape[1]]
    still = np.stack([y, x], -1).astype(np.int32)
    return colours, np.where(band[..., None], places, still)


def _met(
    colours: NDArray[np.float32], weight: NDArray, centres: NDArray, inside: NDArray[np.bool_],
    away: NDArray[np.bool_], places: NDArray, cost: NDArray, spread: float, reach: float,
) -> NDArray[np.float32]:  # fmt: skip
    """The colours (h, w, 3) of the hole, so that they meet what shows around it, where patches said otherwise.

    By how much they did is carried on into the hole, fading out over about `reach` pixels."""
    about = cv2.dilate(inside.astype(np.uint8), _disc(R - 1)) > 0
    said = colours.copy()
    _vote(said, weight * inside, centres, about, places, cost, spread, np.zeros((*away.shape, 4), np.float32))
    rim = (about & ~away).astype(np.float32)
    depth = cv2.distanceTransform(away.astype(np.uint8), cv2.DIST_L2, 3)
    off = push_pull((colours - said) * rim[..., None], rim) * np.exp(-depth / reach)[..., None]
    return np.where(inside[..., None], np.clip(colours + off, 0, 255), colours).astype(np.float32)


@compiled(fast=True, inner=True)
def _distance(
    image: NDArray, weight: NDArray, y: int, x: int, v: int, u: int, best: float, far: float, free: float
) -> float:
    """Weighted squared difference of the patches at (y, x) and (v, u); pixels^2 apart beyond `free` cost `far`."""
    H, W = weight.shape
    total = far * max(0.0, (v - y) ** 2 + (u - x) ** 2 - free)
    for i in range(-R, R + 1):
        p = min(max(y + i, 0), H - 1)
        for j in range(-R, R + 1):
            q = min(max(x + j, 0), W - 1)
            w = weight[p, q]
            if w > 0.0:
                a = image[p, q, 0] - image[v + i, u + j, 0]
                b = image[p, q, 1] - image[v + i, u + j, 1]
                c = image[p, q, 2] - image[v + i, u + j, 2]
                total += w * (a * a + b * b + c * c)
        if total >= best:
            return total
    return total


@compiled(fast=True)
def _search(
    image: NDArray, weight: NDArray, centres: NDArray, whole: NDArray, sources: NDArray, places: NDArray,
    cost: NDArray, known: NDArray, sweeps: int, seed: int, far: float, free: float,
) -> None:  # fmt: skip
    """Better `places` (H, W, 2) for the patches around `centres` (N, 2), by propagation and random search.

    `known` (H, W), all 0, gets where those are."""
    H, W = weight.shape
    state = np.uint32(2654435761 * seed + 12345)
    for n in range(len(centres)):
        y, x = centres[n, 0], centres[n, 1]
        v, u = places[y, x, 0], places[y, x, 1]
        if v < 0 or u < 0 or v >= H or u >= W or whole[v, u] == 0:
            state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
            s = (state >> np.uint32(8)) % len(sources)
            v, u = sources[s, 0], sources[s, 1]
            places[y, x, 0], places[y, x, 1] = v, u
        cost[y, x] = _distance(image, weight, y, x, np.int64(v), np.int64(u), np.float32(1e30), far, free)
    for n in range(len(centres)):
        known[centres[n, 0], centres[n, 1]] = 1
    for sweep in range(sweeps):
        step = 1 if sweep % 2 == 0 else -1
        for m in range(len(centres)):
            n = m if step == 1 else len(centres) - 1 - m
            y, x = centres[n, 0], centres[n, 1]
            for k in range(2):
                p, q = (y - step, x) if k == 0 else (y, x - step)
                if p < 0 or q < 0 or p >= H or q >= W or known[p, q] == 0:
                    continue
                v, u = places[p, q, 0] + (y - p), places[p, q, 1] + (x - q)
                if v < 0 or u < 0 or v >= H or u >= W or whole[v, u] == 0:
                    continue
                d = _distance(image, weight, y, x, v, u, cost[y, x], far, free)
                if d < cost[y, x]:
                    cost[y, x] = d
                    places[y, x, 0], places[y, x, 1] = v, u
            radius = max(H, W)
            while radius >= 1:
                state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
                dv = int((state >> np.uint32(8)) % np.uint32(2 * radius + 1)) - radius
                state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
                du = int((state >> np.uint32(8)) % np.uint32(2 * radius + 1)) - radius
                v, u = places[y, x, 0] + dv, places[y, x, 1] + du
                if 0 <= v < H and 0 <= u < W and whole[v, u] != 0:
                    d = _distance(image, weight, y, x, v, u, cost[y, x], far, free)
                    if d < cost[y, x]:
                        cost[y, x] = d
                        places[y, x, 0], places[y, x, 1] = v, u
                radius //= 2


@compiled(fast=True)
def _vote(
    image: NDArray, weight: NDArray, centres: NDArray, inside: NDArray, places: NDArray, cost: NDArray, spread: float,
    total: NDArray,
) -> None:  # fmt: skip
    """Colours inside the hole become what the patches over them were found to show, good matches first.

    `total` (H, W, 4), all 0, is room."""
    H, W = weight.shape
    for n in range(len(centres)):
        y, x = centres[n, 0], centres[n, 1]
        v, u = places[y, x, 0], places[y, x, 1]
        good = weight[y, x] * np.exp(-0.5 * cost[y, x] / spread)
        for i in range(-R, R + 1):
            p = y + i
            if p < 0 or p >= H:
                continue
            for j in range(-R, R + 1):
                q = x + j
                if q < 0 or q >= W or not inside[p, q]:
                    continue
                total[p, q, 3] += good
                for c in range(3):
                    total[p, q, c] += good * image[v + i, u + j, c]
    for n in range(len(centres)):
        y, x = centres[n, 0], centres[n, 1]
        if inside[y, x] and total[y, x, 3] > 1e-12:
            for c in range(3):
                image[y, x, c] = total[y, x, c] / total[y, x, 3]
