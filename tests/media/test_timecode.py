"""Timecode: the numbers of SMPTE 12M, and that results keep that of what drives them."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from infinex.interchange import livelink
from infinex.interchange.take import TakeDriver
from infinex.jobs.animate import animate
from infinex.jobs.export import export
from infinex.media.sink import join_pieces, open_sink
from infinex.media.timecode import Timecode
from infinex.media.video import VideoReader
from infinex.options import Options

NTSC = Fraction(30000, 1001)


def counted(base: int, seconds: int) -> list[str]:
    """The numbers that there are in so many seconds, as the standard says which are left out."""
    few = base // 15
    return [
        f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02};{f:02}"
        for s in range(seconds) for f in range(base) if f >= few or s % 60 or s // 60 % 10 == 0
    ]  # fmt: skip


@pytest.mark.parametrize("base", [30, 60])
def test_numbers_that_are_left_out(base: int) -> None:
    rate = Fraction(base * 1000, 1001)
    codes = counted(base, 1320)
    first = Timecode.parse(codes[0], rate)
    assert first is not None and [str(first.later(k)) for k in range(len(codes))] == codes
    assert [p.count for p in (Timecode.parse(c, rate) for c in codes) if p] == list(range(len(codes)))
    assert Timecode.parse("00:01:00;01", rate) is None
    last = Timecode.parse(f"23:59:59;{base - 1}", rate)
    assert last is not None and str(last.later(1)) == "00:00:00;00"
    assert abs(last.count / float(rate) - 86400) < 0.2  # which is what they are left out for


@pytest.mark.parametrize(
    ("code", "rate", "other", "wanted"),
    [
        ("10:00:00:24", Fraction(25), Fraction(50), "10:00:00:48"), ("10:00:00:24", Fraction(25), NTSC, "10:00:00:28"),
        ("01:00:00;10", NTSC, NTSC * 2, "01:00:00;20"), ("01:00:00;10", NTSC, Fraction(25), "01:00:00:08"),
        ("01:00:00:10", NTSC, NTSC, "01:00:00:10"),
    ],
)  # fmt: skip
def test_other_rates(code: str, rate: Fraction, other: Fraction, wanted: str) -> None:
    found = Timecode.parse(code, rate)
    assert found is not None and str(found) == code and str(found.at(other)) == wanted


def test_the_time_of_day() -> None:
    for code in ("01:00:59;20", "00:59:59;29", "00:01:00;02"):
        found = Timecode.parse(code, NTSC)
        assert found is not None and Timecode.of(found.seconds, NTSC) == found
    assert str(Timecode.of(60.0, NTSC)) == "00:01:00;02"
    assert str(Timecode.of(3600.0, NTSC)) == "01:00:00;00" and str(Timecode.of(3600.5, Fraction(24))) == "01:00:00:12"
    for text in ("", "1:2", "25:00:00:00", "00:61:00:00", "00:00:00:30", "00:00:00:٣٣", "9" * 5000):
        assert Timecode.parse(text, Fraction(30)) is None


def coded(path: Path, code: str, rate: Fraction, frames: int = 40) -> Path:
    """A clip with a timecode, by FFmpeg's own means."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        stream.metadata["timecode"] = code
        for k in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((80, 96, 3), 5 * (k % 40), np.uint8), format="rgb24")
            picture.pts, picture.time_base = k, 1 / rate
            for packet in stream.encode(picture):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def told(path: Path) -> str | None:
    """What FFmpeg finds in a file."""
    with av.open(str(path)) as container:
        tags = [(key.lower(), value) for s in container.streams for key, value in s.metadata.items()]
        return dict(reversed(tags)).get("timecode")


@pytest.mark.parametrize(("code", "rate"), [("09:59:59;20", NTSC), ("23:59:59:10", Fraction(25))])
def test_files_carry_it(code: str, rate: Fraction, tmp_path: Path) -> None:
    clip = coded(tmp_path / "a.mov", code, rate)
    with VideoReader(clip) as reader:
        assert str(reader.info.timecode) == code
    with VideoReader(clip, start=1.0) as reader:
        late = reader.info.timecode
    first = Timecode.parse(code, rate)
    assert first is not None and late == first.later(round(rate))
    for name, alpha in (("b.mp4", False), ("b.mov", False), ("b.mov", True), ("b.webm", True)):
        shades = np.full((5, 80, 96, 3 + alpha), 255, np.uint8)
        shades[..., :3] = np.arange(20, 220, 40)[:, None, None, None]
        with open_sink(tmp_path / name, (96, 80), rate, alpha=alpha, timecode=late) as sink:
            for picture in shades:
                sink.write(picture)
        assert told(tmp_path / name) == str(late)
        join_pieces([tmp_path / name] * 2, tmp_path / f"joined-{name}", rate, None, {}, None, timecode=first)
        assert told(tmp_path / f"joined-{name}") == code
        with VideoReader(tmp_path / f"joined-{name}") as reader:
            means = [float(frame.image.mean()) for frame in reader]
        assert np.allclose(means, [*shades[..., :3].mean((1, 2, 3))] * 2, atol=4)
    with open_sink(tmp_path / "c", (96, 80), rate, timecode=late) as sink:
        for _ in range(2):
            sink.write(np.zeros((80, 96, 3), np.uint8))
    frames = [Image.open(p).info["Timecode"] for p in sorted((tmp_path / "c").iterdir())]
    assert frames == [str(late), str(late.later(1))]


def test_results_keep_that_of_what_drives_them(portrait: Path, data_dir: Path, tmp_path: Path) -> None:
    clip = tmp_path / "a.mov"
    with (
        VideoReader(data_dir / "clips" / "train" / "linly_man_01.mp4", max_side=160, end=1.2) as reader,
        open_sink(clip, (reader.info.width, reader.info.height), reader.info.fps,
                  timecode=Timecode.parse("10:20:30:05", reader.info.fps)) as sink,
    ):  # fmt: skip
        for frame in reader:
            sink.write(frame.image)
    rate = reader.info.fps
    wanted = Timecode.parse("10:20:30:05", rate)
    assert wanted is not None
    shift = round(rate * Fraction(2, 5))
    animate(
        portrait, clip, tmp_path / "out.mov", Options(size=128, refine=False, start=0.4, passes=str(tmp_path / "kit"))
    )
    assert told(tmp_path / "out.mov") == str(wanted.later(shift))
    exr = pytest.importorskip("OpenEXR")
    codes = [exr.File(str(p)).header()["timeCode"] for p in sorted((tmp_path / "kit" / "stmap").iterdir())]
    assert [(c.hours, c.minutes, c.seconds, c.frame) for c in codes] == [
        wanted.later(shift + k).parts for k in range(len(codes))
    ]
    export(clip, tmp_path / "take.csv", "livelink")
    back = livelink.read(tmp_path / "take.csv")
    assert back.start == pytest.approx(wanted.seconds, abs=1e-3)
    assert TakeDriver(back).timecode == wanted
    codes = [line.split(",")[0] for line in (tmp_path / "take.csv").read_text().splitlines()[1:]]
    assert codes[0].startswith("10:20:30:") and all(a < b for a, b in pairwise(codes))
