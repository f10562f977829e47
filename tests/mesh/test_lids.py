"""Lids that come down: skin where the eye was, a dark line where they meet, nothing while they are open."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from infinex.drivers.capture import Lids as Agreed
from infinex.face import topology as top
from infinex.face.portrait import EYES, SourceFace
from infinex.face.pose import Pose
from infinex.face.shape import lip_gaps
from infinex.mesh.eyes import Eyes, irises
from infinex.mesh.lids import CREASES, Lid, Lids
from infinex.mesh.retarget import Retarget, Target
from infinex.motion import Move, Rest

SKIN, WHITE, IRIS, LASH = (205, 160, 135), (240, 240, 238), (40, 60, 90), (30, 22, 20)


def person(unit: float = 200.0) -> tuple[np.ndarray, SourceFace]:
    """A plain face of one colour with drawn eyes and dark lashes."""
    pose = Pose(unit, np.eye(3), np.array([250.0, 250.0, 0.0]))
    face = SourceFace(pose.to_image(top.mean_face()))
    image = np.full((500, 500, 3), SKIN, np.uint8)
    for ring, (upper, _), iris in zip((top.RIGHT_EYE, top.LEFT_EYE), EYES, (top.RIGHT_IRIS, top.LEFT_IRIS)):
        p = np.round(face.points[ring, :2]).astype(np.int32)
        eye = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(eye, [p], 255)
        ball = np.full_like(image, WHITE)
        centre = tuple(np.round(face.points[iris[0], :2]).astype(int).tolist())
        cv2.circle(
            ball,
            centre,
            round(float(np.linalg.norm(face.points[iris[1:], :2] - face.points[iris[0], :2], axis=1).mean())),
            IRIS,
            -1,
        )
        image[eye > 0] = ball[eye > 0]
        cv2.polylines(image, [np.round(face.points[upper, :2]).astype(np.int32)], False, LASH, 4, cv2.LINE_AA)
    return image, face


def target(face: SourceFace, openness: float, gaze: tuple[float, float] = (0.0, 0.0)) -> Target:
    shape = face.face.copy()
    face.set_lids(shape, np.full(2, openness))
    points = face.pose.to_image(shape)
    none = np.zeros(9)
    return Target(shape, points, face.pose, 0.0, np.full(2, openness), none, np.array(gaze), False)


def test_a_lid_that_is_open_changes_nothing() -> None:
    image, face = person()
    lids = Lids(image, face, (0, 0), np.zeros((8, 8), np.float32))
    out = image.copy()
    lids.draw(out, target(face, 1.0))
    assert np.array_equal(out, image)


def test_a_shut_eye_is_skin_with_one_dark_line() -> None:
    image, face = person()
    lids = Lids(image, face, (0, 0), np.zeros((8, 8), np.float32))
    shut = target(face, 0.0)
    out = image.copy()
    lids.draw(out, shut)
    for (upper, lower), iris in zip(EYES, (top.RIGHT_IRIS, top.LEFT_IRIS)):
        x = round(float(face.points[iris[0], 0]))
        first, last = (round(float(face.points[ids[4], 1])) for ids in (upper, lower))
        lid = out[first + 6 : last - 8, x].astype(int)  # where iris and white were, free of lashes now
        assert len(lid) >= 4 and np.abs(lid - SKIN).max() < 45
        line = round(float(shut.points[lower[4], 1]))
        assert out[line - 3 : line + 4, x].mean(-1).min() < 0.7 * np.mean(SKIN)


def test_a_crease_is_seen_above_a_shut_eye_where_the_portrait_has_one() -> None:
    image, face = person()
    creased = image.copy()
    for ids in CREASES:
        p = np.round(face.points[ids, :2]).astype(np.int32)
        cv2.polylines(creased, [p], False, (130, 85, 62), 3, cv2.LINE_AA)
    darkest = []
    for picture in (image, creased):
        out = picture.copy()
        shut = target(face, 0.0)
        Lids(picture, face, (0, 0), np.zeros((8, 8), np.float32)).draw(out, shut)
        for (_, lower), ids in zip(EYES, CREASES):
            x, y = np.round(shut.points[ids[3], :2]).astype(int)
            assert y + 6 < shut.points[lower[4], 1]
            darkest.append(out[y - 6 : y + 7, x].mean(-1).min() / np.mean(SKIN))
    assert min(darkest[:2]) > 0.95 and max(darkest[2:]) < 0.83


def test_a_shut_lid_has_the_surface_of_the_skin_below_the_eye() -> None:
    image, face = person()
    noise = np.random.default_rng(0).normal(0, 9, image.shape[:2])[..., None]
    grainy = np.clip(image + cv2.GaussianBlur(noise, (0, 0), 1.0)[..., None] * 2, 0, 255).astype(np.uint8)
    shut = target(face, 0.0)
    spread = []
    for picture in (image, grainy):
        out = picture.copy()
        Lids(picture, face, (0, 0), np.zeros((8, 8), np.float32)).draw(out, shut)
        upper, lower = EYES[0]
        y0, y1 = (round(float(face.points[ids[4], 1])) for ids in (upper, lower))
        x = round(float(face.points[top.RIGHT_IRIS[0], 0]))
        lid = out[y0 + 4 : y1 - 8, x - 14 : x + 15].astype(float).mean(-1)
        spread.append((lid - cv2.GaussianBlur(lid, (0, 0), 4)).std())
    below = grainy[y1 + 24 : y1 + 48, x - 14 : x + 15].astype(float).mean(-1)
    wanted = (below - cv2.GaussianBlur(below, (0, 0), 4)).std()
    assert spread[1] > 1.4 * spread[0] and 0.45 * wanted < spread[1] < 1.2 * wanted


def test_a_shut_lid_goes_over_into_light_and_shade_beside_it_and_leaves_no_wing_of_the_liner() -> None:
    image, face = person()
    light = np.linspace(1.0, 0.55, image.shape[0])[:, None, None] * np.linspace(0.8, 1.0, image.shape[1])[:, None]
    skin = SKIN * light
    image = np.where((image == SKIN).all(-1, keepdims=True), skin, image).astype(np.uint8)
    for upper, out in zip((top.RIGHT_LID_UPPER, top.LEFT_LID_UPPER), (-1, 1)):
        corner = np.round(face.points[upper[0], :2]).astype(int)
        end = np.add(corner, (10 * out, -8))
        cv2.line(image, tuple(corner.tolist()), tuple(end.tolist()), LASH, 4, cv2.LINE_AA)
    shut, drawn = target(face, 0.0), image.copy()
    Lids(image, face, (0, 0), np.zeros((8, 8), np.float32)).draw(drawn, shut)
    for upper, lower in EYES:
        (x0, x1), y1 = sorted(face.points[[upper[0], upper[-1]], 0].astype(int)), int(shut.points[lower[4], 1]) - 12
        y0 = int(face.points[upper, 1].min()) - 12
        part = np.s_[y0:y1, x0 - 14 : x1 + 8]
        assert np.percentile(np.abs(drawn[part] - skin[part]).max(-1), 99) < 16, "neither a patch nor a wing stands off"


class Lifted:
    """A warp by which all above the corners of the eyes has come from 14 pixels below where it is now."""

    def __init__(self, face: SourceFace) -> None:
        self.level = float(face.points[[33, 263], 1].mean())

    def maps(self, step: int, first: tuple[int, int], end: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        yy, xx = np.mgrid[first[1] : end[1] : step, first[0] : end[0] : step].astype(np.float32)
        return xx, yy + 14 * np.clip((self.level + 4 - yy) / 20, 0, 1)


def test_no_wing_of_the_liner_is_left_where_a_brow_that_rises_took_it() -> None:
    image, face = person()
    for upper, out in zip((top.RIGHT_LID_UPPER, top.LEFT_LID_UPPER), (-1, 1)):
        corner = np.round(face.points[upper[0], :2]).astype(int)
        end = np.add(corner, (10 * out, -9))
        cv2.line(image, tuple(corner.tolist()), tuple(end.tolist()), LASH, 4, cv2.LINE_AA)
    flow = Lifted(face)
    warped = cv2.remap(image, *flow.maps(1, (0, 0), (500, 500)), cv2.INTER_LINEAR)
    drawn = warped.copy()
    Lids(image, face, (0, 0), np.zeros((8, 8), np.float32)).draw(drawn, target(face, 0.0), flow)  # type: ignore[arg-type]
    for upper, _ in EYES:
        x, y = face.points[upper[0], :2].astype(int)
        part = np.s_[y - 40 : y - 12, x - 16 : x + 16]
        assert (np.abs(warped[part].astype(int) - SKIN).max(-1) > 60).sum() > 15  # there is one to take away
        assert np.percentile(np.abs(drawn[part].astype(int) - SKIN).max(-1), 98) < 24


def test_skin_above_the_eyes_rises_less_than_the_brows_do() -> None:
    face = SourceFace(top.mean_face() * 100 + [200, 200, 0])
    offsets = np.zeros((top.POINTS, 3))
    above = top.mean_face()[:, 1] < top.mean_face()[[33, 263], 1].mean() - 0.03
    offsets[above, 1] = -0.08
    lifted = Retarget(face, Rest.neutral())(Move(0.0, np.zeros(3), np.zeros(3), 1.0, offsets, np.zeros(2)))
    rise = (face.face - lifted.face)[:, 1]
    assert rise[top.RIGHT_BROW].mean() > 0.07
    assert rise[[29, 27, 28, 258, 257, 259]].mean() < 0.02
    assert 0.02 < rise[[225, 224, 223, 222]].mean() < 0.05


def test_a_lid_comes_down_step_by_step() -> None:
    image, face = person()
    lids = Lids(image, face, (0, 0), np.zeros((8, 8), np.float32))
    steps = []
    for openness in np.linspace(1, 0, 11):
        out = image.copy()
        lids.draw(out, target(face, float(openness)))
        steps.append(out.astype(float))
    changes = np.abs(np.diff(np.stack(steps), axis=0)).mean((1, 2, 3))
    assert changes.max() < 4 * changes.mean() and changes[1:].min() > 0


@pytest.mark.parametrize("gaze", [(0.6, 0.0), (-0.6, 0.0), (0.0, -0.6)])
def test_both_eyes_travel_as_far_as_both_can(gaze: tuple[float, float]) -> None:
    image, face = person()
    ids = top.RIGHT_IRIS
    aside = face.points.copy()
    aside[ids, 0] += 0.10 * (aside[133, 0] - aside[33, 0])  # one iris has less room to the right than the other
    shift = Eyes(image, (0, 0), SourceFace(aside)).travel(target(face, 1.0, gaze))
    plain = Eyes(image, (0, 0), face).travel(target(face, 1.0, gaze))
    width = 1 / (face.points[133, 0] - face.points[33, 0])
    radius = float(np.linalg.norm(aside[ids[1:], :2] - aside[ids[0], :2], axis=1).mean()) * width
    at = float((aside[ids[0], 0] - aside[33, 0]) * width) + shift[0]
    assert radius * 0.5 < at < 1 - radius * 0.5
    assert abs(shift[0]) <= abs(plain[0]) + 1e-9 or gaze[0] < 0
    assert np.abs(shift).max() <= 0.25


def test_lips_of_an_open_mouth_meet_by_the_jaw() -> None:
    shape = top.mean_face().copy()
    lower = shape[:, 1] > shape[14, 1] - 1e-6
    shape[lower, 1] += 0.06
    source = SourceFace(shape * 100 + [200, 200, 0])
    rest = Rest(
        top.mean_face(), lids_closed=np.full(2, 0.05), lids_open=np.full(2, 0.3), lips_closed=lip_gaps(top.mean_face())
    )
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((top.POINTS, 3)), np.array([1e-6, 0]))
    closed = Retarget(source, rest)(still)
    assert closed.gap[4] < 0.01
    moved = closed.face - source.face
    assert moved[152, 1] < -0.03  # the chin rises
    assert abs(moved[13, 1]) < 0.4 * abs(moved[14, 1])  # the upper lip hardly sinks


def test_large_eyed_performers_do_not_make_others_drowsy() -> None:
    source = SourceFace(top.mean_face() * 100 + [200, 200, 0])
    wide = 1.4 * source.openness
    model = SourceFace(top.mean_face())
    awake = top.mean_face().copy()
    model.set_lids(awake, wide / model.openness)
    rest = Rest(awake, lids_closed=np.full(2, 0.05), lids_open=wide)

    def opened(share: float) -> float:
        lids = awake.copy()
        model.set_lids(lids, share * wide / model.openness)
        move = Move(0.0, np.zeros(3), np.zeros(3), 1.0, lids - awake, np.array([1e-6, 0]))
        return float(Retarget(source, rest)(move).openness.mean())

    shares = [opened(s) for s in (0.1, 0.3, 0.5, 0.75, 0.9)]
    assert shares == sorted(shares) and shares[0] < 0.05
    plain = (0.75 * wide.mean() - 0.05) / (wide.mean() - 0.05)
    assert shares[3] > 1 - 0.5 * (1 - plain)  # still as wide as the portrait
    assert opened(1.0) == pytest.approx(1, abs=0.02)


def performed(left: float, right: float, alike: bool = False) -> np.ndarray:
    """Openness (2,) of a portrait's lids under a performer whose eyes are open by these shares."""
    source, model = SourceFace(top.mean_face() * 100 + [200, 200, 0]), SourceFace(top.mean_face())
    rest = Rest(model.face, lids_closed=np.full(2, 0.03), lids_open=model.openness)
    lids = model.face.copy()
    model.set_lids(lids, np.array([left, right]))
    retarget = Retarget(source, rest)
    retarget.alike = alike
    return retarget(Move(0.0, np.zeros(3), np.zeros(3), 1.0, lids - model.face, np.array([1e-6, 0]))).openness


