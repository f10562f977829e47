"""Streaming video in and out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from infinex.errors import InputError, OutputError
from infinex.media.audio import has_audio, read_audio
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader, probe

REFUSED = ["audio-only.mp4", "bit-rot.mp4", "empty.mp4", "text-not-video.mp4", "truncated.mp4"]
READABLE = ["black.mp4", "identical-frames.mp4", "no-face.mp4", "one-black-frame.mp4"]
ODD = {"odd-size.webm": (333, 333), "rotation-metadata.mp4": (512, 512), "sixty-fps.mp4": (512, 512),
       "ten-bit.mkv": (512, 512), "variable-frame-rate.mp4": (512, 512), "animated.gif": (200, 200)}  # fmt: skip


def ball(i: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame whose bright column tells its number."""
    frame = np.full((height, width, 3), 40, np.uint8)
    frame[:, 3 * i : 3 * i + 3] = 230
    return frame


@pytest.mark.data
@pytest.mark.parametrize("name", REFUSED)
def test_broken_clips_are_refused_in_one_line(data_dir: Path, name: str) -> None:
    with pytest.raises(InputError) as caught, VideoReader(data_dir / "bad" / name) as reader:
        list(reader)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.data
@pytest.mark.parametrize("name", READABLE)
def test_whole_clips_without_faces_are_read(data_dir: Path, name: str) -> None:
    with VideoReader(data_dir / "bad" / name) as reader:
        assert len(list(reader)) == reader.info.frames


@pytest.mark.data
def test_keep_readable_yields_what_is_there(data_dir: Path) -> None:
    with VideoReader(data_dir / "bad" / "truncated.mp4", keep_readable=True) as reader:
        assert 1 <= len(list(reader)) < (reader.info.frames or 0)


@pytest.mark.data
@pytest.mark.parametrize("name", ODD)
def test_odd_clips_work(data_dir: Path, name: str) -> None:
    with VideoReader(data_dir / "odd" / name) as reader:
        assert (reader.info.width, reader.info.height) == ODD[name]
        frames = list(reader)
    assert abs(len(frames) - reader.info.frames) <= 1
    assert abs(frames[-1].time - (len(frames) - 1) / reader.info.fps) < 1e-6


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "apng"])
def test_round_trip_keeps_frames_order_and_colour(write_clip: Callable[..., Path], suffix: str) -> None:
    path = write_clip([ball(i) for i in range(20)], f"clip.{suffix}")
    with VideoReader(path) as reader:
        frames = [f.image for f in reader]
        assert reader.info.fps == 25 and len(frames) == 20
    for i, frame in enumerate(frames):
        assert abs(int(frame.mean((0, 2)).argmax()) - (3 * i + 1)) <= 1
    assert abs(float(frames[0][:, 60:].mean()) - 40) < 2


@pytest.mark.parametrize("colour", [(200, 60, 30), (30, 180, 90), (120, 120, 220), (255, 255, 255), (0, 0, 0)])
def test_solid_colours_survive_within_two_levels(write_clip: Callable[..., Path], colour: tuple[int, ...]) -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:] = colour
    with VideoReader(write_clip([frame] * 3)) as reader:
        image = next(iter(reader)).image
    assert np.abs(image[32, 32].astype(int) - colour).max() <= 2


def test_odd_sizes_are_padded_to_even(write_clip: Callable[..., Path]) -> None:
    path = write_clip([np.full((65, 67, 3), 90, np.uint8)] * 2)
    info = probe(path)
    assert (info.width, info.height) == (68, 66)


def test_changed_box_equals_whole_conversion(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = np.repeat(np.repeat(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8), 8, 0), 8, 1)
    frames = []
    for i in range(6):
        frame = base.copy()
        frame[31:75, 21 + i : 61 + i] = 255
        frames.append(frame)
    whole = write_clip(frames, "whole.mp4")
    with open_sink(tmp_path / "part.mp4", (128, 128), 25) as sink:
        for frame in frames:
            sink.write(frame, (21, 31, 70, 75))
    with VideoReader(whole) as a, VideoReader(tmp_path / "part.mp4") as b:
        for x, y in zip(a, b, strict=True):
            assert np.array_equal(x.image, y.image)


