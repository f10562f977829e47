"""What is drawn between a portrait's lips."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from infinex.drivers.units import rest_face, units_motion
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose, to_matrix
from infinex.mesh.mouth import CROWN_UPPER, LONGEST, Mouth, MouthTone, _spread, _teeth_of, draw_performer_mouth
from infinex.mesh.retarget import Retarget

POSE = Pose(120.0, np.eye(3), np.array([200.0, 180.0, 0.0]))
SKIN, LIPS = (205, 160, 145), (180, 75, 80)  # of the performer
YELLOW, BROWN = (170, 140, 70), (130, 85, 45)  # skin and lips of the portrait


def lab(colour: tuple[int, int, int]) -> np.ndarray:
    return cv2.cvtColor(np.float32([[colour]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def put(inside: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The colours (Lab) drawn between the lips, and the mask of where: a performer with this in an open mouth."""
    face = SourceFace(POSE.to_image(top.mean_face()))
    move = units_motion(np.array([[1.0, 0.6]]), ["AU26", "AU25"]).at(0)
    target = Retarget(face, rest_face())(move)
    points = POSE.to_image(top.mean_face() + move.offsets)
    image = np.full((400, 400, 3), SKIN, np.uint8)
    cv2.fillPoly(image, [np.round(points[top.LIPS_OUTER, :2]).astype(int)], LIPS)
    cv2.fillPoly(image, [np.round(points[top.LIPS_INNER, :2]).astype(int)], inside)
    tone = MouthTone(lab(YELLOW), lab(BROWN), np.zeros((8, 8), np.float32))
    out = np.full((400, 400, 3), YELLOW, np.uint8)
    draw_performer_mouth(out, (0, 0), face, target, tone, image, points)
    mask = np.zeros((400, 400), np.uint8)
    cv2.fillPoly(mask, [np.round(target.points[top.LIPS_INNER, :2]).astype(int)], 1)
    return cv2.cvtColor(out.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), cv2.erode(mask, np.ones((5, 5)))


@pytest.mark.parametrize("teeth", [(235, 228, 215), (215, 195, 190), (200, 205, 215)])
def test_teeth_take_the_light_of_the_portrait_whatever_the_performers(teeth: tuple[int, int, int]) -> None:
    out, mask = put(teeth)
    seen = np.median(out[mask > 0], 0)
    assert 0 < seen[1] + 6 < 12 and 6 < seen[2] < 22, seen  # a little yellow, neither pink nor white
    assert lab(YELLOW)[0] < seen[0] < 96


def test_lips_that_are_in_the_way_become_the_portraits() -> None:
    out, mask = put(LIPS)
    rim = (mask > 0) & (cv2.distanceTransform(mask, cv2.DIST_L2, 3) < 3)
    seen = np.median(out[rim], 0)
    mine, theirs = (np.linalg.norm(seen[1:] - lab(c)[1:]) for c in (BROWN, LIPS))
    assert mine < 0.4 * theirs


