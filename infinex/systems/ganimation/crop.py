"""The part of a picture that GANimation sees: an upright square around the face, and the way back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.pose import fit_pose
from infinex.face.topology import mean_face

Array = NDArray[np.float64]
SIDE = 2.25  # of the square, in inter-ocular distances of the head: room for a fallen jaw
CENTRE = 168, 152  # landmarks between whose middles the square lies: nose root and chin
LIFT = 0.10  # of the distance of the two, by which its centre lies above their middle


def crop_matrix(landmarks: Array, size: int) -> Array:
    """Matrix (2, 3) from pixels of the picture to those of the crop of side `size`.

    `landmarks` are (478, 3) in pixels. The head's own size is what counts, which turning it does not change,
    and the square leans as the head leans."""
    pose = fit_pose(mean_face(), landmarks)
    a, b = (pose.to_image(mean_face()[i][None])[0, :2] for i in CENTRE)
    centre = a + (0.5 - LIFT) * (b - a)
    right = pose.rotation[:2, 0] / max(1e-6, float(np.linalg.norm(pose.rotation[:2, 0])))
    k = size / (SIDE * pose.scale)
    turn = k * np.array([[right[0], right[1]], [-right[1], right[0]]])
    return np.column_stack([turn, (size - 1) / 2 - turn @ centre])


def inverse(matrix: Array) -> Array:
    """The matrix (2, 3) of the way back."""
    return cv2.invertAffineTransform(matrix)


def cut(image: NDArray[np.uint8], matrix: Array, size: int) -> NDArray[np.uint8]:
    """The crop (size, size, 3) of a picture; what lies outside repeats its edge."""
    k = float(np.hypot(*matrix[:, 0]))
    if k < 0.5:  # blurred first, so that far smaller crops do not alias
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / k)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


__all__ = ["crop_matrix", "cut", "inverse"]
