"""Sentences to timelines: what is raised, in what order, for how long; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from infinex.drivers.text import open_text, read_text
from infinex.drivers.timeline import Cue, Timeline, head_turn
from infinex.drivers.words import base, lexicon, nearest, slips
from infinex.errors import InputError
from infinex.face.pose import Pose, to_matrix


def peak(text: str, channel: str) -> float:
    return read_text(text).peaks().get(channel, 0.0)


def start(text: str, channel: str) -> float:
    """When a channel first reaches half of its height."""
    timeline = read_text(text)
    t = np.arange(0, timeline.duration, 0.02)
    track = np.abs(timeline.tracks(t)[channel])
    return float(t[np.flatnonzero(track >= track.max() / 2)[0]])


@pytest.mark.parametrize(
    ("text", "raised", "quiet"),
    [
        ("She smiles.", "AU12", "AU15"),
        ("he frowns", "AU4", "AU12"),
        ("looks shocked", "AU5", "AU12"),
        ("She raises her left eyebrow", "AU2L", "AU2R"),
        ("winks with her right eye", "AU46R", "AU46L"),
        ("she closes her left eye", "AU43L", "AU43R"),
        ("The corners of her mouth turn down", "AU15", "AU12"),
        ("he wrinkles his nose in disgust", "AU9", "AU12"),
        ("puffs out her cheeks", "AU34", "AU12"),
        ("her jaw drops", "AU26", "AU12"),
        ("presses his lips together", "AU24", "AU25"),
        ("tightly closes her eyes", "AU43", "AU5"),
        ("He is not happy, he is angry", "AU4", "AU12"),
        ("She nods without smiling", "nod", "AU12"),
        ("smiles without showing her teeth", "AU12", "AU25"),
    ],
)
def test_raises_what_is_said_and_nothing_else(text: str, raised: str, quiet: str) -> None:
    assert abs(peak(text, raised)) > 0.2
    assert abs(peak(text, quiet)) < 0.05


def test_sides_and_directions_are_the_subjects_own() -> None:
    assert peak("she looks to the left", "look_x") > 10
    assert peak("she turns her head to the right", "turn") < -10
    assert peak("he tilts his head to the left", "tilt") > 8
    assert peak("looks down", "look_y") > 8
    assert peak("looks up at the ceiling", "look_y") < -8
    R = to_matrix(head_turn(10, 20, 5))
    assert Pose(1.0, R, np.zeros(3)).angles == pytest.approx([10, 20, 5], abs=1e-6)


def test_order() -> None:
    assert start("she smiles, then looks surprised", "AU12") < start("she smiles, then looks surprised", "AU5")
    assert start("after nodding she smiles", "nod") < start("after nodding she smiles", "AU12")
    assert start("she smiles after frowning", "AU4") < start("she smiles after frowning", "AU12")
    assert start("He smiles before he yawns", "AU12") < start("He smiles before he yawns", "AU27")
    both = "she nods while smiling"
    assert abs(start(both, "nod") - start(both, "AU12")) < 0.4
    assert start("She smiles. After three seconds she yawns.", "AU27") > 4.5


def test_an_expression_ends_when_another_begins() -> None:
    timeline = read_text("she smiles, then frowns")
    end = timeline.tracks(np.array([timeline.duration - 1.2]))
    assert end["AU12"][0] < 0.1 < end["AU4"][0]
    closed = read_text("she closes her eyes, then smiles, then opens her eyes")
    t = np.arange(0, closed.duration, 0.02)
    tracks = closed.tracks(t)
    assert tracks["AU43"][tracks["AU12"].argmax()] > 0.9
    assert tracks["AU43"][t > closed.duration - 0.6].max() < 0.1


def test_pronouns_and_waits() -> None:
    timeline = read_text("She closes her eyes. After two seconds she opens them and smiles.")
    assert not timeline.unknown
    t = np.arange(0, timeline.duration, 0.02)
    shut = t[timeline.tracks(t)["AU43"] > 0.9]
    assert shut.max() - shut.min() > 2.5


def test_a_turned_head_stays_while_the_eyes_look_elsewhere() -> None:
    timeline = read_text("she turns her head to the left, then looks up")
    tracks = timeline.tracks(np.arange(0, timeline.duration, 0.02))
    assert tracks["turn"][tracks["look_y"].argmin()] > 10
    back = read_text("she looks left, then looks right")
    tracks = back.tracks(np.arange(0, back.duration, 0.02))
    assert tracks["look_x"].max() > 12 and tracks["look_x"].min() < -12


def test_degrees_and_speeds() -> None:
    assert peak("she smiles slightly", "AU12") < peak("she smiles", "AU12") < peak("she smiles broadly", "AU12")
    assert start("he slowly smiles", "AU12") > start("he smiles", "AU12") > start("he suddenly smiles", "AU12")


def test_counts_and_durations() -> None:
    def beats(text: str) -> int:
        timeline = read_text(text)
        track = timeline.tracks(np.arange(0, timeline.duration, 0.01))["nod"] > 6
        return int(np.diff(track.astype(int)).clip(0).sum())

    assert [beats(f"she nods {n}") for n in ("once", "twice", "three times", "5 times")] == [1, 2, 3, 5]
    long = read_text("he smiles for six seconds").tracks(np.array([6.0, 7.5]))["AU12"]
    assert long[0] > 0.5 > 0.1 > long[1]
    assert read_text("smiles for 4 seconds, then frowns for 2.5 seconds").duration == pytest.approx(7.8, abs=0.8)


def test_and_means_and_then_where_both_cannot_be() -> None:
    timeline = read_text("she smiles and frowns")
    tracks = timeline.tracks(np.arange(0, timeline.duration, 0.02))
    assert np.minimum(tracks["AU12"], tracks["AU15"]).max() < 0.35
    assert start("she smiles and frowns", "AU12") < start("she smiles and frowns", "AU15")


def test_contradictions_are_named() -> None:
    timeline = read_text("he smiles while frowning")
    assert any("contradict" in note for note in timeline.notes)
    assert timeline.peaks().get("AU15", 0.0) == 0 and timeline.peaks()["AU12"] > 0.5


def test_what_is_not_understood_is_named() -> None:
    timeline = read_text("she smiles at the zeppelin")
    assert timeline.unknown == ("zeppelin",)
    assert "not understood: zeppelin" in timeline.explain()
    assert any("zeppelin" in note for note in open_text("she smiles at the zeppelin").notes)


def test_slips_of_spelling_are_mended_and_said() -> None:
    timeline = read_text("she looks suprised")
    assert timeline.peaks()["AU5"] > 0.4
    assert "surprised" in timeline.explain()
    assert slips("surprised", "suprised", 2) == 1 and slips("form", "from", 1) == 1 and slips("abc", "xyz", 1) == 2
    assert nearest("plain") == ("", "")  # good English, not a misspelt pain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("12 34 !?", "no words"),
        ("Она улыбается", "English"),
        ("彼女は微笑む", "English"),
        ("Ella sonríe y luego cierra los ojos", "English"),
        ("Sie lächelt und schaut dann nach oben", "English"),
        ("the cat sat on the table", "what the face should do"),
        ("smile " * 5000, "20000"),
    ],
)
def test_refusals(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_text(text)


def test_idle_life_blinks_and_stays_small() -> None:
    timeline = read_text("he smiles for twelve seconds")
    alive, still = timeline.motion(25.0), timeline.motion(25.0, still=True)
    assert len(alive) == len(still) and alive.units is not None and still.units is not None
    blinks = alive.units[:, alive.unit_names.index("AU45")] > 0.5
    assert 2 <= int(np.diff(blinks.astype(int)).clip(0).sum()) <= 8
    assert "AU45" not in still.unit_names
    assert np.abs(alive.rotation - still.rotation).max() < np.radians(4)
    assert np.abs(still.rotation).max() == 0
    again = timeline.motion(25.0)
    assert np.array_equal(alive.offsets, again.offsets) and np.array_equal(alive.gaze, again.gaze)


def test_motion_begins_and_ends_at_rest() -> None:
    motion = read_text("she laughs, then looks up to the left").motion(25.0, still=True)
    for row in (0, -1):
        assert np.abs(motion.offsets[row]).max() < 1e-3 and np.abs(motion.rotation[row]).max() < 0.01


def test_cues_are_eased() -> None:
    cue = Cue(1.0, ((0.0, 0.0), (0.4, 1.0), (1.0, 0.5)), {"AU12": 1.0}, "smiles")
    t = np.linspace(0.9, 2.1, 1201)
    level = cue.envelope(t)
    assert cue.end == 2.0 and level[0] == 0 and level[-1] == 0
    assert level.max() == pytest.approx(1.0, abs=1e-3) and np.abs(np.diff(level[t < 1.9])).max() < 0.006
    both = Timeline((cue, cue), 2.0).tracks(t)
    assert np.allclose(both["AU12"], level)


def test_one_sided_units_leave_the_other_half_alone() -> None:
    motion = read_text("she winks with her left eye for one second").motion(25.0, still=True)
    assert motion.units is not None and "AU46L" in motion.unit_names
    furthest = np.abs(motion.offsets).max(0).max(-1)
    assert furthest[386] > 0.03 > 3 * furthest[159]  # the upper lids, left and right


def test_what_the_face_model_lacks_is_named() -> None:
    driver = open_text("he flares his nostrils and smiles")
    assert driver.unshown == ("AU38",) and any("AU38" in n for n in driver.notes)
    assert len(list(driver)) == driver.frames


def test_the_lexicon_is_large_and_sound() -> None:
    book = lexicon()
    spoken = [m for m in book.phrases.values() if m.kind == "expression"]
    assert len(spoken) >= 300 and not book.repeated
    for meaning in [*book.phrases.values(), *(m for f in book.frames.values() for m in f.values())]:
        assert meaning.levels or meaning.gesture
        assert all(0 < v <= 1 for c, v in meaning.levels.items() if c.startswith("AU"))
    assert base("smiling", book.words) == "smile" and base("sadly", book.words) == "sad"
