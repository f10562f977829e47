"""A person's matte at the picture's own sharpness: hair as fractions of pixels, from a rough matte and the colours.

In a band around the rough edge each pixel is judged by the colours of the person and of the background near it; what
that leaves open follows the picture's own edges (the closed form of Levin, Lischinski and Weiss 2008).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face.networks import Segmenter
from infinex.face.surroundings import smoothstep
from infinex.mesh.fill import push_pull
from infinex.mesh.plate import LEFT, at_edge, own_colours, spread

Map = NDArray[np.float32]
Image = NDArray[np.uint8]
CELLS_IN = 1.5  # pixels of the rough matte inside its edge from where on the person is sure
OUTSIDE = 0.16  # how far outside of it the background is sure; IOD
WISPS = 0.75  # as far beyond the rough edge hair is looked for where it is joined to the person; IOD
NEAR = 0.10  # over which colours of person and background are averaged, at first; IOD
CELLS = 4  # pixels that a square of it is wide, while colours are averaged
GRAIN = 5.0  # levels by which a background of one colour varies all the same
USUAL = 2.0  # deviations beyond which a pixel of the background is not counted at second sight
APART = 6.0  # deviations of the background by which the person's colours must differ to be told by half
ODD = (3.0, 8.0)  # deviations off the line from background to person: of neither; none and all of it
SMOOTH = 0.012  # over which it is seen whether a colour is neither the background's nor the person's; IOD
TRUST = 0.3  # weight of what colours tell, beside the smoothness
ROUGH = (2e-3, 2e-2)  # weight of the rough matte where it is in doubt, and where it is not
EPS = 1e-6  # variance of colours in 0..1 that is noise
FIRM = 0.25  # alpha from which on a colour is known
LITTLE = 0.25  # alpha below which what is not as guessed is rather the background than the person
LAMP = 60.0  # levels off what is guessed from which on a busy background is meant, no tint of hair
NARROW = 0.01  # half of the width of what a hole of a matte is open by; IOD
HOLE = 0.12  # of the rough matte, from where on a hole is shut
THICK = 0.03  # half of the width of what may be there in part; IOD
FAINT = 0.05  # alpha that is none
STEPS = (60, 40, 30)  # of the solver, at a quarter, half and all of the size
REACHES = (90, 6)  # pixels of a picture of 1000 in which colours of person and background are looked for
Measured = tuple[Map, Map]


def refined(image: Image, rough: Map, sure: NDArray[np.bool_], unit: float) -> Map:
    """`rough` (H, W) in 0..1 made exact to the pixels of `image` (H, W, 3); `unit` is the inter-ocular distance.

    `sure` (H, W) is the person without doubt."""
    # What the rough matte is sure of but what is not joined to the face is some other thing.
    inner = 0.01 * unit + CELLS_IN * max(rough.shape) / Segmenter.SIZE
    person = _joined(_shrunk(rough > 0.85, inner), sure, 1) | sure
    body = _joined(rough > 0.5, sure, 0)
    near = (rough > 0.15) & _grown(body, OUTSIDE * unit)
    behind = ~_grown(near, OUTSIDE * unit)
    if not person.any() or not behind.any():
        return rough
    seen = image.astype(np.float32)
    reach = _grown(near, WISPS * unit)
    # Beyond the rough edge only what is joined to the person can be hers: hair, not a lamp behind. Hair that the rough
    # matte missed must not be taken for background, of which much is looked at first.
    theirs, square = _around(seen, person, NEAR * unit)[0], _square(seen)
    for length in (4 * NEAR, NEAR):
        alpha, trust, odd = _told(seen, square, theirs, behind, unit, length)
        joined = _joined((alpha * trust > 0.15) & (odd > 0.3) & reach, body, max(1, round(0.02 * unit)))
        joined &= ~_leaving(joined & ~near)  # hair ends, a bar behind her goes on
        behind &= ~_grown(joined, max(2.0, 0.03 * unit))
    band = ~person & ~behind
    weight = np.where(band, TRUST * trust, 0).astype(np.float32)
    guess = np.where(band, alpha * (near | joined), person).astype(np.float32)
    prior = np.where(joined & ~near, alpha, rough)
    doubt = ROUGH[0] + (ROUGH[1] - ROUGH[0]) * smoothstep((np.abs(prior.astype(np.float64) - 0.5) - 0.35) / 0.1)
    total = np.asarray(weight + doubt, np.float32)
    guess = np.asarray(np.where(band, (weight * guess + doubt * prior) / total, guess), np.float32)
    out = _solved(seen / np.float32(255), band, guess, total)
    out = np.clip((out - FAINT) / (1 - 2 * FAINT), 0, 1)
    # Fractions are hair and edges, thin ones: what is wide is there or not.
    wide = _wide((out > 0.1) & (out < 0.9), THICK * unit)
    out += wide * (smoothstep((out.astype(np.float64) - 0.3) / 0.4).astype(np.float32) - out)
    # A shadow inside an ear is no hole, nor is a lamp that shows behind a doubtful part of the rough matte.
    open_to = _grown(_joined(_shrunk(out < 0.9, NARROW * unit), behind, 0), NARROW * unit)
    return np.where((out < 0.9) & ~open_to & (rough > HOLE), 1, out).astype(np.float32)


def foreground(image: Image, alpha: NDArray[np.float32]) -> Image:
    """Colours (H, W, 3) of the person alone where `image` (H, W, 3) mixes it with what is behind by `alpha` (H, W).

    Local means of both, then what is left shared out (Forte 2021)."""
    seen = image.astype(np.float32)
    a = alpha[..., None].astype(np.float32)
    person, behind = seen, seen
    for reach in REACHES:
        size = 2 * max(2, round(reach * max(image.shape[:2]) / 1000)) + 1
        weight, other = cv2.blur(a, (size, size))[..., None], cv2.blur(1 - a, (size, size))[..., None]
        mean = cv2.blur(person * a, (size, size)) / (weight + 1e-5)
        back = cv2.blur(behind * (1 - a), (size, size)) / (other + 1e-5)
        person = np.clip(mean + a * (seen - a * mean - (1 - a) * back), 0, 255)
        behind = back
    person = np.where(a > 1e-3, person, push_pull(np.round(person).astype(np.uint8), alpha))
    return np.where(a >= 1, image, np.clip(np.round(person), 0, 255)).astype(np.uint8)


def parted(image: Image, alpha: Map, back: Map, near: Map, sure: Map, unit: float) -> tuple[Map, Image, Image]:
    """Alpha (H, W), colours of the person and of the background (H, W, 3), which mixed are `image` (H, W, 3).

    `back` (H, W, 3) is the background as it is guessed, in levels, `near` (H, W) how much of it is a guess, and `sure`
    (H, W) how well, both 0..1; `unit` the inter-ocular distance in pixels."""
    edge = (alpha < 1) & ((alpha > 0) | (near > LEFT))
    seen, a, b = image[edge].astype(np.float32), alpha[edge], back[edge]
    faint = a == 0
    # No person is darker than black nor lighter than white: where she covers much she covers more, else the guess errs.
    room = np.where(seen < b, b, 255 - b)
    least = (np.abs(seen - b) / np.maximum(room, 1)).max(-1)
    # What differs from the background as she does is hers by as much.
    line = own_colours(image, alpha, unit)[edge] - b
    length = np.square(line).sum(-1)
    own = ((seen - b) * line).sum(-1) / np.maximum(length, 1)
    off = np.square(seen - b - own[:, None] * line).sum(-1)
    apart = np.square(seen - b).sum(-1)
    hers = (own > 0) & (off < apart / 3) & (length > (4 * GRAIN) ** 2)
    hers &= np.where(faint, apart > GRAIN**2, sure[edge] > 0.5)
    thick = np.zeros(alpha.shape, bool)  # a line that nobody saw before is where a guess ends
    thick[edge] = hers & faint
    hers &= ~faint | (_wide(thick, THICK * unit)[edge] > 0.5)
    a = np.where(hers, np.maximum(a, np.minimum(own, 1)), a)
    a = np.where(hers | (a > LITTLE), np.maximum(a, np.minimum(least, 1)), a)[:, None]
    # But what is thin is hair that was not seen for what it is, and would stay behind as a line; unless she hardly
    # covers it and the background is not known.
    person, left = _unmixed(seen, a, b)
    missed = np.zeros(alpha.shape, bool)
    missed[edge] = np.abs(left).max(-1) > GRAIN
    lamp = (a[:, 0] < LITTLE) * (np.abs(left).max(-1) > LAMP) * (1 - at_edge(alpha, unit)[edge])
    share = np.maximum(_wide(missed, THICK * unit)[edge], lamp * (1 - sure[edge]))
    change = np.zeros(image.shape, np.float32)
    change[edge] = left / np.maximum(1 - a, 1e-3)
    known = (near <= LEFT).astype(np.float32)
    known[edge] = np.maximum(known[edge] * (a[:, 0] == 0), share * missed[edge])
    # What is guessed beside that meets it, too.
    back = back + spread(change, known, unit)
    person = np.where(share[:, None] > 0, person, _unmixed(seen, a, back[edge])[0])
    out, colours = alpha.copy(), image.astype(np.float32)
    out[edge], colours[edge] = a[:, 0], person
    # What hardly covers may have any colour, and would tint what is sampled beside it: hers is carried on, and what
    # that leaves lies behind.
    carried = push_pull(colours, np.where(out < FIRM, np.float32(0), out))
    calm = carried + smoothstep(out / np.float32(FIRM))[..., None] * (colours - carried)
    back = back + np.where((out > 0) & (out < FIRM), out / np.maximum(1 - out, 1e-3), 0)[..., None] * (colours - calm)
    colours = calm
    return out, *(np.clip(np.round(x), 0, 255).astype(np.uint8) for x in (colours, back))  # type: ignore[return-value]


def _unmixed(seen: Map, a: Map, b: Map) -> tuple[Map, Map]:
    """The person's colours (N, 3) in what is `seen` of her by `a` (N, 1) before `b`, and what those leave over."""
    person = np.clip((seen - (1 - a) * b) / np.maximum(a, 1e-3), 0, 255)
    left = np.where(a < 1, seen - a * person - (1 - a) * b, 0)
    return person.astype(np.float32), left.astype(np.float32)


