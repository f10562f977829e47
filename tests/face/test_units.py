"""Action Units: fields, how they act together, names, and their estimation."""

import numpy as np
import pytest

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.relax import areas
from infinex.face.shape import eye_openness, gaze_of, lip_gaps
from infinex.face.units import (
    FACE_UNITS,
    OPENFACE,
    SIDED,
    UNITS,
    basis,
    canonical,
    columns_of,
    combined,
    field_of,
    tamed,
    units_offsets,
    units_pose,
)

MEAN = top.mean_face()
MOUTH = top.LIPS_INNER + top.LIPS_OUTER
UPPER = top.RIGHT_BROW + top.LEFT_BROW + top.RIGHT_EYE + top.LEFT_EYE


def moved(**amounts: float) -> np.ndarray:
    return units_offsets(amounts)


def test_the_basis_is_that_of_facs() -> None:
    numbers = [1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43, 45, 46]
    assert [f"AU{n}" for n in numbers] == list(FACE_UNITS) == list(basis().names)
    assert set(OPENFACE) <= set(FACE_UNITS) and len(OPENFACE) == 17
    assert {f"AU{n}" for n in (*range(51, 59), *range(61, 65))} <= set(UNITS)


@pytest.mark.parametrize("name", FACE_UNITS)
def test_every_unit_moves_smoothly_and_alike_on_both_sides(name: str) -> None:
    field = field_of(name)
    size = np.linalg.norm(field, axis=1)
    assert 0.02 < size.max() < 0.45
    flipped = field[top.mirror()] * [-1, 1, 1]
    assert np.abs(flipped - field).max() < 0.02
    if UNITS[name].sides:
        left, right = field_of(name + "L"), field_of(name + "R")
        assert np.allclose(left + right, field)
        far = MEAN[:, 0] < -0.08  # the subject's right
        assert np.abs(left[far]).max() < 1e-9
        assert np.abs(left[MEAN[:, 0] > 0.08]).max() > 0.015


@pytest.mark.parametrize(("name", "points", "direction"), [
    ("AU1", [107, 336], (0, -1)), ("AU2", [70, 300], (0, -1)), ("AU4", [107, 336], (0, 1)),
    ("AU12", [61, 291], (0, -1)),
    ("AU15", [61, 291], (0, 1)), ("AU17", [18, 200], (0, -1)), ("AU26", [152, 17], (0, 1)),
    ("AU10", [37, 267], (0, -1)),
    ("AU12L", [291], (1, 0)), ("AU12R", [61], (-1, 0)), ("AU18", [291], (-1, 0)), ("AU20", [291], (1, 0)),
])  # fmt: skip
def test_units_pull_where_their_muscles_do(name: str, points: list[int], direction: tuple[int, int]) -> None:
    shift = moved(**{name: 1.0})[points, :2]
    assert (shift @ np.array(direction) > 0.02).all()


def test_upper_units_leave_the_mouth_alone_and_the_reverse() -> None:
    for name in FACE_UNITS:
        field = field_of(name)
        own = np.abs(field).max()
        other = MOUTH if UNITS[name].region == "upper" else UPPER
        if name == "AU9":  # its muscle runs from between the eyes to the lip
            continue
        assert np.abs(field[other]).max() < 0.1 * own + 0.006, name


def test_no_combination_folds_the_mesh_or_crosses_lips_or_lids() -> None:
    rng = np.random.default_rng(1)
    area = areas(MEAN)
    seen = np.abs(area) > 2e-5
    for k in range(150):
        chosen = rng.choice(SIDED, int(rng.integers(1, 8)), replace=False)
        offsets = units_offsets({n: float(rng.random()) if k % 3 else 1.0 for n in chosen})
        face = MEAN + offsets
        assert lip_gaps(face).min() > -1e-9, chosen
        for upper, lower in ((159, 145), (386, 374), (158, 153), (160, 144), (385, 380), (387, 373)):
            assert face[lower, 1] - face[upper, 1] > -1e-9, chosen
        signed = areas(face) * np.sign(area)
        assert (signed[seen] > 0).all(), chosen


def test_the_opening_of_a_dropped_jaw_has_no_corner_but_its_two_ends() -> None:
    for unit in ("AU26", "AU27"):
        face = MEAN + units_offsets({unit: 1.0, "AU25": 0.5})
        for rim in (top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER):
            way = np.diff(face[rim, :2], axis=0)
            bend = np.diff(np.unwrap(np.arctan2(way[:, 1], way[:, 0])))
            assert np.degrees(np.abs(bend)).max() < 32, (unit, np.degrees(bend).round())


