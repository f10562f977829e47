"""Measures of a canonical face: how far lids and lips are open, where the eyes look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
GAZE_ANGLE = 2.6  # radians of gaze per eye width of iris travel: half a 24 mm eyeball in a 30 mm eye


def eye_openness(face: Array) -> Array:
    """Lid gap over eye width, right and left; `face` is (..., 478, 3), the result (..., 2)."""
    out = []
    for upper, lower in (
        (top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER),
        (top.LEFT_LID_UPPER, top.LEFT_LID_LOWER),
    ):
        gap = np.linalg.norm(face[..., upper[2:-2], :] - face[..., lower[2:-2], :], axis=-1).mean(-1)
        width = np.linalg.norm(face[..., upper[0], :] - face[..., upper[-1], :], axis=-1)
        out.append(gap / np.maximum(width, 1e-6))
    return np.stack(out, -1)


def lip_gaps(face: Array) -> Array:
    """Vertical gaps between nine pairs of inner-lip points; (..., 478, 3) to (..., 9), same unit."""
    return face[..., top.LIPS_INNER_LOWER[1:-1], 1] - face[..., top.LIPS_INNER_UPPER[1:-1], 1]


def gaze_of(face: Array) -> Array:
    """Mean gaze of both eyes relative to the middle of the lid corners, radians right and down."""
    out = []
    for upper, iris in ((top.RIGHT_LID_UPPER, top.RIGHT_IRIS), (top.LEFT_LID_UPPER, top.LEFT_IRIS)):
        a, b = face[..., upper[0], :2], face[..., upper[-1], :2]
        if iris[0] == top.LEFT_IRIS[0]:
            a, b = b, a  # both axes run to the viewer's right
        along = b - a
        width = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
        along = along / width
        down = np.stack([-along[..., 1], along[..., 0]], -1)
        d = face[..., iris[0], :2] - (a + b) / 2
        out.append(np.stack([(d * along).sum(-1), (d * down).sum(-1)], -1) / width)
    return (out[0] + out[1]) / 2 * GAZE_ANGLE
