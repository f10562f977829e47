"""Furrows: creases that an expression folds into the skin, laid on by relighting.

A small height map over the canonical face holds the folds that the muscles of FACS units 1, 2, 4, 6, 9, 10,
11, 12 and 14 make, each a valley between soft bulges along the course it takes on real faces. Its slopes are
lit by the light found in the portrait, valleys are shaded, creases that the portrait shows already deepen,
and all is laid on as a gain of luminance, only where there is bare skin. Folds that the portrait's own smile made
fade as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.face.interior import ramp
from infinex.face.portrait import SourceFace
from infinex.face.units import FACE_UNITS, field_of
from infinex.mesh.canonical import facing, gated, lay, least_facing, numbered
from infinex.mesh.kernel import places
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import affines
from infinex.mesh.retarget import Target
from infinex.mesh.wrinkles import skin_tint
from infinex.motion import Move

Array = NDArray[np.float64]
Map = NDArray[np.float32]
Points = Sequence[tuple[float, float]]
UNIT = 150  # cells of the canonical grid for one IOD
SHADE = 0.24  # log gain for a slope of 1 against the light
DARKEST, BRIGHTEST = -0.34, 0.08
CREASE, HOLLOW = 0.15, 0.14  # log gain in the crease itself, and softly around it
OWN = 0.7  # by how much creases deepen that are there already
SMOOTH, CREASED = 0.25, 0.045  # share that folds keep in skin without any creases; depth of creases of a worn one
IDLE = 0.06  # activation below which nothing folds
FILMED = 0.75  # share of a fold that a unit read off a performer lays: some of it her own wrinkles show already
BROWED = 0.35  # share of that for foreheads: whether raised brows line them differs most from one to the next
COARSE = 4  # cells for each of which it is decided together how squarely they face the viewer
# Folds of a smile of one's own: how far a corner comes back, of a whole smile's way, until they are gone; how wide they
# are at most, IOD; what stays of them; times the usual darkness that is texture; around a corner `corners.py` does it.
UNSMILED, FOLDED, LEFT, ROUGH, CORNER = (0.15, 0.8), 0.15, 0.1, 1.5, (0.06, 0.14)
UNSEEN = (0.02, 0.12)  # how squarely skin faces the viewer, from where on they are seen
RIM = (0.02, 0.07)  # from the rim of what shows, over which they are looked for
DEEPEST = 0.35  # log lightness that fades at most: what is darker has no colour of skin left
CHEEK = (-0.40, 0.22)  # heights in the mean face between which they are looked for, IOD
ONE_SIDED = 0.5  # of the stronger side's movement, under which the other side folds less


@dataclass(frozen=True)
class Fold:
    """A crease on the subject's right half: its course in mean-face coordinates, width and depth in IOD.

    `cheek` is the share by which the skin bulges on the outer side."""

    course: Points
    width: float
    depth: float
    cheek: float = 0.0


@dataclass(frozen=True)
class Muscle:
    """What makes folds: `points` that move like they do under `unit` raise `folds`; bulges are (x, y, reach,
    height)."""

    unit: str
    points: list[int]
    folds: list[Fold]
    bulges: list[tuple[float, float, float, float]]


_MUSCLES = (
    Muscle("AU1", [107, 66, 55, 65], [
        Fold([(-0.33, -0.972), (-0.24, -0.956), (-0.14, -0.958), (-0.05, -0.948), (0.0, -0.952)], 0.016, 0.75),
        Fold([(-0.37, -1.040), (-0.25, -1.032), (-0.13, -1.024), (-0.04, -1.030), (0.0, -1.027)], 0.017, 0.80),
        Fold([(-0.28, -1.108), (-0.18, -1.102), (-0.07, -1.107), (0.0, -1.104)], 0.015, 0.45),
    ], []),
    Muscle("AU2", [70, 63, 105, 53], [
        Fold([(-0.61, -0.905), (-0.54, -0.940), (-0.44, -0.962), (-0.33, -0.970), (-0.20, -0.960)], 0.016, 0.75),
        Fold([(-0.58, -0.980), (-0.50, -1.015), (-0.40, -1.036), (-0.29, -1.038), (-0.18, -1.030)], 0.017, 0.65),
    ], []),
    Muscle("AU4", [107, 55, 66], [
        Fold([(-0.050, -0.735), (-0.066, -0.79), (-0.068, -0.845), (-0.058, -0.90)], 0.016, 0.9),
        Fold([(-0.130, -0.845), (-0.122, -0.88), (-0.110, -0.915)], 0.016, 0.35),
    ], [(-0.12, -0.80, 0.06, 0.014)]),
    Muscle("AU6", [110, 24, 23, 22], [
        Fold([(-0.545, -0.580), (-0.600, -0.606), (-0.660, -0.640)], 0.013, 0.50),
        Fold([(-0.555, -0.548), (-0.615, -0.552), (-0.680, -0.565)], 0.013, 0.55),
        Fold([(-0.545, -0.515), (-0.600, -0.490), (-0.660, -0.470)], 0.013, 0.50),
        Fold([(-0.235, -0.475), (-0.32, -0.448), (-0.42, -0.450), (-0.50, -0.482)], 0.019, 0.50),
    ], [(-0.45, -0.31, 0.13, 0.035)]),
    Muscle("AU9", [49, 102, 64], [
        Fold([(-0.10, -0.680), (-0.05, -0.692), (0.0, -0.695)], 0.015, 0.55),
        Fold([(-0.080, -0.612), (-0.04, -0.622), (0.0, -0.624)], 0.013, 0.35),
        Fold([(-0.080, -0.555), (-0.125, -0.500), (-0.175, -0.455)], 0.015, 0.55),
        Fold([(-0.075, -0.490), (-0.115, -0.430), (-0.160, -0.390)], 0.014, 0.40),
        Fold([(-0.240, -0.235), (-0.285, -0.15), (-0.325, -0.06)], 0.024, 0.7, 0.5),
    ], []),
    Muscle("AU10", [39, 40, 165], [
        Fold([(-0.240, -0.215), (-0.285, -0.14), (-0.335, -0.04), (-0.36, 0.04)], 0.028, 0.75, 0.6),
    ], [(-0.34, -0.16, 0.10, 0.018)]),
    Muscle("AU12", [61, 57, 216], [
        Fold([(-0.245, -0.195), (-0.30, -0.10), (-0.355, -0.01), (-0.395, 0.08), (-0.40, 0.16)], 0.030, 0.9, 0.7),
    ], [(-0.47, -0.17, 0.14, 0.035)]),
    Muscle("AU14", [43, 106, 202, 186, 216], [
        Fold([(-0.335, 0.085), (-0.375, 0.14), (-0.385, 0.20), (-0.36, 0.265)], 0.024, 0.9, 0.5),
    ], [(-0.44, 0.19, 0.07, 0.016)]),
)  # fmt: skip

SMILE = [m.unit for m in _MUSCLES].index("AU12")


@cache
def _grid() -> tuple[Array, tuple[int, int]]:
    """Mean-face points (478, 2) in grid cells, and the grid's size (rows, columns)."""
    face = top.mean_face()
    lo, hi = face[: top.SURFACE, :2].min(0) - 0.03, face[: top.SURFACE, :2].max(0) + 0.03
    columns, rows = np.ceil((hi - lo) * UNIT).astype(int)
    return np.ascontiguousarray((face[:, :2] - lo) * UNIT), (int(rows), int(columns))


