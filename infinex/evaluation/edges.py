"""What eyes reject around a face, as numbers: background, the person's edge, the jaw and the picture's border.

A result is compared with the picture that it was made of, both segmented anew. Lengths are in inter-ocular distances
(IOD), colours as distances in Lab.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import lab_of
from infinex.face.tracker import segmenter
from infinex.mesh.guided import guided_filter

Array = NDArray[np.float64]
Map = NDArray[np.float32]
RGB = NDArray[np.uint8]
LARGEST = 640  # pixels of the longer side at which background and edge are read
JAW = top.OVAL[9:28]  # from one angle of the jaw over the chin to the other


def matte(image: RGB) -> Map:
    """Alpha of whoever is in a picture, (H, W) in 0..1."""
    guide = np.asarray(image.astype(np.float32) / 255, np.float32)
    fine = guided_filter(guide, segmenter()(image), max(4, image.shape[0] // 64), 1e-4)
    return np.asarray(np.clip((fine - 0.1) / 0.8, 0, 1), np.float32)


class Picture:
    """A picture at the size at which its edges are read."""

    def __init__(self, image: RGB, points: Array, unit: float) -> None:
        """`points` (478, 3) are its landmarks and `unit` its IOD, both in its own pixels."""
        self.full, self.points, self.whole = image, points, unit
        k = min(1.0, LARGEST / max(image.shape[:2]))
        self.image = image if k == 1 else np.asarray(
            cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.uint8
        )  # fmt: skip
        self.unit = unit * k

    @cached_property
    def alpha(self) -> Map:
        """Where the person is."""
        return matte(self.image)

    @cached_property
    def lab(self) -> Map:
        """Its colours."""
        return lab_of(self.image)

    @cached_property
    def away(self) -> Map:
        """How far every pixel is from the person, IOD; 0 on it."""
        return np.asarray(cv2.distanceTransform((self.alpha < 0.05).astype(np.uint8), cv2.DIST_L2, 5) / self.unit)

    @cached_property
    def lines(self) -> list[tuple[Array, Array]]:
        """Straight lines of the background: points (n, 2) a pixel apart, and the normal (2,) of each."""
        grey = cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)
        found = cv2.createLineSegmentDetector().detect(grey)[0]
        out = []
        for x0, y0, x1, y1 in np.zeros((0, 4)) if found is None else found.reshape(-1, 4):
            a, b = np.array([x0, y0]), np.array([x1, y1])
            long = float(np.linalg.norm(b - a))
            if long < 0.6 * self.unit:
                continue
            line = a + np.linspace(0, 1, int(long))[:, None] * (b - a)
            out.append((line, np.array([-(b - a)[1], (b - a)[0]]) / long))
        return out

    @cached_property
    def ring(self) -> float:
        """How much the colour of a thin ring around the person differs from the background a little farther out."""
        return _odd(self.lab, (self.away > 0.03) & (self.away < 0.09), (self.away > 0.16) & (self.away < 0.34),
                    0.12 * self.unit)  # fmt: skip

    @cached_property
    def jaw(self) -> float:
        """How rough the edge of the jaw is, in IOD; not a number where it has none."""
        return rough(self.full, self.points, self.whole)

    @cached_property
    def streaks(self) -> float:
        """Share of the picture's border that is drawn in streaks."""
        return barred(self.full, self.whole)


def _odd(lab: Map, here: NDArray[np.bool_], there: NDArray[np.bool_], reach: float) -> float:
    """Upper quintile of how far colours `here` stand off from those `there` nearby; NaN where either is missing."""
    reach = max(1.0, reach)
    weight = cv2.GaussianBlur(there.astype(np.float32), (0, 0), reach)
    ok = here & (weight > 0.02)
    if ok.sum() < 40:
        return float("nan")
    mean = cv2.GaussianBlur(lab * there[..., None].astype(np.float32), (0, 0), reach)
    mean /= np.maximum(weight, 1e-3)[..., None]
    soft = cv2.GaussianBlur(lab, (0, 0), 1.0)
    return float(np.percentile(np.linalg.norm((soft - mean)[ok], axis=1), 80))


def ring(result: Picture, source: Picture) -> float:
    """By how much more a ring around the person stands off from the background than in the source: aureoles."""
    return max(0.0, result.ring - source.ring) if np.isfinite(result.ring + source.ring) else float("nan")


