"""Speaking: sound, its lines in time, voices of both kinds, and a portrait that says something."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infinex.drivers.directions import directed
from infinex.errors import InputError
from infinex.jobs.open import open_said
from infinex.voices import choice
from infinex.voices.espeak import Espeak, library
from infinex.voices.say import Span, Spoken, say

speaking = pytest.mark.skipif(library() is None, reason="eSpeak NG is not installed: pip install 'infinex[say]'")


@pytest.fixture(autouse=True)
def _no_other_voices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFINEX_VOICES", str(tmp_path / "voices"))
    monkeypatch.setattr(choice, "BUNDLES", ())


def _loud(sound: np.ndarray, rate: int, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(sound[round(start * rate) : round(end * rate)] ** 2)))


@speaking
def test_lines_are_spoken_when_they_are_said_to_be() -> None:
    spoken = say("[smiles] Good morning, everybody. [pause 1] [nods] How are you?", "en")
    assert [s.text for s in spoken.lines] == ["Good morning, everybody.", "How are you?"]
    first, second = spoken.lines
    assert second.start - first.end > 1.0
    assert min(_loud(spoken.sound, spoken.rate, s.start, s.end) for s in spoken.lines) > 0.05
    assert _loud(spoken.sound, spoken.rate, first.end + 0.05, second.start - 0.05) < 1e-3
    assert np.abs(spoken.sound).max() <= 0.96
    smile, nod = spoken.directions
    assert smile.start == first.start and smile.end == nod.start == second.start and nod.end == spoken.seconds


@speaking
def test_speed_and_pitch() -> None:
    text = "The quick brown fox jumps over the lazy dog."

    def length_and_pitch(speed: float, pitch: float) -> tuple[float, float]:
        spoken = say(text, "en", speed, pitch)
        line = spoken.lines[0]
        sound = spoken.sound[round(line.start * spoken.rate) : round(line.end * spoken.rate)]
        power = np.abs(np.fft.rfft(sound)) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / spoken.rate)
        return line.end - line.start, float((power * hertz).sum() / power.sum())

    usual, quick, high = length_and_pitch(1, 0), length_and_pitch(1.6, 0), length_and_pitch(1, 6)
    assert quick[0] < 0.75 * usual[0]
    assert abs(high[0] / usual[0] - 1) < 0.1 and high[1] > 1.15 * usual[1]
    for speed, pitch in ((0.2, 0), (1, 20)):
        with pytest.raises(InputError, match="it goes from"):
            say(text, "en", speed, pitch)


@speaking
def test_voices_by_language_variant_and_name() -> None:
    with Espeak() as espeak:
        assert {"de", "fr", "es"} <= set(espeak.voices())
        plain, variant = espeak.speak("Guten Tag", "de"), espeak.speak("Guten Tag", "de+f3")
        assert plain.shape != variant.shape or not np.allclose(plain, variant)
        assert len(espeak.speak("Good day", "en-gb")) > 2000  # known by its file alone
        with pytest.raises(InputError, match="infinex voices"):
            espeak.speak("Hello", "nobody")
        assert "θ" in espeak.phonemes("three", "en-us")


@pytest.mark.parametrize(
    ("text", "language"),
    [("Good morning, class.", "en"), ("Guten Morgen, liebe Klasse.", "de"), ("Buenos días a todos.", "es"),
     ("Bonjour à tous, je suis Ada.", "fr"), ("Ada Lovelace", "en")],
)  # fmt: skip
def test_the_language_is_found(text: str, language: str) -> None:
    pytest.importorskip("py3langid", reason="pip install 'infinex[say]'")
    assert choice.find_language(text) == language


def _piper(folder: Path, name: str = "test") -> Path:
    """A voice that makes a tone of 100 samples for every phoneme."""
    onnx = pytest.importorskip("onnx", reason="pip install 'infinex[onnx]'")
    helper, kinds = onnx.helper, onnx.TensorProto
    tone = np.sin(np.arange(100) * 0.3).astype(np.float32).reshape(1, 100)
    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], to=kinds.FLOAT),
        helper.make_node("Clip", ["ids", "low", "high"], ["one"]),
        helper.make_node("Transpose", ["one"], ["column"], perm=[1, 0]),
        helper.make_node("MatMul", ["column", "tone"], ["rows"]),
        helper.make_node("Reshape", ["rows", "shape"], ["output"]),
    ]
    inputs = [("input", kinds.INT64, [1, "n"]), ("input_lengths", kinds.INT64, [1]), ("scales", kinds.FLOAT, [3])]
    constants = {"low": np.float32(0), "high": np.float32(1), "tone": tone, "shape": np.array([1, 1, 1, -1])}
    graph = helper.make_graph(
        nodes, "voice", [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info("output", kinds.FLOAT, [1, 1, 1, "t"])],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir(exist_ok=True)
    onnx.save(model, str(folder / f"{name}.onnx"))
    letters = "abcdefghijklmnopqrstuvwxyzəɪʊɡɹˈː ,.!?"
    ids = {"_": [0], "^": [1], "$": [2], **{c: [3 + i] for i, c in enumerate(letters)}}
    described = {"audio": {"sample_rate": 16000}, "espeak": {"voice": "en-us"}, "phoneme_id_map": ids}
    (folder / f"{name}.onnx.json").write_text(json.dumps(described), "utf-8")
    return folder / f"{name}.onnx"


@speaking
def test_a_voice_in_pipers_format(tmp_path: Path) -> None:
    path = _piper(tmp_path / "voices")
    assert choice.installed() == {"test": path} and choice.find_voice("en", "") == path
    for voice in (str(path), "test", "en-us"):
        spoken = say("Good morning, class.", voice)
        assert spoken.rate == 16000 and spoken.voice == "test"
        assert 0.05 < spoken.lines[0].end - spoken.lines[0].start < 1
    assert isinstance(choice.find_voice("espeak:en", ""), str)


def test_what_is_no_voice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        say("Hello", str(tmp_path / "gone.onnx"))
    if library() is None:
        pytest.skip("eSpeak NG is not installed")
    path = tmp_path / "x.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"x\.onnx\.json beside it"):
        say("Hello", str(path))
    config = path.with_name("x.onnx.json")
    config.write_text("[]")
    with pytest.raises(InputError, match="does not describe"):
        say("Hello", str(path))
    ids = {"_": [0], "^": [1], "$": [2]}
    config.write_text(json.dumps({"audio": {"sample_rate": 1}, "espeak": {"voice": "en"}, "phoneme_id_map": ids}))
    with pytest.raises(InputError, match="not a voice in Piper"):
        say("Hello", str(path))


def test_captions_are_webvtt() -> None:
    sound = np.zeros(10, np.float32)
    spoken = Spoken(sound, 10, (Span(0.35, 1.5, "A < B & C"), Span(3601.25, 3662.0, "late")), (), "x")
    assert spoken.captions().splitlines() == [
        "WEBVTT", "", "00:00:00.350 --> 00:00:01.500", "A &lt; B &amp; C", "", "01:00:01.250 --> 01:01:02.000", "late"
    ]  # fmt: skip


def test_directions_last_until_the_next_one() -> None:
    timeline = directed([(1.0, 6.0, "smiles"), (6.0, 9.0, "winks")], 9.0)
    tracks = timeline.tracks(np.array([0.2, 2.0, 5.0, 6.6, 8.5]))
    smile = tracks["AU12"]
    assert smile[0] == 0 and smile[1] > 0.5 and smile[2] > 0.5 and smile[4] == 0
    assert tracks["AU46L"][4] == 0  # a wink stays short
    with pytest.raises(InputError, match=r"\[flies\]"):
        directed([(0, 1, "flies")], 1.0)


@speaking
def test_a_portrait_says_it() -> None:
    driver = open_said("[smiles] Good morning.", voice="en")
    try:
        drives = list(driver.settle())
        assert driver.audio is not None and driver.audio.exists()
        assert len(drives) == driver.frames and abs(len(drives) / driver.fps - driver.spoken.seconds) < 0.05
        line = driver.spoken.lines[0]
        during = [d.move.offsets for d in drives if line.start < d.move.time < line.end]
        assert np.ptp([o[14, 1] - o[13, 1] for o in during]) > 0.02  # the lips part
    finally:
        driver.close()
    assert not driver.audio.exists()
    with pytest.raises(InputError, match="leave out the other driver"):
        open_said("[smiles] Hello.", "smile", voice="en")
