"""Scenes of layers: what is refused, how layers lie in time and on each other, and what is heard of them."""

from __future__ import annotations

import itertools
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infinex.drivers.layers import read_scene
from infinex.drivers.motion import load_motion
from infinex.errors import InputError
from infinex.face.shape import eye_openness, lip_gaps
from infinex.jobs.layers import Cast, open_layers
from infinex.media.audio import read_audio
from infinex.media.mix import Heard, mix

SMILE = {"kind": "performance", "motion": "smile"}
WIDE = {"kind": "expression", "keyframes": [{"time": 0, "units": {"AU26": 1, "AU12": 0.5}, "yaw": 10}]}


def moves(*layers: dict[str, Any], **scene: Any) -> list[Any]:
    driver = open_layers({"layers": list(layers), **scene})
    driver.settle()
    try:
        return [d.move for d in driver]
    finally:
        driver.close()


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"kind": "dance"}, "layer 2: a layer is an object with a kind"),
        ({"kind": "performance"}, "comes from one of file, motion"),
        ({**SMILE, "colour": 1}, "'colour' is not known"),
        ({**SMILE, "motion": "grin"}, "layer 2 (performance): no motion called 'grin'"),
        ({**SMILE, "speed": 0}, "speed is a number from 0.1 to 10"),
        ({**SMILE, "speed": float("nan")}, "speed is a number"),
        ({**SMILE, "parts": ["nose"]}, "unknown part 'nose'"),
        ({**SMILE, "start": 2, "end": 1}, "end 1: it must come after start 2"),
        ({**SMILE, "driver_face": "2"}, "goes with a driver that is a clip"),
        ({**SMILE, "at": 99}, None),
        ({**SMILE, "face": 0}, "face is the number of a face"),
        ({**SMILE, "file": "a.mp4"}, "there are several"),
        ({"kind": "performance", "file": "nowhere.mp4"}, "nowhere.mp4: no such file"),
        ({"kind": "voice", "say": "Hm.", "combine": "add"}, "'combine' is not known"),
        ({"kind": "head", "keyframes": [{"time": 0, "units": {}}]}, "'units' is not known"),
        ({"kind": "expression", "keyframes": [{"time": 0, "units": {"AU99": 1}}]}, "there is no unit 'AU99'"),
        ({"kind": "expression", "keyframes": [{"time": 1}, {"time": 1}]}, "at the same time"),
        ({"kind": "expression", "units": "AU12=7"}, "layer 2 (expression): units, character"),
        ("smile", "a layer is an object"),
    ],
)
def test_what_is_unknown_is_refused_in_one_line(layer: Any, words: str | None) -> None:
    scene = {"layers": [SMILE, layer], "duration": 5}
    if words is None:
        words = "begins when the scene has ended"
    with pytest.raises(InputError) as refused:
        open_layers(scene)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_document_that_is_none(tmp_path: Path) -> None:
    for text, words in (("[]", "an object"), ("{", "not JSON"), ('{"layers": []}', "between 1 and 32"),
                        ('{"version": 9, "layers": [{}]}', "newer"), ('{"layers": [{}], "x": 1}', "'x'")):  # fmt: skip
        path = tmp_path / "scene.json"
        path.write_text(text)
        with pytest.raises(InputError, match=words.replace("[", r"\[")):
            open_layers(path)
    with pytest.raises(InputError, match="no such file"):
        open_layers(tmp_path / "none.json")


def test_one_plain_performance_is_itself() -> None:
    alone = load_motion("smile")
    for got, own in zip(moves(SMILE), alone, strict=True):
        np.testing.assert_array_equal(got.offsets, own.offsets)
    # Through the mixer it is the same, too, and a layer of no strength changes nothing.
    mixed = moves(SMILE, {**WIDE, "strength": 0.0}, fps=alone.fps)
    for got, own in zip(mixed, alone, strict=True):
        np.testing.assert_allclose(got.offsets, own.offsets, atol=1e-7)
        np.testing.assert_allclose(got.rotation, own.rotation, atol=1e-9)


