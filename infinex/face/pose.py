"""Rigid head pose: the similarity that carries the canonical head into the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face.topology import RIGID, RIGID_WEIGHTS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """`X = scale · rotation @ Y + translation`, from canonical head units (IOD = 1) to pixels."""

    scale: float
    rotation: Array  # (3, 3)
    translation: Array  # (3,) pixels

    def to_image(self, canonical: Array) -> Array:
        """Canonical points (N, 3) to pixels (N, 3)."""
        return self.scale * (canonical @ self.rotation.T) + self.translation

    def to_head(self, points: Array) -> Array:
        """Pixels (N, 3) to canonical points (N, 3)."""
        return ((points - self.translation) / self.scale) @ self.rotation

    @property
    def angles(self) -> Array:
        """Yaw, pitch and roll in degrees; positive yaw turns to the viewer's right, positive pitch looks
        down, positive roll leans clockwise on screen."""
        R = self.rotation
        return np.degrees(
            [
                np.arctan2(R[2, 0], np.hypot(R[0, 0], R[1, 0])),
                np.arctan2(R[2, 1], R[2, 2]),
                np.arctan2(R[1, 0], R[0, 0]),
            ]
        )


def similarity(source: Array, target: Array, weights: Array | None = None) -> Pose:
    """Weighted least-squares similarity from `source` to `target`, both (N, 3) (Umeyama 1991)."""
    w = np.full(len(source), 1 / len(source)) if weights is None else weights / weights.sum()
    ms, mt = w @ source, w @ target
    s, t = source - ms, target - mt
    U, D, Vt = np.linalg.svd((t * w[:, None]).T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    R = (U * sign) @ Vt
    scale = float((D * sign).sum() / max(w @ (s * s).sum(1), 1e-12))
    return Pose(scale, R, mt - scale * R @ ms)


def fit_pose(canonical: Array, points: Array, passes: int = 3) -> Pose:
    """Head pose of tracked `points` (478, 3) pixels against a canonical face (478, 3).

    Over the rigid points, re-weighted so that those an expression moves count little: a raised brow or
    a full cheek must not turn the head."""
    source = np.ascontiguousarray(canonical[RIGID], np.float64)
    target = np.ascontiguousarray(points[RIGID], np.float64)
    rotation, shift = np.empty((3, 3)), np.empty(3)
    scale = _fitted(source, target, _STIFFNESS, passes, SLACK, _STIFFNESS.copy(), np.empty((4, 3, 3)), rotation, shift)
    return Pose(scale, rotation, shift)


SLACK = 0.02  # IOD by which a rigid point may stray before it is doubted
_STIFFNESS = np.array([RIGID_WEIGHTS.get(i, 1.0) for i in RIGID])


@compiled()
def _fitted(
    source: Array, target: Array, stiffness: Array, passes: int, slack: float, weights: Array, room: Array,
    rotation: Array, shift: Array,
) -> float:  # pragma: no cover - compiled  # fmt: skip
    """Scale, `rotation` (3, 3) and translation `shift` (3,) from points to points (N, 3), re-weighted so many times.

    `weights` (N,) are the `stiffness` at first; `room` is (4, 3, 3)."""
    n = len(source)
    ms, mt, m = room[0, 0], room[0, 1], room[1]
    scale = 1.0
    for k in range(passes + 1):
        total, spread = 0.0, 0.0
        for a in range(3):
            ms[a] = mt[a] = m[a, 0] = m[a, 1] = m[a, 2] = 0.0
        for i in range(n):
            total += weights[i]
            for a in range(3):
                ms[a] += weights[i] * source[i, a]
                mt[a] += weights[i] * target[i, a]
        for a in range(3):
            ms[a] /= total
            mt[a] /= total
        for i in range(n):
            w = weights[i] / total
            for a in range(3):
                s = source[i, a] - ms[a]
                spread += w * s * s
                for b in range(3):
                    m[b, a] += w * (target[i, b] - mt[b]) * s
        scale = _rotation(m, rotation, room[2], room[3], room[0, 2]) / max(spread, 1e-12)
        for a in range(3):
            shift[a] = mt[a] - scale * (rotation[a, 0] * ms[0] + rotation[a, 1] * ms[1] + rotation[a, 2] * ms[2])
        if k == passes:
            break
        for i in range(n):
            off = 0.0
            for a in range(3):
                x = rotation[a, 0] * source[i, 0] + rotation[a, 1] * source[i, 1] + rotation[a, 2] * source[i, 2]
                off += (scale * x + shift[a] - target[i, a]) ** 2
            weights[i] = stiffness[i] / (1 + off / (slack * scale) ** 2)
    return scale


@compiled(inner=True)
def _rotation(m: Array, rotation: Array, u: Array, v: Array, d: Array) -> float:  # pragma: no cover - compiled
    """Fill in the rotation (3, 3) nearest to `m` (3, 3), of which the sum of the signed singular values is returned.

    `u`, `v` (3, 3) and `d` (3,) are room. One-sided Jacobi: columns are turned until they are at right angles. Whole
    arrays would take long to compile."""
    for i in range(3):
        for j in range(3):
            u[i, j], v[i, j] = m[i, j], 1.0 if i == j else 0.0
    for _ in range(30):
        most = 0.0
        for p in range(2):
            for q in range(p + 1, 3):
                a, b, c = 0.0, 0.0, 0.0
                for i in range(3):
                    a += u[i, p] * u[i, p]
                    b += u[i, q] * u[i, q]
                    c += u[i, p] * u[i, q]
                if abs(c) <= 1e-15 * np.sqrt(a * b) or c == 0.0:
                    continue
                most = max(most, abs(c) / np.sqrt(a * b))
                z = (b - a) / (2 * c)
                t = (1.0 if z >= 0 else -1.0) / (abs(z) + np.sqrt(1 + z * z))
                co = 1 / np.sqrt(1 + t * t)
                si = co * t
                for i in range(3):
                    x, y = u[i, p], u[i, q]
                    u[i, p], u[i, q] = co * x - si * y, si * x + co * y
                    x, y = v[i, p], v[i, q]
                    v[i, p], v[i, q] = co * x - si * y, si * x + co * y
        if most < 1e-15:
            break
    first, last = 0, 0
    for i in range(3):
        d[i] = np.sqrt(u[0, i] * u[0, i] + u[1, i] * u[1, i] + u[2, i] * u[2, i])
        if d[i] > d[first]:
            first = i
        if d[i] < d[last]:
            last = i
    if first == last:
        last = (first + 2) % 3
    second = 3 - first - last
    # The two longest axes tell the third, which may have no length: both are right-handed.
    one, two = max(d[first], 1e-300), max(d[second], 1e-300)
    for i in range(3):
        u[i, first] /= one
        u[i, second] /= two
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        a2 = u[j, first] * u[k, second] - u[k, first] * u[j, second]
        for o in range(3):
            r, s = (o + 1) % 3, (o + 2) % 3
            b2 = v[r, first] * v[s, second] - v[s, first] * v[r, second]
            rotation[i, o] = u[i, first] * v[o, first] + u[i, second] * v[o, second] + a2 * b2
    det = 0.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        det += m[0, i] * (m[1, j] * m[2, k] - m[1, k] * m[2, j])
    return d[first] + d[second] + (d[last] if det >= 0 else -d[last])


def to_vector(rotation: Array) -> Array:
    """Rotation matrix (3, 3) to rotation vector (3,) in radians."""
    return cv2.Rodrigues(np.asarray(rotation, np.float64))[0].ravel()


def to_matrix(vector: Array) -> Array:
    """Rotation vector (3,) in radians to matrix (3, 3)."""
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]
