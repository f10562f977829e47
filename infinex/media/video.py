"""Reading video as a stream of upright RGB frames at a constant rate."""

from __future__ import annotations

import contextlib
import itertools
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
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.clock import MAX_GAP, place, rate_of, read_clock, snap, stamp_of, start_time
from infinex.media.container import open_container, picture_stream, sound_stream
from infinex.media.convert import Converter
from infinex.media.deinterlace import Deinterlacer
from infinex.media.files import readable_file
from infinex.media.grey import Grey, grey_of
from infinex.media.strip import KEEP, MAX_SIDE, is_sequence, open_strip
from infinex.media.timecode import Timecode, stated

__all__ = ["MAX_GAP", "VideoFrame", "VideoInfo", "VideoReader", "open_container", "picture_stream", "probe",
           "sound_stream", "start_time"]  # fmt: skip

av.logging.set_level(av.logging.PANIC)

SHORTFALL = 0.5  # seconds by which a file may end before its container says so
FORWARD = 1500  # frames that sampling may decode between keyframes before it takes what the keyframes give
BACK = (0.0, 5.0, 30.0)  # seconds before the start at which a keyframe is looked for, one after the other
PROMISING = ("mov", "matroska", "avi", "flv")  # these state a duration, for others FFmpeg estimates one
INDEXED = ("mov", "matroska")  # these find a keyframe exactly
INTERLACED_MAX = 61  # pictures a second up to which each field becomes one


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
    timecode: Timecode | None = None  # of the first frame that is read


class Picture:
    """A decoded frame that becomes RGB when it is asked for. One that `waits` stays as it was decoded, too.

    Who needs a part of it alone asks for `picture[rows, columns]`."""

    def __init__(self, source: Any, convert: Converter) -> None:
        self._source, self._convert = source, convert
        self._image: NDArray[np.uint8] | None = None
        self.waits = False

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, the same array each time unless the picture was packed meanwhile."""
        if self._image is None:
            self._image = self._convert(self._source)
            if not self.waits:
                self._source = None
        return self._image

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the image."""
        return self._convert.height, self._convert.width, 3

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.uint8]:
        """A part (rows, columns), both from one pixel to another inside the image, of which the rest is not made."""
        made = None
        if self._image is None and part[0].stop > part[0].start and part[1].stop > part[1].start:
            made = self._convert.part(self._source, *part)
        return self.image[part] if made is None else made

    @property
    def grey(self) -> Grey:
        """The same without its colours; while the picture is as it was decoded, without a conversion."""
        seen = None if self._source is None else self._convert.grey(self._source)
        return grey_of(self.image) if seen is None else seen

    def pack(self) -> None:
        """Keep the smaller of both, decoded frame or RGB, until it is asked for again: many may have to wait."""
        self.waits = False
        if self._source is None or self._image is None:
            return
        if sum(plane.buffer_size for plane in self._source.planes) < self._image.nbytes:
            self._image = None
        else:
            self._source = None


@dataclass(frozen=True)
class VideoFrame:
    """A frame at its place in the constant-rate stream; neighbours may share one picture."""

    index: int
    time: float
    picture: Picture

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        return self.picture.image

    @property
    def grey(self) -> Grey:
        """The same without its colours."""
        return self.picture.grey


