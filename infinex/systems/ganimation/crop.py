"""The part of a picture that GANimation sees: an upright square around the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.systems.window import by_head, cut

Array = NDArray[np.float64]
SIDE = 2.25  # of the square, in inter-ocular distances of the head: room for a fallen jaw
BETWEEN = 168, 152  # landmarks between whose middles the square lies: nose root and chin
LIFT = 0.10  # of the distance of the two, by which its centre lies above their middle


def crop_matrix(landmarks: Array, size: int) -> Array:
    """Matrix (2, 3) from pixels of the picture to those of the crop of side `size`, by landmarks (478, 3)."""
    return by_head(landmarks, size, SIDE, BETWEEN, LIFT)


__all__ = ["crop_matrix", "cut"]
