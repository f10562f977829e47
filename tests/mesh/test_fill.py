"""What was behind the head."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.mesh.fill import behind, blurred


def scene(kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """A red disc before a background of 160 by 200 pixels; the background alone; the disc's alpha."""
    y, x = np.mgrid[0:160, 0:200]
    grey = {"stripes": np.where((x // 8) % 2, 200, 60), "slope": 40 + x, "noise": 0 * x + 120}[kind].astype(float)
    if kind == "noise":
        grey += np.random.default_rng(0).normal(0, 12, grey.shape)
    plate = np.dstack([grey] * 3).clip(0, 255).astype(np.uint8)
    alpha = np.clip(30.5 - np.hypot(y - 80, x - 100), 0, 1).astype(np.float32)
    picture = np.where(alpha[..., None] > 0, np.array([220, 20, 20], np.uint8), plate)
    return picture, plate, alpha


@pytest.mark.parametrize(("kind", "most"), [("stripes", 14.0), ("slope", 8.0)])
def test_the_background_goes_on_behind_the_head(kind: str, most: float) -> None:
    picture, plate, alpha = scene(kind)
    fill = behind(picture, alpha, 40.0)
    rim = (alpha > 0) & (np.hypot(*(np.mgrid[0:160, 0:200] - np.array([80, 100])[:, None, None])) > 14)
    assert np.abs(fill[rim].astype(int) - plate[rim]).mean() < most
    assert np.ptp(fill[rim].astype(int), axis=1).max() < 40  # nothing of the red disc
    assert np.array_equal(fill, behind(picture, alpha, 40.0))


def test_grain_stays_grain() -> None:
    picture, plate, alpha = scene("noise")
    fill = behind(picture, alpha, 40.0)
    rim = (alpha > 0) & (np.hypot(*(np.mgrid[0:160, 0:200] - np.array([80, 100])[:, None, None])) > 14)
    assert 0.6 < fill[rim].std() / plate.std() < 1.3


def test_with_little_background_colours_are_spread_and_with_none_nothing_is_done() -> None:
    picture, _, alpha = scene("noise")
    alpha[:] = 1
    assert behind(picture, alpha, 40.0) is picture
    alpha[:5] = 0
    fill = behind(picture, alpha, 40.0)
    assert abs(fill.mean() - 120) < 10 and np.ptp(fill.astype(int), axis=2).max() < 12


def test_left_of_the_head_is_filled_from_the_left() -> None:
    rng = np.random.default_rng(0)
    plate = np.zeros((160, 200, 3), np.uint8)
    plate[:, 100:] = [90, 130, 220]
    plate[:, :100] = rng.integers(0, 2, (20, 13, 1)).repeat(8, 0).repeat(8, 1)[:, :100] * [200, 40, 30] + [20, 10, 10]
    alpha = np.clip(40.5 - np.hypot(*(np.mgrid[0:160, 0:200] - np.array([80, 100])[:, None, None])), 0, 1)
    fill = behind(plate, alpha.astype(np.float32), 30.0).astype(int)
    left = (alpha > 0) & (np.arange(200)[None] < 84)
    blue = fill[..., 2] > fill[..., 0] + 40
    assert blue[left].mean() < 0.05 and blue[(alpha > 0) & (np.arange(200)[None] > 116)].mean() > 0.9


@pytest.mark.parametrize("sigma", [3.0, 12.0, 40.0])
def test_a_wide_blur_is_a_blur(sigma: float) -> None:
    rng = np.random.default_rng(0)
    values = np.kron(rng.uniform(0, 255, (12, 15, 3)), np.ones((20, 20, 1))).astype(np.float32)
    exact = cv2.GaussianBlur(values, (0, 0), sigma)
    assert np.abs(blurred(values, sigma) - exact).max() < 4
    assert np.allclose(blurred(values[..., 0], sigma), blurred(values, sigma)[..., 0], atol=1e-3)
