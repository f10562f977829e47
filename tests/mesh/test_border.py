"""Portraits that the picture's border cuts through: what motion uncovers there is hair and skin, not streaks."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.engine import Drive, Source
from infinex.face.tracker import Face
from infinex.mesh.beyond import Beyond, mirrored
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.painter import Painter
from infinex.motion import Move, Rest
from infinex.pipeline import load_source

MOVES = {
    "down": Move(0.0, np.array([0.2, 0, 0]), np.array([0, 0.25, 0]), 1.0, np.zeros((478, 3)), np.zeros(2)),
    "up": Move(0.0, np.array([-0.2, 0, 0]), np.array([0, -0.2, 0]), 1.0, np.zeros((478, 3)), np.zeros(2)),
    "left": Move(0.0, np.zeros(3), np.array([-0.25, 0, 0]), 1.0, np.zeros((478, 3)), np.zeros(2)),
    "small": Move(0.0, np.zeros(3), np.zeros(3), 0.8, np.zeros((478, 3)), np.zeros(2)),
}


@pytest.fixture(scope="module")
def whole(portrait: Path) -> Source:
    return load_source(portrait)[0]


def cut(source: Source, side: str) -> Source:
    """The portrait with a side cut off through forehead, ear or chin."""
    p, (h, w) = source.face.landmarks, source.image.shape[:2]
    unit = float(np.linalg.norm(p[33] - p[263]))
    x0, y0, x1, y1 = 0, 0, w, h
    if side == "top":
        y0 = int(p[10, 1] + 0.1 * unit)
    elif side == "right":
        x1 = int(p[454, 0])
    elif side == "bottom":
        y1 = int(p[152, 1] + 0.05 * unit)
    return Source(np.ascontiguousarray(source.image[y0:y1, x0:x1]), Face(p - [x0, y0, 0]))


def drawn(face: PreparedFace, move: Move) -> np.ndarray:
    canvas = face.source.image.copy()
    face.draw(canvas, Drive(move))
    return canvas


def ready(source: Source) -> PreparedFace:
    face = PreparedFace(source, MeshOptions("own", "none", refine=False))
    face.begin(Rest.neutral(), None, None)
    return face


@pytest.mark.parametrize(("side", "name"), [("top", "down"), ("right", "left"), ("bottom", "up"), ("top", "small")])
def test_what_a_border_cut_off_does_not_streak(whole: Source, side: str, name: str) -> None:
    face = ready(cut(whole, side))
    assert np.array_equal(drawn(face, Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))),
                          face.source.image)  # fmt: skip
    image = drawn(face, MOVES[name]).astype(float)
    x0, y0, x1, y1 = face.box
    flow = face.warp.flow(face.target(MOVES[name]))
    h, w = flow.map_x.shape
    limits = {"top": flow.map_y < -2, "right": flow.map_x > w + 1, "bottom": flow.map_y > h + 1}
    at = limits[side]
    assert at.sum() > 200  # something is uncovered there
    # Along a streak nothing changes, across it a lot does: where pixels go on alike they do so in both directions.
    axis = 1 if side == "right" else 0
    part = image[y0:y1, x0:x1].mean(-1)
    along, across = (np.abs(np.diff(part, axis=a)) for a in (axis, 1 - axis))
    inside = at[:-1, :-1] & at[1:, :-1] & at[:-1, 1:]
    along, across = (d[: inside.shape[0], : inside.shape[1]][inside].mean() for d in (along, across))
    plain = ready(cut(whole, side))
    plain.beyond._sides = (False,) * 4  # the border's own pixels
    plain.painter = Painter(plain.layers, plain.beyond, plain.box[:2], plain.face.points[:, :2])
    streaks = drawn(plain, MOVES[name]).astype(float)[y0:y1, x0:x1].mean(-1)
    old = [np.abs(np.diff(streaks, axis=a))[: inside.shape[0], : inside.shape[1]][inside].mean()
           for a in (axis, 1 - axis)]  # fmt: skip
    assert along / across > 1.6 * old[0] / old[1]


def test_a_person_away_from_the_borders_needs_nothing_beyond() -> None:
    person = np.zeros((80, 80, 4), np.uint8)
    person[20:60, 20:60] = 255
    beyond = Beyond(person, np.full((478, 2), 40.0), 20.0, (True, True, True, True))
    assert beyond.sides == (False,) * 4
    sampled = np.full((10, 10, 4), 7, np.uint8)
    beyond.lay(sampled, np.full((10, 10), -5, np.float32), np.full((10, 10), -5, np.float32))
    assert (sampled == 7).all()


def test_no_second_eye_grows_beyond_the_border() -> None:
    """A dark spot where an eye is, near the upper border: the mirror would show it again."""
    rng = np.random.default_rng(0)
    person = np.dstack([rng.normal(180, 6, (160, 160, 3)), np.full((160, 160), 255)]).clip(0, 255).astype(np.uint8)
    person[26:34, 60:100, :3] = 10
    points = np.full((478, 2), [80.0, 30.0])
    points[:, 0] += np.linspace(-20, 20, 478)
    points[:, 1] += np.tile([-4.0, 4.0], 239)
    beyond = Beyond(person, points, 60.0, (False, True, False, False))
    y, x = np.mgrid[-45.0:0.0, 0.0:160.0].astype(np.float32)
    above = np.zeros((45, 160, 4), np.uint8)
    beyond.lay(above, np.ascontiguousarray(x), np.ascontiguousarray(y))
    assert above[:, :, :3].min() > 120 and above[..., 3].min() == 255


def test_beside_an_ear_at_the_border_there_is_hair_not_more_skin(whole: Source) -> None:
    """Dark hair around a light face with light ears, cut through one of them and through the forehead."""
    source = cut(cut(whole, "right"), "top")
    p, (h, w) = source.face.landmarks[:, :2], source.image.shape[:2]
    unit = float(np.linalg.norm(p[33] - p[263]))
    person = np.full((h, w, 4), 255, np.uint8)
    person[..., :3] = 25
    cv2.fillConvexPoly(person, cv2.convexHull(np.round(p).astype(np.int32)), (220, 180, 160, 255))
    for ear in (234, 454):
        cv2.circle(person, tuple(int(v) for v in p[ear]), round(0.2 * unit), (220, 180, 160, 255), -1)
    beyond = Beyond(person, p, unit, (False, True, True, False))
    y, x = np.mgrid[0.0 : p[152, 1], w + 0.3 * unit : w + 0.6 * unit].astype(np.float32)
    right = np.zeros((*y.shape, 4), np.uint8)
    beyond.lay(right, np.ascontiguousarray(x), np.ascontiguousarray(y))
    assert right[: round(p[13, 1]), :, :3].max() < 80
    y, x = np.mgrid[-0.6 * unit : -0.5 * unit, p[10, 0] - 9 : p[10, 0] + 9].astype(np.float32)
    above = np.zeros((*y.shape, 4), np.uint8)
    beyond.lay(above, np.ascontiguousarray(x), np.ascontiguousarray(y))
    assert above[..., :3].max() < 80  # a forehead ends in hair


@pytest.mark.parametrize("slope", [-0.6, 0.5])
def test_a_strand_goes_straight_on_beyond_every_border(slope: float) -> None:
    y, x = np.mgrid[:300, :300].astype(float)
    strands = 128 + 90 * np.sin((x - slope * y) / 6)
    whole = np.dstack([strands, strands, strands, np.full_like(x, 255)]).astype(np.uint8)
    want = whole[60:220, 90:210]
    part, plain = want[20:], cv2.copyMakeBorder(want[20:], 20, 0, 0, 0, cv2.BORDER_REFLECT_101)
    made = mirrored(part, (0, 20, 0, 0), 100.0)
    assert np.array_equal(made[20:], part)
    assert np.abs(made - want.astype(int)).mean() < 0.4 * np.abs(plain - want.astype(int)).mean()
    for turns, widths in enumerate([(20, 0, 0, 0), (0, 0, 0, 20), (0, 0, 20, 0)], 1):
        turned = mirrored(np.ascontiguousarray(np.rot90(part, turns)), widths, 100.0)
        assert np.array_equal(turned, np.rot90(made, turns))


def test_what_was_looked_at_beyond_a_border_changes_no_frame_after_it(whole: Source) -> None:
    face = ready(cut(whole, "top"))
    up = Move(0.0, np.zeros(3), np.array([0, -0.004, 0]), 1.0, np.zeros((478, 3)), np.zeros(2))  # by part of a pixel
    alone = drawn(copy.deepcopy(face), up)
    drawn(face, MOVES["down"])
    assert np.array_equal(drawn(face, up), alone)
