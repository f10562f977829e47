"""Dense motion from the face mesh: triangles on the face, a grid around it that follows the head.

The grid carries hair, ears and neck: points near the head move rigidly with it, points towards the
shoulders stand still, and the face's oval drags its neighbourhood along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.delaunay import delaunay
from infinex.face.portrait import SourceFace
from infinex.face.surroundings import NECK_BASE, Surroundings, SurroundingsShape, smoothstep
from infinex.mesh.kernel import cover, places, triangles
from infinex.mesh.retarget import Target
from infinex.mesh.rim import Rim

Array = NDArray[np.float64]


FAR_SIDE = 0.6  # share of its way from the face that what is around a forehead keeps as the head turns ...
ABOVE = (0.0, 0.3)  # ... over so many IOD above the eyes
GIVE = 0.6  # reach into the surroundings of what the rim of the face gives way; IOD
STRETCHED = 1.0  # depth to which hair stretches rather than leave the border that cuts it; IOD ...
GIVEN_UP = 0.5  # ... and by what share of that depth at most
SQUEEZED = 0.25  # by so much a body sinks, or rises, before what stays below it; IOD
BETWEEN = 0.4  # sizes of a face over which, between two heads, the one's motion ends
STILL = 0.05  # pixels by which a vertex may be off and still count as unmoved


@dataclass(frozen=True)
class WarpShape(SurroundingsShape):
    """The same, and what only drawing needs; lengths in IOD."""

    step: float = 0.16  # grid spacing
    drag: float = 0.12  # reach of the oval's expression into the surroundings
    body: float = 1.0  # share of the neck's own movement that the shoulders follow where motion is absolute, ...
    lean: float = 0.8  # ... and where it is relative: what shoulders uncover is guessed
    slack: float = 0.2  # by so much a neck bends before the shoulders follow all the same


def _ticks(first: int, last: int, step: float, size: int) -> Array:
    """Grid lines from `first` to `last`, and two beyond where these are the picture's own borders.

    What a head that moves inwards uncovers at the rim is sampled from beyond; no way of a head is as long as this."""
    inner = np.linspace(first, last, max(3, round((last - first) / step) + 1))
    gap = inner[1] - inner[0]
    before = [first - 6 * gap, first - gap] if first <= 0 else []
    after = [last + gap, last + 6 * gap] if last >= size - 1 else []
    return np.concatenate([before, inner, after])


def _head(alpha: NDArray[np.float32], places: Array, step: float) -> Array:
    """How much of the person (H, W) is within a `step` of places (N, 2), 0..1."""
    k = min(1.0, 4 / step)
    near = cv2.resize(alpha, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    size = 2 * round(step * k) + 1
    near = cv2.blur(cv2.dilate(near, np.ones((size, size), np.uint8)), (size, size))
    at = np.round(places * k).astype(int)
    return np.asarray(near[at[:, 1].clip(0, near.shape[0] - 1), at[:, 0].clip(0, near.shape[1] - 1)], np.float64)


def _of_others(places: Array, face: Array, others: Sequence[Array]) -> Array:
    """How much places (N, 2) belong to the head of another than `face` (478, 3), (N,) in 0..1: to which is nearest."""
    apart = []
    for points in (face, *others):
        low, high = points[: top.SURFACE, :2].min(0), points[: top.SURFACE, :2].max(0)
        apart.append(np.linalg.norm(places - (low + high) / 2, axis=1) / float((high - low).max()))
    return smoothstep((apart[0] - np.min(apart[1:], axis=0)) / BETWEEN + 0.5) if others else np.zeros(len(places))


@dataclass
class Flow:
    """Where each pixel of one output frame comes from; `ids` become those of the next frame that the warp makes."""

    ids: NDArray[np.int16]  # (H, W) triangle, -1 where nothing covers; H, W are the reach's
    points: Array  # (N, 2) target vertices: 478 of the face, then the grid
    affine: NDArray[np.float64]  # (T, 6) from places of the target to the source's from the left of the reach
    area: NDArray[np.float64]
    order: NDArray[np.int64]
    still: NDArray[np.bool_]  # (T,) triangles that stay where they are
    peak: float  # largest displacement of a grid point in pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 in the reach: outside it every pixel stays
    corner: tuple[int, int]  # of the reach in the picture

    def maps(
        self, step: int = 1, first: tuple[int, int] = (0, 0), end: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Source x and y, both (h, w) from the left of the reach, of every `step`-th pixel from `first` (x, y) on to
        `end`; a pixel's own where nothing covers it."""
        c, d = end or self.ids.shape[::-1]
        shape = len(range(first[1], d, step)), len(range(first[0], c, step))
        map_x, map_y = np.empty(shape, np.float32), np.empty(shape, np.float32)
        places(self.ids, self.affine, *self.corner, *first, step, map_x, map_y)
        return map_x, map_y

    @cached_property
    def _maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.maps()

    @property
    def map_x(self) -> NDArray[np.float32]:
        """`maps` of every pixel, (H, W)."""
        return self._maps[0]

    @property
    def map_y(self) -> NDArray[np.float32]:
        """The same for y."""
        return self._maps[1]


