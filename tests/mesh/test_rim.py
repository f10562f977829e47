"""The rim of the face in turned heads."""

import numpy as np
import pytest

from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose, to_matrix
from infinex.mesh.retarget import Retarget, Target
from infinex.mesh.rim import WIDEN, Rim, _layout, _outwards
from infinex.motion import Move, Rest

UNIT = 100.0


def portrait(yaw: float) -> SourceFace:
    """The mean face, turned by some degrees, in a picture of 600 by 600."""
    pose = Pose(UNIT, to_matrix(np.radians([0.0, yaw, 0.0])), np.array([300.0, 300.0, 0.0]))
    return SourceFace(pose.to_image(top.mean_face()))


def across(points: np.ndarray, rotation: np.ndarray) -> list[np.ndarray]:
    """How far each vertex of each ring lies outside its inner neighbours, in a picture with the head so turned."""
    rings, inner, _, _ = _layout()
    out = _outwards(rotation)
    return [((points[r] - w @ points) * out[r]).sum(1) for r, w in zip(rings, inner)]


def turned(face: SourceFace, yaw: float) -> Target:
    move = Move(0.0, np.radians([0.0, yaw, 0.0]), np.zeros(3), 1.0, np.zeros((top.POINTS, 3)), np.zeros(2))
    return Retarget(face, Rest.neutral())(move)


@pytest.mark.parametrize("yaw", [0.0, 30.0])
def test_at_rest_every_vertex_is_where_it_was_tracked(yaw: float) -> None:
    face = portrait(yaw)
    source, points, pull = Rim(face, None, (0, 0)).place(turned(face, 0.0))
    assert np.array_equal(source, face.points[:, :2]) and np.allclose(points, source, atol=1e-6)
    assert not pull.any()


@pytest.mark.parametrize(("aside", "most"), [(0.0, WIDEN[0][0]), (18.0, WIDEN[0][1])])
def test_strips_of_skin_seen_edge_on_do_not_widen(aside: float, most: float) -> None:
    face = portrait(aside)
    target = turned(face, 20.0)
    source, points, pull = Rim(face, None, (0, 0)).place(target)
    before, now = across(source, face.pose.rotation), across(points, target.pose.rotation)
    tracked = across(target.points[:, :2], target.pose.rotation)
    allowed = [UNIT * (most * np.maximum(b / UNIT, 0) + WIDEN[1]) for b in before]
    assert any((t > a + 2).any() for t, a in zip(tracked, allowed))  # without help they would
    for n, a in zip(now, allowed):
        assert (n <= a + 0.05 * UNIT).all()
    assert 2 < np.abs(pull).max() < 40


def test_folded_rings_are_laid_out_within_the_edge() -> None:
    face = portrait(35.0)
    rim = Rim(face, None, (0, 0))
    far = face.points[top.OVAL, 0].mean() - 300  # which side of the picture is the far cheek
    side = np.array(top.OVAL)[top.mean_face()[top.OVAL, 0] * (1 if far > 0 else -1) > 0.5]
    edge = face.points[: top.SURFACE, 0].max() if far > 0 else face.points[: top.SURFACE, 0].min()
    behind = np.abs(face.points[side, 0] - edge).max()
    laid = np.abs(rim.points[side, 0] - edge)
    assert behind > 8, "the oval of a three-quarter view should lie behind the edge of the cheek"
    assert laid.max() < behind
    assert ((rim.points[side, 0] - edge) * np.sign(far) <= 1e-6).all()


def test_what_turns_away_stays_as_tracked() -> None:
    face = portrait(30.0)
    rim = Rim(face, None, (0, 0))
    away, to_us = (rim.place(turned(face, yaw))[0] - face.points[:, :2] for yaw in (12.0, -12.0))
    moved = sorted([float(np.abs(away).max()), float(np.abs(to_us).max())])
    assert moved[0] < 0.4 * moved[1] and moved[1] > 3


def test_a_head_that_looks_aside_turns_little_towards_us_and_freely_away() -> None:
    for yaw in (-30.0, 30.0):
        face = portrait(yaw)
        own = face.pose.angles[0]
        to_us, away = (abs(turned(face, a * np.sign(yaw)).pose.angles[0] - own) for a in (-15, 10))
        assert 1 < to_us < 4 and away > 9
    assert abs(turned(portrait(0.0), 14.0).pose.angles[0]) > 13
