"""Wrinkles of a performer: folds pass, light and shadow do not, and skin darkens in its own hue."""

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from infinex.face import topology as top
from infinex.mesh.wrinkles import Wrinkles, skin_tint
from infinex.motion import Move, Rest

SIZE = 320
POINTS = top.mean_face() * [170, 170, 170] + [SIZE / 2, SIZE / 2, 0]
MOVE = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
SKIN = np.array([224.0, 188, 168])
CHEEK = np.round((POINTS[50, :2] + POINTS[205, :2]) / 2).astype(int)  # below an eye, beside the nose


def face(light: np.ndarray) -> np.ndarray:
    """A performer's frame: even skin under `light` (H, W), with a dark nostril that landmarks must not smear."""
    image = np.clip(SKIN * light[..., None], 0, 255)
    for k in (98, 327):
        cv2.circle(image, tuple(np.round(POINTS[k, :2]).astype(int).tolist()), 5, (60, 40, 40), -1, cv2.LINE_AA)
    return np.round(image).astype(np.uint8)


def shaded(now: np.ndarray, points: np.ndarray = POINTS) -> np.ndarray:
    """Log gain (H, W, 3) on an even portrait when the performer's even face becomes `now`."""
    tone = cv2.cvtColor((SKIN[None, None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0, 0]
    wrinkles = Wrinkles(face(np.ones((SIZE, SIZE))), POINTS, Rest.neutral(), skin_tint(tone))
    out = np.empty((SIZE, SIZE, 3), np.uint8)
    out[:] = SKIN
    target: Any = SimpleNamespace(points=POINTS)
    wrinkles.apply(out, (0, 0), target, MOVE, now, points)
    return np.log(out / SKIN)


def test_light_from_the_side_does_not_darken_a_cheek() -> None:
    x = np.linspace(0.6, 1.1, SIZE)[None].repeat(SIZE, 0)
    assert np.abs(shaded(face(x))).max() < 0.04


def test_the_shadow_of_a_nose_does_not_darken_a_cheek() -> None:
    light = np.ones((SIZE, SIZE))
    cv2.circle(light, tuple(CHEEK.tolist()), 20, 0.75, -1)
    gain = shaded(face(cv2.GaussianBlur(light, (0, 0), 4)))
    x, y = CHEEK
    assert np.abs(gain[y - 12 : y + 12, x - 12 : x + 12]).mean() < 0.035


def test_what_is_tracked_a_little_beside_its_place_leaves_nothing() -> None:
    assert np.abs(shaded(face(np.ones((SIZE, SIZE))), POINTS + np.array([2.0, 0, 0]))).max() < 0.05


def test_a_furrow_passes_in_the_hue_of_skin() -> None:
    light, (x, y) = np.ones((SIZE, SIZE)), CHEEK.tolist()
    cv2.line(light, (x - 14, y - 22), (x + 12, y + 24), 0.6, 6)
    gain = shaded(face(cv2.GaussianBlur(light, (0, 0), 1.5)))
    fold = gain[y - 10 : y + 10, x - 10 : x + 10].min((0, 1))
    assert fold[1] < -0.09
    assert fold[0] > fold[1] > fold[2]  # redder as it darkens, never grey