def _told(
    seen: Map, square: Map, a: Map, behind: NDArray[np.bool_], unit: float, length: float
) -> tuple[Map, Map, Map]:
    """What colours (H, W, 3) tell of the matte, how far that is to be trusted, and how odd a pixel is, all (H, W).

    `square` (H, W) is their squared length, `a` (H, W, 3) the person's near by."""
    b, noise = _around(seen, behind, length * unit, square)
    # Single hairs are no part of the background that they cross.
    for _ in range(2):
        usual = _square(seen - b) < USUAL**2 * (noise + GRAIN**2)
        b, noise = _around(seen, behind & usual, length * unit, square)
    noise = np.sqrt(noise + GRAIN**2)
    line = a - b
    apart = _square(line)
    own = np.einsum("ijk,ijk->ij", seen - b, line) / np.maximum(apart, 1)
    # Grain is of no colour of its own.
    soft = cv2.GaussianBlur(seen, (0, 0), max(0.7, SMOOTH * unit))
    share = np.clip(np.einsum("ijk,ijk->ij", soft - b, line) / np.maximum(apart, 1), 0, 1)
    off = np.sqrt(_square(soft - b - share[..., None] * line)) / noise
    odd = np.sqrt(_square(seen - b)) / noise
    strange = _smooth((off - ODD[0]) / (ODD[1] - ODD[0]))
    # A person of many colours: what is as unlike the background as any of them is all hers.
    alpha = np.maximum(np.clip(own, 0, 1), strange)
    far = np.maximum(np.sqrt(apart), odd * noise) / noise
    trust = far**2 / (far**2 + APART**2)
    return alpha, trust * trust, _smooth((odd - 2) / 4)