def test_variable_frame_rate_becomes_constant(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for i, stamp in enumerate((0, 4, 8, 20, 24, 28, 32, 36, 40)):  # a gap of three frames after the third
            frame = av.VideoFrame.from_ndarray(ball(i), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    with VideoReader(path, fps=25) as reader:
        columns = [int(f.image.mean((0, 2)).argmax()) // 3 for f in reader]
    assert columns == [0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8]


def test_another_rate_keeps_the_duration(write_clip: Callable[..., Path]) -> None:
    path = write_clip([ball(i) for i in range(25)])
    with VideoReader(path, fps=50) as reader:
        assert abs(len(list(reader)) - 50) <= 1
    with VideoReader(path, fps=12.5) as reader:
        assert abs(len(list(reader)) - 13) <= 1


def _tone(path: Path, seconds: float = 2.0, click: float = 1.0) -> Path:
    """A WAV file with one burst."""
    t = np.arange(int(16000 * seconds)) / 16000
    sound = np.where(np.abs(t - click) < 0.02, np.sin(2 * np.pi * 1000 * t), 0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray((sound * 20000).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in stream.encode(frame):
            out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_sound_is_carried_in_sync_and_trimmed(write_clip: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    wav = _tone(tmp_path / "tone.wav")
    path = write_clip([ball(i % 20) for i in range(38)], f"clip.{suffix}", audio=wav)
    sound = read_audio(path, 16000)
    loud = np.flatnonzero(np.abs(sound) > 0.3)
    assert abs(loud.mean() / 16000 - 1.0) < 0.02
    assert len(sound) / 16000 < 38 / 25 + 0.12
    again = write_clip([ball(i % 20) for i in range(38)], f"copy.{suffix}", audio=path)  # now copied, not encoded
    loud = np.flatnonzero(np.abs(read_audio(again, 16000)) > 0.3)
    assert abs(loud.mean() / 16000 - 1.0) < 0.02


def test_sound_of_silent_files(write_clip: Callable[..., Path]) -> None:
    path = write_clip([ball(0)] * 3)
    assert not has_audio(path)
    with pytest.raises(InputError, match="no sound"):
        read_audio(path)


def test_metadata_is_readable(write_clip: Callable[..., Path]) -> None:
    for suffix in ("mp4", "webm"):
        path = write_clip([ball(0)] * 3, f"a.{suffix}", metadata={"comment": "Made with Infinex"})
        with av.open(str(path)) as container:
            assert "Made with Infinex" in {k.lower(): v for k, v in container.metadata.items()}["comment"]


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.apng", "frames"])
def test_an_exception_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / name, (96, 64), 25) as sink:
        sink.write(ball(0))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    for name, words in (("a.xyz", "must end in"), ("none/a.mp4", "does not exist")):
        with pytest.raises(OutputError, match=words), open_sink(tmp_path / name, (96, 64), 25):
            pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="not an empty folder"), open_sink(tmp_path / "full", (96, 64), 25):
        pass


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    from infinex.media import files

    with (
        pytest.raises(OutputError, match="disk is full"),
        files.atomic_path(tmp_path / "a.bin"),
        full.open("wb", buffering=0) as file,
    ):
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_folder_of_frames(write_clip: Callable[..., Path]) -> None:
    folder = write_clip([ball(i) for i in range(3)], "frames")
    assert [p.name for p in sorted(folder.iterdir())] == [f"frame_{i:06d}.png" for i in (1, 2, 3)]


def test_frames_that_wait_come_back_the_same(write_clip: Callable[..., Path]) -> None:
    path = write_clip([ball(i) for i in range(6)])
    with VideoReader(path) as reader:
        frames = list(reader)
    for frame in frames:
        frame.picture.waits = True
    before = [f.image.copy() for f in frames]
    for frame in frames:
        frame.picture.pack()
    assert all(np.array_equal(f.image, b) for f, b in zip(frames, before))
    assert frames[0].image is frames[0].image
    with VideoReader(path, max_side=16) as reader:  # the RGB is smaller, and is what is kept
        small = next(iter(reader))
    small.picture.waits = True
    image = small.image
    small.picture.pack()
    assert small.image is image


@pytest.mark.parametrize("size", [(320, 240), (322, 182), (321, 239)])
def test_a_part_of_a_frame_is_that_of_the_whole(write_clip: Callable[..., Path], size: tuple[int, int]) -> None:
    rng, (w, h) = np.random.default_rng(0), size
    clip = write_clip([rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for _ in range(3)])
    with VideoReader(clip) as part, VideoReader(clip) as whole:
        for one, other in zip(part, whole):
            corner = slice(h - 60, h), slice(w - 90, w)
            for rows, columns in ((slice(31, 95), slice(7, 100)), corner, (slice(0, 1), slice(0, 1))):
                seen = one.picture[rows, columns]
                assert seen.flags.c_contiguous and np.array_equal(seen, other.image[rows, columns])
            assert one.picture.shape == other.image.shape


def test_glances_go_forward_between_keyframes(write_clip: Callable[..., Path]) -> None:
    path = write_clip([ball(i) for i in range(60)])
    with VideoReader(path) as reader:
        times = [f.time for f in reader.sample([0.0, 0.5, 1.0])]
    assert len(times) == 3 and np.abs(np.subtract(times, [0.0, 0.5, 1.0])).max() < 0.17