def _cells() -> tuple[Array, Array]:
    grid, (rows, columns) = _grid()
    corner = top.mean_face()[0, :2] - grid[0] / UNIT
    x, y = np.meshgrid(np.arange(columns) / UNIT + corner[0], np.arange(rows) / UNIT + corner[1])
    return x, y


def _powers(t: Array, points: int) -> Array:
    """What a cubic spline through up to five even places of 0..1 is linear in, at `t` (N,): (N, points)."""
    return np.stack([t**k if k < 4 else np.maximum(t - 0.5, 0) ** 3 for k in range(points)], 1)


def _height(fold: Fold) -> tuple[Array, Array]:
    """Height and valley (rows, columns) of one fold."""
    course = np.array(fold.course)
    t = np.linspace(0, 1, len(course))
    fine = np.linspace(0, 1, 48)
    line = _powers(fine, len(t)) @ np.linalg.solve(_powers(t, len(t)), course)
    x, y = _cells()
    lo, hi = line.min(0) - 6 * fold.width, line.max(0) + 6 * fold.width
    near = (x >= lo[0]) & (x <= hi[0]) & (y >= lo[1]) & (y <= hi[1])
    p = np.stack([x[near], y[near]], 1)
    k = ((p[:, :1] - line[:, 0]) ** 2 + (p[:, 1:] - line[:, 1]) ** 2).argmin(1)
    d, along = np.linalg.norm(p - line[k], axis=1), fine[k]
    # Creases fade out at free ends; those that reach the midline go on in their mirror image.
    start = np.clip(along / 0.28, 0, 1)
    end = 1.0 if abs(course[-1, 0]) < 1e-6 else np.clip((1 - along) / 0.28, 0, 1)
    # No crease is drawn with a ruler: depth wanders along it.
    taper = np.sin(np.pi / 2 * start) * np.sin(np.pi / 2 * end) * (1 + 0.18 * np.sin(9 * along + 40 * course[0, 1]))
    valley = np.exp(-((d / fold.width) ** 2))
    tangent = np.gradient(line, axis=0)[k]
    side = np.sign(tangent[:, 0] * (p - line[k])[:, 1] - tangent[:, 1] * (p - line[k])[:, 0])  # 1: outer side
    shoulders = np.exp(-(((d - 2.4 * fold.width) / (1.5 * fold.width)) ** 2))
    bulge = shoulders * (0.35 + fold.cheek * (side > 0))
    h, v = np.zeros(x.shape), np.zeros(x.shape)
    h[near] = fold.depth * taper * fold.width * (bulge - valley)
    if fold.cheek:  # the cheek hangs over the fold: a sharp edge on its side, a shadow that fades towards the lip
        valley = np.where(side > 0, np.exp(-((d / (0.35 * fold.width)) ** 2)), np.exp(-d / (1.25 * fold.width)))
    v[near] = fold.depth * taper * valley
    return h, v


