"""Who a face is: dlib's 128 numbers, by which two pictures of one person can be told from those of two."""

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
SAME = 0.5  # distance of embeddings under which two pictures show one person; the network's makers say 0.6


@cache
def identity_network() -> Any:
    """The network of dlib, loaded once until it is `forgotten`. Raises MissingDependencyError without it."""
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


def forgotten() -> None:
    """Let go of the network, which takes 25 MB, until it is wanted again."""
    identity_network.cache_clear()


# Where dlib's aligned 150-pixel chip puts the eye corners and the nose base, from its five-point shape.
_CHIP = np.array([[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677],
                  [0.1205750620789, 0.2137274526848], [0.3340850613712, 0.2290642403242],
                  [0.4901123135679, 0.6277975316475]])  # fmt: skip
_CHIP_POINTS = [263, 362, 33, 133, 2]


def identity(image: RGB, landmarks: NDArray) -> NDArray[np.float64]:
    """128-d identity embedding (face_recognition_models, Euclidean metric) of a tracked face (478, 3)."""
    network = identity_network()
    target = (0.25 + _CHIP) / 1.5 * 150
    matrix, _ = cv2.estimateAffinePartial2D(
        landmarks[_CHIP_POINTS, :2].astype(np.float32), target.astype(np.float32), method=cv2.LMEDS
    )
    chip = cv2.warpAffine(image, matrix, (150, 150), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return np.array(network.compute_face_descriptor(np.ascontiguousarray(chip)))


def known(image: RGB, landmarks: NDArray) -> NDArray[np.float64] | None:
    """The same, or None without the network."""
    try:
        return identity(image, landmarks)
    except MissingDependencyError:
        return None


def same(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    """Whether two faces are of one person, as far as they are `known`; else nobody is taken for another."""
    return one is not None and other is not None and float(np.linalg.norm(one - other)) < SAME


def same_person(image: RGB, landmarks: NDArray, other: RGB, others: NDArray) -> bool:
    """Whether two pictures, each with the landmarks (478, 3) of a face, show one person."""
    return same(known(image, landmarks), known(other, others))


def cosine(a: NDArray, b: NDArray) -> float:
    """Cosine of two embeddings, -1..1 (CSIM)."""
    return float(a @ b / max(1e-9, np.linalg.norm(a) * np.linalg.norm(b)))
