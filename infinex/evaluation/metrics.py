"""Measures of a result against the truth. Images are (H, W, 3) uint8 unless said otherwise."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError

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


@cache
def _identity_network() -> Any:
    # The package finds its file through a part of setuptools that newer releases lack: look for it ourselves.
    package = importlib.util.find_spec("face_recognition_models")
    folders = list(package.submodule_search_locations or []) if package else []
    try:
        import dlib
    except ImportError:
        folders = []
    for folder in folders:
        model = Path(folder) / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        if model.is_file():
            return dlib.face_recognition_model_v1(str(model))
    raise MissingDependencyError("identity measures need: pip install face_recognition_models dlib-bin")


# Where dlib's aligned 150-pixel chip puts the eye corners and the nose base, from its five-point shape.
_CHIP = np.array([[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677],
                  [0.1205750620789, 0.2137274526848], [0.3340850613712, 0.2290642403242],
                  [0.4901123135679, 0.6277975316475]])  # fmt: skip
_CHIP_POINTS = [263, 362, 33, 133, 2]


def identity(image: RGB, landmarks: NDArray) -> NDArray[np.float64]:
    """128-d identity embedding (face_recognition_models, Euclidean metric) of a tracked face (478, 3)."""
    network = _identity_network()
    target = (0.25 + _CHIP) / 1.5 * 150
    matrix, _ = cv2.estimateAffinePartial2D(
        landmarks[_CHIP_POINTS, :2].astype(np.float32), target.astype(np.float32), method=cv2.LMEDS
    )
    chip = cv2.warpAffine(image, matrix, (150, 150), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return np.array(network.compute_face_descriptor(np.ascontiguousarray(chip)))


def cosine(a: NDArray, b: NDArray) -> float:
    """Cosine of two embeddings, -1..1 (CSIM)."""
    return float(a @ b / max(1e-9, np.linalg.norm(a) * np.linalg.norm(b)))