def test_keyframes_add_or_replace_in_their_parts_and_fade() -> None:
    plain = moves(SMILE, fps=25)
    over = moves(SMILE, {**WIDE, "at": 0.5, "length": 1.0, "parts": ["lips"]}, fps=25)
    assert len(over) == len(plain)
    for i in (0, 12, 39, 50):  # before it begins, as it does, and after it has ended
        np.testing.assert_allclose(over[i].offsets, plain[i].offsets, atol=1e-6)
    rest = open_layers({"layers": [SMILE]}).rest.face
    gaps = [lip_gaps(rest + m.offsets)[4] - lip_gaps(rest + p.offsets)[4] for m, p in zip(over, plain)]
    assert gaps[25] > 0.1 and 0 < gaps[14] < gaps[25] and np.abs(np.diff(gaps)).max() < 0.35 * max(gaps)
    np.testing.assert_allclose(over[25].offsets[105], plain[25].offsets[105], atol=1e-9)  # a brow stays
    np.testing.assert_array_equal(over[25].rotation, plain[25].rotation)  # the head is not among its parts
    alone = moves(WIDE, duration=1, fps=25)
    instead = moves(SMILE, {**WIDE, "combine": "replace"}, fps=25)
    np.testing.assert_allclose(instead[25].rotation, alone[10].rotation, atol=1e-9)
    assert np.abs(instead[25].offsets - alone[10].offsets).max() < 0.1 < np.abs(instead[25].offsets).max()


def test_lids_that_two_layers_close_are_shut() -> None:
    shut = {"kind": "expression", "keyframes": [{"time": 0, "units": {"AU45": 1}}]}
    half = {"kind": "expression", "keyframes": [{"time": 0, "units": {"AU43": 0.6}}]}
    one, both = (moves(*layers, duration=0.2)[2] for layers in ((shut,), (shut, half)))
    rest = open_layers({"layers": [shut]}).rest.face
    upper, lower = 159, 145
    assert (rest + both.offsets)[lower, 1] - (rest + both.offsets)[upper, 1] > -0.01  # not inside out
    assert eye_openness(rest + both.offsets).max() < eye_openness(rest + one.offsets).max() + 0.02


def test_layers_lie_in_time() -> None:
    alone = load_motion("nod")
    slow = moves(
        {**SMILE, "off": True}, {**SMILE, "motion": "nod", "speed": 0.5, "at": 1.0, "fade_in": 0}, fps=alone.fps
    )
    assert len(slow) == round((1 + 2 * alone.duration) * alone.fps)
    begin = round(alone.fps)
    np.testing.assert_array_equal(slow[begin - 2].offsets, 0)
    np.testing.assert_allclose(slow[begin + 40].rotation, alone.at(20).rotation, atol=1e-6)
    round_and_round = moves({"kind": "performance", "motion": "nod", "loop": True, "length": 3 * alone.duration},
                            fps=alone.fps)  # fmt: skip
    n = len(alone)
    assert abs(len(round_and_round) - 3 * n) <= 1
    np.testing.assert_allclose(round_and_round[n + 5].rotation, round_and_round[5].rotation, atol=1e-6)
    step = [np.abs(b.rotation - a.rotation).max() for a, b in itertools.pairwise(round_and_round)]
    assert step[n - 1] < 2 * max(step[: n - 1])  # no jump at the seam


def test_the_scene_lasts_as_its_layers_do() -> None:
    scene = read_scene({"layers": [WIDE, {**SMILE, "loop": True}]})
    assert [layer.stands for layer in scene.layers] == [True, False]
    assert len(moves(WIDE, SMILE, fps=25)) == round(load_motion("smile").duration * 25)
    assert len(moves(WIDE, {**SMILE, "loop": True}, duration=7, fps=10)) == 70


def tone(path: Path, hertz: float, seconds: float) -> Path:
    t = np.arange(round(48000 * seconds)) / 48000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes((0.3 * np.sin(2 * np.pi * hertz * t) * 32767).astype("<i2").tobytes())
    return path


