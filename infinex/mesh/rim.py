"""The rim of the face, seen edge-on: what a turn brings into view there was never photographed.

The outer rings of the mesh lie where the face turns away. In a three-quarter view the far ones are folded behind the
cheek, and tracked a little off its edge, so that background lies between their corners. Turned towards us, strips a
pixel wide would be drawn over a whole cheek. Two remedies: in the source the rings are laid side by side within the
edge of the cheek, and under a target no strip may widen much; the cheek ends earlier, with skin that was seen.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.surroundings import smoothstep
from infinex.mesh.retarget import Target

Array = NDArray[np.float64]
RINGS = 4  # rings of vertices that may move, from the oval inwards ...
DEEP = 0.28  # ... as far as this from it; IOD
INSIDE = 0.03  # the oval's place within an edge that folds over; IOD
OFF = 0.15  # how far outside the person the tracked edge may be; IOD
MATTE = 0.01  # softness of the person's edge; IOD
OPEN = 0.03  # IOD by which a ring comes into view before it is laid out altogether
STEP = 0.01  # least distance of ring from ring in the source; IOD
WIDEN = ((1.6, 1.15), 0.004)  # a strip may become so many times as wide, and so much more (IOD), ...
ASIDE = (8.0, 16.0)  # ... in portraits turned so far aside, degrees: the more, the thinner is the far strip
SWEEP = 3  # times that how far the oval is drawn in is averaged with its neighbours


@cache
def _layout() -> tuple[list[NDArray[np.intp]], list[Array], Array, Array]:
    """Vertices of the rings, oval first; for each ring the mean of its inner neighbours as weights (n, 478); and the
    direction outwards on the canonical face (478, 3); and for the oval the mean of what lies well inside (36, 478)."""
    around: dict[int, set[int]] = {v: set() for v in range(top.POINTS)}
    for triangle in top.triangles():
        for a in triangle:
            around[int(a)] |= {int(b) for b in triangle if b != a}
    mean = top.mean_face()
    oval = mean[top.OVAL, :2]
    apart = np.linalg.norm(mean[:, None, :2] - oval, axis=2)
    distance = dict.fromkeys(top.OVAL, 0)
    rings = [list(top.OVAL)]
    for depth in range(RINGS + 1):
        following = sorted({u for v in rings[-1] for u in around[v] if apart[u].min() < DEEP} - distance.keys())
        distance |= dict.fromkeys(following, depth + 1)
        rings.append(following)
    inner = []
    for depth, ring in enumerate(rings[:RINGS]):
        weights = np.zeros((len(ring), top.POINTS))
        for row, v in enumerate(ring):
            weights[row, [u for u in around[v] if distance.get(u) == depth + 1] or [v]] = 1
        inner.append(weights / weights.sum(1, keepdims=True))
    along = np.roll(oval, -1, 0) - np.roll(oval, 1, 0)
    normal = np.stack([along[:, 1], -along[:, 0]], -1)
    near = np.exp(-((apart / 0.15) ** 2))
    out = (near / np.maximum(near.sum(1, keepdims=True), 1e-9)) @ normal
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    well = np.exp(-(((apart.T - DEEP) / 0.1) ** 2)) * (apart.min(1) > 0.8 * DEEP)
    well /= well.sum(1, keepdims=True)
    return [np.array(r) for r in rings[:RINGS]], inner, np.concatenate([out, np.zeros((len(out), 1))], 1), well


@cache
def _within() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The vertices of all rings, the innermost ring first; those of their inner neighbours one after another; and where
    in these each vertex's begin, the end last."""
    rings, inner, _, _ = _layout()
    beside = [np.flatnonzero(row) for weights in inner[::-1] for row in weights]
    begin = np.concatenate([[0], np.cumsum([len(b) for b in beside])])
    return np.concatenate(rings[::-1]).astype(np.int64), np.concatenate(beside).astype(np.int64), begin


@compiled(fast=True)
def _narrowed(
    points: NDArray, source: NDArray, out: NDArray, ring: NDArray, beside: NDArray, begin: NDArray, size: float,
    times: float, more: float,
) -> None:  # fmt: skip
    """Draw vertices `points` (478, 2) in, in place, where they lie farther out of their inner neighbours than `times`
    what they do in the `source`, `size` times as large, and `more`; `out` (478, 2) is outwards, the rest as `_within`
    has it."""
    for n in range(len(ring)):
        v, count = ring[n], begin[n + 1] - begin[n]
        x, y, a, b = 0.0, 0.0, 0.0, 0.0
        for k in range(begin[n], begin[n + 1]):
            u = beside[k]
            x, y, a, b = x + points[u, 0], y + points[u, 1], a + source[u, 0], b + source[u, 1]
        width = (source[v, 0] - a / count) * out[v, 0] + (source[v, 1] - b / count) * out[v, 1]
        now = (points[v, 0] - x / count) * out[v, 0] + (points[v, 1] - y / count) * out[v, 1]
        excess = max(0.0, now - times * size * max(width, 0.0) - more)
        points[v, 0] -= excess * out[v, 0]
        points[v, 1] -= excess * out[v, 1]


def _blurred(around: Array) -> Array:
    """Values around the oval (36,), each averaged with its neighbours."""
    closed = np.concatenate([around[-1:], around, around[:1]])
    return (closed[:-2] + 2 * around + closed[2:]) / 4