def _smooth(x: Map) -> Map:
    return smoothstep(x)  # type: ignore[arg-type,return-value]  # of single precision, as the picture is


def _around(seen: Map, where: NDArray[np.bool_], reach: float, square: Map | None = None) -> Measured:
    """Mean colours (H, W, 3) and their variance (H, W) in the nearest parts of a mask, by squares of `reach` pixels.

    `square` (H, W) is the squared length of the colours, where that is known already."""
    h, w = where.shape
    k = min(1.0, CELLS / reach)
    size = max(4, round(w * k)), max(4, round(h * k))
    weight = cv2.resize(where.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mask = np.ascontiguousarray(where).view(np.uint8)
    parts = (cv2.copyTo(x, mask) for x in (seen, _square(seen) if square is None else square))
    total = [cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in parts]
    mean, second = np.zeros((*weight.shape, 3), np.float32), np.zeros(weight.shape, np.float32)
    left = np.ones(weight.shape, bool)
    for wider in (1, 2, 4, 8, 16):
        side = 2 * wider * CELLS + 1
        share = cv2.boxFilter(weight, -1, (side, side), borderType=cv2.BORDER_CONSTANT)
        found = left & (share > 0.04)
        for out, values in zip((mean, second), total):
            near = cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_CONSTANT)
            out[found] = near[found] / (share[found][:, None] if near.ndim == 3 else share[found])
        left &= ~found
    if left.any():
        mean[left], second[left] = seen[where].mean(0), (seen[where] ** 2).sum(-1).mean()
    variance = np.maximum(second - _square(mean), 0)
    return tuple(cv2.resize(cv2.GaussianBlur(x, (0, 0), CELLS / 2), (w, h)) for x in (mean, variance))  # type: ignore