def test_sounds_are_mixed_where_they_belong(tmp_path: Path) -> None:
    low, high = tone(tmp_path / "low.wav", 220, 1.0), tone(tmp_path / "high.wav", 1000, 0.5)
    out = mix([Heard(low, 0.0, 1.0), Heard(high, 1.0, 2.0, speed=0.5, volume=0.5, period=1.0)], 3.5, tmp_path / "o.wav")
    sound = read_audio(out, 48000)
    assert len(sound) == round(3.5 * 48000)

    def loudest(a: float, b: float) -> tuple[float, float]:
        part = sound[round(a * 48000) : round(b * 48000)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        return float(spectrum.argmax() / (b - a)), float(np.abs(part).max())

    assert loudest(0.2, 0.8) == (pytest.approx(220, abs=3), pytest.approx(0.3, abs=0.02))
    for a in (1.2, 2.2):  # half as fast, at its own pitch, twice
        assert loudest(a, a + 0.5) == (pytest.approx(1000, abs=5), pytest.approx(0.15, abs=0.03))
    assert np.abs(sound[round(3.05 * 48000) :]).max() < 1e-3


def test_each_face_of_a_group_has_layers_of_its_own(tmp_path: Path) -> None:
    low, high = tone(tmp_path / "low.wav", 220, 1.0), tone(tmp_path / "high.wav", 1000, 1.0)
    scene = {"layers": [
        {**SMILE, "face": 1}, {**WIDE, "length": 1, "face": 3}, {**WIDE, "at": 0.5, "length": 0.5},
        {"kind": "voice", "file": str(low), "face": 1, "still": True},
        {"kind": "voice", "file": str(high), "face": 3, "at": 1, "still": True},
    ]}  # fmt: skip
    cast = open_layers(scene)
    assert isinstance(cast, Cast)
    with pytest.raises(InputError, match=r"layer 2 \(expression\): face 3: the portrait has 2 faces"):
        cast.open([1], 2)
    drivers = cast.open([2], 3)
    try:
        assert list(drivers) == [1, 2, 3]  # the second has what names no face
        done = {n: [d.move for d in driver.settle()] for n, driver in drivers.items()}
        assert len({len(m) for m in done.values()}) == 1 and len({d.fps for d in drivers.values()}) == 1
        at = lambda n, seconds: np.abs(done[n][round(25 * seconds)].offsets).max()  # noqa: E731
        assert at(2, 0.3) == 0 < at(2, 0.75) and at(3, 0.3) > 0
        alone = moves({**SMILE}, {**WIDE, "at": 0.5, "length": 0.5}, {"kind": "voice", "file": str(low), "still": True},
                      duration=len(done[1]) / 25)  # fmt: skip
        assert np.allclose(done[1][20].offsets, alone[20].offsets)
        assert [d.audio is not None for d in drivers.values()] == [True, False, False]  # both are heard, once
        sound = read_audio(drivers[1].audio, 48000)
        strength = lambda a, hz: np.abs(np.fft.rfft(sound[a : a + 24000])[hz // 2])  # noqa: E731
        assert strength(12000, 220) > 10 * strength(12000, 1000) and strength(60000, 1000) > 10 * strength(60000, 220)
    finally:
        for driver in drivers.values():
            driver.close()


def test_the_command_takes_a_scene(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from infinex.cli import app

    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps({"layers": [{"kind": "performance", "file": "no.mp4"}]}))
    picture = tmp_path / "p.jpg"
    picture.write_bytes(b"")
    for more, words in ((("--motion", "smile"), "one driver"), (("--reference", "3"), "say it in a layer"),
                        ((), "no.mp4: no such file")):  # fmt: skip
        said = CliRunner().invoke(
            app, ["animate", str(picture), "--layers", str(scene), "-o", str(tmp_path / "o.mp4"), *more]
        )
        assert said.exit_code != 0 and words in str(said.exception) + said.output
