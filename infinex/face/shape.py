"""Measures of a canonical face: how far lids and lips are open, where the eyes look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
GAZE_ANGLE = 2.6  # radians of gaze per eye width of iris travel: half a 24 mm eyeball in a 30 mm eye


def eye_openness(face: Array) -> Array:
    """Lid gap over eye width, right and left; `face` is (..., 478, 3), the result (..., 2)."""
    both = face[..., _LIDS[0], :] - face[..., _LIDS[1], :]
    lengths = np.sqrt((both * both).sum(-1))  # (..., 2, n), the width last
    gap = lengths[..., :-1].sum(-1) / (lengths.shape[-1] - 1)
    return np.asarray(gap / np.maximum(lengths[..., -1], 1e-6))


_LIDS = (  # columns of the upper lids and a corner, right and left, and what is over against each: (2, n)
    np.array([[*upper[2:-2], upper[0]] for upper in (top.RIGHT_LID_UPPER, top.LEFT_LID_UPPER)]),
    np.array([
        [*lower[2:-2], upper[-1]]
        for upper, lower in ((top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER), (top.LEFT_LID_UPPER, top.LEFT_LID_LOWER))
    ]),
)  # fmt: skip


def lip_gaps(face: Array) -> Array:
    """Vertical gaps between nine pairs of inner-lip points; (..., 478, 3) to (..., 9), same unit."""
    return face[..., top.LIPS_INNER_LOWER[1:-1], 1] - face[..., top.LIPS_INNER_UPPER[1:-1], 1]


def gaze_of(face: Array) -> Array:
    """Mean gaze of both eyes relative to the middle of the lid corners, radians right and down."""
    a, b, iris = (face[..., columns, :2] for columns in _EYES)  # (..., 2, 2): eyes, x and y
    along = b - a
    squared = np.maximum((along * along).sum(-1), 1e-12)
    d = iris - (a + b) / 2
    right = (d * along).sum(-1) / squared
    down = (d[..., 1] * along[..., 0] - d[..., 0] * along[..., 1]) / squared
    return np.asarray(np.stack([right.sum(-1), down.sum(-1)], -1) * (GAZE_ANGLE / 2))


_EYES = (  # the corners of both eyes on the viewer's left, on the right, and the irises
    np.array([top.RIGHT_LID_UPPER[0], top.LEFT_LID_UPPER[-1]]),
    np.array([top.RIGHT_LID_UPPER[-1], top.LEFT_LID_UPPER[0]]),
    np.array([top.RIGHT_IRIS[0], top.LEFT_IRIS[0]]),
)