def _square(colours: Map) -> Map:
    return np.asarray(cv2.transform(cv2.multiply(colours, colours), np.ones((1, 3), np.float32)), np.float32)


def _disc(radius: float) -> Image:
    r = max(1, round(radius))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)).astype(np.uint8)


def _grown(mask: NDArray[np.bool_], by: float) -> NDArray[np.bool_]:
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= by


def _shrunk(mask: NDArray[np.bool_], by: float) -> NDArray[np.bool_]:
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) > by


def _wide(mask: NDArray[np.bool_], radius: float) -> Map:
    """The parts of a mask that are wider than twice a radius, (H, W) in 0..1, with soft edges."""
    wide = cv2.dilate(_shrunk(mask, radius).astype(np.float32), _disc(radius))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), max(1.0, 0.3 * radius)), np.float32)


def _joined(mask: NDArray[np.bool_], to: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """The parts of a mask that reach another one, over gaps of some pixels."""
    wide = (mask | to).astype(np.uint8)
    wide = cv2.dilate(wide, _disc(gap)) if gap else wide
    _, labels = cv2.connectedComponents(wide, connectivity=8)
    keep = np.zeros(int(labels.max()) + 1, bool)
    keep[np.unique(labels[to])] = True
    keep[0] = False
    return mask & keep[labels]


def _leaving(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of a mask that reach the picture's border."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    on = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    keep = np.zeros(int(labels.max()) + 1, bool)
    keep[on] = True
    keep[0] = False
    return keep[labels]


def _solved(seen: Map, band: NDArray[np.bool_], guess: Map, weight: Map) -> Map:
    """The matte (H, W): smooth along the colours of `seen` (H, W, 3) in 0..1, drawn to `guess` by `weight`.

    Solved only in the `band`, coarse to fine."""
    out: Map | None = None
    for level, steps in enumerate(STEPS):
        shrink = 2 ** (len(STEPS) - 1 - level)
        size = (max(8, seen.shape[1] // shrink), max(8, seen.shape[0] // shrink))
        if shrink == 1:
            picture, inside, wanted, pull = seen, band, guess, weight
        else:
            picture = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
            inside = cv2.resize(band.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR_EXACT) > 0
            pull = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
            wanted = cv2.resize(guess * weight, size, interpolation=cv2.INTER_AREA) / np.maximum(pull, 1e-9)
            flat = cv2.resize(guess, size, interpolation=cv2.INTER_AREA)
            wanted = np.where(inside, wanted, flat).astype(np.float32)
        start = wanted if out is None else np.where(inside, cv2.resize(out, size), wanted)
        out = _descended(picture, inside, wanted, pull, np.ascontiguousarray(start, np.float32), steps)
    assert out is not None
    return out


def _descended(picture: Map, inside: NDArray[np.bool_], wanted: Map, pull: Map, start: Map, steps: int) -> Map:
    """`steps` of conjugate gradients from `start`, each pixel scaled by its own weight."""
    places = np.argwhere(inside).astype(np.int32)
    if not len(places):
        return start
    index = np.full(inside.shape, -1, np.int32)
    index[places[:, 0], places[:, 1]] = np.arange(len(places))
    rows = np.zeros((len(places), 25), np.float32)
    _laplacian(np.ascontiguousarray(picture), index, rows, EPS, *np.empty((2, 9, 3)))
    own = pull[inside]
    rows[:, 12] += own
    # Known neighbours count at the right; the padding lets all reach over the border.
    padded = np.pad(start, 2)
    product = np.zeros(len(places), np.float32)
    _times(rows, places, padded, product)
    r = own * wanted[inside] - product
    scale = 1 / np.maximum(rows[:, 12], 1e-6)
    x, z = start[inside].astype(np.float32), scale * r
    p, energy = z.copy(), float(r @ z)
    direction = np.zeros_like(padded)
    view = direction[2:-2, 2:-2]
    for _ in range(steps):
        view[inside] = p
        _times(rows, places, direction, product)
        curve = float(p @ product)
        if curve <= 1e-12:
            break
        step = np.float32(energy / curve)
        x += step * p
        r -= step * product
        z = scale * r
        before, energy = energy, float(r @ z)
        if energy < 1e-6 * len(places):
            break
        p = z + np.float32(energy / before) * p
    out = start.copy()
    out[inside] = x
    return out


@compiled(fast=True)
def _times(rows: NDArray, places: NDArray, padded: NDArray, out: NDArray) -> None:
    """`out` (n,) = rows (n, 25) of 5x5 neighbours at `places` (n, 2), times a picture padded by two pixels."""
    for n in range(len(places)):
        y, x = places[n, 0], places[n, 1]
        total = np.float32(0)
        for i in range(5):
            for j in range(5):
                total += rows[n, 5 * i + j] * padded[y + i, x + j]
        out[n] = total


@compiled(fast=True)
def _laplacian(seen: NDArray, index: NDArray, rows: NDArray, eps: float, d: NDArray, e: NDArray) -> None:
    """Rows of the matting Laplacian: `index` (H, W) numbers the pixels wanted, -1 the others; `rows` (n, 25).

    `d` and `e` (9, 3) are room."""
    H, W = index.shape
    for y in range(1, H - 1):
        for x in range(1, W - 1):
            wanted = False
            for i in range(-1, 2):
                for j in range(-1, 2):
                    wanted |= index[y + i, x + j] >= 0
            if not wanted:
                continue
            for c in range(3):
                mean = 0.0
                for i in range(3):
                    for j in range(3):
                        d[3 * i + j, c] = seen[y + i - 1, x + j - 1, c]
                        mean += d[3 * i + j, c]
                for k in range(9):
                    d[k, c] -= mean / 9
            s00 = s01 = s02 = s11 = s12 = s22 = 0.0
            for k in range(9):
                s00 += d[k, 0] * d[k, 0]
                s01 += d[k, 0] * d[k, 1]
                s02 += d[k, 0] * d[k, 2]
                s11 += d[k, 1] * d[k, 1]
                s12 += d[k, 1] * d[k, 2]
                s22 += d[k, 2] * d[k, 2]
            s00, s01, s02, s11, s12, s22 = s00 / 9 + eps, s01 / 9, s02 / 9, s11 / 9 + eps, s12 / 9, s22 / 9 + eps
            c00, c01, c02 = s11 * s22 - s12 * s12, s02 * s12 - s01 * s22, s01 * s12 - s02 * s11
            det = s00 * c00 + s01 * c01 + s02 * c02
            c11, c12, c22 = s00 * s22 - s02 * s02, s01 * s02 - s00 * s12, s00 * s11 - s01 * s01
            for k in range(9):
                a, b, c = d[k, 0], d[k, 1], d[k, 2]
                e[k, 0] = (c00 * a + c01 * b + c02 * c) / det
                e[k, 1] = (c01 * a + c11 * b + c12 * c) / det
                e[k, 2] = (c02 * a + c12 * b + c22 * c) / det
            for k in range(9):
                n = index[y + k // 3 - 1, x + k % 3 - 1]
                if n < 0:
                    continue
                for m in range(9):
                    v = -(1 + e[k, 0] * d[m, 0] + e[k, 1] * d[m, 1] + e[k, 2] * d[m, 2]) / 9
                    if m == k:
                        v += 1
                    rows[n, 5 * (m // 3 - k // 3 + 2) + m % 3 - k % 3 + 2] += v