def test_units_that_meet() -> None:
    gap = {k: lip_gaps(MEAN + units_offsets(v))[4] for k, v in {
        "rest": {}, "parted": {"AU25": 1}, "drop": {"AU26": 1}, "both": {"AU25": 1, "AU26": 1}, "stretch": {"AU27": 1},
        "all": {"AU25": 1, "AU26": 1, "AU27": 1}, "pressed": {"AU25": 1, "AU24": 1}}.items()}  # fmt: skip
    assert gap["rest"] < gap["parted"] < gap["drop"] < gap["both"] < gap["parted"] + gap["drop"]
    assert gap["both"] < gap["stretch"] < gap["all"] < 1.25 * gap["stretch"]
    assert gap["pressed"] < 0.005
    smile, frown, both = (units_offsets(u)[61, 1] for u in ({"AU12": 1}, {"AU15": 1}, {"AU12": 1, "AU15": 1}))
    assert smile < both < frown
    wide, shut = eye_openness(MEAN), eye_openness(MEAN + units_offsets({"AU5": 1, "AU45": 1}))
    assert (eye_openness(MEAN + units_offsets({"AU5": 1})) > 1.2 * wide).all() and (shut < 0.12 * wide).all()
    # A sad brow: oblique, its inner ends up and together.
    inner = units_offsets({"AU1": 1, "AU4": 1})[107]
    assert inner[1] < -0.05 and inner[0] > 0.02


def test_one_unit_alone_stays_as_it_is() -> None:
    eye = np.eye(len(SIDED))
    assert np.allclose(tamed(eye), eye)
    some = np.random.default_rng(0).uniform(-0.2, 1.2, eye.shape)
    assert (np.stack([tamed(row) for row in some]) == tamed(some)).all()  # by numbers and by arrays
    half = tamed(0.5 * eye + 1e-9)
    assert np.allclose(half, 0.5 * eye, atol=1e-6)


def test_lids_follow_the_eyes() -> None:
    wide = eye_openness(MEAN)
    down, up = (eye_openness(MEAN + units_offsets({n: 1.0})) for n in ("AU64", "AU63"))
    assert (down < 0.75 * wide).all() and (up > 1.05 * wide).all()
    assert np.array_equal(units_offsets({"AU61": 1.0}), np.zeros((478, 3)))


def test_head_and_eyes_turn_the_way_facs_says() -> None:
    turn, scale, gaze = units_pose({"AU51": 1, "AU54": 0.5, "AU56": 1, "AU57": 1, "AU61": 1, "AU63": 1})
    from infinex.face.pose import Pose, to_matrix

    yaw, _, _ = Pose(1, to_matrix(np.array([0, turn[1], 0])), np.zeros(3)).angles
    _, pitch, _ = Pose(1, to_matrix(np.array([turn[0], 0, 0])), np.zeros(3)).angles
    _, _, roll = Pose(1, to_matrix(np.array([0, 0, turn[2]])), np.zeros(3)).angles
    assert yaw > 15 and pitch > 5 and roll < -10  # to the subject's left, down, towards the right shoulder
    assert scale > 1.1 and gaze[0] > 0.3 and gaze[1] < -0.2


def test_zero_is_zero() -> None:
    assert np.array_equal(units_offsets({}), np.zeros((478, 3)))
    assert np.array_equal(units_offsets(dict.fromkeys(UNITS, 0.0)), np.zeros((478, 3)))


def test_names_are_read_in_any_spelling() -> None:
    assert [canonical(n) for n in ("AU12", "au6l", "04", " 12R ", "AU_1", "au 45")] == [
        "AU12", "AU6L", "AU4", "AU12R", "AU1", "AU45"]  # fmt: skip
    for wrong, meant in (("AU3", "AU2"), ("AU13", "AU12"), ("lip puker", "AU18"), ("AU17L", "AU17"), ("", "AU")):
        with pytest.raises(InputError, match=meant):
            canonical(wrong)


def test_a_side_counts_where_it_is_stronger() -> None:
    row = dict(zip(SIDED, columns_of({"AU12": 0.4, "AU12L": 0.9, "AU46": 1.0})))
    assert (row["AU12L"], row["AU12R"], row["AU46L"], row["AU46R"]) == (0.9, 0.4, 0.0, 1.0)


def test_estimates_explain_what_they_were_made_from() -> None:
    b = basis()
    rng = np.random.default_rng(0)
    amounts = np.clip(rng.random((20, len(b.names))) * 1.6 - 0.9, 0, 0.7)
    offsets = b.offsets(amounts)
    back = b.estimate(offsets)
    assert back.min() >= 0 and back.max() <= 1
    again = b.offsets(back)
    assert np.abs(again - offsets)[:, :468, :2].mean() < 0.2 * np.abs(offsets)[:, :468, :2].mean()
    assert np.array_equal(b.estimate(np.zeros((2, 478, 3))), np.zeros((2, len(b.names))))


def test_frames_are_independent() -> None:
    rows = np.stack([columns_of({"AU12": 1, "AU26": 0.5}), columns_of({"AU45": 1}), columns_of({})])
    together = combined(rows)
    assert all(np.allclose(together[i], combined(rows[i])[0]) for i in range(3))
    assert np.isclose(gaze_of(MEAN + together[0])[1], gaze_of(MEAN)[1], atol=0.05)
