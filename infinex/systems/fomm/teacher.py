"""Keypoints that the face tracker names, for networks too small or too hurried to find their own.

The First Order Motion Model finds keypoints without being told any; on a GPU, over days. Ten landmarks with their local
affine frames, measured against the mean face, are keypoints and Jacobians of the same kind.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.topology import mean_face
from infinex.training.data import TrackedTeacher

# Right and left eye, brows and corners of the mouth; nose, lips, chin. Landmarks whose mean is the keypoint.
PLACES: tuple[tuple[int, ...], ...] = (
    (33, 133, 159, 145), (263, 362, 386, 374), (105,), (334,), (61,), (291,), (1,), (0, 13), (17, 14), (152,),
)  # fmt: skip
MIRRORED = (1, 0, 3, 2, 5, 4, 6, 7, 8, 9)
NEIGHBOURS = 60  # landmarks that a local frame is fitted to
UNIT = 0.45  # distance of the outer eye corners in a picture 2 wide: what a Jacobian of 1 stands for
STIFF = 0.3  # how strongly a local frame is held to that of the whole face


@cache
def _canonical() -> tuple[NDArray[np.float64], NDArray[np.float64], list[NDArray[np.intp]]]:
    """The mean face seen from the front (468, 2), its keypoints (K, 2), and every keypoint's neighbours."""
    flat = mean_face()[:468, :2] * UNIT
    points = np.stack([flat[list(p)].mean(0) for p in PLACES])
    near = [np.argsort(np.linalg.norm(flat - p, axis=1))[:NEIGHBOURS] for p in points]
    return flat, points, near


def keypoints(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """(K, 6) of landmarks (468+, 2+) in -1..1: place and, row by row, d(picture) / d(mean face)."""
    flat, _, near = _canonical()
    seen = landmarks[:468, :2]

    def fit(index: NDArray[np.intp] | slice, prior: NDArray[np.float64] | None) -> NDArray[np.float64]:
        a, b = flat[index] - flat[index].mean(0), seen[index] - seen[index].mean(0)
        gram, cross = a.T @ a, a.T @ b
        if prior is not None:
            weight = STIFF * np.trace(gram) / 2
            gram, cross = gram + weight * np.eye(2), cross + weight * prior.T
        return np.linalg.solve(gram, cross).T

    whole = fit(slice(None), None)
    rows = [np.r_[seen[list(p)].mean(0), fit(n, whole).ravel()] for p, n in zip(PLACES, near)]
    return np.array(rows, np.float32)


class FaceTeacher(TrackedTeacher):
    """See `infinex.training.data.Teacher`."""

    name, count = "face10", len(PLACES)

    def __init__(self, count: int = len(PLACES)) -> None:
        if count != len(PLACES):
            raise InputError(f"the face tracker teaches {len(PLACES)} keypoints, this configuration has {count}")

    def placed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keypoints (10, 6) with their local frames."""
        return keypoints(points)

    def mirrored(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Right becomes left, and x points the other way."""
        out: NDArray[np.float32] = points[list(MIRRORED)] * np.array([-1, 1, 1, -1, -1, 1], np.float32)
        return out
