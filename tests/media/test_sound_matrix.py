"""Sound in step with the pictures: container x codec x beginning x gap, measured with a flash and a click."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import clips
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.audio import open_sound, pulled_forward, read_audio, write_wav
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader

NEAR = 0.02  # seconds
LATER: dict[str, Any] = {"sound_from": 0.6}
FIRST: dict[str, Any] = {"pictures_from": 0.8}
PAUSE: dict[str, Any] = {"gap": (0.5, 1.0)}
VP8: dict[str, Any] = {"video": "libvpx"}
CLIPS: list[tuple[str, str, dict[str, Any], str]] = [
    ("mp4", "aac", {}, "webm"),
    ("mp4", "aac", FIRST, "mp4"),
    ("mp4", "mp3", LATER, "mp4"),
    ("mp4", "ac3", PAUSE, "mp4"),
    ("mp4", "libopus", LATER, "webm"),
    ("mp4", "flac", FIRST, "webm"),
    ("mov", "pcm_s16le", FIRST, "mp4"),
    ("mov", "aac", LATER, "mov"),
    ("mov", "aac", PAUSE, "mp4"),
    ("mkv", "aac", FIRST, "mp4"),
    ("mkv", "mp3", PAUSE, "mp4"),
    ("mkv", "flac", LATER, "mp4"),
    ("mkv", "libopus", PAUSE, "webm"),
    ("mkv", "libopus", PAUSE, "mp4"),
    ("mkv", "pcm_f32le", {"rate": 96000}, "mp4"),
    ("webm", "libopus", VP8 | FIRST, "mp4"),
    ("webm", "libopus", VP8 | LATER, "webm"),
    ("ts", "aac", {}, "mp4"),
    ("ts", "mp3", FIRST, "webm"),
    ("ts", "ac3", LATER, "mp4"),
    ("ts", "aac", PAUSE, "mp4"),
    ("avi", "mp3", {"video": "mpeg4"}, "mp4"),
    ("avi", "pcm_u8", {"video": "mpeg4", "rate": 8000, "channels": 1}, "mp4"),
    ("flv", "aac", LATER, "mp4"),
    ("flv", "mp3", PAUSE, "webm"),
]


def animated(source: Path, out: Path, pictures_from: float = 0.0, count: int = 0, **options: Any) -> Path:
    """A result of as many frames as the clip has, with its sound; the flash where the clip has it."""
    count = count or round((2.4 - pictures_from) * clips.FPS)
    with open_sink(out, clips.SIZE, clips.FPS, source, **options) as sink:
        for i in range(count):
            lit = 255 if 0 <= i - round((1.2 - pictures_from) * clips.FPS) < 2 else 30
            sink.write(np.full((clips.SIZE[1], clips.SIZE[0], 3), lit, np.uint8))
    return out


@pytest.mark.parametrize(("kind", "codec", "how", "into"), CLIPS)
def test_the_click_stays_where_the_flash_is(
    tmp_path: Path, kind: str, codec: str, how: dict[str, Any], into: str
) -> None:
    source = clips.write(tmp_path / f"in.{kind}", codec, **how)
    late = how.get("pictures_from", 0.0)
    out = animated(source, tmp_path / f"out.{into}", late)
    expected = clips.click_time(source) - clips.first_picture(source)
    if kind != "avi":  # it has no time stamps, and what encoders put in front is in there
        assert abs(expected - (1.2 - late)) < NEAR
    assert abs(clips.first_picture(out)) < 1e-3
    assert abs(clips.click_time(out) - expected) < 0.005
    if kind != "avi":
        assert abs(clips.offset(out)) < NEAR
    times, levels = clips.sound_track(out)
    assert times[0] < 0.01 and 2.4 - late - 0.01 < times[-1] < 2.4 - late + 0.03  # at most a frame of the codec more
    if "gap" in how:
        assert levels[(times > 0.6) & (times < 0.95)].max() < 2e-4 < levels[(times > 0.2) & (times < 0.4)].max()


@pytest.mark.parametrize(("kind", "codec"), [("m4a", "aac"), ("mp3", "mp3"), ("wav", "pcm_s16le"), ("ogg", "libopus"),
                                             ("flac", "flac"), ("mka", "ac3"), ("aiff", "pcm_s16be")])  # fmt: skip
@pytest.mark.parametrize("begin", [0.0, 0.7])
def test_a_sound_file_begins_where_its_own_sound_does(tmp_path: Path, kind: str, codec: str, begin: float) -> None:
    source = clips.write(tmp_path / f"in.{kind}", codec, video="", channels=1)
    out = animated(source, tmp_path / "out.mp4", audio_start=begin, audio_end=begin + 1.0, count=50)
    assert abs(clips.click_time(out) - (1.2 - begin)) < 0.005 if begin else clips.sound_track(out)[1].max() < 0.05
    times, levels = clips.sound_track(out)
    assert levels[times > 1.05].max() < 1e-3 and times[-1] > 1.98  # after its end silence, as long as the pictures
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.channels == 1


@pytest.mark.parametrize("cut", [0.5, 0.53, 0.555])
def test_a_clip_trimmed_within_a_frame(tmp_path: Path, cut: float) -> None:
    """An edit list hides what comes before `cut`, as copying from there does."""
    whole, source = clips.write(tmp_path / "whole.mp4"), tmp_path / "cut.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(whole)) as a, av.open(str(source), "w", container_options=options) as b:
        streams = {s.index: b.add_stream_from_template(s) for s in a.streams}
        for packet in a.demux():
            if packet.dts is not None:
                packet.pts -= round(cut / packet.time_base)
                packet.dts -= round(cut / packet.time_base)
                packet.stream = streams[packet.stream.index]
                b.mux(packet)
    first = -(-cut // 0.04) * 0.04  # the first frame that begins after the cut
    with open_sound(source)[0] as container:
        assert abs(pulled_forward(container) - (first - cut)) < 1e-3
    with VideoReader(source, fps=25) as reader, open_sink(tmp_path / "out.mp4", clips.SIZE, 25, source) as sink:
        for frame in reader:
            sink.write(frame.image)
    assert abs(clips.click_time(tmp_path / "out.mp4") - (1.2 - first)) < 0.005
    assert abs(clips.offset(tmp_path / "out.mp4")) < 0.005


def _hum(path: Path, stamps: Any, channels: int = 1, layout: str = "mono", level: Any = 0.5) -> Path:
    """Twenty milliseconds a packet of PCM in Matroska, their times given by `stamps(i)` in milliseconds."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("pcm_f32le", rate=48000, layout=layout)
        for i in range(100):
            t = (i * 960 + np.arange(960)) / 48000
            wave = np.sin(2 * np.pi * 220 * t)[:, None] * np.broadcast_to(level, channels)
            frame = av.AudioFrame.from_ndarray(wave.astype(np.float32).reshape(1, -1), "flt", layout)
            frame.sample_rate = 48000
            for packet in stream.encode(frame):
                packet.time_base = Fraction(1, 1000)
                packet.pts = packet.dts = stamps(i)
                out.mux(packet)
    return path


