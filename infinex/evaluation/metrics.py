"""Measures of a result against the truth. Images are (H, W, 3) uint8 unless said otherwise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]


def l1(a: RGB, b: RGB) -> float:
    """Mean absolute error with images in 0..1."""
    return float(cv2.absdiff(a, b).mean() / 255)


def psnr(a: RGB, b: RGB) -> float:
    """Peak signal-to-noise ratio in dB; 60 for equal images."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return 60.0 if error < 0.0651 else float(10 * np.log10(255**2 / error))


def ssim(a: RGB, b: RGB) -> float:
    """Structural similarity of luminance (Wang 2004): Gaussian window of 11, sigma 1.5; -1..1."""
    x, y = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(np.float32) for i in (a, b))

    def blur(i: NDArray) -> NDArray:
        return cv2.GaussianBlur(i, (11, 11), 1.5)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(score[5:-5, 5:-5].mean())


def landmark_distance(a: NDArray, b: NDArray, width: int) -> float:
    """Mean distance of two landmark sets (N, 2+) in pixels of an image `width` wide, scaled to 256 (AKD)."""
    return float(np.linalg.norm(a[:468, :2] - b[:468, :2], axis=1).mean() * 256 / width)


class Flicker:
    """Mean absolute change of the error between neighbouring frames, images in 0..1."""

    def __init__(self) -> None:
        self._last: NDArray[np.int16] | None = None
        self._sum, self._count = 0.0, 0

    def add(self, result: RGB, truth: RGB) -> None:
        """Add the next frame."""
        error = result.astype(np.int16) - truth
        if self._last is not None:
            self._sum += float(np.abs(error - self._last).mean() / 255)
            self._count += 1
        self._last = error

    @property
    def value(self) -> float:
        """The mean so far."""
        return self._sum / max(1, self._count)
