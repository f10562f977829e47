"""Reading video as a stream of upright RGB frames at a constant rate."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from infinex.errors import InputError
from infinex.media.files import readable_file

av.logging.set_level(av.logging.PANIC)

STANDARD_RATES = [Fraction(n, d) for n, d in ((10, 1), (12, 1), (15, 1), (24000, 1001), (24, 1), (25, 1),
                  (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1), (120, 1))]  # fmt: skip
MIN_RATE, MAX_RATE = Fraction(1), Fraction(240)
MAX_SIDE = 8192
MAX_STREAMS = 64  # of a file, that are held to it while it is opened
SHORTFALL = 0.5  # seconds by which a file may end before its container says so
MAX_GAP = 300.0  # seconds for which a frame may stand; a longer jump of the time stamps is damage
FORWARD = 1500  # frames that sampling may decode between keyframes before it takes what the keyframes give
# What is read, and nothing else: playlists would open other files, and text is a video to FFmpeg.
FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,apng,png_pipe,jpeg_pipe,webp_pipe,h264,hevc,"
    "mjpeg,m4v,ivf,mxf,rm,dv,nut,mp3,wav,w64,flac,aac,ac3,eac3,aiff,caf,amr,au,wv,tta"
)
PROMISING = ("mov", "matroska", "avi", "flv")  # these state a duration, for others FFmpeg estimates one
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}


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


def open_container(path: Path) -> Any:
    """Open a media file through PyAV. Raises FFmpegError, OSError or ValueError where it is none."""
    # An absolute path, since FFmpeg takes the "a:" of a relative a:b.mp4 for a protocol.
    # FFmpeg decodes pictures to learn of a stream: not those whose header claims more than is read.
    wary = [{"max_pixels": str(MAX_SIDE * MAX_SIDE)}] * MAX_STREAMS
    return av.open(
        str(path.absolute()), options={"format_whitelist": FORMATS}, stream_options=wary, metadata_errors="replace"
    )


def picture_stream(container: Any) -> Any:
    """The first stream of moving pictures that can be decoded, or None; the cover of an album is none."""
    attached = 0x400
    for stream in container.streams.video:
        if stream.codec_context is not None and not int(getattr(stream, "disposition", 0)) & attached:
            return stream
    return None


def sound_stream(container: Any) -> Any:
    """The first stream of sound that can be decoded, or None."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def start_time(container: Any, stream: Any) -> float:
    """Time stamp in seconds that counts as zero: where the pictures begin, else where `stream` does."""
    for candidate in (picture_stream(container), stream):
        if candidate is not None and candidate.start_time is not None:
            return float(candidate.start_time * candidate.time_base)
    return 0.0


def _snap(rate: Fraction) -> Fraction:
    """The standard rate within 1 %, if there is one."""
    near = min(STANDARD_RATES, key=lambda r: abs(r - rate))
    rate = near if abs(near - rate) / near < Fraction(1, 100) else rate.limit_denominator(1001)
    return min(max(rate, MIN_RATE), MAX_RATE)