class Warp:
    """The mesh over one source picture; `flow` places it under a target."""

    def __init__(
        self, face: SourceFace, width: int, height: int, shape: WarpShape, reach: tuple[int, int, int, int],
        alpha: NDArray[np.float32] | None = None, absolute: bool = False, others: Sequence[Array] = (),
    ) -> None:  # fmt: skip
        """`reach` (x0, y0, x1, y1) is the part of the picture that may move, at most `head_reach`; `alpha` the person
        (y1 - y0, x1 - x0) in it; `others` (478, 3) are faces beside this one, whose heads it does not move."""
        s = shape
        self.face, self.width, self.height = face, width, height
        unit = face.pose.scale
        self.rim = Rim(face, alpha, reach[:2])
        oval = self.rim.points[top.OVAL]
        contour = oval.astype(np.float32).reshape(-1, 1, 2)
        self.reach = x0, y0, x1, y1 = reach
        step = max(6.0, unit * s.step)
        gx = _ticks(x0, x1 - 1, step, width)
        gy = _ticks(y0, y1 - 1, step, height)
        grid = np.stack(np.meshgrid(gx, gy), -1).reshape(-1, 2)
        outside = np.array([-cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in grid])
        grid, outside = grid[outside > 0.5 * step], outside[outside > 0.5 * step] / unit
        self.grid = grid
        tris = delaunay(np.vstack([oval, grid]))
        n = len(oval)
        centres = np.vstack([oval, grid])[tris].mean(1)
        inside = np.array([cv2.pointPolygonTest(contour, (float(x), float(y)), False) > 0 for x, y in centres])
        tris = tris[~(inside & (tris < n).all(1))]
        outer = np.where(tris < n, np.array(top.OVAL)[np.minimum(tris, n - 1)], tris - n + top.POINTS)
        self._outer = len(outer)
        self.surface = slice(len(outer), len(outer) + len(top.triangles()))  # the face in `tris`
        self.tris = np.ascontiguousarray(np.vstack([outer, top.triangles(), top.opening_triangles()]), np.int64)
        self.source = np.ascontiguousarray(np.vstack([face.points[:, :2], grid]))
        self._around = around = Surroundings(face.face, face.pose, grid, outside, oval, s)
        own = 1 - _of_others(grid, face.points, others)
        if alpha is not None:
            around.stiffen(_head(alpha, grid - [x0, y0], step) * own, s)
        self._give = 1 - smoothstep(outside / GIVE)
        self._drag = np.exp(-outside / s.drag) * (1 - smoothstep((outside - 0.4) / 1.2))
        # Where the reach ends pixels must stay; so they must at the lower border where nothing goes on beyond it.
        edge = (grid[:, 1] > y1 - 2.5) & (around.down > 0) & (alpha is None)
        inner = np.zeros(len(grid), bool)
        for side, limit, full in ((0, x0, 0), (1, y0, 0), (0, x1 - 1, width - 1), (1, y1 - 1, height - 1)):
            if abs(limit - full) > 0.5:
                inner |= np.abs(grid[:, side] - limit) < 0.5
        self._rigid = np.where(edge | inner, 0, around.rigid) * own
        around.skull *= own
        around.skull[edge | inner] = 0
        self._drag[edge | inner] = 0
        self._give[edge | inner] = 0
        self._beside = np.linalg.norm(grid[:, None] - oval[None], axis=2).argmin(1)
        down = face.points[152, :2] - face.points[10, :2]
        up = (face.points[[33, 263], :2].mean(0) - grid) @ (down / np.linalg.norm(down)) / unit
        stays = FAR_SIDE * self._rigid * smoothstep((up - ABOVE[0]) / (ABOVE[1] - ABOVE[0]))
        self._stays = stays * np.maximum(self._away(grid, oval)[0], 0)
        self._neck = np.array([[0.0, face.face[152, 1] + NECK_BASE[0], NECK_BASE[1]]])
        held = smoothstep((y1 - 1 - grid[:, 1]) / (0.6 * unit))
        sides = smoothstep((grid[:, 0] - x0) / (0.5 * unit)) * smoothstep((x1 - 1 - grid[:, 0]) / (0.5 * unit))
        # Only the body: hair and background beside the head stay. A body that the lower border cuts slides along it,
        # and beyond it as it sinks, but for a person who moves as she was seen to.
        self._held, self._sides, self._cut_off = held, sides * own, y1 >= height and not absolute
        self._follow = s.body if absolute else s.lean
        self._slack = np.inf if absolute else s.slack * unit
        # Of every frame, cleared where the last one was: new memory costs more than what is in it.
        self._ids, self._covered = np.full((y1 - y0, x1 - x0), -1, np.int16), (0, 0, 0, 0)
        self._cuts = [] if alpha is None else self._cut(alpha, outside * unit)

    def _cut(
        self, alpha: NDArray[np.float32], outside: Array
    ) -> list[tuple[int, float, NDArray[np.intp], Array, Array]]:
        """Where the picture's left, right and upper borders cut through the person: axis and inward direction of each,
        for every grid point the one on the border beside it, how far it follows that one, and how much of the way of
        that one is given up at most, in pixels. `outside` (N,) is the distance from the face."""
        x0, y0, x1, _ = self.reach
        cuts: list[tuple[int, float, NDArray[np.intp], Array, Array]] = []
        for axis, place, end, inwards, line in (
            (0, x0, 0, 1, alpha[:, 0]), (1, y0, 0, 1, alpha[0]), (0, x1 - 1, self.width - 1, -1, alpha[:, -1]),
        ):  # fmt: skip
            on = np.flatnonzero(np.abs(self.grid[:, axis] - place) < 0.5)
            if place != end or not len(on) or line.max() < 0.05:
                continue
            along = self.grid[:, 1 - axis]
            beside = on[np.abs(along[:, None] - along[on]).argmin(1)]
            room = np.clip(outside[beside], 1, STRETCHED * self.face.pose.scale)
            depth = np.maximum(inwards * (self.grid[:, axis] - place), 0) / room
            near = cv2.dilate(line.reshape(1, -1), np.ones((1, 2 * round(self.face.pose.scale * 0.16) + 1)))[0]
            at = np.round(along[beside] - (y0 if axis == 0 else x0)).astype(int).clip(0, len(near) - 1)
            share = (1 - smoothstep(depth)) * near[at]
            cuts.append((axis, inwards, beside, share, GIVEN_UP * room))
        return cuts

    def vertices(self, target: Target) -> tuple[Array, Array, Array]:
        """Vertices in the source and under a target, both (N, 2) in pixels, and their depth (N,)."""
        pose = target.pose
        moved = self._around.rigidly(pose)
        change = (moved[:, :2] - self.grid) * self._rigid[:, None]
        change += self._leaning(target)
        stiff = pose.to_image(self.face.face[top.OVAL])
        change += (self._around.near @ (target.points[top.OVAL] - stiff)[:, :2]) * self._drag[:, None]
        source, face, pull = self.rim.place(target)
        change += (self._around.near @ pull) * self._give[:, None]
        for axis, inwards, beside, share, most in self._cuts:
            way = np.maximum(inwards * change[beside, axis], 0)
            change[:, axis] -= inwards * share * most * np.tanh(way / most)
        # What is around the forehead stays outside of it: a head that turns has hair on its far side, too.
        away, out = self._away(self.grid + change, face[top.OVAL])
        lacks = np.maximum(self._stays * (pose.scale / self.face.pose.scale) - away, 0)
        change += np.where(self._stays > 0, lacks, 0)[:, None] * out
        points = np.vstack([face, self.grid + change])
        return np.vstack([source, self.grid]), points, np.concatenate([target.points[:, 2], moved[:, 2]])

    def _away(self, grid: Array, oval: Array) -> tuple[Array, Array]:
        """How far grid points (N, 2) lie outside of the face's outline (M, 2) at the place that they are beside, (N,),
        and the way outward there, (N, 2)."""
        edge = oval[self._beside]
        out = edge - oval.mean(0)
        out /= np.maximum(np.linalg.norm(out, axis=1), 1e-6)[:, None]
        return ((grid - edge) * out).sum(1), out

    def _leaning(self, target: Target) -> Array:
        """What is measured beside the head, and where the shoulders go with the neck, (N, 2) in pixels.

        They follow where it goes, as in leaning, but not what the head turns; further than they were seen to where the
        neck would be drawn out."""
        around, pose, source = self._around, target.pose, self.face.pose
        neck = source.to_image(self._neck)[0, :2]
        lean = pose.to_image(self._neck)[0, :2] - neck
        seen = self._follow * lean
        if target.outline is not None:
            x, y = (neck - source.translation[:2]) / source.scale
            seen = self._follow * pose.scale * (target.outline[1] @ [x, y, 1.0])
        apart = float(np.linalg.norm(lean - seen))
        pulled = (lean - seen) * (max(0.0, apart - self._slack) / max(apart, 1e-6))
        way = float((seen + pulled)[1])
        across = 1.0 if self._cut_off else self._held
        down: Array | float = 1.0
        if not self._cut_off or way < 0:
            most = SQUEEZED * source.scale
            down = self._held * (most * np.tanh(abs(way) / most) / max(abs(way), 1e-6))
        share = np.stack(np.broadcast_arrays(across * self._sides, down * self._sides), 1)
        if target.outline is None:
            return np.asarray((seen + pulled) * around.body[:, None] * share)
        return np.asarray(pose.scale * around.beyond(target.outline, self._follow * share)
                          + pulled * around.body[:, None] * share)  # fmt: skip

    def flow(self, target: Target) -> Flow:
        """Dense motion of one frame over `reach`."""
        x0, y0, x1, y1 = self.reach
        source, points, depth = self.vertices(target)
        count = len(self.tris)
        affine, area, key, still = np.zeros((count, 6)), np.zeros(count), np.empty(count), np.zeros(count, np.bool_)
        # The surroundings first, then the face from far to near.
        box = triangles(points, source, depth, self.tris, self._outer, self.source, STILL, x0, y0, x1, y1,
                        affine, area, still, key)  # fmt: skip
        order = np.argsort(key)
        ids = self._ids
        a, b, c, d = self._covered
        ids[b:d, a:c] = -1
        a, b, c, d = self._covered = box
        cover(points, self.tris, order, area, float(x0 + a), float(y0 + b), 1.0, ids, a, b, c, d)
        peak = float(np.abs(points[top.POINTS :] - self.grid).max(initial=0.0))
        return Flow(ids, points, affine, area, order, still, peak, box, (x0, y0))

    def numbers(self, flow: Flow, box: tuple[int, int, int, int], oversample: int) -> NDArray[np.int16]:
        """`Flow.ids` again for a small box of the picture, at `oversample` samples a pixel side."""
        x0, y0, x1, y1 = box
        ids = np.full(((y1 - y0) * oversample, (x1 - x0) * oversample), -1, np.int16)
        shift = 0.5 / oversample - 0.5
        h, w = ids.shape
        cover(flow.points, self.tris, flow.order, flow.area, x0 + shift, y0 + shift, 1 / oversample, ids, 0, 0, w, h)
        return ids