def _outwards(rotation: Array) -> Array:
    """Directions out of the face in the picture (478, 2), of unit length."""
    out = _layout()[2] @ rotation.T[:, :2]
    return out / np.maximum(np.sqrt((out * out).sum(1, keepdims=True)), 1e-6)


def _off(points: Array, out: Array, alpha: NDArray[np.float32], unit: float) -> Array:
    """Pixels by which points of the oval lie outside the person; nothing where no person is near."""
    size = max(1, round(MATTE * unit))
    inner = cv2.erode(alpha, np.ones((2 * size + 1, 2 * size + 1), np.uint8))
    steps = np.linspace(0, OFF * unit, 24)
    along = points[:, None] - steps[None, :, None] * out[:, None]
    at = np.clip(np.round(along).astype(int), 0, np.array(alpha.shape[::-1]) - 1)
    within = inner[at[..., 1], at[..., 0]] > 0.7
    return np.where(within.any(1), steps[within.argmax(1)], 0.0)


class Rim:
    """The rim of one source face."""

    def __init__(self, face: SourceFace, alpha: NDArray[np.float32] | None, corner: tuple[int, int]) -> None:
        """`alpha` (H, W) in 0..1 is the person in the part of the picture from `corner` on.

        `points` (478, 2) are the source's vertices in pixels with the folded rings of the rim laid out."""
        rings, inner, _, _ = _layout()
        unit = self._unit = face.pose.scale
        self._tracked = tracked = face.points[:, :2]
        out = _outwards(face.pose.rotation)
        n = out[top.OVAL]
        mean = top.mean_face()[:, :2]
        apart = np.linalg.norm(mean[:, None] - mean[top.OVAL], axis=2)
        near = np.exp(-((apart / 0.1) ** 2)) + 1e-12
        self._near = near / near.sum(1, keepdims=True)
        # How far the edge of the cheek stands out beyond each vertex of the oval.
        band = np.flatnonzero(apart.min(1) < DEEP)
        beyond = ((tracked[band][None] - tracked[top.OVAL][:, None]) * n[:, None]).sum(-1)
        fold = np.where(apart[band].T < 0.3, beyond, 0).max(1) / unit
        fold = _blurred(fold)
        widest = np.max([np.roll(fold, k) for k in range(-3, 4)], 0)
        points = tracked.copy()
        points[top.OVAL] += ((fold - np.minimum(INSIDE, widest)) * unit)[:, None] * n
        if alpha is not None:
            off = _off(points[top.OVAL] - corner, n, alpha, unit)
            off = np.maximum(off, (np.roll(off, 1) + np.roll(off, -1)) / 2)
            points[top.OVAL] -= off[:, None] * n
        for depth in range(RINGS - 1, 0, -1):  # no ring behind the next one in ...
            ring = rings[depth]
            reach = self._near[ring] @ widest
            short = np.minimum(STEP, reach) * unit - ((points[ring] - inner[depth] @ points) * out[ring]).sum(1)
            points[ring] += (np.maximum(0, short) * np.minimum(1, reach / INSIDE))[:, None] * out[ring]
        for depth, ring in enumerate(rings[1:], 1):  # ... nor outside the edge
            room = ((self._near[ring] @ points[top.OVAL] - points[ring]) * out[ring]).sum(1)
            reach = self._near[ring] @ widest
            short = np.maximum(0, depth * np.minimum(STEP, reach) * unit - room) * np.minimum(1, reach / INSIDE)
            points[ring] -= short[:, None] * out[ring]
        if alpha is not None:
            off = _off(points[band] - corner, out[band], alpha, unit)
            points[band] -= off[:, None] * out[band]
        self.points = points
        laid = np.concatenate([points - tracked, np.zeros((len(points), 1))], 1)
        self._laid = laid @ face.pose.rotation / unit
        self._depth = self._across(tracked, out)
        self._widen = float(np.interp(abs(float(face.pose.angles[0])), ASIDE, WIDEN[0]))

    def _across(self, points: Array, out: Array) -> Array:
        """How far the oval lies outside the innermost ring, (36,)."""
        return ((points[top.OVAL] - _layout()[3] @ points) * out[top.OVAL]).sum(1)

    def place(self, target: Target) -> tuple[Array, Array, Array]:
        """Vertices in the source and under a target, (478, 2) in pixels, and how far the oval was drawn in (36, 2)."""
        points = target.points[:, :2].copy()
        out = _outwards(target.pose.rotation)
        # Rings are laid out where they come into view; what folds away may stay folded.
        opened = self._across(points, out) / target.pose.scale - self._depth / self._unit
        opened = smoothstep(_blurred(opened) / OPEN)
        share = (self._near @ opened)[:, None]
        source = self._tracked + share * (self.points - self._tracked)
        points += share * target.pose.scale * (self._laid @ target.pose.rotation.T)[:, :2]
        before = points[top.OVAL].copy()
        scale = target.pose.scale
        _narrowed(points, source, out, *_within(), scale / self._unit, self._widen, WIDEN[1] * scale)
        # A cheek that ends earlier does so in one sweep, not in a step.
        drawn = smooth = ((before - points[top.OVAL]) * out[top.OVAL]).sum(1)
        for _ in range(SWEEP):
            smooth = _blurred(smooth)
        points[top.OVAL] -= np.maximum(smooth - drawn, 0)[:, None] * out[top.OVAL]
        return source, points, points[top.OVAL] - before
