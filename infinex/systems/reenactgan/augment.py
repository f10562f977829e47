"""Moving faces a little while training, as the authors do: turned, shifted, zoomed, mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.systems.window import RGB

BORDER = 127  # grey level of what comes in from outside


@dataclass(frozen=True)
class Augmentation:
    """How far; the defaults are the published ones."""

    turn: float = 5.0  # degrees, either way
    shift: float = 10.0  # pixels at 256, either way, across and down
    zoom: float = 0.03  # either way
    mirror: bool = True  # every second picture
    smooth: bool = True  # False, as published: the nearest pixel is taken


def matrix(turn: float, across: float, down: float, zoom: float, mirrored: bool, size: int) -> NDArray[np.float64]:
    """(2, 3) from the picture's pixels to the moved one's: turned anticlockwise by `turn` degrees about the centre,
    shifted in pixels, zoomed about the centre, mirrored.

    As published the mirror takes x to `size` - x, which is one pixel off the middle of the picture."""
    c = size / 2 - 0.5
    angle = np.radians(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    about = np.array([[1, 0, c], [0, 1, c], [0, 0, 1.0]])
    back = np.array([[1, 0, -c], [0, 1, -c], [0, 0, 1.0]])
    turned = about @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) @ back
    shifted = np.array([[1, 0, across], [0, 1, down], [0, 0, 1.0]])
    zoomed = about @ np.diag([zoom, zoom, 1.0]) @ back
    out = zoomed @ shifted @ turned
    if mirrored:
        out = np.array([[-1, 0, size], [0, 1, 0], [0, 0, 1.0]]) @ out
    return np.asarray(out[:2])


def drawn(a: Augmentation, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], bool]:
    """A random matrix, and whether it mirrors."""
    far = a.shift * size / 256
    turn, across, down = rng.uniform(-a.turn, a.turn), rng.uniform(-far, far), rng.uniform(-far, far)
    zoom, mirrored = 1 + rng.uniform(-a.zoom, a.zoom), bool(a.mirror and rng.random() < 0.5)
    return matrix(float(turn), float(across), float(down), float(zoom), mirrored, size), mirrored


def moved(image: RGB, by: NDArray[np.float64], smooth: bool = True) -> RGB:
    """The picture (S, S, 3) under a matrix; grey comes in from outside."""
    if smooth:
        flags = cv2.INTER_LINEAR
        return np.asarray(
            cv2.warpAffine(image, by, image.shape[1::-1], flags=flags, borderValue=(BORDER,) * 3), np.uint8
        )
    return np.asarray(
        cv2.warpAffine(image, by, image.shape[1::-1], flags=cv2.INTER_NEAREST, borderValue=(BORDER,) * 3), np.uint8
    )
