"""A voice as a driver: tracks, sync, closure, rest, combination with another driver, and bad input."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from infinex.drivers.motion import MotionDriver, load_motion
from infinex.drivers.overlay import LipsOver
from infinex.errors import InputError, WeightsError
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.shape import eye_openness, lip_gaps
from infinex.media.audio import read_audio, write_wav
from infinex.options import Options
from infinex.pipeline import animate
from infinex.systems.speech.data import lag_of
from infinex.systems.speech.driver import LEAD, SpeechDriver
from infinex.systems.speech.features import RATE, log_mel, loudness, measure, stream_log_mel
from infinex.systems.speech.listener import AROUND, BLOCK, HIDDEN, STEP, default_listener
from infinex.systems.speech.runtime import SpeechModel, default_model

LIPS = top.LIPS_INNER + top.LIPS_OUTER


def vowel(seconds: float, formants: tuple[float, ...] = (750, 1150, 2600), pitch: float = 120) -> NDArray[np.float32]:
    """A voice on one vowel: pulses through resonances."""
    n = round(seconds * RATE)
    x = np.zeros(n)
    x[:: round(RATE / pitch)] = 1
    for f in formants:
        r = np.exp(-np.pi * 90 / RATE)
        x = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f / RATE), r * r], x)
    fade = np.minimum(1, np.minimum(np.arange(n), n - 1 - np.arange(n)) / (0.02 * RATE))
    return (0.5 * x / np.abs(x).max() * fade).astype(np.float32)


def pause(seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1e-4, round(seconds * RATE)).astype(np.float32)


def encode(source: Path, path: Path, codec: str, rate: int = 44100) -> Path:
    with av.open(str(source)) as i, av.open(str(path), "w") as o:
        stream = o.add_stream(codec, rate=rate)
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format.name, "mono", rate, getattr(stream, "frame_size", 0) or None)
        for frame in [*i.decode(audio=0), None]:
            for part in resampler.resample(frame):
                o.mux(stream.encode(part))
        o.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Silence, a vowel from 1.0 to 1.5 s, silence, a vowel from 2.5 to 3.0 s, silence; 4 s."""
    parts = [pause(1), vowel(0.5), pause(1), vowel(0.5, (600, 1000, 2500), 160), pause(1)]
    return write_wav(tmp_path_factory.mktemp("voice") / "talk.wav", parts, RATE)


def opening(driver: object) -> NDArray:
    return np.array([lip_gaps(top.mean_face() + d.move.offsets)[3:6].mean() for d in driver])  # type: ignore[attr-defined]


def test_features_stream_as_they_come() -> None:
    x = np.random.default_rng(1).normal(0, 0.1, 3 * RATE + 77).astype(np.float32)
    whole = np.concatenate(list(stream_log_mel([x])))
    pieces = np.concatenate(list(stream_log_mel(np.array_split(x, 41))))
    assert len(whole) == len(x) // 160 + 1
    np.testing.assert_allclose(whole, pieces, atol=1e-4)
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 1
    assert abs(int(loudness(np.concatenate(list(stream_log_mel([click])))).argmax()) - 50) <= 1
    assert log_mel(np.zeros(100, np.float32)).shape == (0, 40)


def test_level_is_free_of_gain() -> None:
    x = np.concatenate([pause(1), vowel(1), pause(1)])
    la, lb = (measure(stream_log_mel([x * g])) for g in (1.0, 0.1))
    assert la.loud - lb.loud == pytest.approx(2 * np.log(10), abs=0.3)
    a, b = (default_listener()(x * np.float32(g))[55:95] for g in (1.0, 0.1))
    assert np.abs(a - b).mean() < 0.05 * a.std()