class VideoReader:
    """Streams one video file; memory does not grow with its length.

    Iterating yields `VideoFrame`s at a constant rate: frames of a variable-rate file are repeated or
    dropped by their timestamps, as they are where `fps` asks for another rate. Time zero is where the
    pictures begin. Frames are turned upright and all have the size in `info`, even where the file changes
    it midway. `max_side` shrinks them while converting.
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
        self._running: weakref.WeakSet[Generator[VideoFrame, None, None]] = weakref.WeakSet()
        self._webp = _webp_durations(self.path)
        self._size, self._turns = (0, 0), 0
        self._promised: float | None = None
        self.info = self._probe()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; iterations end."""
        for generator in list(self._running):
            with contextlib.suppress(ValueError):  # one that another thread is in closes when it is dropped
                generator.close()

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """The container and its stream of pictures, opened anew."""
        try:
            container = open_container(self.path)
        except (av.error.FFmpegError, OSError, ValueError):
            raise InputError(f"{self.path.name} is not a video that can be read") from None
        with contextlib.closing(container):
            stream = picture_stream(container)
            if stream is None:
                what = "only sound" if container.streams.audio else "no known kind of video"
                raise InputError(f"{self.path.name} has no pictures, {what}; a video is wanted")
            context = stream.codec_context
            if max(context.width, context.height) > MAX_SIDE:
                size = f"{context.width}x{context.height}"
                raise InputError(f"{self.path.name} is {size}; the limit is {MAX_SIDE} a side")
            options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
            if self.keep_readable:
                options |= {"err_detect": "ignore_err", "flags": "+output_corrupt"}
            context.options = options
            # Frame threads can deadlock when a damaged stream is closed; the pipeline overlaps stages anyway.
            stream.thread_type = "SLICE"
            yield container, stream

    def _probe(self) -> VideoInfo:
        with self._open_or_webp() as (container, stream):
            first = next((frame for _, _, frame in self._decode(container, stream)), None)
            if first is None:
                raise InputError(f"{self.path.name} has no frame that can be read")
            self._turns = _quarter_turns(first)
            self._size = w, h = self._target_size(first, stream)
            if self._turns % 2:
                w, h = h, w
            if self._webp is not None:
                total = sum(self._webp)
                fps = self._fps or _snap(Fraction(len(self._webp) / total).limit_denominator(1000))
                return VideoInfo(self.path, w, h, fps, round(total * fps), total, False)
            duration, stated = _duration(container, stream)
            self._promised = duration if stated else None
            fps = self._fps or _rate(stream, duration)
            frames = round(duration * float(fps)) if duration else (stream.frames or None)
            return VideoInfo(self.path, w, h, fps, frames, duration, sound_stream(container) is not None)

    @contextlib.contextmanager
    def _open_or_webp(self) -> Iterator[tuple[Any, Any]]:
        if self._webp is not None:
            yield None, None
        else:
            with self._open() as opened:
                yield opened

    def _target_size(self, frame: Any, stream: Any) -> tuple[int, int]:
        """Width and height of the converted frames before they are turned: square pixels, `max_side`."""
        w, h = frame.width, frame.height
        ratio = None if stream is None else stream.sample_aspect_ratio
        if ratio and ratio != 1 and Fraction(1, 4) < ratio < 4:
            w = max(2, round(w * float(ratio)))
        if self.max_side and max(w, h) > self.max_side:
            k = self.max_side / max(w, h)
            w, h = max(2, round(w * k)), max(2, round(h * k))
        return w, h

    def _convert(self, frame: Any) -> NDArray[np.uint8]:
        w, h = self._size
        options: dict[str, Any] = {}
        alpha = any(c.is_alpha for c in frame.format.components)
        if not frame.format.is_rgb:
            # Files that do not say are 709 from HD upwards, and limited unless they say full.
            known = MATRICES.get(int(frame.colorspace), "")
            if known not in Colorspace.__members__:
                known = "ITU709" if frame.height >= 720 else "ITU601"
            full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
            options["src_colorspace"] = known
            options["src_color_range"] = "JPEG" if full else "MPEG"
            options["dst_color_range"] = "JPEG"
        name = "rgba" if alpha else "rgb24"
        image: Any = self._reformatter.reformat(frame, width=w, height=h, format=name, **options).to_ndarray()
        if alpha:  # on white, as pictures are
            opacity = image[..., 3:].astype(np.uint16)
            image = ((image[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
        return np.ascontiguousarray(np.rot90(image, self._turns)) if self._turns else image

    def __iter__(self) -> Iterator[VideoFrame]:
        generator = self._constant_rate()
        self._running.add(generator)
        return generator

    def _constant_rate(self) -> Generator[VideoFrame, None, None]:
        rate = float(self.info.fps)
        index, zero, end = 0, None, 0.0
        last: Any = None
        image: NDArray[np.uint8] | None = None
        with self._open_or_webp() as (container, stream):
            for time, length, frame in self._decode(container, stream):
                if zero is None:
                    # Where the first pictures are unreadable the next stands for them, and sound stays in step.
                    zero = start_time(container, stream) if container is not None else 0.0
                    zero = zero if 0 <= time - zero <= MAX_GAP else time
                # The output frame at this instant, halves upwards; those before it repeat the last one.
                slot = math.floor((time - zero) * rate + 0.5 + 1e-6)
                while last is not None and index < slot:
                    image = self._convert(last) if image is None else image
                    yield VideoFrame(index, index / rate, image)
                    index += 1
                last, image = frame, None
                end = time - zero + (length if 0 < length <= MAX_GAP else 1 / rate)
        if last is None:
            raise InputError(f"{self.path.name} has no frame that can be read")
        image = self._convert(last)
        for i in range(index, max(index + 1, math.floor(end * rate + 0.5 - 1e-6))):
            yield VideoFrame(i, i / rate, image)
        promised = self._promised
        if not self.keep_readable and promised and end < promised - max(SHORTFALL, min(2.0, 0.1 * promised)):
            raise InputError(self._broken(end, f"it should last {promised:.1f} s"))

    def _broken(self, time: float, why: str) -> str:
        return f"{self.path.name} breaks off at {time:.1f} s ({why}); --keep-readable uses what can be read"

    def _decode(self, container: Any, stream: Any) -> Iterator[tuple[float, float, Any]]:
        """Frames with their times and durations in seconds; damage ends the stream or raises InputError."""
        if container is None:
            yield from self._decode_webp()
            return
        base = float(stream.time_base or Fraction(1, 1000))
        step = float(1 / (stream.average_rate or stream.guessed_rate or Fraction(25)))
        zero = start_time(container, stream)
        time: float | None = None
        elapsed = 0.0
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt and not self.keep_readable:
                    raise InputError(self._broken(elapsed, "damaged data"))
                try:
                    frames = packet.decode()
                except (av.error.FFmpegError, ValueError):
                    if self.keep_readable:
                        continue
                    raise
                for frame in frames:
                    if getattr(frame, "is_corrupt", False) and not self.keep_readable:
                        raise InputError(self._broken(elapsed, "damaged picture"))
                    stamp = None if frame.pts is None else frame.pts * base
                    if time is None:
                        time = zero if stamp is None else stamp
                    elif stamp is None or stamp <= time:
                        time += step
                    elif stamp - time > MAX_GAP:
                        if not self.keep_readable:
                            raise InputError(self._broken(elapsed, "the time stamps jump"))
                        time += step
                    else:
                        time = stamp
                    elapsed = max(0.0, time - zero)
                    yield time, float((getattr(frame, "duration", 0) or 0) * base), frame
        except (av.error.FFmpegError, ValueError, MemoryError):
            if not self.keep_readable:
                raise InputError(self._broken(elapsed, "damaged data")) from None

    def _decode_webp(self) -> Iterator[tuple[float, float, Any]]:
        """An animated WebP through Pillow, since FFmpeg reads only still ones."""
        time = 0.0
        try:
            with Image.open(self.path, formats=["WEBP"]) as image:
                if max(image.size) > MAX_SIDE:
                    size = f"{image.width}x{image.height}"
                    raise InputError(f"{self.path.name} is {size}; the limit is {MAX_SIDE} a side")
                for i, length in enumerate(self._webp or []):
                    image.seek(i)
                    yield time, length, av.VideoFrame.from_ndarray(np.asarray(image.convert("RGBA")), format="rgba")
                    time += length
        except InputError:
            raise
        except Exception:  # Pillow reports damage in every way there is
            if not self.keep_readable:
                raise InputError(self._broken(time, "damaged data")) from None

    def at(self, indices: list[int]) -> Iterator[VideoFrame]:
        """Exactly the frames of some rising indices of a file whose rate is constant, found by seeking.

        An index beyond the end gives the last frame. Raises InputError where the file is damaged."""
        rate = float(self.info.fps)
        with self._open() as (container, stream):
            base, zero = float(stream.time_base or Fraction(1, 1000)), start_time(container, stream)
            last: tuple[int, Any] | None = None
            try:
                for wanted in indices:
                    if last is None or last[0] < wanted:
                        container.seek(math.floor((zero + (wanted - 0.5) / rate) / base), stream=stream, backward=True)
                        for frame in container.decode(stream):
                            last = round(((frame.pts or 0) * base - zero) * rate), frame
                            if last[0] >= wanted:
                                break
                    if last is None:
                        raise InputError(self._broken(wanted / rate, "no frame"))
                    yield VideoFrame(wanted, wanted / rate, self._convert(last[1]))
            except (av.error.FFmpegError, ValueError):
                raise InputError(self._broken(0.0, "damaged data")) from None

    def sample(self, times: list[float]) -> Iterator[VideoFrame]:
        """Frames near some rising times in seconds, for looking over a long clip; all differ, `index` is -1.

        Each is the keyframe before its time, or, where that has been given already, the frame at that time.
        Unreadable places are skipped."""
        if self._webp is not None:
            yield from self._sample_in_order(times)
            return
        with self._open() as (container, stream):
            base = float(stream.time_base or Fraction(1, 1000))
            zero = start_time(container, stream)
            given, spare = -math.inf, FORWARD
            for wanted in times:
                try:
                    container.seek(round((zero + wanted) / base), stream=stream, backward=True)
                    for frame in container.decode(stream):
                        time = 0.0 if frame.pts is None else frame.pts * base - zero
                        # A frame that is not newer is the keyframe of the last time: on to the time itself.
                        if time > given and (given < -1 or frame.key_frame or time >= wanted - 0.5 * base):
                            given = time
                            yield VideoFrame(-1, max(0.0, time), self._convert(frame))
                            break
                        spare -= 1
                        if spare < 0:
                            break
                except (av.error.FFmpegError, ValueError, OSError):
                    continue

    def _sample_in_order(self, times: list[float]) -> Iterator[VideoFrame]:
        left = sorted(times)
        for frame in self:
            if left and frame.time + 0.5 / float(self.info.fps) >= left[0]:
                left = [t for t in left if t > frame.time + 0.5 / float(self.info.fps)]
                yield VideoFrame(-1, frame.time, frame.image)


def _duration(container: Any, stream: Any) -> tuple[float | None, bool]:
    """Seconds the pictures last, and whether the file states that itself."""
    stated = container.format.name.split(",")[0] in PROMISING
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base), stated
    text = {k.upper(): v for k, v in stream.metadata.items()}.get("DURATION", "")  # Matroska: 00:00:03.010000000
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds), stated
    if container.duration is None:
        return None, False
    # That of the longest stream, so it promises nothing where there is sound.
    return container.duration / 1e6, stated and not container.streams.audio


def _rate(stream: Any, duration: float | None) -> Fraction:
    """Frames a second to read a stream at."""
    guess = Fraction(stream.average_rate or stream.guessed_rate or 25)
    fps = _snap(guess)
    if duration and stream.frames and stream.frames > 1:  # the truth of variable rates
        real = Fraction(stream.frames / duration).limit_denominator(100000)
        if abs(real - guess) / guess > Fraction(1, 20) and real >= 1:
            fps = _snap(real)
    # One long pause must not take the movement out of the rest.
    finest = stream.base_rate
    return _snap(Fraction(finest)) if finest and 2 * fps < finest <= 60 else fps


def _webp_durations(path: Path) -> list[float] | None:
    """Seconds each frame of an animated WebP stands; None for any other file."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WEBP":
            return None
        durations: list[float] = []
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"ANMF":
                milliseconds = int.from_bytes(file.read(16)[12:15], "little")
                # Browsers show frames of no length for a tenth of a second.
                durations.append(min(milliseconds, 60000) / 1000 if milliseconds > 10 else 0.1)
                file.seek(-16, 1)
            file.seek(size + size % 2, 1)
        return durations if len(durations) > 1 else None


def _quarter_turns(frame: Any) -> int:
    """Counter-clockwise quarter turns that put the frame upright, from its display matrix."""
    angle = getattr(frame, "rotation", 0) or 0
    return round(angle / 90) % 4


def probe(path: str | Path) -> VideoInfo:
    """What a video file says of itself. Raises InputError where it is none."""
    with VideoReader(path) as reader:
        return reader.info
