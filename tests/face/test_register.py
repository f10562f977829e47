"""Landmarks that agree with the picture."""

import cv2
import numpy as np
import pytest

from infinex.engine import Source
from infinex.face import topology as top
from infinex.face.pose import fit_pose, to_matrix
from infinex.face.register import MOST, Registration
from infinex.face.unwarp import unwarped
from infinex.pipeline import load_source
from infinex.studio.examples import EXAMPLES

EYES = top.RIGHT_EYE + top.LEFT_EYE


@pytest.fixture(scope="module")
def person() -> Source:
    """Twice as large, for texture."""
    one = load_source(EXAMPLES[1].path)[0]
    image = cv2.resize(one.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return Source(image, type(one.face)(one.face.landmarks * 2 + np.array([0.5, 0.5, 0])))


@pytest.fixture(scope="module")
def registration(person: Source) -> Registration:
    return Registration(person.image, person.face.landmarks)


def test_what_agrees_already_stays(person: Source, registration: Registration) -> None:
    points = person.face.landmarks
    assert np.abs(registration(person.image, points) - points).max() < 1e-3


def test_landmarks_that_wandered_come_back(person: Source, registration: Registration) -> None:
    points = person.face.landmarks
    unit = fit_pose(top.mean_face(), points).scale
    wandered = points + 0.02 * unit * np.array([1.0, -0.5, 0])
    back = registration(person.image, wandered)
    off, left = (np.linalg.norm((p - points)[EYES, :2], axis=1).mean() for p in (wandered, back))
    assert left < 0.6 * off
    assert np.array_equal(back[:, 2], wandered[:, 2])


def test_it_follows_the_picture_and_its_turn(person: Source, registration: Registration) -> None:
    points = person.face.landmarks
    centre = points[1, :2]
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 12, 1.1)
    turned = cv2.warpAffine(person.image, matrix, person.image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    true = points.copy()
    true[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    unit = fit_pose(top.mean_face(), true).scale
    wandered = true + 0.015 * unit * np.array([0.0, 1.0, 0])
    back = registration(turned, wandered)
    off, left = (np.linalg.norm((p - true)[EYES, :2], axis=1).mean() for p in (wandered, back))
    assert left < 0.7 * off


def test_no_landmark_goes_far_and_strange_pictures_move_little(person: Source, registration: Registration) -> None:
    points = person.face.landmarks
    unit = fit_pose(top.mean_face(), points).scale
    noise = np.random.default_rng(0).integers(0, 256, person.image.shape, dtype=np.uint8)
    for image in (noise, np.zeros_like(person.image), 255 - person.image, person.image[:, ::-1]):
        way = np.linalg.norm((registration(image, points) - points)[:, :2], axis=1) / unit
        assert np.isfinite(way).all() and way.max() <= MOST + 1e-6
    assert np.linalg.norm((registration(noise, points) - points)[:, :2], axis=1).mean() < 0.01 * unit


def test_a_head_turned_far_is_left_to_the_tracker(person: Source, registration: Registration) -> None:
    pose = fit_pose(top.mean_face(), person.face.landmarks)
    far = type(pose)(pose.scale, to_matrix(np.array([0, 0.7, 0])) @ pose.rotation, pose.translation)
    points = far.to_image(top.mean_face())
    assert registration(person.image, points) is points


@pytest.mark.parametrize("unit", [40, 70, 90, 170, 330])
def test_places_stay_where_they_are_however_small_a_picture_is_made(unit: float) -> None:
    y, x = np.mgrid[:431, :557]
    u, v = np.meshgrid(np.linspace(61, 487, 11), np.linspace(53, 391, 9))
    places = np.stack([u, v], -1).reshape(-1, 2)
    for ramp, at in ((x, u), (y, v)):
        image = np.repeat((ramp * 0.45).round().astype(np.uint8)[..., None], 3, -1)
        up, down = (unwarped(i, places, (9, 11), (44, 36), unit, 40.0).astype(float) for i in (image, 255 - image))
        found = (up - down + 255) / 2 / 0.45  # halves are rounded up in both
        wanted = cv2.resize(at.astype(np.float32), (44, 36), interpolation=cv2.INTER_LINEAR)
        assert abs(float((found - wanted)[4:-4, 4:-4].mean())) < max(0.25, unit / 40 / 8)  # pixels of the picture