def spoken(talk: Path, seconds: int) -> NDArray[np.float32]:
    x = read_audio(talk)
    return np.tile(x, -(-seconds * RATE // len(x)))[: seconds * RATE]


def test_listener_gives_a_row_a_step() -> None:
    for n in (1600, 16000, 16159, 16160, BLOCK + AROUND - 1, BLOCK + 2 * AROUND + 37):
        x = 0.1 * np.random.default_rng(n).standard_normal(n).astype(np.float32)
        assert default_listener()(x).shape == (n // STEP + 1, HIDDEN)
    silent = default_listener()(np.zeros(RATE, np.float32))
    assert np.isfinite(silent).all()
    click = np.zeros(2 * RATE, np.float32)
    click[RATE] = 1
    change = np.abs(default_listener()(click) - default_listener()(0 * click)).mean(1)
    assert abs(int(change.argmax()) - 50) <= 2


def test_network_in_windows_is_the_network(talk: Path) -> None:
    """The recogniser looks at all it is given: windows of 18 s must do for a whole recording."""
    model = default_model()
    x = spoken(talk, 40)
    level = measure(stream_log_mel([x]))
    streamed = np.concatenate([h.coefficients for h in model.stream(np.array_split(x, 37), level)])
    again = np.concatenate([h.coefficients for h in model.stream([x], level)])
    np.testing.assert_allclose(streamed, again, atol=1e-3)  # whatever the chunks
    listener = default_listener()
    whole, _ = model.run(listener._rows(x * np.float32(np.exp((-4 - level.loud) / 2))))
    n = len(whole)
    assert len(streamed) == len(x) // STEP + 1
    assert np.abs(streamed[:n] - whole).mean() < 0.1 * whole.std()
    assert np.corrcoef(streamed[:n, 0], whole[:, 0])[0, 1] > 0.99


def test_memory_does_not_grow_with_the_recording(talk: Path) -> None:
    x = spoken(talk, 120)
    level = measure(stream_log_mel([x]))
    sizes: list[int] = []
    listener = default_listener()
    rows = listener._rows
    listener._rows = lambda samples: sizes.append(len(samples)) or rows(samples)  # type: ignore[method-assign, func-returns-value]
    try:
        count = sum(len(w.rows[w.inside]) for w in listener.windows(iter(np.array_split(x, 500)), level))
    finally:
        del listener._rows
    assert count == len(x) // STEP + 1 and len(sizes) > 7 and max(sizes) <= BLOCK + 2 * AROUND


def test_lips_open_with_the_voice_and_rest_without(talk: Path) -> None:
    driver = SpeechDriver(talk, still=True)
    assert (driver.fps, driver.frames, driver.audio) == (25.0, 100, talk)
    gaps = opening(driver)
    rest = opening(iter(list(driver)[:1]))[0]
    assert gaps[28:36].max() - rest > 0.02 and gaps[65:73].max() - rest > 0.02
    for silent in (slice(0, 12), slice(49, 52), slice(90, 100)):
        assert np.abs(gaps[silent] - rest).max() < 0.01
    moves = [d.move for d in driver]
    assert all(not m.rotation.any() and not m.translation.any() for m in moves)


def test_life_follows_unless_still(talk: Path) -> None:
    long = SpeechDriver(talk, fps=50)
    moves = [d.move for d in long]
    assert len(moves) == 200
    turn = np.degrees([np.linalg.norm(m.rotation) for m in moves])
    assert turn[0] == 0 and 0.2 < turn.max() < 12
    lids = np.array([eye_openness(top.mean_face() + m.offsets).mean() for m in moves])
    assert lids.min() < 0.4 * lids.max()
    again = [d.move for d in SpeechDriver(talk, fps=50)]
    np.testing.assert_array_equal(moves[120].offsets, again[120].offsets)


def test_voice_is_told_whose_mouth_it_moves(talk: Path) -> None:
    mean = top.mean_face()
    crooked = mean.copy()
    crooked[61, 1] += 0.05
    crooked[291, 1] -= 0.05
    plain, suited = SpeechDriver(talk, still=True), SpeechDriver(talk, still=True)
    assert callable(suited.suit)
    suited.suit(crooked)
    a, b = ([d.move.offsets for d in driver] for driver in (plain, suited))
    np.testing.assert_array_equal(a[3], b[3])  # silent: the portrait's own mouth
    change = b[32] - a[32]
    assert change[61, 1] < -0.003 and change[291, 1] > 0.003  # speaking: less crooked
    gaps = [lip_gaps(mean + x[32])[3:6].mean() for x in (a, b)]
    assert abs(gaps[0] - gaps[1]) < 1e-3
    both = LipsOver(MotionDriver(load_motion("nod")), SpeechDriver(talk, still=True))
    before = [d.move.offsets for d in both.settle()]
    both.suit(crooked)
    after = [d.move.offsets for d in both]
    assert np.abs(after[32] - before[32]).max() > 0.003 and np.abs(after[3] - before[3]).max() < 1e-9


def test_voice_moves_lips_as_they_were_seen_to_move(talk: Path) -> None:
    """A clip of the person tells where their lips are while they speak, and how widely they part."""
    driver = SpeechDriver(talk, still=True)
    usual = opening(driver)
    faces = np.repeat(top.mean_face()[None], 60, 0)
    for face, gap in zip(faces, 0.16 * np.abs(np.sin(np.linspace(0, 20, 60)))):
        SourceFace(top.mean_face()).set_lips(face, np.full(9, gap))
    wide = faces.copy()
    wide[:, 61, 0] -= 0.05  # one corner further out
    driver.acquaint(wide)
    seen = np.stack([d.move.offsets for d in driver])
    assert opening(driver).std() > 1.3 * usual.std()
    assert seen[32, 61, 0] < -0.03 and np.abs(seen[3, 61]).max() < 1e-9  # speaking; silent
    reach = driver.reach
    driver.acquaint(faces[:1].repeat(60, 0))  # somebody who does not speak
    driver.acquaint(wide[:5])
    assert driver.reach == reach


def test_lips_are_ahead_of_the_sound(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The course of the lips is that of what is heard, LEAD earlier; life around them begins with the result."""
    driver = SpeechDriver(talk, 50.0)
    lips = opening(driver)
    assert not next(iter(driver)).move.rotation.any()
    monkeypatch.setattr("infinex.systems.speech.driver.LEAD", 0.0)
    lag, r = lag_of(lips, opening(driver))
    assert r > 0.95 and abs(lag + LEAD * 50) <= 1


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.mp3", "libmp3lame", 44100), ("a.m4a", "aac", 48000), ("a.flac", "flac", 22050), ("a.ogg", "libopus", 48000)],
)
def test_formats_and_rates_agree(talk: Path, tmp_path: Path, name: str, codec: str, rate: int) -> None:
    a = opening(SpeechDriver(talk, still=True))
    b = opening(SpeechDriver(encode(talk, tmp_path / name, codec, rate), still=True))
    n = min(len(a), len(b))
    lag = max(range(-5, 6), key=lambda k: float(np.corrcoef(a[10 : n - 10], b[10 + k : n - 10 + k])[0, 1]))
    assert abs(lag) <= 1 and np.corrcoef(a[:n], b[:n])[0, 1] > 0.85


def test_result_carries_the_voice_in_step(talk: Path, portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    summary = animate(portrait, SpeechDriver(talk), out, Options(size=160, refine=False))
    assert summary.frames == 100 and summary.duration == 4.0
    there, back = read_audio(talk), read_audio(out)
    assert abs(len(there) - len(back)) < 0.06 * RATE
    n = min(len(there), len(back))
    a, b = (np.convolve(np.abs(x[:n]), np.ones(160) / 160, "same") for x in (there, back))
    lags = range(-1600, 1601, 80)
    lag = max(lags, key=lambda k: float(np.dot(a[2000 : n - 2000], b[2000 + k : n - 2000 + k])))
    assert abs(lag) / RATE <= 0.04


def test_lips_over_another_driver(talk: Path) -> None:
    base, lips = load_motion("nod"), SpeechDriver(talk, still=True)
    both = LipsOver(MotionDriver(base), lips).settle()
    moves = [d.move for d in both]
    alone = [d.move for d in lips]
    assert len(moves) == len(alone) and both.audio == talk
    assert np.ptp([m.rotation for m in moves], axis=0).max() > 0.05  # the nod
    mine = np.array([lip_gaps(top.mean_face() + m.offsets)[4] for m in moves])
    theirs = np.array([lip_gaps(top.mean_face() + m.offsets)[4] for m in alone])
    np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_bad_sound_is_refused_in_words(tmp_path: Path, write_clip: object) -> None:
    cases: dict[str, Path] = {
        "at least": write_wav(tmp_path / "short.wav", [vowel(0.04)], RATE),
        "no sound": write_clip([np.full((64, 64, 3), 90, np.uint8)] * 10, "mute.mp4"),  # type: ignore[operator]
    }
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no sound\n" * 40)
    for word, path in cases.items():
        with pytest.raises(InputError, match=word):
            SpeechDriver(path)
    for name in ("empty.wav", "text.wav", "missing.wav"):
        with pytest.raises(InputError, match=name):
            SpeechDriver(tmp_path / name)


def test_a_silent_recording_is_a_wish_for_silence(tmp_path: Path) -> None:
    driver = SpeechDriver(write_wav(tmp_path / "silent.wav", [np.zeros(2 * RATE)], RATE), fps=10)
    assert driver.frames == 20 and any("is silent" in w for w in driver.warnings)
    moves = [d.move for d in driver]
    assert max(np.abs(lip_gaps(top.mean_face() + m.offsets) - driver.rest.lips_closed).max() for m in moves) < 1e-3
    assert any(m.rotation.any() for m in moves)  # alive all the same


def test_part_of_a_voice(talk: Path) -> None:
    whole, part = SpeechDriver(talk, still=True), SpeechDriver(talk, still=True, start=0.5, end=2.2)
    assert part.span == (0.5, 2.2) and part.frames == round(1.7 * part.fps)
    a, b = opening(whole), opening(part)
    assert b[13:22].max() - b[0] > 0.02  # the vowel from 1.0 to 1.5 s, half a second earlier
    assert abs(int(a[20:45].argmax()) - (int(b[8:33].argmax()))) <= 2
    with pytest.raises(InputError, match=r"nothing lies between 9 s and the end of talk\.wav, which lasts 4\.00 s"):
        SpeechDriver(talk, start=9)


def test_poor_sound_is_used_with_a_word(tmp_path: Path) -> None:
    x = np.concatenate([pause(0.3), vowel(0.6), pause(0.3)])
    narrow = SpeechDriver(write_wav(tmp_path / "phone.wav", [x[::2]], 8000), still=True)
    assert any("8000 Hz" in w for w in narrow.warnings) and narrow.frames == 30
    loud = SpeechDriver(write_wav(tmp_path / "loud.wav", [np.clip(x * 40, -1, 1)], RATE), still=True)
    assert any("clipped" in w for w in loud.warnings)
    assert not SpeechDriver(write_wav(tmp_path / "fine.wav", [x], RATE), still=True).warnings


def test_damaged_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        SpeechModel(tmp_path)


@pytest.mark.data
def test_real_speech_moves_real_lips(data_dir: Path) -> None:
    driver = SpeechDriver(data_dir / "speech" / "hallo_1.wav")
    gaps = opening(driver)
    assert len(gaps) == driver.frames and np.isfinite(gaps).all()
    assert 0.01 < gaps.std() < 0.08 and gaps.min() > -0.03


@pytest.mark.slow
def test_examples_of_the_documentation_run(talk: Path, portrait: Path, tmp_path: Path) -> None:
    import shlex
    import shutil
    import subprocess
    import sys

    from infinex.media.sink import open_sink
    from infinex.pipeline import load_source, render

    root = Path(__file__).parents[2]
    shutil.copy(talk, tmp_path / "voice.wav")
    shutil.copy(portrait, tmp_path / "photo.jpg")
    frames = list(render(load_source(portrait, size=256), load_motion("nod")))[:20]
    with open_sink(tmp_path / "clip.mp4", frames[0].shape[1::-1], 25) as sink:
        for frame in frames:
            sink.write(frame)
    text = (root / "docs" / "speech.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    infinex animate ")]
    assert len(lines) >= 5
    for line in lines:
        words = [sys.executable, "-m", "infinex.cli", *shlex.split(line)[1:], "--size", "256"]
        result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=_environment(root))
        assert result.returncode == 0, f"{line}: {result.stderr}"
        assert (tmp_path / "out.mp4").stat().st_size > 5000
        (tmp_path / "out.mp4").unlink()


def _environment(root: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root)}
