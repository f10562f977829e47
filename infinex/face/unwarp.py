"""A picture seen as another one: small, grey, and with chosen places where the other has them, for optical flow."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def shrunk(image: Image, unit: float, wanted: float) -> Image:
    """(H, W, 3) in grey, with `wanted` of its pixels where it had `unit`, or as many as there are."""
    grey, k = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), min(1.0, wanted / unit)
    return cv2.resize(grey, None, fx=k, fy=k, interpolation=cv2.INTER_AREA) if k < 1 else grey


def unwarped(
    small: Image, shape: tuple[int, ...], places: NDArray, grid: tuple[int, int], size: tuple[int, int]
) -> Image:
    """What a picture of `shape`, shrunk to `small`, shows at `places` (rows * columns, 2; x, y in the whole picture).

    `places` belong to the middles of the cells of a `grid` (rows, columns); the view has `size` (width, height)."""
    maps = cv2.resize(places.reshape(*grid, 2).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    maps = ((maps + 0.5) * [small.shape[1] / shape[1], small.shape[0] / shape[0]] - 0.5).astype(np.float32)
    return cv2.remap(small, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
