"""Mattes: fractions of hair, things that only stand near, and what a picture shows apart from its background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.mesh.matting import foreground, parted, refined

UNIT = 60.0
PERSON, BEHIND = np.array([70.0, 45, 30]), np.array([150.0, 170, 190])


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """A head with strands of hair before a wall: picture, true matte, rough one that misses the strands, the face."""
    side = 240
    y, x = np.mgrid[:side, :side].astype(np.float32)
    big = np.zeros((4 * side, 4 * side), np.uint8)
    cv2.ellipse(big, (480, 560), (200, 260), 0, 0, 360, 255, -1)
    for k in range(9):  # locks that begin within the head and curl away from it
        cv2.ellipse(big, (480 + 70 * (k - 4), 460), (110, 190), 0, 190, 300, 255, 5)
    alpha = cv2.resize(big, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    rng = np.random.default_rng(1)
    image = PERSON * alpha[..., None] + (BEHIND + (x[..., None] - 120) * 0.1) * (1 - alpha[..., None])
    image = image + rng.normal(0, 2, image.shape)
    far = cv2.GaussianBlur((((x - 120) / 50) ** 2 + ((y - 140) / 65) ** 2 < 1).astype(np.float32), (0, 0), 4.0)
    face = ((x - 120) / 25) ** 2 + ((y - 150) / 35) ** 2 < 1
    return np.clip(np.round(image), 0, 255).astype(np.uint8), alpha, far.astype(np.float32), face


def test_hair_that_the_rough_matte_missed_is_found(scene: tuple) -> None:
    image, alpha, rough, face = scene
    found = refined(image, rough, face, UNIT)
    strands = (alpha > 0.3) & (rough < 0.05)
    assert strands.sum() > 200
    assert np.abs(found - alpha)[strands].mean() < 0.2
    assert np.abs(found - alpha).mean() < 0.25 * np.abs(rough - alpha).mean()
    assert (found[(alpha == 0) & (cv2.dilate(alpha, np.ones((9, 9))) == 0)] < 0.05).mean() > 0.99


def test_what_only_stands_near_is_not_the_person(scene: tuple) -> None:
    image, alpha, rough, face = scene
    with_lamp = image.copy()
    cv2.circle(with_lamp, (30, 200), 9, (255, 240, 120), -1)
    found = refined(with_lamp, rough, face, UNIT)
    assert found[192:208, 22:38].max() < 0.1
    assert np.abs(found - alpha).mean() < 0.25 * np.abs(rough - alpha).mean()


def test_where_colours_tell_nothing_the_rough_matte_stays(scene: tuple) -> None:
    _, _, rough, face = scene
    plain = np.full((*rough.shape, 3), 128, np.uint8)
    assert np.abs(refined(plain, rough, face, UNIT) - rough).mean() < 0.03


def test_colours_of_the_person_are_free_of_the_background() -> None:
    y, x = np.mgrid[:120, :120]
    alpha = np.clip((45 - np.hypot(x - 60, y - 60)) / 8, 0, 1).astype(np.float32)
    person, behind = np.array([180.0, 90, 60]), np.array([20.0, 220, 40])
    image = np.round(person * alpha[..., None] + behind * (1 - alpha[..., None])).astype(np.uint8)
    found = foreground(image, alpha)[(alpha > 0.1) & (alpha < 0.9)]
    assert np.abs(found - person).mean() < 12


def test_what_is_hers_beside_the_matte_goes_with_her() -> None:
    x = np.broadcast_to(np.arange(120), (80, 120))
    wall = np.full((80, 120, 3), 60.0, np.float32)
    image = np.where(x[..., None] < 50, 190, wall).astype(np.uint8)  # the matte misses the last ten columns of her
    alpha, near = (x < 40).astype(np.float32), (x < 54).astype(np.float32)
    out, person, back = parted(image, alpha, wall, near, np.ones_like(alpha), UNIT)
    assert out[:, 41:49].min() > 0.8 and out[:, 51:].max() < 0.05
    mixed = out[..., None] * person + (1 - out[..., None]) * back
    assert np.abs(mixed - image).max() < 2


def test_what_hardly_covers_has_the_colour_of_what_covers_beside_it() -> None:
    """A rim of a hundredth would be black where the guess is a little too light, and a line once it has moved."""
    image = np.full((60, 100, 3), 60, np.uint8)
    image[:, :50] = 120
    alpha = np.zeros((60, 100), np.float32)
    alpha[:, :50], alpha[:, 50:53] = 1, 0.03
    near = (np.arange(100) < 56).astype(np.float32)[None].repeat(60, 0)
    guess = np.full(image.shape, 62.0, np.float32)
    out, person, back = parted(image, alpha, guess, near, np.ones_like(alpha), UNIT)
    assert np.abs(person[:, 50:56].astype(int) - 120).max() < 8
    mixed = out[..., None] * person + (1 - out[..., None]) * back
    assert np.abs(mixed[:, :53] - image[:, :53]).max() <= 2


def test_a_bar_that_goes_on_to_the_border_is_no_hair(scene: tuple) -> None:
    image, _, rough, face = (part[:, :200] for part in scene)
    barred = image.copy()
    barred[138:143, 160:] = PERSON
    assert refined(barred, rough, face, UNIT)[138:143, 190:].max() < 0.1
