"""Texture of a guessed background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.mesh.grain import regrained

UNIT = 60.0


def scene(plate: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A background (200, 240, 3) whose middle is a smooth guess, where that is, and the rim of it that turns show."""
    y, x = np.mgrid[:200, :240]
    apart = np.hypot(y - 100, x - 120)
    guessed = apart < 60
    smooth = np.where(guessed[..., None], cv2.GaussianBlur(plate, (0, 0), 12.0), plate).astype(np.float32)
    return smooth, guessed, guessed & (apart > 30)


def test_a_smooth_guess_gets_the_grain_beside_it() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 20, (200, 240, 1)), (0, 0), 1.0)
    plate = (130 + np.dstack([noise] * 3)).astype(np.float32)
    smooth, guessed, rim = scene(plate)
    out = regrained(smooth, guessed, UNIT)
    assert smooth[rim].std() < 0.3 * plate.std()
    assert 0.7 < out[rim].std() / plate.std() < 1.2
    assert np.array_equal(out[~guessed], smooth[~guessed])


def test_edges_are_no_grain() -> None:
    plate = np.full((200, 240, 3), 90.0, np.float32)
    plate[:, ::24] = 60  # single thin bars
    smooth, guessed, rim = scene(plate)
    assert np.abs(regrained(smooth, guessed, UNIT) - smooth)[rim].mean() < 0.5
