"""Reading video as a stream of upright RGB frames at a constant rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.files import readable_file

av.logging.set_level(av.logging.PANIC)

STANDARD_RATES = [Fraction(n, d) for n, d in ((10, 1), (12, 1), (15, 1), (24000, 1001), (24, 1), (25, 1),
                  (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1), (120, 1))]  # fmt: skip
MIN_RATE, MAX_RATE = Fraction(1), Fraction(240)
MAX_SIDE = 8192
SHORTFALL = 0.5  # seconds by which a file may end before its container says so


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself; `width` and `height` are those of the upright frames."""

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration: float | None
    has_audio: bool


@dataclass(frozen=True)
class VideoFrame:
    """A frame at its place in the constant-rate stream; `image` is (H, W, 3) uint8 RGB."""

    index: int
    time: float
    image: NDArray[np.uint8]


def _snap(rate: Fraction) -> Fraction:
    """The standard rate within 1 %, if there is one."""
    near = min(STANDARD_RATES, key=lambda r: abs(r - rate))
    rate = near if abs(near - rate) / near < Fraction(1, 100) else rate.limit_denominator(1001)
    return min(max(rate, MIN_RATE), MAX_RATE)


class VideoReader:
    """Streams one video file; memory does not grow with its length.

    Iterating yields `VideoFrame`s at a constant rate: frames of a variable-rate file are repeated or
    dropped by their timestamps, as they are where `fps` asks for another rate. Frames are turned upright.
    `max_side` shrinks them while converting.
    A file that breaks off raises InputError with the time, unless `keep_readable`."""

    def __init__(
        self,
        path: str | Path,
        keep_readable: bool = False,
        max_side: int | None = None,
        fps: float | None = None,
    ) -> None:
        self.path = readable_file(path)
        self.keep_readable, self.max_side = keep_readable, max_side
        self._fps = Fraction(fps).limit_denominator(1001) if fps else None
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame
        self._container = self._open()
        self.info = self._probe()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _open(self) -> Any:
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError, ValueError, UnicodeDecodeError):
            raise InputError(f"{self.path.name} is not a video that can be read") from None
        if not container.streams.video:
            container.close()
            raise InputError(f"{self.path.name} has no pictures, only sound; a video is wanted")
        # Frame threads can deadlock when a damaged stream is closed; the pipeline overlaps stages anyway.
        container.streams.video[0].thread_type = "SLICE"
        return container

    def _probe(self) -> VideoInfo:
        stream = self._container.streams.video[0]
        try:
            first = self._first()
        except InputError:
            self.close()
            raise
        self._turns = _quarter_turns(first)
        image = self._convert(first)
        h, w = image.shape[:2]
        guess = stream.average_rate or stream.guessed_rate or Fraction(25)
        duration = None
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        elif self._container.duration is not None:
            duration = self._container.duration / 1e6
        fps = _snap(Fraction(guess))
        if duration and stream.frames and stream.frames > 1:  # the truth of variable rates
            real = Fraction(stream.frames / duration).limit_denominator(100000)
            if abs(real - guess) / guess > Fraction(1, 20) and real >= 1:
                fps = _snap(real)
        fps = self._fps or fps
        frames = round(duration * float(fps)) if duration else (stream.frames or None)
        return VideoInfo(self.path, w, h, fps, frames, duration, bool(self._container.streams.audio))

    def _first(self) -> Any:
        try:
            for packet in self._container.demux(self._container.streams.video[0]):
                try:
                    frames = packet.decode()
                except (av.error.FFmpegError, ValueError):
                    if self.keep_readable:
                        continue
                    break
                for frame in frames:
                    if max(frame.width, frame.height) > MAX_SIDE:
                        size = f"{frame.width}x{frame.height}"
                        raise InputError(f"{self.path.name} is {size}; the limit is {MAX_SIDE} a side")
                    return frame
        except (av.error.FFmpegError, ValueError, MemoryError):
            pass
        raise InputError(f"{self.path.name} has no frame that can be read")

    def _rewind(self) -> None:
        self._container.close()
        self._container = self._open()

    def _convert(self, frame: Any) -> NDArray[np.uint8]:
        w, h = frame.width, frame.height
        ratio = frame.sample_aspect_ratio if hasattr(frame, "sample_aspect_ratio") else None
        if ratio is None:
            ratio = self._container.streams.video[0].sample_aspect_ratio
        if ratio and ratio > 0 and ratio != 1 and Fraction(1, 4) < ratio < 4:
            w = max(2, round(w * float(ratio)))
        if self.max_side and max(w, h) > self.max_side:
            k = self.max_side / max(w, h)
            w, h = max(2, round(w * k)), max(2, round(h * k))
        # Files that do not say are 709 from HD upwards, and limited unless they say full.
        space = frame.colorspace
        known = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "SMPTE170M", 7: "SMPTE240M"}.get(int(space))
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        options: dict[str, Any] = {}
        if not frame.format.is_rgb:
            options["src_colorspace"] = known or ("ITU709" if frame.height >= 720 else "ITU601")
            options["src_color_range"] = "JPEG" if full else "MPEG"
            options["dst_color_range"] = "JPEG"
        image: Any = self._reformatter.reformat(frame, width=w, height=h, format="rgb24", **options).to_ndarray()
        return np.ascontiguousarray(np.rot90(image, self._turns)) if self._turns else image

    def __iter__(self) -> Iterator[VideoFrame]:
        self._rewind()
        rate = self.info.fps
        index, first, last_time = 0, None, 0.0
        image: NDArray[np.uint8] | None = None
        for time, frame in self._decode():
            first = time if first is None else first
            # The instant of this frame, in output frames; earlier ones repeat the frame before.
            slot = round((time - first) * float(rate))
            while image is not None and index < slot:
                yield VideoFrame(index, float(index / rate), image)
                index += 1
            image = self._convert(frame)
            last_time = time - first
        if image is None:
            raise InputError(f"{self.path.name} has no frame that can be read")
        yield VideoFrame(index, float(index / rate), image)
        end = last_time + 1 / float(rate)
        promised = self.info.duration
        if not self.keep_readable and promised and end < promised - max(SHORTFALL, 0.1 * promised):
            raise InputError(self._broken(end, f"it should last {promised:.1f} s"))

    def _broken(self, time: float, why: str) -> str:
        return f"{self.path.name} breaks off at {time:.1f} s ({why}); --keep-readable uses what can be read"

    def _decode(self) -> Iterator[tuple[float, Any]]:
        """Frames with their times; damage ends the stream or raises InputError."""
        stream = self._container.streams.video[0]
        base = float(stream.time_base or Fraction(1, 1000))
        step = 1 / float(self.info.fps)
        time, seen = -step, False
        try:
            for packet in self._container.demux(stream):
                if packet.is_corrupt and not self.keep_readable:
                    raise InputError(self._broken(max(0.0, time), "damaged data"))
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    if self.keep_readable:
                        continue
                    raise
                for frame in frames:
                    if getattr(frame, "is_corrupt", False) and not self.keep_readable:
                        raise InputError(self._broken(max(0.0, time), "damaged picture"))
                    stamp = frame.pts * base if frame.pts is not None else time + step
                    time = stamp if not seen or stamp > time else time + step
                    seen = True
                    yield time, frame
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            if not self.keep_readable:
                raise InputError(self._broken(max(0.0, time), "damaged data")) from error

    def sample(self, times: list[float]) -> Iterator[VideoFrame]:
        """Frames near some times in seconds, rising; each the first at or after a keyframe before it.

        For looking over a long clip: one seek and a few decoded frames each. Unreadable places are skipped."""
        self._rewind()
        stream = self._container.streams.video[0]
        base = stream.time_base or Fraction(1, 1000)
        start = stream.start_time or 0
        for time in times:
            try:
                self._container.seek(start + int(time / base), stream=stream, backward=True)
                frame = next(self._container.decode(video=0), None)
            except (av.error.FFmpegError, ValueError, OSError):
                continue
            if frame is not None:
                yield VideoFrame(-1, float(((frame.pts or start) - start) * base), self._convert(frame))


def _quarter_turns(frame: Any) -> int:
    """Counter-clockwise quarter turns that put the frame upright, from its display matrix."""
    angle = getattr(frame, "rotation", 0) or 0
    return round(angle / 90) % 4


def probe(path: str | Path) -> VideoInfo:
    """What a video file says of itself. Raises InputError where it is none."""
    with VideoReader(path) as reader:
        return reader.info