def uncovered(result: Picture, source: Picture) -> float:
    """How far the background that the person gave free stands off from the background beside it; 0 where as any other.

    Crumbs of hair, doubled edges and pale arcs are there. NaN where nothing was uncovered."""
    open_now = (result.away > 0.04) & (result.away < 0.6)
    was = source.alpha > 0.5
    always = source.away > 0.06
    found = _odd(result.lab, open_now & was, open_now & always, 0.15 * result.unit)
    usual = _odd(result.lab, open_now & always, open_now & always, 0.15 * result.unit)
    return max(0.0, found - usual) if np.isfinite(found + usual) else float("nan")


def ghost(result: Picture, source: Picture) -> float:
    """How plainly the person's old outline stands in uncovered background: lightness per pixel of the edges there
    beyond that of the background beside it. NaN where none of it was uncovered."""
    light = cv2.GaussianBlur(result.lab[..., 0], (0, 0), 1.0)
    edge = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=1 / 8))
    inner = cv2.distanceTransform((source.alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / source.unit
    far = np.maximum(inner, source.away)  # from the old outline, on either side
    free = result.away > 0.08
    here, there = free & (far < 0.05), free & (far > 0.12) & (far < 0.4)
    if here.sum() < 40 or there.sum() < 40:
        return float("nan")
    return max(0.0, float(np.percentile(edge[here], 80)) - float(np.percentile(edge[there], 80)))


def moved(result: Picture, source: Picture) -> float:
    """By how much background that neither picture hides moves in itself, IOD: the upper hundredth; NaN without texture.

    That all of it moves together, as before a camera in somebody's hand, is left out."""
    a, b = (cv2.cvtColor(p.image, cv2.COLOR_RGB2GRAY) for p in (source, result))
    both = (source.away > 0.15) & (result.away > 0.15)
    gx, gy = cv2.Sobel(a, cv2.CV_32F, 1, 0), cv2.Sobel(a, cv2.CV_32F, 0, 1)
    r = max(1.0, 0.05 * source.unit)
    xx, yy, xy = (cv2.GaussianBlur(g, (0, 0), r) for g in (gx * gx, gy * gy, gx * gy))
    corner = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)  # the smaller eigenvalue: texture both ways
    ok = both & (corner > 60)
    if ok.sum() < 100:
        return float("nan")
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(a, b, None)  # type: ignore[call-overload]
    # Flow leaks from whoever moves beside: what looks the same as before has not moved, whatever it says.
    y, x = np.mgrid[: a.shape[0], : a.shape[1]].astype(np.float32)
    back = cv2.remap(b, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    before, after = (cv2.GaussianBlur(cv2.absdiff(a, i).astype(np.float32), (0, 0), r) for i in (b, back))
    explained = (before > 3) & (after < 0.6 * before)
    away = flow[ok] * explained[ok, None]
    return float(np.percentile(np.linalg.norm(away - np.median(away, axis=0), axis=1), 99) / source.unit)


def bent(result: Picture, source: Picture) -> float:
    """By how much the worst of the background's straight lines is bent, IOD; NaN where there are none.

    Every point of a line is looked for along the line's normal in the result."""
    a, b = (cv2.cvtColor(p.image, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (source, result))
    reach = max(3, round(0.12 * source.unit))
    half = max(4, round(0.05 * source.unit))
    worst = float("nan")
    for line, normal in source.lines:
        at = np.clip(np.round(line).astype(int), 0, np.array(a.shape[::-1]) - 1)
        clear = (source.away[at[:, 1], at[:, 0]] > 0.05) & (result.away[at[:, 1], at[:, 0]] > 0.05)
        if clear.sum() < 0.4 * source.unit:
            continue
        line = line[clear]
        v = np.arange(-half - reach, half + reach + 1)
        places = (line[:, None] + v[:, None] * normal).astype(np.float32)
        was, now = (cv2.remap(i, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                    for i in (a, b))  # fmt: skip
        was = was[:, reach:-reach]
        was = was - was.mean(1, keepdims=True)
        likeness = np.stack([_alike(was, now[:, k : k + was.shape[1]]) for k in range(2 * reach + 1)], 1)
        sure = likeness.max(1) > 0.85
        if sure.sum() < 0.3 * source.unit:
            continue
        shift = likeness.argmax(1)[sure].astype(np.float32) - reach
        shift = cv2.medianBlur(shift.reshape(-1, 1), 5).ravel()
        worst = float(np.nanmax([worst, float(np.percentile(shift, 92) - np.percentile(shift, 8)) / source.unit]))
    return worst


def _alike(was: NDArray, now: NDArray) -> NDArray:
    now = now - now.mean(1, keepdims=True)
    norm = np.linalg.norm(was, axis=1) * np.linalg.norm(now, axis=1)
    return (was * now).sum(1) / np.maximum(norm, 30.0)


def rough(image: RGB, points: Array, unit: float) -> float:
    """Roughness of the jaw's edge, IOD: how far the steepest place across it strays from a smooth course.

    Only where there is an edge; NaN where it cannot be followed."""
    p = points[JAW, :2]
    steps = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    s = np.arange(0, steps[-1], 1.0)
    course = np.stack([np.interp(s, steps, p[:, k]) for k in (0, 1)], -1)
    course = cv2.GaussianBlur(course, (1, 0), sigmaX=0.5, sigmaY=max(1.0, 0.08 * unit)) if len(course) > 9 else course
    way = np.gradient(course, axis=0)
    normal = np.stack([-way[:, 1], way[:, 0]], -1) / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6)
    half = max(5, round(0.09 * unit))
    v = np.arange(-half, half + 1)
    places = (course[:, None] + v[:, None] * normal[:, None]).astype(np.float32)
    ok = ((places > 1) & (places < np.array(image.shape[1::-1]) - 2)).all((1, 2))
    if ok.sum() < unit:
        return float("nan")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strip = cv2.remap(grey, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steep = np.abs(cv2.GaussianBlur(cv2.Sobel(strip, cv2.CV_32F, 1, 0, scale=1 / 8), (0, 0), 0.8))
    # Follow one edge along the strip: the steepest course whose place changes by a pixel at most from row to row.
    cost = -np.minimum(steep, 25.0)
    total, back = cost[0].copy(), np.zeros(steep.shape, np.int8)
    for i in range(1, len(cost)):
        options = np.stack([np.r_[np.inf, total[:-1]], total, np.r_[total[1:], np.inf]]) + np.array([[0.4], [0], [0.4]])
        k = options.argmin(0)
        total, back[i] = cost[i] + options[k, np.arange(len(k))], k - 1
    at = np.empty(len(cost), int)
    at[-1] = int(total.argmin())
    for i in range(len(cost) - 1, 0, -1):
        at[i - 1] = at[i] + back[i, at[i]]
    rows = np.arange(len(at))
    inner = np.clip(at, 1, steep.shape[1] - 2)
    one, m, other = steep[rows, inner - 1], steep[rows, inner], steep[rows, inner + 1]
    place = inner + np.clip(0.5 * (one - other) / np.minimum(one - 2 * m + other, -1e-3), -0.5, 0.5)
    smooth = cv2.GaussianBlur(place.reshape(-1, 1), (1, 0), sigmaX=0.5, sigmaY=max(2.0, 0.07 * unit)).ravel()
    weight = ok & (m > 4)
    if weight.sum() < unit:
        return float("nan")
    return float(np.sqrt(((place - smooth) ** 2)[weight].mean()) / unit)


def jaw(result: Picture, source: Picture) -> float:
    """By how much rougher the jaw's edge is than in the source, IOD."""
    return max(0.0, result.jaw - source.jaw) if np.isfinite(result.jaw + source.jaw) else float("nan")


def barred(image: RGB, unit: float) -> float:
    """Share of the border's blocks, 0.12 IOD wide and 0.25 deep, that change along the border and not away from it."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    wide, deep = max(8, round(0.12 * unit)), max(12, round(0.25 * unit))
    found, blocks = 0, 0
    for turns in range(4):
        strip = np.rot90(grey, turns)[:deep]
        along = np.abs(np.diff(strip, axis=1))[1:]
        away = np.abs(np.diff(strip, axis=0))[:, 1:]
        n = along.shape[1] // wide
        if not n:
            continue
        a, b = (x[:, : n * wide].reshape(len(x), n, wide).mean((0, 2)) for x in (along, away))
        found += int(((a > 3) & (b < 0.22 * a)).sum())
        blocks += n
    return found / max(1, blocks)


def streaks(result: Picture, source: Picture) -> float:
    """Share of the border that the result draws in streaks and the source does not."""
    return max(0.0, result.streaks - source.streaks)
