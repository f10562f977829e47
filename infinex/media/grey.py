"""How light a picture is: of most videos that is one of the planes they are decoded to, and needs no conversion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
LEVELS = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)  # of 16..235


@dataclass(frozen=True)
class Grey:
    """A picture without its colours, (H, W) in the levels that it came in: make it small, or cut it, and then
    `levelled`."""

    plane: Image
    limited: bool = False  # black is 16 and white 235

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.plane.shape[0], self.plane.shape[1]

    def levelled(self, part: Image) -> Image:
        """What was made of the plane, with black at 0 and white at 255."""
        return np.asarray(cv2.LUT(part, LEVELS), np.uint8) if self.limited else part


def grey_of(picture: Image | Grey, rows: slice = slice(None), columns: slice = slice(None)) -> Grey:
    """A part of an RGB picture (H, W, 3) without its colours, or of one that has none."""
    if isinstance(picture, Grey):
        return Grey(picture.plane[rows, columns], picture.limited)
    return Grey(np.asarray(cv2.cvtColor(picture[rows, columns], cv2.COLOR_RGB2GRAY), np.uint8))