def _relief() -> tuple[Array, Array, Array]:
    """For each muscle and side (right, then left): slopes down x and y of its relief, and valleys."""
    x, y = _cells()
    slopes_x, slopes_y, valleys = [], [], []
    for muscle in _MUSCLES:
        height, valley = np.zeros(x.shape), np.zeros(x.shape)
        for fold in muscle.folds:
            h, v = _height(fold)
            height, valley = height + h, np.maximum(valley, v)
        for bx, by, reach, high in muscle.bulges:
            height += high * np.exp(-(((x - bx) ** 2 + (y - by) ** 2) / reach**2))
        middle = (top.mean_face()[0, 0] - x[0, 0]) * UNIT
        for flip in (False, True):
            h, v = (height, valley) if not flip else (_mirrored(height, middle), _mirrored(valley, middle))
            gy, gx = np.gradient(h, 1 / UNIT)
            slopes_x.append(gx)
            slopes_y.append(gy)
            valleys.append(v)
    return tuple(np.stack(m).astype(np.float32) for m in (slopes_x, slopes_y, valleys))  # type: ignore[return-value]


def _mirrored(image: Array, middle: float) -> Array:
    shift = np.array([[-1.0, 0.0, 2 * middle], [0.0, 1.0, 0.0]])
    return cv2.warpAffine(image, shift, image.shape[::-1], flags=cv2.INTER_LINEAR)


@cache
def _probes() -> list[tuple[Array, NDArray[np.intp]]]:
    """For each muscle and side: directions (n, 2) whose mean product with the displacement of the points
    (n,) is 1 when the muscle's unit acts fully."""
    out = []
    for muscle in _MUSCLES:
        field = field_of(muscle.unit)
        for side in (np.arange(top.POINTS), top.mirror()):
            points = np.array([int(side[i]) for i in muscle.points])
            way = field[points, :2]
            if muscle.unit == "AU4":  # brows come together; that they fall too is no furrow
                way = way * [1, 0]
            out.append((way / (way**2).sum(), points))
    return out


def activations(offsets: Array) -> Array:
    """How strongly each muscle folds the skin under displacements (478, 3), right and left in turn, 0..1.4."""
    amount = np.array([(way * offsets[points, :2]).sum() for way, points in _probes()])
    out = np.clip((amount - IDLE) / (1 - IDLE), 0, 1.4)
    return np.asarray(np.where(out < 1, out**1.15, out))


