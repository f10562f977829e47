"""Containers, codecs, clocks, orientations and colours, made on the fly and read back with measured values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from infinex.errors import InputError
from infinex.media.colour import TO_709, from_light, to_light, to_sdr
from infinex.media.container import open_container, picture_stream, sound_stream
from infinex.media.image import write_image
from infinex.media.tonemap import ToneMap
from infinex.media.video import VideoReader, start_time

RGB = NDArray[np.uint8]


def numbered(i: int, width: int = 192, height: int = 64) -> RGB:
    """A grey frame whose bright column tells its number, up to 47."""
    frame = np.full((height, width, 3), 40, np.uint8)
    frame[:, 4 * i : 4 * i + 4] = 230
    return frame


def number(image: RGB) -> int:
    return int(image.mean((0, 2)).argmax()) // 4


def encode(
    path: Path,
    pictures: Sequence[Any],
    codec: str,
    rate: Fraction | int = 25,
    stamps: Sequence[float] | None = None,
    kind: str = "yuv420p",
    options: dict[str, str] | None = None,
    offset: float = 0.0,
    container: str | None = None,
    base: Fraction = Fraction(1, 90000),
    **tags: int,
) -> Path:
    """Pictures, RGB arrays or finished av frames, as a clip; `stamps` in seconds, `tags` of colour."""
    with av.open(str(path), "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate, options=options or {})
        first = pictures[0]
        stream.width, stream.height = (first.width, first.height) if hasattr(first, "width") else first.shape[1::-1]
        stream.pix_fmt = kind
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        if stamps is not None:
            stream.codec_context.time_base = base
        for i, picture in enumerate(pictures):
            frame = picture if hasattr(picture, "pts") else av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = base if stamps is not None else 1 / Fraction(rate)
            time = (stamps[i] if stamps is not None else i / float(rate)) + offset
            frame.pts = round(time / float(frame.time_base))
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def first_time(path: Path) -> float:
    with open_container(path) as container:
        return start_time(container, picture_stream(container))


B_FRAMES = {"bf": "3", "g": "12"}
CLIPS: list[tuple[str, str, str, dict[str, str], float]] = [
    ("a.mp4", "libx264", "yuv420p", B_FRAMES, 0.0),
    ("a.mp4", "libx264", "yuv420p", B_FRAMES, 1.0),
    ("a.mov", "mpeg4", "yuv420p", {}, 0.0),
    ("a.mkv", "libx264", "yuv420p", B_FRAMES, 0.0),
    ("a.mkv", "libx264", "yuv420p", B_FRAMES, 2.0),
    ("a.webm", "libvpx", "yuv420p", {"deadline": "realtime"}, 0.0),
    ("a.webm", "libvpx", "yuv420p", {"deadline": "realtime"}, 1.48),
    ("a.ts", "libx264", "yuv420p", B_FRAMES, 0.0),
    ("a.ts", "mpeg2video", "yuv420p", {"bf": "2"}, 3.0),
    ("a.mpg", "mpeg2video", "yuv420p", {}, 0.0),
    ("a.flv", "libx264", "yuv420p", B_FRAMES, 0.48),
    ("a.avi", "mpeg4", "yuv420p", {}, 0.0),
    ("a.avi", "libx264", "yuv420p", B_FRAMES, 0.0),
    ("a.h264", "libx264", "yuv420p", {}, 0.0),
    ("a.gif", "gif", "rgb8", {}, 0.0),
    ("a.apng", "apng", "rgb24", {}, 0.0),
]


@pytest.mark.parametrize(("name", "codec", "kind", "options", "offset"), CLIPS)
def test_every_container_gives_its_rate_its_frames_and_its_clock(
    tmp_path: Path, name: str, codec: str, kind: str, options: dict[str, str], offset: float
) -> None:
    pictures = [numbered(i) for i in range(30)]
    path = encode(tmp_path / name, pictures, codec, kind=kind, options=options, offset=offset)
    with VideoReader(path) as reader:
        frames = list(reader)
        info = reader.info
    assert info.fps == 25 and info.frames == len(frames) == 30
    assert info.duration == pytest.approx(1.2, abs=0.03)
    assert [number(f.image) for f in frames] == list(range(30))
    if offset:  # containers may add a constant of their own
        assert offset - 0.001 <= first_time(path) < offset + 1.6
    for start, first in ((0.4, 10), (0.9, 22)):
        with VideoReader(path, start=start, end=start + 0.2) as reader:
            part = list(reader)
        assert [f.index for f in part] == list(range(5))
        assert reader.info.frames == 5 and [number(f.image) for f in part] == list(range(first, first + 5))
    with VideoReader(path) as reader:
        assert [number(f.image) for f in reader.at([0, 7, 8, 25])] == [0, 7, 8, 25]
        glances = list(reader.sample([0.2, 0.5, 0.9]))
    assert len(glances) == 3 and all(number(f.image) == round(f.time * 25) for f in glances)


RATES = [Fraction(24000, 1001), Fraction(25, 2), Fraction(18), Fraction(30000, 1001), Fraction(50),
         Fraction(60000, 1001), Fraction(120)]  # fmt: skip


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])  # time stamps of whole milliseconds, and of 1/90000 s
def test_constant_rates_are_measured_exactly(tmp_path: Path, rate: Fraction, suffix: str) -> None:
    stamps = [i / float(rate) for i in range(40)]
    options = {"preset": "ultrafast"}
    path = encode(tmp_path / f"a.{suffix}", [numbered(i) for i in range(40)], "libx264", rate, stamps, options=options)
    with VideoReader(path) as reader:
        assert reader.info.fps == rate
        assert [number(f.image) for f in reader] == list(range(40))


def wobble(n: int, rate: float, amount: float) -> list[float]:
    rng = np.random.default_rng(3)
    return [0.0] + [float(i / rate + rng.uniform(-amount, amount)) for i in range(1, n)]


IRREGULAR: dict[str, tuple[list[float], float, float]] = {
    "a pause at the start": ([0.0] + [1.5 + i / 25 for i in range(40)], 25, 25),
    "a pause midway": ([i / 30 for i in range(20)] + [5 + i / 30 for i in range(20)], 30, 30),
    "trembling": (wobble(45, 30, 0.006), 29.5, 30.5),
    "a slow recorder": (wobble(45, 29.6, 0.004), 29, 30.5),
    "every seventh lost": ([i / 30 for i in range(50) if i % 7 != 3], 30, 30),
    "soft telecine": ([(5 * i + 1) // 2 / 59.94 for i in range(40)], 23.9, 24),
    "60 and 30": ([i / 60 for i in range(22)] + [22 / 60 + i / 30 for i in range(22)], 59.9, 60),
    "30 and 15": ([i / 30 for i in range(22)] + [22 / 30 + i / 15 for i in range(22)], 30, 30),
}


@pytest.mark.parametrize("case", IRREGULAR)
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_irregular_clips_lose_nothing_that_is_shown(tmp_path: Path, case: str, suffix: str) -> None:
    stamps, low, high = IRREGULAR[case]
    options = {"preset": "ultrafast"}
    pictures = [numbered(i) for i in range(len(stamps))]
    path = encode(tmp_path / f"a.{suffix}", pictures, "libx264", 30, stamps, options=options)
    with VideoReader(path) as reader:
        frames = list(reader)
        rate = float(reader.info.fps)
        assert low - 1e-6 <= rate <= high + 1e-6
        assert reader.info.duration == pytest.approx(stamps[-1] + 1 / rate, abs=0.06)
    shown = [number(f.image) for f in frames]
    assert sorted(set(shown)) == list(range(len(stamps))) and shown == sorted(shown)
    for i, stamp in enumerate(stamps):  # and each at its time
        assert abs(frames[shown.index(i)].time - stamp) <= 0.8 / rate


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("hidden", [5, 17])
def test_what_an_edit_list_hides_does_not_count(tmp_path: Path, suffix: str, hidden: int) -> None:
    pictures = [numbered(i) for i in range(45)]
    whole = encode(tmp_path / "whole.mp4", pictures, "libx264", options={"bf": "2", "g": "60"})
    path = tmp_path / f"cut.{suffix}"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        back = round(hidden / 25 / stream.time_base)
        for packet in source.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, copy
                out.mux(packet)
    with VideoReader(path) as reader:
        assert reader.info.fps == 25
        assert [number(f.image) for f in reader] == list(range(hidden, 45))
        assert reader.info.frames == 45 - hidden
    assert first_time(path) == 0


# a, b, c, d of a display matrix (a point x, y is shown at ax + cy, bx + dy), and the same in NumPy.
ORIENTATIONS: dict[str, tuple[tuple[int, int, int, int], Callable[[RGB], RGB]]] = {
    "upright": ((1, 0, 0, 1), lambda x: x),
    "mirrored": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside down": ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda x: x[::-1]),
    "clockwise": ((0, 1, -1, 0), lambda x: np.rot90(x, 3)),
    "counter-clockwise": ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
    "transposed": ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda x: np.rot90(x, 2).swapaxes(0, 1)),
}


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the header of an MP4's track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (65536 * v for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("ratio", [Fraction(1), Fraction(2)])
def test_all_eight_orientations_come_out_upright(tmp_path: Path, name: str, ratio: Fraction) -> None:
    matrix, expected = ORIENTATIONS[name]
    picture = np.zeros((64, 96, 3), np.uint8)
    for k, (rows, columns) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        picture[32 * rows : 32 * rows + 32, 48 * columns : 48 * columns + 48] = 60 + 50 * k
    path = encode(tmp_path / "a.mp4", [picture] * 3, "libx264", sample_aspect_ratio=ratio)  # type: ignore[arg-type]
    turn(path, matrix)
    want = expected(np.repeat(picture, int(ratio), axis=1))
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
        assert (reader.info.height, reader.info.width) == image.shape[:2] == want.shape[:2]
    h, w = want.shape[0] // 4, want.shape[1] // 4
    for y, x in ((h, w), (h, 3 * w), (3 * h, w), (3 * h, 3 * w)):
        assert abs(int(image[y, x, 0]) - int(want[y, x, 0])) <= 4
    with VideoReader(path, max_side=48) as reader:
        assert max(next(iter(reader)).image.shape[:2]) == 48


@pytest.mark.parametrize("first", ["tff", "bff"])
def test_interlaced_pictures_have_no_combs_and_keep_their_movement(tmp_path: Path, first: str) -> None:
    fields = []
    for i in range(40):
        field = np.full((96, 192, 3), 60, np.uint8)
        field[:, 4 * i : 4 * i + 24] = 200
        fields.append(field)
    woven = []
    for a, b in zip(fields[::2], fields[1::2]):
        frame = a.copy()
        top, bottom = (a, b) if first == "tff" else (b, a)
        frame[::2], frame[1::2] = top[::2], bottom[1::2]
        woven.append(frame)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=192, height=96, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("setfield", f"mode={first}"), graph.add("buffersink")).configure()
    flagged = []
    for i, frame in enumerate(woven):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = i, Fraction(1, 25)
        graph.push(picture)
        flagged.append(graph.pull())
    options = {"flags": "+ildct+ilme", "crf": "12"}
    path = encode(tmp_path / "a.mp4", flagged, "libx264", 25, options=options)
    with VideoReader(path) as reader:
        frames = [f.image.astype(float).mean(-1) for f in reader]
        assert reader.info.fps == 50 and reader.info.frames == len(frames) == 40
        glance = next(iter(reader.sample([0.0]))).image.astype(float).mean(-1)
    combs = [np.abs(f[1:-1] - (f[:-2] + f[2:]) / 2).mean() for f in [*frames[2:-2], glance]]
    raw = woven[5].astype(float).mean(-1)
    assert max(combs) < 0.25 * np.abs(raw[1:-1] - (raw[:-2] + raw[2:]) / 2).mean()
    edges = [int(np.flatnonzero(f[48] > 130).min(initial=999)) for f in frames[2:-2]]
    assert all(abs(e - 4 * (i + 2)) <= 2 for i, e in enumerate(edges))  # every field at its own place, in order


LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
COLOURS = np.array([[200, 60, 30], [30, 180, 90], [120, 120, 220], [255, 255, 255], [10, 10, 10], [230, 210, 40]])


def patches(codes: NDArray) -> NDArray:
    """(N, 3) to a picture of N squares side by side."""
    return np.repeat(np.repeat(codes[None], 64, 0), 32, 1)


def yuv(rgb: NDArray, matrix: int, full: bool, bits: int = 8) -> NDArray:
    """(..., 3) RGB in 0..1 as (3, ...) code values."""
    kr, kb = LUMA[matrix]
    r, g, b = np.moveaxis(rgb, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    if full:
        top = (1 << bits) - 1
        planes = [y * top, u * top + (1 << (bits - 1)), v * top + (1 << (bits - 1))]
        return np.clip(np.round(np.stack(planes)), 0, top)
    return np.round(np.stack([y * 219 + 16, u * 224 + 128, v * 224 + 128]) * (1 << (bits - 8)))


def planar(values: NDArray, kind: str) -> Any:
    """(3, H, W) code values as a frame."""
    frame: Any = av.VideoFrame(values.shape[2], values.shape[1], kind)
    for plane, data in zip(frame.planes, values):
        sample = data.astype(np.uint16 if "10le" in kind else np.uint8)
        rows = np.zeros((plane.height, plane.line_size // sample.itemsize), sample.dtype)
        rows[:, : sample.shape[1]] = sample
        plane.update(rows.tobytes())
    return frame


def read_patches(path: Path, count: int = len(COLOURS)) -> NDArray:
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
    return image[32, 16 :: image.shape[1] // count][:count].astype(int)


# Tagged matrix and range (2 and 0: not said) and those the pictures are really in.
TAGS = [
    (1, 1, 1, False), (1, 2, 1, True), (5, 1, 5, False), (6, 2, 5, True), (7, 1, 7, False), (9, 1, 9, False),
    (9, 2, 9, True), (2, 1, 5, False), (2, 2, 5, True), (2, 0, 5, False), (1, 0, 1, False), (0, 1, 5, False),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "spread", "matrix", "full"), TAGS)
@pytest.mark.parametrize("kind", ["yuv444p", "yuv444p10le"])
def test_matrix_and_range_are_those_that_the_file_says(
    tmp_path: Path, tag: int, spread: int, matrix: int, full: bool, kind: str
) -> None:
    values = yuv(patches(COLOURS / 255), matrix, full, 10 if "10" in kind else 8)
    tags = {"colorspace": tag, "color_range": spread}
    path = encode(tmp_path / "a.mkv", [planar(values, kind)] * 2, "ffv1", kind=kind, **tags)
    assert np.abs(read_patches(path) - COLOURS).max() <= 2


def test_untagged_hd_is_709(tmp_path: Path) -> None:
    picture = patches(COLOURS / 255)
    wide = np.concatenate([np.repeat(picture, 7, axis=1)] * 1, 0)  # 1344 wide, as scope films are
    path = encode(tmp_path / "a.mkv", [planar(yuv(wide, 1, False), "yuv444p")] * 2, "ffv1", kind="yuv444p")
    assert np.abs(read_patches(path) - COLOURS).max() <= 2


def test_formats_without_a_matrix_keep_their_values(tmp_path: Path) -> None:
    picture = patches(COLOURS).astype(np.uint8)
    for kind, codec in (("bgr0", "ffv1"), ("gbrp", "utvideo"), ("rgb24", "png"), ("rgba", "png")):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=kind)
        path = encode(
            tmp_path / f"{kind}.{'mkv' if codec == 'ffv1' else 'mov' if codec == 'png' else 'avi'}",
            [frame] * 2,
            codec,
            kind=kind,
        )
        assert np.abs(read_patches(path) - COLOURS).max() <= 1
    grey = av.VideoFrame.from_ndarray(
        np.repeat(np.arange(0, 252, 42, dtype=np.uint8)[None], 64, 0).repeat(32, 1), "gray"
    )
    for spread, want in ((2, np.arange(0, 252, 42)), (1, np.clip((np.arange(0, 252, 42) - 16) * 255 / 219, 0, 255))):
        path = encode(tmp_path / f"grey{spread}.mkv", [grey] * 2, "ffv1", kind="gray", color_range=spread)
        assert np.abs(read_patches(path)[:, 1] - want).max() <= 1


def pq(light: NDArray) -> NDArray:
    """Linear light, 1 at 203 cd/m², to code values of ST 2084."""
    power = (np.clip(light, 0, None) * 203 / 10000) ** (2610 / 16384)
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32)


def hlg(light: NDArray) -> NDArray:
    """Linear light of BT.2020, 1 at 203 cd/m², to code values of HLG on a screen of 1000 cd/m²."""
    luma = np.maximum(light @ np.array([0.2627, 0.6780, 0.0593]) * 0.203, 1e-9)[..., None]
    scene = light * 0.203 * luma ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def wide(colours: NDArray, gamut: str) -> NDArray:
    """SDR code values 0..255 to linear light in a wider gamut."""
    return np.clip(to_light(colours / 255, "bt1886") @ np.linalg.inv(TO_709[gamut]).T, 0, None)


@pytest.mark.parametrize(("transfer", "code"), [("pq", 16), ("hlg", 18)])
def test_hdr_looks_like_the_standard_range_it_was_made_from(tmp_path: Path, transfer: str, code: int) -> None:
    colours = np.array([[150, 60, 30], [30, 180, 90], [120, 120, 200], [210, 210, 210], [10, 10, 10], [200, 190, 40]])
    light = wide(colours, "bt2020")
    values = yuv(patches(pq(light) if transfer == "pq" else hlg(light)), 9, False, 10)
    tags = {"colorspace": 9, "color_range": 1, "color_trc": code, "color_primaries": 9}
    path = encode(tmp_path / "a.mkv", [planar(values, "yuv444p10le")] * 2, "ffv1", kind="yuv444p10le", **tags)
    assert np.abs(read_patches(path) - colours).max() <= 6  # ten bits of PQ are coarse
    bright = np.repeat(np.array([0.9, 1, 1.4, 2, 3, 4.9])[:, None], 3, 1)  # white is nearly white, and not the end
    values = yuv(patches(pq(bright) if transfer == "pq" else hlg(bright)), 9, False, 10)
    path = encode(tmp_path / "b.mkv", [planar(values, "yuv444p10le")] * 2, "ffv1", kind="yuv444p10le", **tags)
    levels = read_patches(path)[:, 1]
    assert 238 <= levels[1] <= 250 and levels[-1] >= 253 and (np.diff(levels[:5]) > 0).all()


@pytest.mark.parametrize(("gamut", "primaries"), [("p3", 12), ("bt2020", 9)])
def test_wide_gamut_is_brought_to_709_and_greys_stay(tmp_path: Path, gamut: str, primaries: int) -> None:
    colours = np.array([[150, 60, 30], [30, 180, 90], [120, 120, 200], [255, 255, 255], [10, 10, 10], [128, 128, 128]])
    codes = patches(from_light(wide(colours, gamut), "bt1886"))
    matrix = 9 if primaries == 9 else 1
    tags = {"colorspace": matrix, "color_range": 1, "color_trc": 1, "color_primaries": primaries}
    frame = planar(yuv(codes, matrix, False, 10), "yuv444p10le")
    path = encode(tmp_path / "a.mkv", [frame] * 2, "ffv1", kind="yuv444p10le", **tags)
    assert np.abs(read_patches(path) - colours).max() <= 3


def test_linear_light_is_encoded_for_a_screen(tmp_path: Path) -> None:
    codes = patches(to_light(COLOURS / 255, "bt1886"))
    tags = {"colorspace": 1, "color_range": 2, "color_trc": 8, "color_primaries": 1}
    frame = planar(yuv(codes, 1, True, 10), "yuv444p10le")
    got = read_patches(encode(tmp_path / "a.mkv", [frame] * 2, "ffv1", kind="yuv444p10le", **tags))
    bright = COLOURS.min(1) > 25  # ten bits of linear light are coarse where it is dark
    assert np.abs(got - COLOURS)[bright].max() <= 3


def test_tables_for_video_equal_the_exact_conversion() -> None:
    image = np.random.default_rng(2).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    for transfer, gamut in (("pq", "bt2020"), ("hlg", "bt2020"), ("bt1886", "p3"), ("linear", "bt709")):
        exact = np.round(to_sdr(image / 65535, transfer, gamut, "bt1886") * 255)  # type: ignore[arg-type]
        error = np.abs(ToneMap(transfer, gamut)(image) - exact)  # type: ignore[arg-type]
        assert np.percentile(error, 99.5) <= 1 and error.mean() < 0.1


def test_the_default_track_is_chosen_and_a_cover_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 192, 64, "yuv420p"
        tracks: list[Any] = [out.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(2)]
        tracks[0].disposition, tracks[1].disposition = 0, 1
        for i in range(5):
            for packet in video.encode(av.VideoFrame.from_ndarray(numbered(i), format="rgb24")):
                out.mux(packet)
        for packet in video.encode():
            out.mux(packet)
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            frame.sample_rate = 8000
            for packet in track.encode(frame):
                out.mux(packet)
    with open_container(path) as container:
        assert sound_stream(container).index == 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_animated_avif_moves(tmp_path: Path, mode: str) -> None:
    pictures = [Image.fromarray(numbered(i)).convert(mode) for i in range(8)]
    if mode == "RGBA":
        for picture in pictures:
            picture.paste((0, 0, 0, 0), (0, 0, 192, 16))  # clear above
    path = tmp_path / "a.avif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50)
    with VideoReader(path) as reader:
        frames = [f.image for f in reader]
        assert reader.info.fps == 20 and [number(f[20:]) for f in frames] == list(range(8))
    assert abs(int(frames[0][4:12, 100:].mean()) - (255 if mode == "RGBA" else 40)) <= 3


def test_folders_and_patterns_are_videos(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for i in range(12):
        size = (192, 64) if i != 5 else (384, 128)
        write_image(folder / f"shot_{i}.png", np.asarray(Image.fromarray(numbered(i)).resize(size, 0)))
    for junk in ("Thumbs.db", ".DS_Store", "notes.txt", "empty.png"):
        (folder / junk).write_bytes(b"" if junk == "empty.png" else b"junk")
    for path in (folder, folder / "shot_%d.png", folder / "shot_*.png", str(folder) + "/"):
        with VideoReader(path) as reader:
            info, frames = reader.info, list(reader)
        assert (info.width, info.height, info.fps, info.frames) == (192, 64, 25, 12)
        assert [number(f.image) for f in frames] == list(range(12))
        assert all(f.image.shape == (64, 192, 3) for f in frames)
    with VideoReader(folder, fps=10, start=0.5, end=0.8) as reader:
        assert reader.info.frames == 3 and [number(f.image) for f in reader] == [5, 6, 7]
    (folder / "shot_7.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(InputError, match=r"shot_7\.png"), VideoReader(folder) as reader:
        list(reader)
    with VideoReader(folder, keep_readable=True) as reader:
        assert [number(f.image) for f in reader] == [0, 1, 2, 3, 4, 5, 6, 6, 8, 9, 10, 11]
    for wrong in (tmp_path / "none_%d.png", tmp_path):
        with pytest.raises(InputError, match="pattern such as"):
            VideoReader(wrong)


def test_parts_that_do_not_exist_are_refused(write_clip: Callable[..., Path]) -> None:
    path = write_clip([numbered(i) for i in range(25)])
    for start, end in ((2.0, None), (0.5, 0.5), (-1.0, None), (0.5, 0.2)):
        with pytest.raises(InputError, match=r"clip\.mp4"):
            VideoReader(path, start=start, end=end)
    with VideoReader(path, start=0.5, end=9) as reader:
        assert len(list(reader)) == reader.info.frames
    with VideoReader(path, fps=50, start=0.4, end=0.8) as reader:
        assert [number(f.image) for f in reader] == [10 + i // 2 for i in range(20)]
    for start, end in ((0, 0.02), (0, 0.1), (0, 2), (0.1, 0.36), (0.3, 0.6), (0.62, 0.72), (0.62, 2)):  # some are
        for fps in (None, 10, 30):  # half a frame longer than whole ones
            with VideoReader(path, fps=fps, start=start, end=end) as reader:
                assert len(list(reader)) == reader.info.frames, (start, end, fps)


@pytest.mark.data
def test_files_of_the_field_have_the_right_rate_clock_and_colour(data_dir: Path) -> None:
    folder = data_dir / "field"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    expected = {"base.mp4": (25, 75, 0.0), "vfr.mp4": (25, 75, 0.0), "editlist.mp4": (25, 66, 0.0),
                "interlaced.mp4": (60, 120, 0.0), "ts.ts": (25, 75, 1.48), "videolate.mp4": (25, 75, 1.0),
                "mirror.mp4": (25, 75, 0.0), "pq.mov": (25, 75, 0.0)}  # fmt: skip
    pictures = {}
    for name, (rate, count, start) in expected.items():
        with VideoReader(folder / name) as reader:
            frames = [f.image for f in reader]
            assert (reader.info.fps, reader.info.frames, len(frames)) == (rate, count, count), name
        assert first_time(folder / name) == pytest.approx(start, abs=1e-3)
        pictures[name] = frames[20].astype(int)
    assert np.array_equal(pictures["mirror.mp4"], pictures["base.mp4"][:, ::-1])
    assert np.array_equal(pictures["ts.ts"], pictures["base.mp4"])
    assert np.abs(pictures["pq.mov"] - pictures["base.mp4"]).mean() < 2
    with open_container(folder / "twotracks.mp4") as container:
        assert sound_stream(container).index == 2
