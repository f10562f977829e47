"""Glasses: seen by their lower rims, and still while the brows move."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.units import units_offsets
from infinex.mesh.glasses import held
from infinex.mesh.retarget import Retarget
from infinex.motion import Move, Rest


def face(tilt: float = 0.0) -> tuple[NDArray[np.uint8], SourceFace]:
    """A skin-coloured picture, and a face in it that only its mesh knows of."""
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    image = np.full((600, 600, 3), (200, 160, 140), np.uint8)
    return image, SourceFace(top.mean_face() @ turn.T * 240 + [300, 370, 0])


def framed(image: NDArray[np.uint8], whose: SourceFace, colour: tuple[int, int, int], width: int) -> None:
    """Draw glasses."""
    unit = whose.pose.scale
    centres = [whose.points[ring, :2].mean(0) for ring in (top.RIGHT_EYE, top.LEFT_EYE)]
    for c in centres:
        size = (int(0.24 * unit), int(0.2 * unit))
        cv2.ellipse(image, (int(c[0]), int(c[1] + 0.03 * unit)), size, 0, 0, 360, colour, width)


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_dark_frames_are_seen_and_bare_faces_are_not(tilt: float) -> None:
    image, whose = face(tilt)
    assert held(image, whose) is None
    worn = image.copy()
    framed(worn, whose, (40, 30, 30), 9)
    firm = held(worn, whose)
    assert firm is not None and firm.shape == (478,)
    for chain in (top.RIGHT_EYE, top.LEFT_EYE):
        assert firm[chain].max() == 0  # lids move behind the glass
    assert firm[[6, 168, 197]].min() > 0.9 and firm[top.LIPS_OUTER].max() == 0 and firm[10] == 0
    framed(image, whose, (215, 180, 160), 9)  # paler than skin: nothing is claimed
    assert held(image, whose) is None


@pytest.mark.parametrize("yaw", [80.0, 86.0, 90.0])
def test_of_a_profile_nothing_is_claimed(yaw: float) -> None:
    image, _ = face()
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    aside = SourceFace(top.mean_face() @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) * 240 + [300, 370, 0])
    framed(image, aside, (40, 30, 30), 9)
    assert held(image, aside) is None


def test_what_glasses_hold_goes_with_the_head_alone() -> None:
    image, whose = face()
    framed(image, whose, (40, 30, 30), 9)
    firm = held(image, whose)
    assert firm is not None
    rest = Rest(whose.face, np.zeros(3), np.zeros(3), 1.0, np.zeros(2))
    move = Move(0.0, np.zeros(3), np.zeros(3), 1.0, units_offsets({"AU1": 1.0, "AU2": 1.0, "AU43": 1.0}), np.zeros(2))
    retarget = Retarget(whose, rest)
    free = retarget(move)
    retarget.held = firm
    kept = retarget(move)
    way = [np.linalg.norm(t.face - whose.face, axis=1) for t in (free, kept)]
    still = firm > 0.99
    assert still.sum() > 40 and way[0][still].max() > 0.03 and way[1][still].max() < 0.003
    lids = top.RIGHT_LID_UPPER[2:-2]
    assert np.allclose(kept.face[lids], free.face[lids])