def of_performer(units: Array, offsets: Array) -> Array:
    """How strongly each muscle of a filmed face folds the skin, right and left in turn, 0..1.

    `units` (U,) are intensities of `FACE_UNITS` read in the displacements `offsets` (478, 3): landmarks by themselves
    hardly see a frown. They tell the two sides apart, where one moves much less."""
    sides = np.clip(activations(offsets).reshape(-1, 2), 0, 1)
    most = sides.max(1, keepdims=True)
    share = np.where(most > 0.1, np.clip(sides / np.maximum(most, 1e-6) / ONE_SIDED, 0, 1), 1.0)
    found = np.array([units[FACE_UNITS.index(m.unit)] * (BROWED if m.unit in ("AU1", "AU2") else 1) for m in _MUSCLES])
    return np.asarray(FILMED * (found[:, None] * share).ravel())


@compiled(fast=True)
def _folded(strength: NDArray, active: NDArray, gains: NDArray, gate: NDArray, out: NDArray) -> None:
    """Log gains `out` (rows, columns) of muscles (M,) that fold with a `strength`, of which the `active` ones do.

    `gains` (M, rows, columns) are those of each; `gate` is how much shows about every `COARSE`-th cell."""
    rows, columns = out.shape
    amounts = strength.astype(np.float32)
    for i in range(rows):
        line = out[i]
        line[:] = 0
        for k in active:
            amount, own = amounts[k], gains[k, i]
            for j in range(columns):
                line[j] += amount * own[j]
        v = np.float32(i) / np.float32(COARSE)
        m = min(int(v), gate.shape[0] - 2)
        fv = min(v - np.float32(m), np.float32(1))
        for j in range(columns):
            g = line[j]
            if g == 0:
                continue
            # Where folds of several muscles meet they do not add without end: a hyperbolic tangent, to a thousandth.
            most = np.float32(DARKEST) if g < 0 else np.float32(BRIGHTEST)
            x = g / most
            q = x * x
            bent = x * (np.float32(945) + q * (np.float32(105) + q))
            bent /= np.float32(945) + q * (np.float32(420) + np.float32(15) * q)
            u = np.float32(j) / np.float32(COARSE)
            n = min(int(u), gate.shape[1] - 2)
            fu = min(u - np.float32(n), np.float32(1))
            upper = gate[m, n] + fu * (gate[m, n + 1] - gate[m, n])
            lower = gate[m + 1, n] + fu * (gate[m + 1, n + 1] - gate[m + 1, n])
            line[j] = most * min(bent, np.float32(1)) * (upper + fv * (lower - upper))


