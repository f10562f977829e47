"""Writing results: MP4, WebM, GIF, APNG or a folder of PNG frames; whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import av.error
import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from infinex.errors import OutputError
from infinex.media.files import atomic_path
from infinex.media.provenance import Seal, add_metadata, png_with_text
from infinex.media.video import open_container

RGB = NDArray[np.uint8]
Box = tuple[int, int, int, int]
VIDEO = (".mp4", ".webm")
ANIMATION = (".gif", ".apng")
SUPPORTED = ".mp4, .webm, .gif, .apng or a folder for PNG frames"


class Sink(Protocol):
    """Takes the frames of one result."""

    def write(self, frame: RGB, changed: Box | None = None) -> None:
        """Add a frame (H, W, 3) uint8. Outside the box `changed` (x0, y0, x1, y1) it equals the last one."""


def supports_audio(path: str | Path) -> bool:
    """Whether this kind of output can carry sound."""
    return Path(path).suffix.lower() in VIDEO


def check_output(path: str | Path) -> Path:
    """The output path, if its kind is known and it can be written. Raises OutputError otherwise."""
    from infinex.media.files import writable_target

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix and suffix not in VIDEO + ANIMATION:
        raise OutputError(f"{path.name}: the output must end in {SUPPORTED}")
    writable_target(path, folder=not suffix)
    return path


@contextlib.contextmanager
def open_sink(
    path: str | Path,
    size: tuple[int, int],
    fps: Fraction | float,
    audio: str | Path | None = None,
    metadata: dict[str, str] | None = None,
    quality: int = 17,
    seal: Seal | None = None,
) -> Iterator[Sink]:
    """Open an output for frames of `size` (width, height) at `fps`.

    `audio` names a file whose sound is carried over, copied where the container allows it. `quality` is
    the encoder's constant rate factor; `seal` signs the finished file. On any exception inside the block
    nothing is left behind.
    Raises OutputError where the output cannot be written."""
    path = check_output(path)
    if seal is not None:
        seal.check(path)
    folder = not path.suffix
    rate = Fraction(fps).limit_denominator(100000)
    with atomic_path(path, folder=folder) as temporary:
        if folder:
            yield _FolderSink(temporary, metadata or {})
            return
        if path.suffix.lower() in ANIMATION:
            animation = _AnimationSink(temporary, size, rate)
            try:
                yield animation
                animation.finish()
            finally:
                animation.close()
            if metadata:
                add_metadata(temporary, metadata)
            if seal is not None:
                seal.sign(temporary, path.name, metadata or {})
            return
        video = _VideoSink(temporary, size, rate, audio, metadata or {}, quality)
        try:
            yield video
            video.finish()
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error
        finally:
            video.close()
        if seal is not None:
            seal.sign(temporary, path.name, metadata or {})


class _FolderSink:
    def __init__(self, folder: Path, metadata: dict[str, str]) -> None:
        self._folder, self._count, self._metadata = folder, 0, metadata

    def write(self, frame: RGB, changed: Box | None = None) -> None:
        self._count += 1
        name = self._folder / f"frame_{self._count:06d}.png"
        ok, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])
        if not ok:
            raise OSError(f"frame {self._count} could not be encoded")
        name.write_bytes(png_with_text(data.tobytes(), self._metadata))


@njit(cache=True, nogil=True, fastmath=True)
def _to_i420(rgb: NDArray, x0: int, y0: int, x1: int, y1: int, Y: NDArray, U: NDArray, V: NDArray) -> None:
    """RGB (H, W, 3) to BT.709 limited-range planes over an even-aligned box; chroma is the mean of 2×2."""
    for i in range(y0, y1, 2):
        for j in range(x0, x1, 2):
            r4, g4, b4 = np.int32(0), np.int32(0), np.int32(0)
            for k in range(4):
                y, x = i + k // 2, j + k % 2
                r, g, b = np.int32(rgb[y, x, 0]), np.int32(rgb[y, x, 1]), np.int32(rgb[y, x, 2])
                Y[y, x] = (11966 * r + 40254 * g + 4064 * b + 1081344) >> 16
                r4 += r
                g4 += g
                b4 += b
            U[i // 2, j // 2] = (-6596 * r4 - 22189 * g4 + 28784 * b4 + 33685504) >> 18
            V[i // 2, j // 2] = (28784 * r4 - 26145 * g4 - 2639 * b4 + 33685504) >> 18


def _plane(frame: Any, index: int) -> NDArray[np.uint8]:
    """A writable view of one plane of a video frame, stride included."""
    plane = frame.planes[index]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


class _VideoSink:
    """H.264 or VP9 through PyAV, from a persistent canvas of which only changed parts are converted."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        audio: str | Path | None,
        metadata: dict[str, str],
        quality: int,
    ) -> None:
        self._w, self._h = size
        w, h = (self._w + 1) // 2 * 2, (self._h + 1) // 2 * 2
        self._even = (w, h)
        self._rate, self._count = rate, 0
        mp4 = path.suffix.lower() == ".mp4"
        options = {"movflags": "+faststart+use_metadata_tags"} if mp4 else {}
        self._out = av.open(str(path), "w", format="mp4" if mp4 else "webm", container_options=options)
        self._out.metadata.update(metadata)
        stream: Any = self._out.add_stream("libx264" if mp4 else "libvpx-vp9", rate=rate)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.thread_count = 0 if w * h > 1 << 20 else 1
        context = stream.codec_context
        context.color_range, context.colorspace = 1, 1  # limited range, BT.709
        context.color_primaries, context.color_trc = 1, 1
        if mp4:
            preset = "veryfast" if w * h <= 1 << 21 else "ultrafast"
            stream.options = {
                "crf": str(quality),
                "preset": preset,
                "profile": "high" if preset != "ultrafast" else "baseline",
            }
        else:
            stream.options = {
                "crf": str(quality + 12),
                "b": "0",
                "deadline": "realtime",
                "cpu-used": "6",
                "row-mt": "1",
            }
        self._stream = stream
        self._canvas = [
            np.zeros((h, w), np.uint8), np.zeros((h // 2, w // 2), np.uint8), np.zeros((h // 2, w // 2), np.uint8)
        ]  # fmt: skip
        self._sound = _Sound(self._out, audio, mp4) if audio is not None else None

    def write(self, frame: RGB, changed: Box | None = None) -> None:
        if frame.shape != (self._h, self._w, 3):
            raise ValueError(f"frame of {frame.shape[1]}x{frame.shape[0]}, expected {self._w}x{self._h}")
        w, h = self._even
        if (w, h) != (self._w, self._h):
            frame = cv2.copyMakeBorder(frame, 0, h - self._h, 0, w - self._w, cv2.BORDER_REPLICATE)
        x0, y0, x1, y1 = changed if changed is not None and self._count else (0, 0, w, h)
        x0, y0, x1, y1 = (
            max(0, x0 // 2 * 2),
            max(0, y0 // 2 * 2),
            min(w, (x1 + 1) // 2 * 2),
            min(h, (y1 + 1) // 2 * 2),
        )
        if x1 > x0 and y1 > y0:
            _to_i420(frame, x0, y0, x1, y1, *self._canvas)
        picture = av.VideoFrame(w, h, "yuv420p")
        for index, plane in enumerate(self._canvas):
            _plane(picture, index)[:, : plane.shape[1]] = plane
        picture.pts = self._count
        picture.time_base = 1 / self._rate
        picture.colorspace, picture.color_range = 1, 1
        self._count += 1
        for packet in self._stream.encode(picture):
            self._out.mux(packet)
        if self._sound is not None:
            self._sound.until(float(self._count / self._rate))

    def finish(self) -> None:
        """Flush the encoders."""
        if not self._count:
            raise OutputError("there is no frame to write")
        for packet in self._stream.encode():
            self._out.mux(packet)
        if self._sound is not None:
            self._sound.until(float(self._count / self._rate))
            self._sound.finish()
        self._out.close()

    def close(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._out.close()
        if self._sound is not None:
            self._sound.close()


class _Sound:
    """Carries the sound of a file into the output, interleaved with the pictures."""

    def __init__(self, out: Any, path: str | Path, mp4: bool) -> None:
        self._out = out
        self._input = open_container(Path(path))
        source: Any = self._input.streams.audio[0]
        self._copied = source.codec_context.name in (("aac",) if mp4 else ("opus", "vorbis"))
        self._resampler: Any = None
        if self._copied:
            self._stream: Any = out.add_stream_from_template(source)
        else:
            rate = 48000 if not mp4 or source.rate not in (44100, 48000, 32000, 24000, 22050, 16000) else source.rate
            self._stream = out.add_stream("aac" if mp4 else "libopus", rate=rate)
            layout = "mono" if source.channels == 1 else "stereo"
            self._stream.codec_context.layout = layout
            self._resampler = av.AudioResampler(format=self._stream.codec_context.format, layout=layout, rate=rate)
        base = float(source.time_base)
        start = self._input.start_time or 0
        self._packets = self._input.demux(source)
        self._base, self._start = base, start / 1e6
        self._time, self._ended, self._samples = 0.0, False, 0

    def until(self, end: float) -> None:
        """Write sound up to `end` seconds."""
        while not self._ended and self._time < end:
            try:
                packet = next(self._packets)
                if packet.pts is None:
                    self._ended = True
                    return
                time = packet.pts * self._base - self._start
                if time >= end + 0.5:
                    self._time = time
                self._time = max(self._time, time + float((packet.duration or 0) * self._base))
                if self._copied:
                    packet.stream = self._stream
                    self._out.mux(packet)
                else:
                    for frame in packet.decode():
                        self._encode(self._resampler.resample(frame))
            except (StopIteration, av.error.EOFError):
                self._ended = True
            except av.error.FFmpegError:
                self._ended = True  # damaged sound ends early; the pictures go on

    def _encode(self, frames: list[Any]) -> None:
        for frame in frames:
            frame.pts = self._samples
            frame.time_base = Fraction(1, frame.sample_rate)
            self._samples += frame.samples
            for packet in self._stream.encode(frame):
                self._out.mux(packet)

    def finish(self) -> None:
        """Flush the encoder."""
        if not self._copied:
            self._encode(self._resampler.resample(None))
            for packet in self._stream.encode():
                self._out.mux(packet)

    def close(self) -> None:
        """Close the input."""
        self._input.close()


class _AnimationSink:
    """GIF through FFmpeg's palette filters, frame by frame; APNG through its own encoder."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        self._w, self._h = size
        self._rate, self._count = rate, 0
        gif = path.suffix.lower() == ".gif"
        self._step = max(1, round(float(rate) / 25)) if gif else 1  # players slow GIFs above 25 frames/s
        rate = rate / self._step
        self._out = av.open(str(path), "w", format="gif" if gif else "apng")
        stream: Any = self._out.add_stream("gif" if gif else "apng", rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "pal8" if gif else "rgb24"
        self._stream = stream
        self._graph: Any = self._palette(rate) if gif else None

    def _palette(self, rate: Fraction) -> Any:
        graph = av.filter.Graph()
        source = graph.add_buffer(width=self._w, height=self._h, format="rgb24", time_base=1 / rate)
        split = graph.add("split")
        make = graph.add("palettegen", "stats_mode=single")
        use = graph.add("paletteuse", "new=1:dither=sierra2_4a")
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(make, 1, 0)
        make.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        return graph

    def write(self, frame: RGB, changed: Box | None = None) -> None:
        self._count += 1
        if (self._count - 1) % self._step:
            return
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = (self._count - 1) // self._step
        picture.time_base = self._step / self._rate
        if self._graph is None:
            self._encode(picture)
            return
        self._graph.push(picture)
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                self._encode(self._graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def _encode(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            self._out.mux(packet)

    def finish(self) -> None:
        """Flush filters and encoder."""
        if not self._count:
            raise OutputError("there is no frame to write")
        if self._graph is not None:
            self._graph.push(None)
            self._drain()
        for packet in self._stream.encode():
            self._out.mux(packet)
        self._out.close()

    def close(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._out.close()
