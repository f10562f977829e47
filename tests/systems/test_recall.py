"""Learned frames moved onto what is wanted: the ground they are measured from, the mesh, and which are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from people import person, picture

from infinex.face import topology as top
from infinex.motion import STILL
from infinex.systems.puppet import gaze
from infinex.systems.recall import PICTURES, Ground, Onto, Recall, Recaller, mixed, nearest

FRAMES, SIDE = 8, 128


@pytest.fixture(scope="module")
def album() -> Recall:
    """Eight frames of somebody who turns the head and opens the mouth, before a wall that stands still."""
    found = person(FRAMES, SIDE)
    pictures = np.stack([picture(found, t) for t in range(FRAMES)])
    points = found.points[:, : top.SURFACE]
    ground = Ground(pictures[0], points[0])
    outline = np.stack([ground.measured(f, p) for f, p in zip(pictures, points)])
    eyes = np.stack([gaze(p.astype(np.float64)) for p in found.points])
    return Recall(pictures, points, outline.astype(np.float32), eyes.astype(np.float32), 0)


def off(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_a_frame_is_moved_onto_another(album: Recall) -> None:
    ask = Recaller(album)
    for a, b in ((0, 3), (3, 6)):
        vertices = [ask.ground.vertices(album.points[t], album.outline[t]) for t in (a, b)]
        onto = Onto(ask.ground, album.points[b], vertices[1])
        moved = onto(album.pictures[a], vertices[0])
        assert off(moved, album.pictures[b]) < 0.5 * off(album.pictures[a], album.pictures[b])
        # Onto itself nothing changes, and the wall far from the head never does.
        assert off(onto(album.pictures[b], vertices[1]), album.pictures[b]) < 0.01
        assert (moved[:6, :6] == album.pictures[a][:6, :6]).all()


def test_surroundings_follow_the_fields(album: Recall) -> None:
    ground = Ground(album.pictures[0], album.points[0])
    still = ground.vertices(album.points[0], STILL)
    assert (still[: top.SURFACE] == album.points[0][:, :2]).all()
    shoulders = STILL.copy()
    shoulders[1, 0, 2] = 0.1  # to the right by a tenth of the distance between the eyes
    moved = ground.vertices(album.points[0], shoulders) - still
    unit = ground.pose(album.points[0]).scale
    assert len(ground.body) and np.allclose(moved[ground.body].max(0), [0.1 * unit, 0], atol=1e-6)
    assert (moved[: top.SURFACE] == 0).all()


def test_the_frames_that_are_alike_are_chosen(album: Recall) -> None:
    ask = Recaller(album)
    for t in (2, 5):
        shown = ask(album.points[t], album.outline[t], album.eyes[t])
        assert shown.shape == (SIDE, SIDE, PICTURES)
        for k in (0, 3, 6):  # one that is asked for is its own nearest
            assert off(shown[..., k : k + 3], album.pictures[t]) < 0.01
        barred = np.arange(FRAMES) == t
        others = ask(album.points[t], album.outline[t], album.eyes[t], barred)
        assert 0.01 < off(others[..., :3], album.pictures[t]) < off(others[..., 6:], album.pictures[t])
    # Where all are barred, as in the shortest of clips, none is.
    assert (ask(album.points[0], STILL, album.eyes[0], np.ones(FRAMES, bool))[..., 6:] == album.pictures[0]).all()


def test_shares() -> None:
    at, share = nearest(np.array([3.0, 1.0, np.inf, 2.0]), 3)
    assert at.tolist() == [1, 3, 0] and share.sum() == pytest.approx(1)
    assert share[1] / share[0] == pytest.approx(np.exp(-1)) and share[2] / share[0] == pytest.approx(np.exp(-4))
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert (mixed([black, white], np.array([0.25, 0.75])) == 191).all()


def test_an_album_survives_its_arrays_and_damage_is_told(album: Recall) -> None:
    back = Recall.of(album.arrays())
    assert (back.pictures == album.pictures).all() and back.ground == album.ground
    for name, wrong in (
        ("pictures", album.pictures.astype(np.float32)), ("points", album.points[:3]), ("ground", np.array([99])),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"no pictures|same number|no ground"):
            Recall.of(album.arrays() | {name: wrong})
