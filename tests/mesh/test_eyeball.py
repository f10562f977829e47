"""A drawn eye is taken apart: where its iris is, what is beneath it, and how it looks whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from infinex.mesh.eyeball import Eyeball

WIDE, A = 120.0, 60 + 70j  # pixels of the eye's width, and its first corner
WHITE, IRIS, SKIN = (225, 222, 215), (60, 90, 150), (200, 160, 140)


def eye(centre: complex, radius: float, colour: tuple[int, int, int] = IRIS) -> tuple[np.ndarray, np.ndarray]:
    """A picture of an open eye (its iris in eye widths) and its lids (N, 2)."""
    image = np.full((140, 240, 3), SKIN, np.uint8)
    x = np.linspace(0, 1, 9)
    lids = np.concatenate([x - 0.22j * np.sin(np.pi * x), x[-2:0:-1] + 0.18j * np.sin(np.pi * x[-2:0:-1])])
    ring = np.stack([(A + WIDE * lids).real, (A + WIDE * lids).imag], -1)
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(ring).astype(np.int32)], 1)
    ball = np.full_like(image, WHITE)
    at = A + WIDE * centre
    cv2.circle(ball, (round(at.real), round(at.imag)), round(WIDE * radius), colour, -1, cv2.LINE_AA)
    image[inside > 0] = ball[inside > 0]
    return cv2.GaussianBlur(image, (0, 0), 1.0), ring


@pytest.mark.parametrize("centre", [0.5 - 0.02j, 0.42 + 0j, 0.58 - 0.04j])
def test_an_iris_is_found_beside_where_it_was_tracked(centre: complex) -> None:
    image, ring = eye(centre, 0.22)
    ball = Eyeball(image, ring, A, complex(WIDE), 0.5 - 0.02j, 0.20)
    assert abs(ball.iris - centre) < 0.03 and abs(ball.radius - 0.22) < 0.03
    assert ball.known


def test_white_goes_on_beneath_the_iris_and_the_iris_behind_the_lids() -> None:
    image, ring = eye(0.5 - 0.1j, 0.22)
    ball = Eyeball(image, ring, A, complex(WIDE), 0.5 - 0.1j, 0.22)
    middle = ball.corner + ball.iris * ball.scale
    assert np.abs(ball.white[round(middle.imag), round(middle.real)] - WHITE).max() < 12
    n = len(ball.disc)
    above = ball.disc[n // 2 - round(0.8 * ball.radius * ball.scale), n // 2]  # hidden by the upper lid
    assert np.abs(above[:3] - IRIS).max() < 45 and above[3] > 0.99
    assert ball.disc[0, 0, 3] == 0


def test_an_iris_has_nothing_of_a_lids_edge_nor_of_the_white_beside_it() -> None:
    image, ring = eye(0.5 + 0j, 0.2)
    for way in (-1, 1):  # lids with an edge as light as skin
        lid = ring[:, 1] * way > A.imag * way
        cv2.polylines(image, [np.round(ring[lid]).astype(np.int32)], False, (250, 210, 190), 9, cv2.LINE_AA)
    ball = Eyeball(image, ring, A, complex(WIDE), 0.5 + 0j, 0.23)
    n, r = len(ball.disc), 0.2 * ball.scale
    column = ball.disc[round(n / 2 - 0.9 * r) : round(n / 2 + 0.9 * r), n // 2, :3]
    assert np.abs(column - IRIS).max() < 45
    around = ball.disc[n // 2]
    light = around[:, :3].min(1) > 150
    assert not (light & (around[:, 3] > 0.5)).any()


def test_an_eye_that_is_all_iris_or_has_more_of_it_than_was_found_is_not_taken_apart() -> None:
    image, ring = eye(0.5 + 0j, 0.46)
    assert not Eyeball(image, ring, A, complex(WIDE), 0.5 + 0j, 0.2).known