@pytest.mark.parametrize("stamps", [lambda i: 20 * i, lambda i: 20 * i + 9 * (i % 3), lambda i: round(19.97 * i)])
def test_stamps_that_tremble_or_drift_do_not_chop_the_sound(tmp_path: Path, stamps: Any) -> None:
    wave = read_audio(_hum(tmp_path / "a.mkv", stamps), 48000)[2000:90000]
    assert np.abs(np.diff(wave, 2)).max() < 0.002 and np.abs(wave).max() > 0.45


def test_slow_stamps_are_followed(tmp_path: Path) -> None:
    wave = read_audio(_hum(tmp_path / "a.mkv", lambda i: round(20.1 * i)), 48000)
    assert abs(len(wave) / 48000 - 2.01) < 0.015 and np.abs(np.diff(wave[2000:], 2)).max() < 0.002


def _levels(path: Path) -> NDArray[np.float64]:
    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], 1)
    return np.abs(sound[:, 20000:70000]).max(1)


@pytest.mark.parametrize(
    ("level", "left", "right"),
    [
        ([0.5, 0, 0, 0, 0, 0], 0.5, 0),  # front left
        ([0, 0, 0.5, 0, 0, 0], 0.354, 0.354),  # centre
        ([0, 0, 0, 0, 0, 0.5], 0, 0.354),  # behind on the right
    ],
)
def test_surround_comes_down_to_stereo(tmp_path: Path, level: list[float], left: float, right: float) -> None:
    source = _hum(tmp_path / "a.mkv", lambda i: 20 * i, 6, "5.1", np.array(level))
    out = _levels(animated(source, tmp_path / "out.mp4"))
    assert np.abs(out - [left, right]).max() < 0.03


def test_sound_that_is_missing_is_said_and_damage_keeps_its_place(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    with open_sink(silent, clips.SIZE, 25) as sink:
        sink.write(np.zeros((clips.SIZE[1], clips.SIZE[0], 3), np.uint8))
    with pytest.raises(InputError, match=r"silent\.mp4 has no sound"):
        animated(silent, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    source = clips.write(tmp_path / "in.ts", "mp3")
    data = bytearray(source.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = np.random.default_rng(1).bytes(3000)
    source.write_bytes(bytes(data))
    assert abs(clips.click_time(animated(source, tmp_path / "out.mp4")) - 1.2) < NEAR


def test_the_default_track_is_carried(tmp_path: Path, data_dir: Path) -> None:
    out = animated(data_dir / "field" / "twotracks.mp4", tmp_path / "out.mp4")
    assert clips.sound_track(out)[1].max() > 0.1


def test_sound_longer_than_memory_would_like_is_taken_in_pieces(tmp_path: Path) -> None:
    """An hour of sound under a second of pictures: only what is heard is decoded."""
    import time

    source = write_wav(tmp_path / "long.wav", (np.zeros(16000) for _ in range(3600)), 16000)
    began = time.process_time()
    animated(source, tmp_path / "out.mp4", count=25)
    assert time.process_time() - began < 5
