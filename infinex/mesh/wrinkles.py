"""Wrinkles and shading of the performer, laid on the portrait as an expression ratio image.

The performer's luminance now, divided by that at rest, on a small fixed grid over the canonical face
(Liu, Shan and Zhang 2001). Only creases pass: slow shading and everything near the rim is held back, and so is what
is not narrow (the nose's shadow on a cheek) or was there at rest and is only a little beside its place.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import to_matrix, to_vector
from infinex.mesh.canonical import facing, gated, lay, least_facing, numbered
from infinex.mesh.glasses import held as glasses
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import affines
from infinex.mesh.retarget import Target
from infinex.motion import Move, Rest

COLUMNS, ROWS = 176, 200  # the canonical grid, about 1 cell for 1 % IOD
STRENGTH = 0.8
DARKEST, BRIGHTEST = -0.40, 0.18  # log gain
FINE, SLOW = 0.022, 0.22  # IOD: below is noise, above is lighting
BESIDE = 0.018  # IOD by which the same spot may be tracked elsewhere
NARROW = 0.13  # IOD: a crease is narrower, a shadow is not
BROAD = 0.15  # share of what is broad that passes: a cheek raised by a smile
LEVELS = np.float32(127)  # steps of a log gain of one, the most that there is: bytes are compared soonest
TURN = np.radians(16)  # head turn over which lighting makes the ratio worthless

Array = NDArray[np.float64]


def _lightness(
    image: NDArray[np.uint8], points: Array, grid: Array, tris: NDArray, ids: NDArray, share: NDArray
) -> NDArray[np.float32]:
    """How light a face is in `image` (H, W, 3) that shows its landmarks `points` (478, 3), in grey levels times a
    `share` (rows, columns) of each cell of a `grid` (478, 2), which `ids` are `numbered` over."""
    affine, area = np.zeros((len(tris), 6)), np.zeros(len(tris))
    affines(grid, points, tris, affine, area)
    out = np.zeros(share.shape, np.float32)
    _read(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), affine, ids, share, out)
    return out


@compiled(fast=True)
def _read(grey: NDArray, affine: NDArray, ids: NDArray, share: NDArray, out: NDArray) -> None:
    """See `_lightness`; `affine` (T, 6) takes cells to pixels of `grey` (H, W)."""
    h, w = grey.shape
    one, one_, right, down = np.uintp(1), np.float32(1), np.float32(w - 1), np.float32(h - 1)
    for i in range(np.uintp(ids.shape[0])):
        line, shown, seen = ids[i], share[i], out[i]
        for j in range(np.uintp(ids.shape[1])):
            if line[j] < 0 or shown[j] <= 0:
                continue
            a = affine[np.uintp(line[j])]
            x = min(max(np.float32(a[0] * j + a[1] * i + a[2]), np.float32(0)), right)
            y = min(max(np.float32(a[3] * j + a[4] * i + a[5]), np.float32(0)), down)
            m, n = np.uintp(min(np.int64(y), h - 2)), np.uintp(min(np.int64(x), w - 2))
            fx, fy = x - np.float32(n), y - np.float32(m)
            above, below = grey[m], grey[m + one]
            upper = (one_ - fx) * np.float32(above[n]) + fx * np.float32(above[n + one])
            lower = (one_ - fx) * np.float32(below[n]) + fx * np.float32(below[n + one])
            seen[j] = shown[j] * (upper + fy * (lower - upper))


@compiled(fast=True)
def _changed(ratio: NDArray, slow: NDArray, dark: NDArray, bright: NDArray, new: NDArray, whole: NDArray) -> None:
    """What of a log ratio, free of its `slow` share, was not there at rest, -1..1, all (rows, columns); and that as
    `whole` numbers of `LEVELS` a unit, 128 where nothing is new."""
    for i in range(ratio.shape[0]):
        for j in range(ratio.shape[1]):
            v = ratio[i, j] - slow[i, j]
            v -= min(max(v, dark[i, j]), bright[i, j])
            v = min(np.float32(1), max(np.float32(-1), v))
            new[i, j] = v
            whole[i, j] = np.uint8(v * LEVELS + np.float32(128.5))


@compiled(fast=True)
def _creases(
    new: NDArray, closed: NDArray, opened: NDArray, gate: NDArray, inside: NDArray, strength: float
) -> None:  # fmt: skip
    """Leave of `new` (rows, columns) what is folds, by how it is `closed` and `opened`, times all that gates it."""
    for i in range(new.shape[0]):
        for j in range(new.shape[1]):
            v = new[i, j]
            broad = closed[i, j] if v < 0 else opened[i, j]
            fold = v - (np.float32(broad) - np.float32(128)) / LEVELS
            fold = min(max(fold, min(v, np.float32(0))), max(v, np.float32(0)))
            fold = min(max(fold + np.float32(BROAD) * (v - fold), np.float32(DARKEST)), np.float32(BRIGHTEST))
            new[i, j] = fold * gate[i, j] * inside[i, j] * strength


class Wrinkles:
    """Ratio images of one performer."""

    def __init__(
        self,
        rest_image: NDArray[np.uint8],
        rest_points: Array,
        rest: Rest,
        tint: NDArray[np.float32] | None = None,
        worn: float = 1.0,
        held: Array | None = None,
    ) -> None:
        """`rest_image` (H, W, 3) and `rest_points` (478, 3) pixels show the performer's reference frame; `tint` (3,) is
        how the portrait's skin darkens (`skin_tint`), `worn` in 0..1 how deep it folds; none
        where glasses hold it (`infinex.mesh.glasses`) or the performer wears some."""
        self._rest, self._worn = rest, worn
        self._tint = np.ones(3, np.float32) if tint is None else tint
        self._tris = np.ascontiguousarray(top.triangles(), np.int64)
        face = top.mean_face()
        lo, hi = face[: top.SURFACE, :2].min(0) - 0.03, face[: top.SURFACE, :2].max(0) + 0.03
        self._unit = min(COLUMNS / (hi - lo)[0], ROWS / (hi - lo)[1])
        self._grid = (face[:, :2] - lo) * self._unit
        self._mask, self._inside = self._masks()
        self._ids = numbered(self._grid, self._tris, (ROWS, COLUMNS))
        hit = (self._ids >= 0).astype(np.float32)
        core = cv2.erode(self._mask, np.ones((3, 3), np.uint8), iterations=max(1, int(self._unit * 0.03)))
        self._skin, self._core = self._mask * hit, core * hit
        self._weights: dict[float, NDArray[np.float32]] = {}
        self._rest_light = self._light(rest_image, rest_points)
        size = 2 * max(1, round(BESIDE * self._unit)) + 1
        spot = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        calm = np.log(self._rest_light)
        self._rest_dark, self._rest_bright = cv2.erode(calm, spot) - calm, cv2.dilate(calm, spot) - calm
        size = 2 * max(1, round(NARROW * self._unit / 2)) + 1
        self._narrow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        self._rest_facing = facing(rest_points, self._tris)
        for hold in (held, glasses(rest_image, SourceFace(rest_points))):  # the performer's would be folds, too
            if hold is not None:
                free = (0.45 + 0.3 * (1 - hold[self._tris].mean(1))).astype(self._rest_facing.dtype)
                self._rest_facing = np.minimum(self._rest_facing, free)

    def _masks(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The face without eyes and lips; and how deep inside the oval each cell lies, 0..1."""
        g, unit = self._grid, self._unit
        oval = polygon_mask(ROWS, COLUMNS, g[top.OVAL])
        mask = oval.copy()
        for ring, reach in ((top.LIPS_OUTER, 0.06), (top.RIGHT_EYE, 0.04), (top.LEFT_EYE, 0.04)):
            hole = (polygon_mask(ROWS, COLUMNS, g[ring]) > 0.3).astype(np.uint8)
            size = 2 * max(1, int(unit * reach)) + 1
            mask *= 1 - cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        deep = cv2.distanceTransform((oval > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / unit
        return mask, np.clip((deep - 0.14) / 0.22, 0, 1).astype(np.float32)

    def _light(self, image: NDArray[np.uint8], points: Array) -> NDArray[np.float32]:
        """How light the skin is in a frame, without noise, plus a little that keeps ratios of dark skin calm."""
        seen = _lightness(image, np.ascontiguousarray(points), self._grid, self._tris, self._ids, self._skin)
        return self._blur(seen, FINE) + np.float32(8)

    def _blur(self, x: NDArray, reach: float) -> NDArray[np.float32]:
        """Gaussian blur over the masked face only, of what is times the mask already."""
        if reach not in self._weights:
            self._weights[reach] = np.float32(1) / np.maximum(self._gauss(self._skin, reach), np.float32(1e-3))
        return self._gauss(x, reach) * self._weights[reach]

    def _gauss(self, x: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
        s = self._unit * reach
        if s < 6:
            return cv2.GaussianBlur(x, (0, 0), s)
        small = cv2.resize(x, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), s / 4)
        return cv2.resize(small, x.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def apply(
        self,
        out: NDArray[np.uint8],
        origin: tuple[int, int],
        target: Target,
        move: Move,
        image: NDArray[np.uint8],
        points: Array,
    ) -> None:
        """Shade `out`, whose corner lies at `origin`, by the performer's frame `image` and landmarks, in place."""
        turn = np.linalg.norm(to_vector(to_matrix(move.rotation) @ to_matrix(self._rest.rotation).T))
        strength = STRENGTH * self._worn * float(np.exp(-((turn / TURN) ** 2)))
        if strength < 0.02:
            return
        ratio = cv2.log(self._light(image, points) / self._rest_light)
        new, whole = np.empty_like(ratio), np.empty(ratio.shape, np.uint8)
        _changed(ratio, self._blur(ratio * self._skin, SLOW), self._rest_dark, self._rest_bright, new, whole)
        closed, opened = (cv2.morphologyEx(whole, how, self._narrow) for how in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN))
        seen = self._rest_facing.copy()
        for each in (points, target.points):
            least_facing(np.ascontiguousarray(each), self._tris, seen)
        gate = np.empty((ROWS, COLUMNS), np.float32)
        gated(seen, self._ids, 0.45, 0.75, gate)
        gate = cv2.GaussianBlur(self._core * gate, (0, 0), self._unit * 0.03)
        _creases(new, closed, opened, gate, self._inside, np.float32(strength))
        lay(out, origin, target, self._tris, self._grid, new, self._tint)


def skin_tint(tone: NDArray) -> NDArray[np.float32]:
    """Shares (3,) of red, green and blue in a darkening of skin of the median colour `tone` (L, a, b).

    Shaded skin is redder, fair skin too: light that reaches a fold has been through skin before. Stone and ink are
    not."""
    warm = float(np.clip((np.hypot(tone[1], tone[2]) - 3) / 11, 0, 1)) * np.array([-0.26, 0.04, 0.14])
    return (1 + warm).astype(np.float32)
