"""Rigid head pose: the similarity that carries the canonical head into the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

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
    # Sums of all products at once; few operations, since every one takes longer than what it does for so few points.
    known = np.empty((len(_RIGID), 8))
    known[:, :3], known[:, 3], known[:, 4:7] = canonical[_RIGID], 1.0, points[_RIGID]
    source, target = known[:, :4], known[:, 4:7]
    known[:, 7] = (known[:, :3] ** 2).sum(1)
    weights, across = _STIFFNESS, np.empty((4, 3))
    for k in range(passes + 1):
        sums = (source.T * weights) @ known
        sums /= sums[3, 3]
        ms, mt = sums[3, :3], sums[3, 4:7]
        d, u, v = cv2.SVDecomp(sums[:3, 4:7] - ms[:, None] * mt)
        if np.linalg.det(u @ v) < 0:
            u[:, 2], d[2] = -u[:, 2], -d[2]
        rotation = u @ v
        scale = float(d.sum()) / max(float(sums[3, 7] - ms @ ms), 1e-12)
        across[:3] = scale * rotation
        across[3] = mt - ms @ across[:3]
        if k < passes:
            off = source @ across - target
            weights = _STIFFNESS / (1 + (off * off).sum(1) / (SLACK * scale) ** 2)
    return Pose(scale, np.ascontiguousarray(rotation.T), across[3])


SLACK = 0.02  # IOD by which a rigid point may stray before it is doubted
_RIGID = np.array(RIGID)
_STIFFNESS = np.array([RIGID_WEIGHTS.get(i, 1.0) for i in RIGID])


def to_vector(rotation: Array) -> Array:
    """Rotation matrix (3, 3) to rotation vector (3,) in radians."""
    return cv2.Rodrigues(np.asarray(rotation, np.float64))[0].ravel()


def to_matrix(vector: Array) -> Array:
    """Rotation vector (3,) in radians to matrix (3, 3)."""
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]
