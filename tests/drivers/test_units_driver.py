"""Units text, emotions, timelines and the motion made of them."""

import numpy as np
import pytest

from infinex.drivers.units import (
    EMOTIONS,
    Keyframe,
    ease,
    emotion,
    parse_timeline,
    parse_units,
    timeline_motion,
    units_motion,
)
from infinex.errors import InputError
from infinex.face.units import canonical, units_offsets
from infinex.motion import Motion


def test_units_are_read() -> None:
    assert parse_units("AU12=0.8,AU6L=0.5") == {"AU12": 0.8, "AU6L": 0.5}
    assert parse_units(" au12 = .8 , 6l=C,AU26") == {"AU12": 0.8, "AU6L": 0.6, "AU26": 1.0}
    assert parse_units("") == {}
    assert parse_units("happy=0.5, AU2=1")["AU12"] == pytest.approx(EMOTIONS["happy"]["AU12"] / 2)
    assert parse_units("lip corner puller=0.3") == {"AU12": 0.3}
    assert parse_units("AU12=1.7", exaggerate=True) == {"AU12": 1.7}


@pytest.mark.parametrize(("text", "words"), [
    ("AU12=x", ["character 6", "number", ">>> x"]), ("AU12=1.5", ["0 to 1", "--allow-exaggeration", "character 6"]),
    ("AU12=-0.1", ["0 to 1"]), ("AU12=nan", ["0 to 1"]), ("AU6=1,AU3=.2", ["AU3", "AU2", "character 7"]),
    ("AU12==1", ["comma", "character 6"]), ("AU6=1,,AU12=1", ["character 7", "a unit is wanted"]),
    ("happpy=1", ["happy"]), ("AU24L=1", ["AU24"]), ("AU12=1;", ["comma"]),
])  # fmt: skip
def test_wrong_units_are_marked(text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_units(text)
    assert all(w in str(error.value) for w in words), str(error.value)
    assert "\n" not in str(error.value)


def test_exaggeration_ends_at_two() -> None:
    with pytest.raises(InputError, match="0 to 2"):
        parse_units("AU12=2.1", exaggerate=True)


def test_timelines_are_read() -> None:
    keys = parse_timeline("0s: ; 1s: AU12=1,AU6=.6; 2500ms: AU12=.2;")
    assert keys == [Keyframe(0.0, {}), Keyframe(1.0, {"AU12": 1.0, "AU6": 0.6}), Keyframe(2.5, {"AU12": 0.2})]
    assert parse_timeline("AU12=1")[-1].units == {"AU12": 1.0}


@pytest.mark.parametrize(("text", "words"), [
    ("0s: ; 1s AU12=1", ["character 7", "time"]), ("0s:; 0s: AU1=1", ["character 6", "after"]),
    ("1s: AU12=x", ["character 10"]), ("soon: AU1", ["character 1", "soon"]), (";;", ["time"]),
    ("0s:; 1s: AU12=1, AU99=1", ["character 18", "AU99"]), ("-1s: AU1", ["-1s"]), ("9999s: AU1", ["600"]),
])  # fmt: skip
def test_wrong_timelines_are_marked(text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_timeline(text)
    assert all(w in str(error.value) for w in words), str(error.value)


def test_emotions_are_units() -> None:
    assert len(EMOTIONS) == 8 + 15
    for name, units in EMOTIONS.items():
        assert all(canonical(u) == u and 0 < v <= 1 for u, v in units.items()), name
    assert set(emotion("Happily-Surprised")) == {"AU1", "AU2", "AU12", "AU25", "AU5", "AU26"}
    assert emotion("fear", 0.5)["AU20"] == EMOTIONS["afraid"]["AU20"] / 2
    with pytest.raises(InputError, match="did you mean angry"):
        emotion("angri")


def test_muscles_pull_fast_and_let_go_slowly() -> None:
    t = np.linspace(0, 1, 101)
    for rising in (True, False):
        curve = ease(t, rising)
        assert curve[0] == 0 and curve[-1] == 1 and (np.diff(curve) >= 0).all()
        assert np.diff(curve)[[0, -1]].max() < 0.01  # no jerk at either end
    pull, let_go = np.diff(ease(t)), np.diff(ease(t, False))
    assert pull.argmax() < 55 and let_go.argmax() < 45
    assert ease(0.9, False) > 0.97


def test_a_timeline_becomes_a_motion(tmp_path: object) -> None:
    motion = timeline_motion(parse_timeline("0s: ; 1s: AU12=1,AU6=.6; 2s: AU12=.2"), fps=25)
    assert len(motion) == 51 and motion.unit_names == ("AU12", "AU6") and motion.units is not None
    assert not motion.offsets[0].any() and not motion.rotation.any() and not motion.gaze.any()
    assert np.allclose(motion.units[25], [1, 0.6]) and np.allclose(motion.units[50], [0.2, 0])
    assert np.allclose(motion.offsets[25], units_offsets({"AU12": 1, "AU6": 0.6}), atol=1e-6)
    speed = np.abs(np.diff(motion.offsets[:, 61], axis=0)).max(1)
    assert speed.max() < 0.02
    assert len(timeline_motion([(0.0, {}), (1.0, {"AU51": 1})], fps=10, hold=1.0)) == 21


def test_heads_turn_and_eyes_look() -> None:
    motion = timeline_motion([(0, {}), (1, {"AU51": 1, "AU61": 0.5, "AU57": 1})])
    assert motion.rotation[-1, 1] < -0.3 and motion.gaze[-1, 0] > 0.2 and motion.scale[-1] > 1.1
    assert np.array_equal(motion.translation[0], np.zeros(3))


def test_motion_survives_its_file(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "smile.motion.npz"
    motion = timeline_motion([(0, {}), (0.4, {"AU12L": 0.7})])
    motion.save(path)
    back = Motion.load(path)
    assert back.unit_names == ("AU12L",) and back.units is not None and motion.units is not None
    assert np.allclose(back.units, motion.units, atol=1e-3)


@pytest.mark.parametrize("keys", [[], [(1, {}), (1, {})], [(-1, {})], [(0, {"AU12": 3})], [(0, {"AU3": 1})],
                                  [(0, {"AU12": float("nan")})], [(9e9, {})]])  # fmt: skip
def test_impossible_keyframes_are_refused(keys: list) -> None:
    with pytest.raises(InputError):
        timeline_motion(keys)
    with pytest.raises(InputError):
        timeline_motion([(0, {})], fps=0)


def test_units_a_frame_at_a_time() -> None:
    amounts = np.random.default_rng(0).random((5, 2))
    motion = units_motion(amounts, ["AU12", "AU26"], 30)
    one = units_offsets({"AU12": amounts[3, 0], "AU26": amounts[3, 1]})
    assert np.allclose(motion.offsets[3], one, atol=1e-6)