def test_lids_that_differ_a_little_agree_and_a_wink_stays() -> None:
    assert np.ptp(performed(0.6, 0.72)) < 0.02
    assert np.ptp(performed(0.6, 0.72, alike=True)) > 0.05  # one's own are as they were
    assert np.ptp(performed(0.0, 1.0)) > 0.7


def test_an_eye_that_is_open_beside_one_read_as_shut_is_believed_however_the_head_is_turned() -> None:
    model = SourceFace(top.mean_face())
    both = Agreed(Rest(model.face, lids_closed=np.full(2, 0.02), lids_open=model.openness))
    for lids, least, most in (((0.0, 0.9), 0.5, 1.0), ((0.0, 0.0), -0.2, 0.1), ((0.0, 0.3), -0.2, 0.25)):
        face = model.face.copy()
        model.set_lids(face, np.array(lids))
        assert least < both.shares(face - model.face, 20.0)[1] < most


def test_a_liner_stays_dark_on_a_lid_that_narrows() -> None:
    image, face = person()
    for upper, _ in EYES:
        cv2.polylines(image, [np.round(face.points[upper, :2]).astype(np.int32)], False, LASH, 12, cv2.LINE_AA)
    lids = Lids(image, face, (0, 0), np.zeros((8, 8), np.float32))
    out, narrowed = image.copy(), target(face, 0.45)
    lids.draw(out, narrowed)
    middle = narrowed.points[EYES[0][0][len(EYES[0][0]) // 2], :2]
    column = out[:, round(middle[0])].mean(-1)[round(middle[1]) - 12 : round(middle[1]) + 6]
    assert (column < 0.6 * np.mean(SKIN)).sum() >= 5


def test_balls_of_stone_have_no_irises() -> None:
    points = top.mean_face() * 300 + [300, 300, 0]
    image = np.full((600, 600, 3), 190, np.uint8)
    assert irises(image, points) == 0
    for iris in (top.RIGHT_IRIS, top.LEFT_IRIS):
        radius = float(np.linalg.norm(points[iris[1], :2] - points[iris[0], :2]))
        cv2.circle(image, tuple(np.round(points[iris[0], :2]).astype(int).tolist()), round(radius), (60, 40, 30), -1)
    assert irises(image, points) == 1


def test_a_lid_without_a_dark_line_gets_half_of_the_others() -> None:
    image, face = person()
    upper = np.round(face.points[EYES[0][0], :2]).astype(np.int32)
    cv2.polylines(image, [upper], False, tuple(int(0.75 * v) for v in SKIN), 6, cv2.LINE_AA)
    grain = np.zeros((8, 8), np.float32)
    pale, dark = (Lid(image, face.points, k, grain).depth for k in (0, 1))
    right, left = (lid.depth for lid in Lids(image, face, (0, 0), grain)._each)
    assert pale < right < left == dark
