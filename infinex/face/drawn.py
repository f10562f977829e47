"""Pictures drawn from a tracked face: heat maps of its boundaries, lines and dots, for networks that see no skin.

Landmarks (478, 2 or 3) are in pixels of some picture; a `window`, a matrix (2, 3) as in `infinex.systems.window`, takes
them to the pixels of what is drawn. The middle of the first pixel is at 0. Everything is antialiased: places count in
fractions of a pixel. No library but NumPy is needed.

The conventions of 68 points (iBUG; Sagonas et al. 2013), 98 (WFLW; Wu et al. 2018) and 106 (as LaPa and JD-landmark
number them; Liu et al. 2020) are linear in the mesh: points along a chain of mesh points are spaced evenly on the mean
face. Where they say "left" they mean the picture's, so their first eye is the subject's right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
Map = NDArray[np.float32]
RGB = NDArray[np.uint8]
Window = NDArray[np.floating]
Colour = tuple[float, float, float]  # red, green, blue in 0..1
Convention = Literal[68, 98, 106]
CONVENTIONS: tuple[int, ...] = get_args(Convention)
WHITE: Colour = (1.0, 1.0, 1.0)
CELLS = 100_000  # of all segments that are measured at once

# Chains of mesh points. The contour runs from the right temple, level with the eyes, round the chin to the left one.
CONTOUR = [127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152,
           377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356]  # fmt: skip
RIGHT_BROW_UPPER, RIGHT_BROW_LOWER = [70, 63, 105, 66, 107], [46, 53, 52, 65, 55]  # outer to inner end
LEFT_BROW_UPPER, LEFT_BROW_LOWER = [300, 293, 334, 296, 336], [276, 283, 282, 295, 285]
RIDGE = [168, 6, 197, 195, 5, 4]
NOSTRILS = [98, 97, 2, 326, 327]

# The fifteen boundaries of ReenactGAN, which are those of the alignment network that it builds on (Wu et al. 2018):
# every open curve by itself. Right and left are the subject's.
BOUNDARIES: dict[str, list[int]] = {
    "contour": CONTOUR,
    "right brow, upper edge": RIGHT_BROW_UPPER,
    "right brow, lower edge": RIGHT_BROW_LOWER,
    "left brow, upper edge": LEFT_BROW_UPPER,
    "left brow, lower edge": LEFT_BROW_LOWER,
    "nose, ridge": RIDGE,
    "nose, base": NOSTRILS,
    "right eye, upper lid": top.RIGHT_LID_UPPER,
    "right eye, lower lid": top.RIGHT_LID_LOWER,
    "left eye, upper lid": top.LEFT_LID_UPPER,
    "left eye, lower lid": top.LEFT_LID_LOWER,
    "upper lip, outer edge": top.LIPS_OUTER_UPPER,
    "upper lip, inner edge": top.LIPS_INNER_UPPER,
    "lower lip, inner edge": top.LIPS_INNER_LOWER,
    "lower lip, outer edge": top.LIPS_OUTER_LOWER,
}

# Lines that MarioNETte's re-implementation draws between the 68 points: which points, whether the line closes, colour.
LINES_68: tuple[tuple[range, bool, Colour], ...] = (
    (range(0, 17), False, (0.0, 128 / 255, 0.0)),  # jaw
    (range(17, 22), False, (1.0, 1.0, 0.0)),  # brows
    (range(22, 27), False, (1.0, 1.0, 0.0)),
    (range(27, 31), False, (0.0, 0.0, 1.0)),  # nose
    (range(31, 36), False, (0.0, 0.0, 1.0)),
    (range(36, 42), True, (1.0, 0.0, 0.0)),  # eyes
    (range(42, 48), True, (1.0, 0.0, 0.0)),
    (range(48, 60), True, (0.0, 1.0, 1.0)),  # lips
    (range(60, 68), True, (0.0, 1.0, 1.0)),
)


# -- conventions ------------------------------------------------------------------------------------------------


def _single(index: int | Sequence[int]) -> Array:
    """(1, 478) weights of one mesh point, or of the mean of several."""
    row = np.zeros((1, top.POINTS))
    row[0, np.atleast_1d(index)] = 1 / np.size(index)
    return row


def _along(chain: Sequence[int], count: int) -> Array:
    """(count, 478) weights of points along a chain, ends included, evenly spaced on the mean face."""
    steps = np.linalg.norm(np.diff(top.mean_face()[list(chain)], axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.interp(np.linspace(0, length[-1], count), length, np.arange(len(chain)))
    low = np.minimum(at.astype(int), len(chain) - 2)
    weights = np.zeros((count, top.POINTS))
    weights[np.arange(count), np.take(chain, low)] = 1 - (at - low)
    weights[np.arange(count), np.take(chain, low + 1)] += at - low
    return weights


def _loop(upper: Sequence[int], lower: Sequence[int], up: int, down: int) -> Array:
    """(up + down - 2, 478) weights along `upper`, then back along `lower` without the corners that they share."""
    return np.concatenate([_along(upper, up), _along(lower, down)[-2:0:-1]])


def _eyes(count: int) -> tuple[Array, Array]:
    """Both eyes with `count` points on either lid: the right from its outer, the left from its inner corner."""
    right = _loop(top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER, count, count)
    left = _loop(top.LEFT_LID_UPPER[::-1], top.LEFT_LID_LOWER[::-1], count, count)
    return right, left


def _mouth() -> tuple[Array, Array]:
    """Twelve points on the outer edge of the lips, eight on the inner one."""
    # Named points keep the bow of the upper lip, which even spacing would cut off.
    bow = np.concatenate([_single(i) for i in (61, 40, 37, 0, 267, 270, 291)])
    outer = np.concatenate([bow, _along(top.LIPS_OUTER_LOWER, 7)[-2:0:-1]])
    return outer, _loop(top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER, 5, 5)


@cache
def convention(points: Convention) -> Array:
    """The weights (points, 478) that make a convention's points of the mesh's: each row sums to 1.

    Raises ValueError for a convention that is not known."""
    brow_up = _along(RIGHT_BROW_UPPER, 5), _along(LEFT_BROW_UPPER[::-1], 5)
    nose = [_along(RIDGE, 4), _along(NOSTRILS, 5)]
    irises = [_single(top.RIGHT_IRIS[0]), _single(top.LEFT_IRIS[0])]
    if points == 68:
        rows = [_along(CONTOUR, 17), *brow_up, *nose, *_eyes(4), *_mouth()]
    elif points == 98:
        right = np.concatenate([brow_up[0], _along(RIGHT_BROW_LOWER, 4)[::-1]])
        left = np.concatenate([brow_up[1], _along(LEFT_BROW_LOWER, 4)])
        rows = [_along(CONTOUR, 33), right, left, *nose, *_eyes(5), *_mouth(), *irises]
    elif points == 106:
        lower = _along(RIGHT_BROW_LOWER, 4), _along(LEFT_BROW_LOWER[::-1], 4)
        # Of either eye the middle of the upper lid, of the lower one, and between the corners.
        middles = [_single(i) for i in (159, 145, [33, 133], 386, 374, [263, 362])]
        sides = [_single(i) for i in (193, 417, 198, 420, 129, 358)]
        rows = [_along(CONTOUR, 33), *brow_up, *nose, *_eyes(4), *lower, *middles, *sides, *_mouth(), *irises]
    else:
        raise ValueError(f"no convention of {points} points; known: {', '.join(map(str, CONVENTIONS))}")
    weights = np.concatenate(rows)
    weights.setflags(write=False)
    return weights


def in_convention(landmarks: NDArray, points: Convention = 68) -> Array:
    """Landmarks (..., 478, C) as the points of a convention, (..., points, C)."""
    return np.asarray(convention(points) @ landmarks, np.float64)


def through(points: NDArray, window: Window | None) -> Array:
    """Places (..., N, 2 or more) of the picture in the pixels of a window (2, 3): (..., N, 2); as they are without."""
    places = np.asarray(points, np.float64)[..., :2]
    if window is None:
        return places
    matrix = np.asarray(window, np.float64)
    return places @ matrix[:, :2].T + matrix[:, 2]


def scaled(side: float, size: int) -> Array:
    """The window (2, 3) that takes a square of `side` pixels to `size`, edge to edge."""
    k = size / side
    return np.array([[k, 0, (k - 1) / 2], [0, k, (k - 1) / 2]])


# -- drawing ----------------------------------------------------------------------------------------------------


def _nearer(distance: Map, a: Array, b: Array, reach: float) -> None:
    """Lower `distance` (H, W) to the distance from the nearest of the segments between `a` and `b` (N, 2), where that
    is below `reach`."""
    height, width = distance.shape
    # What leaves the picture by far is left out before anything is cast to whole numbers.
    lo = np.clip(np.ceil(np.minimum(a, b).min(0) - reach), 0, [width, height]).astype(int)
    hi = np.clip(np.floor(np.maximum(a, b).max(0) + reach) + 1, 0, [width, height]).astype(int)
    if (lo >= hi).any():
        return
    start, along = (v.astype(np.float32)[:, :, None, None] for v in (a, b - a))
    x = np.arange(lo[0], hi[0], dtype=np.float32) - start[:, 0]
    y = np.arange(lo[1], hi[1], dtype=np.float32)[:, None] - start[:, 1]
    ux, uy = along[:, 0], along[:, 1]
    part = distance[lo[1] : hi[1], lo[0] : hi[0]]
    with np.errstate(over="ignore", invalid="ignore"):  # places too far off to be reckoned with are nowhere near
        t = np.clip((x * ux + y * uy) / np.maximum(np.float32(1e-12), ux * ux + uy * uy), 0, 1)
        nearest = np.fmin.reduce((x - t * ux) ** 2 + (y - t * uy) ** 2)
        np.fmin(part, np.sqrt(nearest), out=part)


def distances(curves: Iterable[NDArray], height: int, width: int, reach: float) -> Map:
    """(height, width) distance in pixels to the nearest of the curves (N, 2), which are straight between their points;
    `reach` where it is more. A curve of one point is a dot. Raises ValueError for places that are not finite."""
    out = np.full((height, width), reach, np.float32)
    some = max(1, CELLS // (height * width))
    for curve in curves:
        line = np.asarray(curve, np.float64)
        if not np.isfinite(line).all():
            raise ValueError("a place to draw at is not a finite number")
        a, b = (line[:-1], line[1:]) if len(line) > 1 else (line, line)
        # Segments together where the picture is small, one by one where each covers but a part of a large one.
        for i in range(0, len(a), some):
            _nearer(out, a[i : i + some], b[i : i + some], reach)
    return out


def heat_maps(
    landmarks: NDArray,
    size: int,
    window: Window | None = None,
    sigma: float = 1.0,
    parts: Mapping[str, Sequence[int]] = BOUNDARIES,
) -> Map:
    """(parts, size, size) in 0..1: of every part exp(-d²/2σ²) of the distance d to its curve, in pixels of the map.

    From 3σ on it is 0, as in the heat maps of Wu et al. 2018 (section 3.1)."""
    places = through(landmarks, window)
    maps = np.zeros((len(parts), size, size), np.float32)
    for out, chain in zip(maps, parts.values()):
        d = distances([places[list(chain)]], size, size, 3 * sigma)
        np.copyto(out, np.exp(-(d**2) / (2 * sigma**2)), where=d < 3 * sigma)
    return maps


def _covered(distance: Map, thickness: float) -> Map:
    """How much of every pixel lies within half of `thickness` of a curve, in 0..1."""
    # A line thinner than a pixel never fills one, however near.
    return np.clip(thickness / 2 + 0.5 - distance, 0, min(1.0, thickness)).astype(np.float32)


def lines(
    curves: Sequence[NDArray],
    size: int,
    colours: Sequence[Colour] | Colour = WHITE,
    thickness: float = 2.0,
) -> RGB:
    """Curves (N, 2), in pixels of the picture, as lines on black: (size, size, 3) uint8; later ones lie over earlier.

    `colours` is one for all, or one for each; a curve of one point is a disc."""
    each = [colours] * len(curves) if np.ndim(colours) == 1 else list(colours)  # type: ignore[list-item]
    picture = np.zeros((size, size, 3), np.float32)
    for curve, colour in zip(curves, each, strict=True):
        cover = _covered(distances([curve], size, size, thickness / 2 + 1), thickness)[..., None]
        picture += cover * (np.asarray(colour, np.float32) - picture)
    return np.round(picture * 255).astype(np.uint8)


def coloured(landmarks: NDArray, size: int, window: Window | None = None, thickness: float = 2.0) -> RGB:
    """The 68 points as MarioNETte's re-implementation draws them: coloured lines on black, (size, size, 3)."""
    return coloured_68(through(in_convention(landmarks, 68), window), size, thickness)


def coloured_68(points: NDArray, size: int, thickness: float = 2.0) -> RGB:
    """As `coloured`, of 68 points (68, 2) that are in pixels of the drawing already."""
    curves = [_closed(points[list(r)], closed) for r, closed, _ in LINES_68]
    return lines(curves, size, [colour for _, _, colour in LINES_68], thickness)


def _closed(curve: NDArray, closed: bool) -> NDArray:
    return np.concatenate([curve, curve[:1]]) if closed else curve


def white(landmarks: NDArray, size: int, window: Window | None = None, thickness: float = 1.5) -> Map:
    """The boundaries of a face as white lines on black, (size, size) in 0..1."""
    places = through(landmarks, window)
    d = distances([places[list(c)] for c in BOUNDARIES.values()], size, size, thickness / 2 + 1)
    return _covered(d, thickness)


def dots(points: ArrayLike, size: int, radius: float) -> Map:
    """Points (N, 2), in pixels of the picture, as white discs on black: (size, size) in 0..1."""
    places = np.asarray(points, np.float64)
    return _covered(distances(places[:, None], size, size, radius + 1), 2 * radius)
