"""A face seen in its own coordinates: what is left to see of expressions when the head's pose is taken out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.pose import Pose

SIZE = 96  # pixels of the view's side
SPAN = 1.6  # inter-ocular distances it shows
CENTRE = (0.0, 0.18)  # its middle on the canonical face


def face_view(image: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """The face of a picture (H, W, 3) in head coordinates, from brows to chin: (SIZE, SIZE) lightness.

    `pose` is where the head is. Turns are undone as of a plane, so that a cheek turned away is stretched."""
    unit = SIZE / SPAN
    finer = int(np.clip(np.ceil(pose.scale / unit), 1, 8))  # small views of large faces must not alias
    side = SIZE * finer
    # From view pixels to the canonical plane, to the picture.
    step = pose.scale * pose.rotation[:2, :2] * (SPAN / side)
    corner = np.array([*CENTRE]) - SPAN / 2 * (1 - 1 / side)
    shift = pose.scale * pose.rotation[:2, :2] @ corner + pose.translation[:2]
    grey = cv2.warpAffine(
        image, np.column_stack([step, shift]), (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    grey = cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)
    return grey if finer == 1 else cv2.resize(grey, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def levelled(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A view freed of light and contrast: lightness against its surroundings, about -2..2, (SIZE, SIZE)."""
    grey = view.astype(np.float32)
    near = cv2.GaussianBlur(grey, (0, 0), 10.0)
    out = grey - near
    spread = np.sqrt(cv2.GaussianBlur(out * out, (0, 0), 20.0))
    return np.clip(out / (spread + 4.0), -3, 3)