class VideoReader:
    """Streams one video file, or a folder or numbered pattern of pictures; memory does not grow with its length.

    Iterating yields `VideoFrame`s at a constant rate: frames of a variable-rate file are repeated or
    dropped by their timestamps, as they are where `fps` asks for another rate. Time zero is where the
    pictures begin, or `start` seconds later; `end` seconds after they begin it ends. Frames are turned upright and
    all have the size in `info`, even where the file changes it midway. `max_side` shrinks them while converting.
    Pictures are shown at `fps`, 25 a second where that is not given.
    A file that breaks off raises InputError with the time, unless `keep_readable`."""

    def __init__(
        self,
        path: str | Path,
        keep_readable: bool = False,
        max_side: int | None = None,
        fps: float | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        self.path = Path(path) if is_sequence(path) else readable_file(path)
        self.keep_readable, self.max_side = keep_readable, max_side
        if not 0 <= start < math.inf or (end is not None and not start < end):
            raise InputError(f"{self.path.name}: from {start:g} s to {end:g} s is no part of it" if end is not None
                             else f"{self.path.name}: it cannot start at {start:g} s")  # fmt: skip
        self._start, self._end = float(start), end
        self._fps = Fraction(fps).limit_denominator(1001) if fps else None
        self._running: weakref.WeakSet[Generator[VideoFrame, None, None]] = weakref.WeakSet()
        self._strip = open_strip(self.path, fps)
        self._zero, self._step = 0.0, 0.04
        self._length: float | None = None
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
        if self._strip is not None:
            return self._probe_strip()
        with self._open() as (container, stream):
            self._zero = start_time(container, stream)
            time, _, first = next(self._decode(container, stream), (0.0, 0.0, None))
            if first is None:
                raise InputError(f"{self.path.name} has no frame that can be read")
            # Where the first pictures are unreadable the next stands for them, and sound stays in step.
            self._zero = self._zero if 0 <= time - self._zero <= MAX_GAP else time
            self._convert = Converter(first, stream.sample_aspect_ratio, self.max_side)
            clock = read_clock(container)
            duration, told = _duration(container, stream, self._zero)
            self._promised = duration if told else None
            if clock.length is not None and clock.last is not None and duration:
                # The last frame's own length is a guess where frames were reordered.
                sure = told and (clock.last < duration < clock.length or duration > clock.length + SHORTFALL)
                duration = duration if sure else clock.length
            else:
                duration = duration or clock.length
            self._length = duration
            fps = self._fps or clock.rate or snap(Fraction(stream.guessed_rate or stream.average_rate or 25))
            own = clock.rate or snap(Fraction(stream.guessed_rate or stream.average_rate or 25))
            code = stated(container, own)
            self._step = float(1 / (clock.rate or fps))
            if clock.interlaced and not self._fps and 2 * fps <= INTERLACED_MAX:
                fps *= 2  # each field is a picture
            frames, duration = self._part(duration, fps)
            frames = frames if frames or self._start or self._end else (stream.frames or None)
            w, h = self._convert.width, self._convert.height
            code = code and code.later(round(self._start * own)).at(fps)
            return VideoInfo(self.path, w, h, fps, frames, duration, sound_stream(container) is not None, code)

    def _probe_strip(self) -> VideoInfo:
        assert self._strip is not None
        first = next((frame for _, _, frame in self._shown(0.0)), None)
        if first is None:
            raise InputError(f"{self.path.name} has no frame that can be read")
        self._convert = Converter(first, None, self.max_side)
        fps = self._fps or rate_of(self._strip.lengths[:-1] or self._strip.lengths) or Fraction(25)
        frames, duration = self._part(sum(self._strip.lengths), fps)
        return VideoInfo(self.path, self._convert.width, self._convert.height, fps, frames, duration, False)

    def _part(self, duration: float | None, fps: Fraction) -> tuple[int | None, float | None]:
        """Frames and seconds from `start` to `end`. Raises InputError where there are none."""
        if duration is None:
            return None, None
        if self._start and self._start >= duration - 1e-6:
            raise InputError(f"{self.path.name} is {duration:.1f} s long; it cannot start at {self._start:g} s")
        rest = duration - self._start
        frames = max(1, math.floor(rest * float(fps) + 0.5 - 1e-6))
        return min(frames, self._most(float(fps)) or frames), min(rest, (self._end or math.inf) - self._start)

    def _most(self, rate: float) -> int | None:
        """Frames up to `end`, a half one counting as one; None where no end was given."""
        return None if self._end is None else max(1, math.floor((self._end - self._start) * rate + 0.5 + 1e-6))

    def __iter__(self) -> Iterator[VideoFrame]:
        generator = self._constant_rate()
        self._running.add(generator)
        return generator

    def _picture(self, frame: Any) -> Picture:
        return Picture(frame, self._convert)

    def _constant_rate(self) -> Generator[VideoFrame, None, None]:
        rate, origin = float(self.info.fps), self._zero + self._start
        limit = self._most(rate) or math.inf
        index, begun, end = 0, 0.0, 0.0
        slot: int | None = None
        last: Any = None
        picture: Picture | None = None
        for time, length, frame in self._shown(self._start):
            # Those before it repeat the last one. At a rate that was asked for there is nothing to keep.
            slot = place((time - origin) * rate, None if self._fps else slot)
            while last is not None and index < min(slot, limit):
                picture = self._picture(last) if picture is None else picture
                yield VideoFrame(index, index / rate, picture)
                index += 1
            if index >= limit:
                return
            last, picture = frame, None
            begun = time - origin + self._start
            end = time - origin + (length if 0 < length <= MAX_GAP else 1 / rate)
        if last is None:
            raise InputError(f"{self.path.name} has no frame that can be read")
        if self._length and begun < self._length < end + self._start:
            end = self._length - self._start
        if end <= 0:
            raise InputError(f"{self.path.name} ends before {self._start:g} s, where it should start")
        picture = self._picture(last)
        least = 1 if self._start or self._fps else index + 1
        for i in range(index, min(limit, max(least, math.floor(end * rate + 0.5 - 1e-6)))):  # type: ignore[type-var,arg-type]
            yield VideoFrame(i, i / rate, picture)
        promised, end = self._promised, end + self._start
        if not self.keep_readable and promised and end < promised - max(SHORTFALL, min(2.0, 0.1 * promised)):
            raise self._broken(end, f"it should last {promised:.1f} s")

    def _broken(self, time: float, why: str) -> InputError:
        return InputError(f"{self.path.name} breaks off at {time:.1f} s ({why})", advice=KEEP)

    def _shown(self, begin: float) -> Iterator[tuple[float, float, Any]]:
        """Pictures with their times and durations in seconds, from the one that stands at `begin` or before it."""
        if self._strip is not None:
            ends = list(itertools.accumulate(self._strip.lengths))
            first = min(int(np.searchsorted(ends, begin + 1e-9, "right")), len(ends) - 1)
            for i, image in self._strip.pictures(first, self.keep_readable):
                frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
                yield ends[i] - self._strip.lengths[i], self._strip.lengths[i], frame
            return
        for back in BACK if begin > 0 else ():
            if begin <= back:
                break
            with self._open() as (container, stream), contextlib.suppress(av.error.FFmpegError, OSError):
                target = self._zero + begin - back - 2 * self._step  # neighbours for deinterlacing
                container.seek(math.floor(target / stream.time_base), stream=stream, backward=True)
                pictures = self._decode(container, stream, sought=True)
                try:
                    head = next(pictures, None)
                except InputError:  # between keyframes
                    continue
                if head is not None and head[0] <= self._zero + begin + 1e-6:
                    yield head
                    yield from pictures
                    return
        with self._open() as (container, stream):
            yield from self._decode(container, stream)

    def _decode(self, container: Any, stream: Any, sought: bool = False) -> Iterator[tuple[float, float, Any]]:
        """Whole pictures with times and durations; damage ends the stream or raises InputError.

        After seeking (`sought`) a file without time stamps gives nothing."""
        whole = Deinterlacer()
        for time, length, frame in self._stamped(container, stream, sought):
            if not whole.busy and not frame.interlaced_frame:
                yield time, length, frame
                continue
            frame.pts = round(time / frame.time_base)
            for picture in whole(frame):
                yield _timed(picture)
        for picture in whole.flush():
            yield _timed(picture)

    def _stamped(self, container: Any, stream: Any, sought: bool) -> Iterator[tuple[float, float, Any]]:
        """Decoded frames with times that rise."""
        base = float(stream.time_base or Fraction(1, 1000))
        step, zero = self._step, self._zero
        time: float | None = None
        elapsed = 0.0
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt and not self.keep_readable:
                    raise self._broken(elapsed, "damaged data")
                if packet.size == 0 and packet.pts is not None:
                    continue  # Theora says so that the last frame stands on
                try:
                    frames = packet.decode()
                except (av.error.FFmpegError, ValueError):
                    if self.keep_readable:
                        continue
                    raise
                for frame in frames:
                    if getattr(frame, "is_corrupt", False) and not self.keep_readable:
                        raise self._broken(elapsed, "damaged picture")
                    ticks = stamp_of(container, frame)
                    stamp = None if ticks is None else ticks * base
                    if time is None:
                        if stamp is None and sought:
                            return
                        time = zero if stamp is None else stamp
                    elif stamp is None or stamp <= time:
                        time += step
                    elif stamp - time > MAX_GAP:
                        if not self.keep_readable:
                            raise self._broken(elapsed, "the time stamps jump")
                        time += step
                    else:
                        time = stamp
                    elapsed = max(0.0, time - zero)
                    yield time, float((getattr(frame, "duration", 0) or 0) * base), frame
        except (av.error.FFmpegError, ValueError, MemoryError):
            if not self.keep_readable:
                raise self._broken(elapsed, "damaged data") from None

    def at(self, indices: list[int]) -> Iterator[VideoFrame]:
        """Exactly the frames of some rising indices of a file whose rate is constant, found by seeking.

        An index beyond the end gives the last frame. Raises InputError where the file is damaged."""
        rate = float(self.info.fps)
        with self._open() if self._strip is None else contextlib.nullcontext((None, None)) as (container, stream):
            if container is not None and container.format.name.split(",")[0] in INDEXED:
                yield from self._at(container, stream, indices)
                return
        for wanted in indices:
            picture: Any = None
            for time, _, shown in self._shown(self._start + max(0.0, (wanted - 0.5) / rate)):
                picture = shown
                if round((time - self._zero - self._start) * rate) >= wanted:
                    break
            if picture is None:
                raise self._broken(wanted / rate, "no frame")
            yield VideoFrame(wanted, wanted / rate, self._picture(picture))

    def _at(self, container: Any, stream: Any, indices: list[int]) -> Iterator[VideoFrame]:
        """`at` for containers that have an index of their keyframes."""
        rate = float(self.info.fps)
        origin = self._zero + self._start
        last: tuple[int, Any] | None = None
        try:
            for wanted in indices:
                if last is None or last[0] < wanted:
                    target = (origin + (wanted - 0.5) / rate) / stream.time_base
                    container.seek(math.floor(target), stream=stream, backward=True)
                    for frame in _deinterlaced(container, stream):
                        last = round(((frame.time or 0) - origin) * rate), frame
                        if last[0] >= wanted:
                            break
                if last is None:
                    raise self._broken(wanted / rate, "no frame")
                yield VideoFrame(wanted, wanted / rate, self._picture(last[1]))
        except (av.error.FFmpegError, ValueError):
            raise self._broken(0.0, "damaged data") from None

    def sample(self, times: list[float]) -> Iterator[VideoFrame]:
        """Frames near some rising times in seconds, for looking over a long clip; all differ, `index` is -1.

        Each is the keyframe before its time, or, where that has been given already, the frame at that time.
        Unreadable places are skipped."""
        if self._strip is not None:
            yield from self._sample_in_order(times)
            return
        with self._open() as (container, stream), self._open() as (ahead, looked):
            base = float(stream.time_base or Fraction(1, 1000))
            zero = self._zero + self._start
            given, spare = -math.inf, FORWARD
            least = -0.5 / float(self.info.fps) if self._start else -math.inf
            frames: Iterator[Any] | None = None  # those that follow what was given
            stream.codec_context.skip_frame = "NONREF"  # near is near enough: what no other frame needs is passed over
            for wanted in times:
                found = False
                with contextlib.suppress(av.error.FFmpegError, ValueError, OSError):
                    target = round((zero + wanted) / base)
                    if frames is None or _key_time(ahead, looked, target) * base - zero > given:
                        container.seek(target, stream=stream, backward=True)
                        frames = container.decode(stream)
                    for frame in frames:
                        ticks = stamp_of(container, frame)
                        time = 0.0 if ticks is None else ticks * base - zero
                        # A frame that is not newer is the keyframe of the last time: on to the time itself.
                        if time > max(given, least) and (given < -1 or frame.key_frame or time >= wanted - 0.5 * base):
                            given, found = time, True
                            yield VideoFrame(-1, max(0.0, time), self._picture(_alone(frame)))
                            break
                        spare -= 1
                        if spare < 0:
                            break
                frames = frames if found else None
                if found or spare < 0:
                    continue
                # Where seeking misses the keyframes: from as far back as is needed.
                with contextlib.suppress(InputError):
                    for time, _, picture in itertools.islice(self._shown(self._start + wanted), spare):
                        spare -= 1
                        if time - zero > given and time - zero >= wanted - self._step:
                            given = time - zero
                            yield VideoFrame(-1, max(0.0, given), self._picture(picture))
                            break

    def _sample_in_order(self, times: list[float]) -> Iterator[VideoFrame]:
        left = sorted(times)
        for frame in self:
            if left and frame.time + 0.5 / float(self.info.fps) >= left[0]:
                left = [t for t in left if t > frame.time + 0.5 / float(self.info.fps)]
                yield VideoFrame(-1, frame.time, frame.picture)
            if not left:
                return


def _key_time(container: Any, stream: Any, target: int) -> float:
    """Time stamp of the keyframe that seeking to `target` leads to; infinite where that is not known."""
    container.seek(target, stream=stream, backward=True)
    packet = next(container.demux(stream), None)
    return math.inf if packet is None or packet.pts is None or not packet.is_keyframe else packet.pts


def _timed(picture: Any) -> tuple[float, float, Any]:
    """A filtered picture's time and duration in seconds, and itself."""
    base = picture.time_base
    return float(picture.pts * base), float((getattr(picture, "duration", 0) or 0) * base), picture


def _deinterlaced(container: Any, stream: Any) -> Iterator[Any]:
    whole = Deinterlacer()
    for frame in container.decode(stream):
        frame.pts = stamp_of(container, frame)
        yield from whole(frame)
    yield from whole.flush()


def _alone(frame: Any) -> Any:
    """A frame without its neighbours, as a whole picture."""
    if not frame.interlaced_frame:
        return frame
    whole = Deinterlacer()
    time = frame.pts or 0
    pictures: list[Any] = []
    for i in range(2):  # the filter waits for the next frame, so it is its own neighbour
        frame.pts = time + i * max(1, round(0.04 / frame.time_base))
        pictures += whole(frame)
    return next(iter([*pictures, *whole.flush()]), frame)


def _duration(container: Any, stream: Any, start: float) -> tuple[float | None, bool]:
    """Seconds the pictures last, and whether the file states that itself."""
    stated = container.format.name.split(",")[0] in PROMISING
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base), stated
    text = {k.upper(): v for k, v in stream.metadata.items()}.get("DURATION", "")  # Matroska: 00:00:03.010000000
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - max(0.0, start), stated
    if container.duration is None:
        return None, False
    # That of the longest stream, so it promises nothing where there is sound.
    return container.duration / 1e6, stated and not container.streams.audio


def probe(path: str | Path) -> VideoInfo:
    """What a video file says of itself. Raises InputError where it is none."""
    with VideoReader(path) as reader:
        return reader.info
