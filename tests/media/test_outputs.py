"""Results: transparent ones, GIFs whose still parts stay still, frame rates, signed ones that stay small."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from infinex.errors import OutputError
from infinex.media.files import atomic_path
from infinex.media.sink import open_sink, supports_alpha

W, H = 96, 80


def cutouts(count: int = 5) -> list[np.ndarray]:
    """A red square that moves over nothing; its right half is half transparent; what is unseen is bright noise."""
    out = []
    for i in range(count):
        frame = np.random.default_rng(i).integers(0, 255, (H, W, 4), dtype=np.uint8)
        frame[..., 3] = 0
        frame[20:60, 8 + 4 * i : 40 + 4 * i] = (210, 40, 30, 255)
        frame[20:60, 40 + 4 * i : 64 + 4 * i] = (210, 40, 30, 100)
        out.append(frame)
    return out


def decoded(path: Path) -> list[np.ndarray]:
    """Frames (H, W, 4), by the decoder that knows transparency; BT.709 at limited range is turned back here."""
    with av.open(str(path)) as container:
        context: Any = container.streams.video[0].codec_context
        if path.suffix == ".webm":
            context = av.CodecContext.create("libvpx-vp9", "r")
        frames = [f for packet in container.demux(video=0) for f in context.decode(packet)]
    out = []
    for frame in frames:
        if not frame.format.name.startswith("yuva"):
            out.append(frame.to_ndarray(format="rgba"))
            continue
        assert (frame.colorspace, frame.color_range) == (1, 1)
        planes = frame.reformat(format="yuva444p16le").to_ndarray().astype(np.float64)
        y, u, v = planes[..., 0] / 256, planes[..., 1] / 256 - 128, planes[..., 2] / 256 - 128
        y = (y - 16) * 255 / 219
        u, v = u * 255 / 224, v * 255 / 224
        rgb = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], -1)
        out.append(np.concatenate([rgb, planes[..., 3:] / 257], -1))
    return out


@pytest.mark.parametrize(
    ("name", "colour", "opacity"), [("a.webm", 8, 8), ("a.mov", 2, 1), ("a.apng", 0, 0), ("a", 0, 0)]
)
def test_transparent_results(tmp_path: Path, name: str, colour: int, opacity: int) -> None:
    path, frames = tmp_path / name, cutouts()
    with open_sink(path, (W, H), 25, alpha=True, metadata={"comment": "Made"}) as sink:
        for frame in frames:
            sink.write(frame, (0, 10, W, 70))
    got = [decoded(p)[0] for p in sorted(path.iterdir())] if path.is_dir() else decoded(path)
    assert len(got) == len(frames)
    for frame, image in zip(frames, got):
        inner = np.zeros((H, W), bool)  # away from edges, which lossy codecs blur
        columns = np.flatnonzero(frame[40, :, 3] == 255)
        inner[24:56, columns[4] : columns[-4]] = True
        inner[24:56, columns[-1] + 4 : columns[-1] + 20] = True
        assert np.abs(image[inner][:, :3] - frame[inner][:, :3].astype(float)).max() <= colour
        assert np.abs(image[inner][:, 3] - frame[inner][:, 3].astype(float)).max() <= opacity
        assert image[:8, :, 3].max() <= 1 and image[70:, :, 3].max() <= 1
        # An edge blended over white shows no dark rim.
        edge = slice(columns[0] - 1, columns[0] + 1)
        assert (
            np.abs(image[30:50, edge, 0].astype(float)[image[30:50, edge, 3] > 60] - 210).max(initial=0) <= colour + 6
        )


def test_what_cannot_be_transparent_says_so(tmp_path: Path) -> None:
    assert [supports_alpha(n) for n in ("a.mp4", "a.webm", "a.mov", "a.gif", "a.apng", "a")] == [False] + [True] * 5
    with (
        pytest.raises(OutputError, match=r"\.mp4 cannot be transparent; use \.webm"),
        open_sink(tmp_path / "a.mp4", (W, H), 25, alpha=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_unseen_takes_no_room(tmp_path: Path) -> None:
    sizes = []
    for noise in (True, False):
        path = tmp_path / f"{noise}.apng"
        with open_sink(path, (W, H), 25, alpha=True) as sink:
            for frame in cutouts():
                sink.write(frame if noise else np.where(frame[..., 3:] > 0, frame, 0).astype(np.uint8))
        sizes.append(path.stat().st_size)
    assert sizes[0] == sizes[1] < 5000


def portraits(count: int = 12) -> list[np.ndarray]:
    """A shaded, grainy picture in which a patch moves and changes its colour."""
    y, x = np.mgrid[:H, :W]
    base = np.stack([120 + x, 90 + y + x // 3, 200 - y], -1) + np.random.default_rng(0).normal(0, 3, (H, W, 3))
    out = []
    for i in range(count):
        frame = base.copy()
        frame[30:50, 20 + 2 * i : 50 + 2 * i] = np.array([220, 60 + 10 * i, 40]) + y[30:50, :30, None]
        out.append(np.clip(frame, 0, 255).astype(np.uint8))
    return out


def test_still_parts_of_a_gif_stay_still(write_clip: Callable[..., Path]) -> None:
    frames = portraits()
    path = write_clip(frames, "a.gif")
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        got = []
        for i in range(image.n_frames):
            image.seek(i)
            assert image.info["duration"] == 40
            got.append(np.asarray(image.convert("RGB")))
    assert len(got) == len(frames)
    for i in range(1, len(got)):
        same = (frames[i] == frames[i - 1]).all(-1)
        assert same.mean() > 0.7 and np.array_equal(got[i][same], got[i - 1][same])
    error = np.mean([((a.astype(float) - b) ** 2).mean() for a, b in zip(got, frames)])
    assert 10 * np.log10(255**2 / error) > 33
    assert path.stat().st_size < 50000
    assert [p.name for p in path.parent.iterdir()] == ["a.gif"]


def test_transparent_gif(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.gif", (W, H), 25, alpha=True) as sink:
        for frame in cutouts():
            sink.write(frame)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
        for i, frame in enumerate(cutouts()):
            image.seek(i)
            shown = np.asarray(image.convert("RGBA"))
            solid = frame[..., 3] == 255
            assert (shown[..., 3] == np.where(solid, 255, 0)).all()  # nothing stays of the frame before
            assert np.abs(shown[solid][:, :3].astype(int) - (210, 40, 30)).max() < 12


@pytest.mark.parametrize("fps", [10, 30, Fraction(30000, 1001), 50])
def test_gifs_last_as_long_as_their_frames(write_clip: Callable[..., Path], fps: Any) -> None:
    frames = portraits(12) * 3
    with Image.open(write_clip(frames, "a.gif", fps)) as image:
        total = 0
        for i in range(image.n_frames):
            image.seek(i)
            total += image.info["duration"]
    assert abs(total / 1000 - len(frames) / float(fps)) <= 0.011


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm"])
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), 15, 29.97, Fraction(60000, 1001), 120, 12.5])
def test_every_frame_is_shown_equally_long(write_clip: Callable[..., Path], kind: str, fps: Any) -> None:
    count = 24
    with av.open(str(write_clip(portraits(12) * 2, f"a.{kind}", fps))) as container:
        stream = container.streams.video[0]
        times = [float(f.pts * f.time_base) for f in container.decode(stream)]
        assert np.abs(np.array(times) - np.arange(count) / float(fps)).max() < 0.0011
        assert abs(float(stream.average_rate) / float(fps) - 1) < 0.002
        lasts = float(stream.duration * stream.time_base) if stream.duration else container.duration / 1e6
    assert abs(lasts - count / float(fps)) < 0.0021


def test_what_killed_runs_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    import os
    import time

    old, new, other = (tmp_path / n for n in (".a.0123abcd.part.mp4", ".a.4567abcd.part.mp4", ".ab.0123abcd.part.mp4"))
    for file in (old, new, other):
        file.write_bytes(b"x")
    for file in (old, other):
        os.utime(file, (time.time() - 90000,) * 2)
    with atomic_path(tmp_path / "a.mp4") as part:
        part.write_bytes(b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([new.name, other.name, "a.mp4"])
