"""Creases at the corners of a mouth, and lips that round."""

from typing import Any

import cv2
import numpy as np
import pytest

from infinex.drivers.units import rest_face, units_motion
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose
from infinex.mesh.corners import Corners
from infinex.mesh.retarget import Retarget
from infinex.motion import Move, Rest

POSE = Pose(120.0, np.eye(3), np.array([200.0, 180.0, 0.0]))
SKIN = 190


class Still:
    """A flow that moves nothing."""

    def maps(self, step: int, first: tuple[int, int], end: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[first[1] : end[1], first[0] : end[0]].astype(np.float32)
        return x, y


def drawn(hairy: bool, units: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture with a crease, or a beard, at one corner, what is drawn of it under some units, and where it is."""
    face = SourceFace(POSE.to_image(top.mean_face()))
    image, where = np.full((400, 400, 3), SKIN, np.uint8), np.zeros((400, 400), np.uint8)
    x, y = face.points[61, :2]
    rows = range(-16, 17, 4) if hairy else [0]
    for dy in rows:
        for picture in (image, where):
            cv2.line(picture, (round(x - 10), round(y + dy)), (round(x), round(y + dy)), (60, 60, 60), 2)
    target = Retarget(face, rest_face())(units_motion(np.ones((1, len(units))), units).at(0))
    out = image.copy()
    flow: Any = Still()
    Corners(image, face, (0, 0)).draw(out, (0, 0), flow, target)
    return image, out, where > 0


def test_a_crease_goes_as_lips_part_and_a_beard_stays() -> None:
    before, after, where = drawn(False, ["AU25", "AU26"])
    assert after[where].mean() > before[where].mean() + 0.3 * (SKIN - before[where].mean())
    assert np.array_equal(*drawn(False, ["AU1"])[:2])  # shut lips keep it
    before, after, _ = drawn(True, ["AU25", "AU26"])
    assert np.abs(after.astype(int) - before).max() < 12


@pytest.mark.parametrize("way", [-1, 1])
def test_full_lips_do_not_swell_as_thin_ones_do(way: int) -> None:
    """A pout adds more red to thin lips than full ones have room for; skin beside them goes along."""
    face = SourceFace(POSE.to_image(top.mean_face()))
    inner, outer = (
        (top.LIPS_INNER_LOWER, top.LIPS_OUTER_LOWER) if way > 0 else (top.LIPS_INNER_UPPER, top.LIPS_OUTER_UPPER)
    )
    offsets = np.zeros((478, 3))
    offsets[outer[1:-1], 1] = way * 0.15
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, offsets, np.zeros(2))
    own = way * (face.face[outer, 1] - face.face[inner, 1])
    target = Retarget(face, Rest(face.face))(still)
    thick = way * (target.face[outer, 1] - target.face[inner, 1])
    assert own[5] < thick[5] < 1.5 * own[5]
    as_is = Retarget(face, Rest(face.face), absolute=True)(still)
    assert way * (as_is.face[outer[5], 1] - as_is.face[inner[5], 1]) > 1.8 * own[5]