class Furrows:
    """Folds of one portrait."""

    def __init__(self, image: NDArray[np.uint8], face: SourceFace, origin: tuple[int, int] = (0, 0)) -> None:
        """`image` (H, W, 3) holds the portrait; its corner lies at `origin` of the picture."""
        self._tris = np.ascontiguousarray(top.triangles(), np.int64)
        points = np.ascontiguousarray(face.points[:, :2] - np.array(origin))
        self._facing = facing(face.points, self._tris)
        (ux, uy), (vx, vy) = ((points[self._tris[:, k]] - points[self._tris[:, 0]]).T for k in (1, 2))
        turned = ux * vy - uy * vx
        self._front = turned * turned.sum() > 0  # triangles turned away show what lies before them
        grid, shape = _grid()
        affine, area = np.zeros((len(self._tris), 6)), np.zeros(len(self._tris))
        affines(grid, points, self._tris, affine, area)
        self._ids = numbered(grid, self._tris, shape)
        mx, my = np.empty((2, *shape), np.float32)
        places(self._ids, affine, 0, 0, 0, 0, 1, mx, my)
        mx[self._ids < 0] = my[self._ids < 0] = -9
        self._coarse = np.ascontiguousarray(self._ids[::COARSE, ::COARSE])  # for what is soft
        texture = cv2.remap(image, mx, my, cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        lab = cv2.cvtColor(texture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        skin = self._skin(lab) * self._place() * (self._ids >= 0)
        spots = np.round(grid[top.SKIN]).astype(int)
        tone = np.median(lab[spots[:, 1], spots[:, 0]], axis=0)
        self._tint = skin_tint(tone)
        light = self._light(lab, face, skin)
        slope_x, slope_y, valleys = _relief()
        gain = -SHADE * (slope_x * light[0] + slope_y * light[1]) - CREASE * valleys
        gain -= HOLLOW * np.stack([cv2.GaussianBlur(v, (0, 0), 0.022 * UNIT) for v in valleys])
        logs = np.log(lab[..., 0] + 4)
        self._face, self._fade = face.face.copy(), self._smiled(logs)
        creases = logs - cv2.GaussianBlur(logs, (0, 0), 0.03 * UNIT)
        self.worn = self._depth(creases, skin)  # how deep this skin folds, `SMOOTH` to 1
        self._gain = gain * skin * self.worn
        own = np.clip(creases, -0.3, 0.06)
        reach = np.stack([cv2.GaussianBlur(cv2.dilate(v, np.ones((7, 7), np.uint8)), (0, 0), 3.0) for v in valleys])
        self._gain += OWN * (own * skin)[None] * np.minimum(1.5 * reach, 1)
        self._gain = np.ascontiguousarray(self._gain.astype(np.float32))

    @staticmethod
    def _depth(creases: Map, skin: Map) -> float:
        """How deep skin like this folds, `SMOOTH` to 1: a child's less than that of somebody with lines already."""
        bare = creases[skin > 0.5]
        deep = -float(np.percentile(bare, 10)) if len(bare) else 0.0
        return SMOOTH + (1 - SMOOTH) * float(np.clip(deep / CREASED, 0, 1))

    def _smiled(self, logs: Map) -> Map:
        """What lights up the folds of the portrait's own smile, right and left (2, rows, columns), log gains from 0 on.

        They are what is narrow and darker than both sides on cheeks, more than the skin's texture is."""
        grid, (rows, columns) = _grid()
        size = 2 * round(FOLDED * UNIT / 2) + 1
        x, y = _cells()
        within = polygon_mask(rows, columns, grid[top.OVAL]) * np.append(self._front, False)[self._ids]
        smooth = cv2.GaussianBlur(logs, (0, 0), 0.008 * UNIT)
        smooth[within < 0.9] = -1  # dark all around, of which what is dark at the rim is a part
        wide = cv2.copyMakeBorder(smooth, size, size, size, size, cv2.BORDER_CONSTANT, value=-1)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        dark = cv2.morphologyEx(wide, cv2.MORPH_BLACKHAT, kernel)[size:-size, size:-size]
        deep = cv2.distanceTransform((within > 0.9).astype(np.uint8), cv2.DIST_L2, 5) / UNIT
        within = within * ramp(deep, *RIM)
        mouth = (polygon_mask(rows, columns, grid[top.LIPS_OUTER]) > 0.3).astype(np.uint8)
        lips = cv2.distanceTransform(1 - mouth, cv2.DIST_L2, 3) / UNIT
        within *= ramp(lips, 0.02, 0.06) * ramp(np.minimum(y - CHEEK[0], CHEEK[1] - y), 0, 0.06)
        out = np.zeros((2, rows, columns), np.float32)
        for k, (corner, wing) in enumerate(((61, 48), (291, 278))):
            ahead, at = top.mean_face()[wing, 0], top.mean_face()[corner, :2]
            here = within * ramp((x - ahead) * np.sign(ahead), 0, 0.05)
            rough = float(np.median(dark[here > 0.5])) if (here > 0.5).any() else 0.0
            fold = np.clip(dark - ROUGH * rough, 0, DEEPEST)
            out[k] = (1 - LEFT) * cv2.GaussianBlur((fold * here).astype(np.float32), (0, 0), 0.01 * UNIT)
            out[k] *= ramp(np.hypot(x - at[0], y - at[1]), *CORNER)
        return out

    def unsmiled(self, target: Target) -> Array:
        """How far the portrait's own smile has gone, right and left (2,), 0..1."""
        moved = target.face[:, :2] - self._face[:, :2]
        lost = [-(way * moved[points]).sum() for way, points in _probes()[2 * SMILE : 2 * SMILE + 2]]
        return np.asarray(ramp(np.array(lost), *UNSMILED))

    def _place(self) -> Map:
        """Bare of eyes, brows' hair, lips and the rim of the face, (rows, columns) 0..1."""
        grid, (rows, columns) = _grid()
        oval = polygon_mask(rows, columns, grid[top.OVAL])
        deep = cv2.distanceTransform((oval > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / UNIT
        mask = np.clip((deep - 0.03) / 0.08, 0, 1).astype(np.float32)
        for ring, reach in ((top.LIPS_OUTER, 0.02), (top.RIGHT_EYE, 0.035), (top.LEFT_EYE, 0.035)):
            hole = (polygon_mask(rows, columns, grid[ring]) > 0.3).astype(np.uint8)
            size = 2 * max(1, int(UNIT * reach)) + 1
            mask *= 1 - cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.012 * UNIT))

    def _skin(self, lab: Map) -> Map:
        """Where the portrait shows its skin rather than hair, a hat, glasses or a beard, (rows, columns) 0..1."""
        grid, _ = _grid()
        spots = np.round(grid[top.SKIN]).astype(int)
        tone = np.median(lab[spots[:, 1], spots[:, 0]], axis=0)
        soft = cv2.GaussianBlur(lab, (0, 0), 2.0)
        off = np.hypot(np.hypot(soft[..., 1] - tone[1], soft[..., 2] - tone[2]) / 14, (soft[..., 0] - tone[0]) / 30)
        busy = cv2.GaussianBlur((lab[..., 0] - soft[..., 0]) ** 2, (0, 0), 3.0)  # hair, stubble, brush strokes
        like = np.exp(-(np.maximum(0, off - 0.6) ** 2)) / (1 + busy / 40)
        return np.asarray(cv2.GaussianBlur(like.astype(np.float32), (0, 0), 2.5))

    def _light(self, lab: Map, face: SourceFace, skin: Map) -> Array:
        """Direction (x, y) over z towards the light, from the shading of the skin; held near light from above."""
        grid, (rows, columns) = _grid()
        p = face.face[: top.SURFACE] @ face.pose.rotation.T
        n = np.zeros_like(p)
        t = self._tris
        np.add.at(n, t.ravel(), np.repeat(np.cross(p[t[:, 1]] - p[t[:, 0]], p[t[:, 2]] - p[t[:, 0]]), 3, axis=0))
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
        n *= -np.sign(n[:, 2:].sum())  # towards the viewer, who is at negative z
        cell = np.clip(np.round(grid[: top.SURFACE]).astype(int), 0, [columns - 1, rows - 1])
        w = skin[cell[:, 1], cell[:, 0]]
        value = lab[cell[:, 1], cell[:, 0], 0]
        value = value / max(float(np.average(value, weights=w + 1e-6)), 1.0)
        A = np.column_stack([n[:, :2], np.ones(len(n))])
        prior, hold = np.array([0.0, -0.30, 1.0]), np.array([30.0, 30.0, 1e-3])
        slope = np.linalg.solve((A * w[:, None]).T @ A + np.diag(hold), (A * w[:, None]).T @ value + hold * prior)
        x, y = float(np.clip(slope[0], -0.5, 0.5)), float(np.clip(slope[1], -0.7, -0.15))
        return np.array([x, y]) * 2.0

    def apply(
        self,
        out: NDArray[np.uint8],
        origin: tuple[int, int],
        target: Target,
        move: Move,
        units: Array | None = None,
    ) -> None:
        """Shade `out`, whose corner lies at `origin`, for a move, in place; `units` (U,) were read off a performer."""
        strength = activations(move.offsets) if units is None else of_performer(units, move.offsets)
        active, lost = np.flatnonzero(strength > 0), self.unsmiled(target)
        if not len(active) and not lost.any():
            return
        seen = self._facing.copy()
        least_facing(target.points, self._tris, seen)
        gate = np.empty(self._coarse.shape, np.float32)
        gated(seen, self._coarse, 0.25, 0.55, gate)
        gate = cv2.GaussianBlur(gate, (0, 0), 0.03 * UNIT / COARSE)
        gain = np.empty(self._ids.shape, np.float32)
        _folded(strength, active, self._gain, gate, gain)
        if lost.any():
            gated(seen, self._coarse, *UNSEEN, gate)
            fade = np.tensordot(lost.astype(np.float32), self._fade, 1)
            gain += fade * cv2.resize(cv2.GaussianBlur(gate, (0, 0), 1.0), fade.shape[::-1])
        lay(out, origin, target, self._tris, _grid()[0], gain, self._tint)