@pytest.mark.parametrize("yaw", [-20.0, 0.0, 20.0])
def test_a_modelled_mouth_that_turns_is_free_of_specks(yaw: float) -> None:
    pose = Pose(200.0, to_matrix(np.radians([0.0, yaw, 0.0])), np.array([250.0, 250.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    move = units_motion(np.array([[1.0, 1.0, 0.4]]), ["AU12", "AU25", "AU26"]).at(0)
    target = Retarget(face, rest_face())(move)
    out = np.full((500, 500, 3), YELLOW, np.uint8)
    Mouth(face, MouthTone(lab(YELLOW), lab(BROWN), np.zeros((8, 8), np.float32))).draw(out, (0, 0), target)
    mask = np.zeros((500, 500), np.uint8)
    cv2.fillPoly(mask, [np.round(target.points[top.LIPS_INNER, :2]).astype(int)], 1)
    grey = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)
    specks = cv2.absdiff(grey, cv2.medianBlur(grey, 3))[cv2.erode(mask, np.ones((9, 9))) > 0]
    assert specks.size > 500 and (specks > 40).mean() < 0.004  # tips of teeth before the dark


def shown(nod: float, yaw: float) -> np.ndarray:
    """How much of every column of an open mouth is light, where upper teeth were told to fill a third of it."""
    pose = Pose(200.0, to_matrix(np.radians([nod, yaw, 0.0])), np.array([250.0, 250.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    move = units_motion(np.array([[1.0, 0.5]]), ["AU25", "AU26"]).at(0)
    move = replace(move, interior=np.array([[1.0, 0.0], [0.0, 0.6], [0.0, 0.6]]))
    target = Retarget(face, rest_face())(move)
    out = np.zeros((500, 500, 3), np.uint8)
    Mouth(face, MouthTone(lab(SKIN), lab(LIPS), np.zeros((8, 8), np.float32))).draw(out, (0, 0), target)
    mask = np.zeros((500, 500), np.uint8)
    cv2.fillPoly(mask, [np.round(target.points[top.LIPS_INNER, :2]).astype(int)], 1)
    columns = mask.any(0)
    light, open_ = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[:, columns] > 90, mask[:, columns] > 0
    total = np.maximum(open_.sum(0), 1)
    light &= open_.cumsum(0) <= 0.6 * total  # a tongue lies below
    return light.sum(0) / total


@pytest.mark.parametrize(("nod", "yaw"), [(-15.0, 0.0), (0.0, 0.0), (15.0, 0.0), (0.0, 25.0), (0.0, -25.0)])
def test_upper_teeth_are_seen_as_far_as_was_told_whichever_way_the_head_looks(nod: float, yaw: float) -> None:
    columns = shown(nod, yaw)
    inner = columns[len(columns) // 6 : -len(columns) // 6]
    assert 0.15 < np.median(inner) < 0.45
    assert (inner > 0.05).mean() > 0.88  # without a gap on the side that turns away


def test_lips_go_around_the_corners_of_a_tall_opening_and_of_no_slit() -> None:
    pose = Pose(200.0, np.eye(3), np.array([250.0, 250.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    reds = []
    for amounts in ((1.0, 1.0), (0.25, 0.0)):
        target = Retarget(face, rest_face())(units_motion(np.array([amounts]), ["AU25", "AU27"]).at(0))
        out = np.full((500, 500, 3), SKIN, np.uint8)
        Mouth(face, MouthTone(lab(SKIN), lab(LIPS), np.zeros((8, 8), np.float32))).redden(out, (0, 0), target)
        x, y = target.points[78, :2] - [3, 0]  # just beside the corner
        beside = cv2.cvtColor(out, cv2.COLOR_RGB2LAB)[round(y), round(x)].astype(float)
        reds.append((beside[1] - 128 - lab(SKIN)[1]) / (lab(LIPS)[1] - lab(SKIN)[1]))
    assert reds[0] > 0.5 and abs(reds[1]) < 0.1


def test_a_mouth_that_purses_is_red_up_to_its_corners_and_one_at_rest_is_left_alone() -> None:
    pose = Pose(200.0, np.eye(3), np.array([250.0, 250.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    rest = Retarget(face, rest_face())(units_motion(np.array([[0.1]]), ["AU25"]).at(0))
    shape = rest.face.copy()
    lips = [*top.LIPS_OUTER, *top.LIPS_INNER]
    shape[lips, 0] *= 0.65
    pursed = replace(rest, face=shape, points=pose.to_image(shape))
    for target, red in ((pursed, True), (rest, False)):
        out = np.full((500, 500, 3), SKIN, np.uint8)
        Mouth(face, MouthTone(lab(SKIN), lab(LIPS), np.zeros((8, 8), np.float32))).redden(out, (0, 0), target)
        x, y = (target.points[61, :2] + 2 * target.points[78, :2]) / 3
        assert (cv2.cvtColor(out, cv2.COLOR_RGB2LAB)[round(y) - 2, round(x)][1] > lab(SKIN)[1] + 128 + 6) == red


def inside(shares: list[list[float]]) -> np.ndarray:
    """Lightness of the middle column of a wide open mouth that was told `shares`, from the upper lip down."""
    pose = Pose(400.0, np.eye(3), np.array([500.0, 500.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    move = replace(units_motion(np.array([[1.0, 1.0]]), ["AU25", "AU26"]).at(0), interior=np.array(shares))
    out = np.zeros((1000, 1000, 3), np.uint8)
    tone = MouthTone(lab(SKIN), lab(LIPS), np.zeros((8, 8), np.float32))
    Mouth(face, tone).draw(out, (0, 0), Retarget(face, rest_face())(move))
    column = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[:, 490:510].mean(1)
    return column[column > 0]


def test_a_mouth_that_was_dark_is_dark_with_teeth_in_the_shade_and_hardly_with_a_tongue() -> None:
    dark, tongue = inside([[0.02, 0.8], [0.02, 0.8], [0.02, 0.8]]), inside([[0.02, 0.3], [0.02, 0.2], [0.02, 0.1]])
    assert 0.1 * np.mean(SKIN) < dark[: len(dark) // 3].max() < 0.72 * np.mean(SKIN)
    assert dark[2 * len(dark) // 3 :].max() < 0.65 * tongue[2 * len(dark) // 3 :].max()
    behind = slice(len(dark) // 2, 3 * len(dark) // 4)  # the lower teeth
    assert tongue[behind].mean() > 1.5 * dark[behind].mean()
    assert tongue[: len(tongue) // 3].max() > 1.2 * dark[: len(dark) // 3].max()  # teeth in dim light may be there


def test_lower_teeth_stand_on_the_lip_that_is_seen_not_on_the_edge_that_was_tracked() -> None:
    """A smile's tracked lower lip may lie across its teeth; what was told is told of all that is open."""
    pose = Pose(400.0, np.eye(3), np.array([500.0, 500.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    tone = MouthTone(lab(SKIN), lab(LIPS), np.zeros((8, 8), np.float32), beneath=np.full(11, 0.7))
    move = units_motion(np.array([[1.0, 0.4]]), ["AU25", "AU26"]).at(0)
    move = replace(move, interior=np.array([[0.9, 0.0], [0.0, 0.8], [0.35, 0.5]]))
    target = Retarget(face, rest_face())(move)
    target = replace(target, beneath=float(tone.depth_beneath(target.face)[4]))
    assert target.beneath > 0.02
    out = np.zeros((1000, 1000, 3), np.uint8)
    Mouth(face, tone).draw(out, (0, 0), target)
    column = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[:, 490:510].mean(1)
    column = column[column > 0]
    upper, middle = (column[int(a * len(column)) : int(b * len(column))].mean() for a, b in ((0.1, 0.25), (0.5, 0.7)))
    assert middle < 0.6 * upper


def test_one_row_of_longer_teeth_fills_a_mouth_that_is_light_all_over_before_two_do() -> None:
    crown = float(CROWN_UPPER[0])
    pose = Pose(400.0, np.eye(3), np.array([500.0, 500.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    arch = Mouth(face, MouthTone(lab(SKIN), lab(LIPS), np.zeros((8, 8), np.float32)))._upper
    ray = np.array([[0.02], [arch.edge - 1.1 * crown], [-1.0]])
    usual, longer = (arch.meet(ray, np.array([0.0, 0.0, 1.0]), by) for by in (1.0, LONGEST[1][0]))
    assert (usual["above"] > usual["crown"]).all() and (longer["above"] < longer["crown"]).all()  # gum, tooth


def test_what_no_triangle_covers_is_taken_from_beside_not_from_the_corner_of_the_frame() -> None:
    drawn = np.zeros((6, 8), bool)
    drawn[2:4, 1:7] = True
    x = np.where(drawn, 100 + np.arange(8)[None], 0).astype(np.float32)
    y = np.where(drawn, 50 + np.arange(6)[:, None], 0).astype(np.float32)
    _spread(x, y, drawn)
    assert x.min() == 101 and x.max() == 106 and y.min() == 52 and y.max() == 53
    assert (x[0, 3], y[0, 3], y[5, 3]) == (103, 52, 53)


def test_teeth_of_a_statue_are_of_its_stone() -> None:
    stone, face = lab((190, 190, 195)), SourceFace(POSE.to_image(top.mean_face()))
    smile = Retarget(face, rest_face())(units_motion(np.array([[0.8, 0.8]]), ["AU12", "AU25"]).at(0))
    away, apart = [], []
    for carved in (0.0, 1.0):
        out = np.zeros((400, 400, 3), np.uint8)
        Mouth(face, MouthTone(stone, stone, np.zeros((8, 8), np.float32), carved=carved)).draw(out, (0, 0), smile)
        seen = cv2.cvtColor(out.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[out.sum(-1) > 360]
        away.append(np.abs(np.median(seen, 0)[1:] - stone[1:]).max())
        apart.append(seen[:, 0].std())
    assert away[1] < 1.5 and apart[1] < apart[0]


def test_the_light_inside_of_a_lip_is_no_tooth() -> None:
    skin, lips, rng = lab(SKIN), lab(LIPS), np.random.default_rng(0)
    flesh = lips + rng.normal(0, 3, (400, 3))
    assert _teeth_of(flesh, lips, skin) is None
    few = flesh.copy()
    few[:60] = lab((225, 205, 190))  # of which little shows
    found = _teeth_of(few, lips, skin)
    assert found is not None and np.abs(found - lab((225, 205, 190))).max() < 2  # not mixed with lips
