"""Sound: whether a file has any, and its samples."""

from __future__ import annotations

import contextlib
import itertools
import wave
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.files import readable_file
from infinex.media.video import MAX_GAP, open_container, picture_stream, sound_stream, start_time

# Seconds by which time stamps may be off: at once a gap, steadily a gap, steadily so little that sound is stretched.
JUMP, DRIFT, SLIGHT = 0.04, 0.012, 0.004
STEADY = 6  # frames
EDITED, REORDERED = 20000, 20  # packets before the first picture shown, and those among which it is


def open_sound(path: str | Path) -> tuple[Any, Any]:
    """A container and its stream of sound. Raises InputError where there is none."""
    path = readable_file(path)
    try:
        container = open_container(path)
    except (av.error.FFmpegError, OSError, ValueError):
        raise InputError(f"{path.name} is not a sound file that can be read") from None
    stream = sound_stream(container)
    if stream is None:
        container.close()
        raise InputError(f"{path.name} has no sound; use a file with sound")
    return container, stream


def has_audio(path: str | Path) -> bool:
    """Whether a file holds sound that can be decoded."""
    try:
        container, stream = open_sound(path)
    except InputError:
        return False
    with container:
        return any(True for _ in _frames(container, stream))


def iter_audio(path: str | Path, rate: int = 16000, chunk: int | None = None) -> Iterator[NDArray[np.float32]]:
    """Mono sound in -1..1 at `rate` Hz, (N,), in chunks as they are decoded or of `chunk` samples each.

    Only the last chunk may be shorter. Raises InputError where there is no sound."""
    container, stream = open_sound(path)
    some = False
    with container:
        waiting = np.zeros(0, np.float32)
        for part in decoded(container, stream, rate, 1):
            some = True
            if chunk is None:
                yield part[0]
                continue
            waiting = np.concatenate([waiting, part[0]])
            whole = len(waiting) // chunk * chunk
            yield from waiting[:whole].reshape(-1, chunk)
            waiting = waiting[whole:]
        if len(waiting):
            yield waiting
    if not some:
        raise InputError(f"{Path(path).name} holds no sound that can be read")


def read_audio(path: str | Path, rate: int = 16000) -> NDArray[np.float32]:
    """All of `iter_audio` at once, (N,). Raises InputError where there is no sound."""
    return np.concatenate(list(iter_audio(path, rate)))


def write_wav(path: Path, parts: Iterable[NDArray[np.floating]], rate: int) -> Path:
    """Write mono sound in -1..1, (N,) a part, as 16-bit WAV; gives the path back."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        for part in parts:
            file.writeframes((np.clip(part, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; damaged packets are left out."""
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, ValueError):
                continue
            yield from frames
    except (av.error.FFmpegError, ValueError, MemoryError):
        return


def decoded(
    container: Any, stream: Any, rate: int, channels: int, start: float = 0.0, end: float | None = None
) -> Iterator[NDArray[np.float32]]:
    """Sound as (channels, N) in -1..1 without gaps, from `start` to `end` seconds after the file's zero.

    Zero is where its pictures begin, in a file without pictures where its sound does. Where sound sets in
    later, pauses or is damaged there is silence, so that it stays in step with the pictures."""
    left = None if end is None else max(0, round((end - start) * rate))
    for part in _placed(container, stream, rate, channels, start):
        if left is not None:
            if left <= 0:
                return
            part = part[:, :left]
            left -= part.shape[1]
        yield part


def _placed(
    container: Any, stream: Any, rate: int, channels: int, start: float
) -> Generator[NDArray[np.float32], None, None]:
    zero: float | None = None
    if picture_stream(container) is not None:
        zero = start_time(container, stream) + pulled_forward(container) + start
    placer = _Placer(rate, channels)
    for frame in _frames(container, stream):
        if frame.time is not None:
            if zero is None:  # what an encoder puts in front has been taken off by now
                zero = frame.time + start
            yield from placer.move((frame.time - zero) * rate)
        yield from placer.feed(frame)
    yield from placer.flush()


def pulled_forward(container: Any) -> float:
    """Seconds by which FFmpeg shows the pictures of a trimmed MP4 or MOV too early against its sound.

    Where an edit list begins within a frame FFmpeg leaves that frame out and puts the next one at its place."""
    if not container.format.name.startswith("mov"):
        return 0.0
    try:
        with _opened(container.name) as other:
            packets = (p for p in other.demux(picture_stream(other)) if p.pts is not None and p.size)
            shown = itertools.islice((p for p in packets if not p.is_discard), REORDERED)
            first = min(shown, key=lambda p: p.pts, default=None)
        if first is None:
            return 0.0
        with _opened(container.name, advanced_editlist="0") as other:
            for packet in itertools.islice(other.demux(picture_stream(other)), EDITED):
                if packet.pos == first.pos and packet.pts is not None:
                    return max(0.0, float(packet.pts * packet.time_base - first.pts * first.time_base))
    except (av.error.FFmpegError, OSError, ValueError):
        pass  # what is wrong with the file is said where its pictures are read
    return 0.0


def _opened(name: str, **options: str) -> Any:
    return av.open(name, options={"format_whitelist": "mov", **options})


class _Placer:
    """Puts decoded sound at the places that its time stamps say, in samples of `rate` from zero."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._resampler: Any = None
        self._at: float | None = None  # place of the next sample that leaves the resampler; below zero it is dropped
        self._given = 0  # samples handed out
        self._skip = 0  # samples to leave out, where sound overlaps
        self._inside = 0.0  # samples waiting in the resampler
        self._off: deque[float] = deque(maxlen=STEADY)
        self._stretch = 0.0  # samples still to be put in (or taken out) little by little

    def move(self, place: float) -> Iterator[NDArray[np.float32]]:
        """Make the next frame begin at `place`, with silence in between or by leaving out what overlaps."""
        if self._at is None:
            yield from self._jump(place)
            return
        off = place - (self._at + self._inside - self._skip)
        self._off.append(off)
        # Stamps are rounded and jitter; what stays off on one side is real.
        steady = min(self._off, key=abs) if len(self._off) == STEADY else 0.0
        if max(self._off) * min(self._off) < 0:
            steady = 0.0
        if abs(off) > JUMP * self._rate or abs(steady) > DRIFT * self._rate:
            yield from self.flush()
            yield from self._jump(place)
        elif abs(steady) > SLIGHT * self._rate:
            self._stretch = steady

    def _jump(self, place: float) -> Iterator[NDArray[np.float32]]:
        self._off.clear()
        self._stretch = 0.0
        if self._at is None or place <= 0 >= self._at:
            self._at, self._skip = min(place, 0.0), 0
        if place > self._at and place - max(self._at, 0.0) <= MAX_GAP * self._rate:
            self._at, self._skip = place, 0
            silence = round(place) - self._given
            while silence > 0:  # in pieces, since a gap can be long
                part = np.zeros((self._channels, min(silence, self._rate)), np.float32)
                silence -= part.shape[1]
                self._given += part.shape[1]
                yield part
        elif place < self._at:
            self._skip = round(self._at - place)

    def feed(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        """The samples that a frame adds."""
        if self._at is None:
            self._at = 0.0
        frame = _known_layout(frame)
        try:
            parts = self._resample(frame)
        except (av.error.FFmpegError, ValueError):  # the format changed midway
            yield from self.flush()
            try:
                parts = self._resample(frame)
            except (av.error.FFmpegError, ValueError):  # a rate that nobody can convert: silence stands for it
                self._resampler = None
                return
        self._inside += frame.samples * self._rate / frame.sample_rate
        yield from self._hand_out(parts)

    def _resample(self, frame: Any) -> list[Any]:
        if self._resampler is None:
            layout = "mono" if self._channels == 1 else "stereo"
            self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=self._rate)
        return list(self._resampler.resample(frame))

    def flush(self) -> Iterator[NDArray[np.float32]]:
        """What waits in the resampler."""
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                yield from self._hand_out(resampler.resample(None))
        self._inside = 0.0

    def _hand_out(self, parts: list[Any]) -> Iterator[NDArray[np.float32]]:
        for frame in parts:
            part = np.clip(np.nan_to_num(frame.to_ndarray()), -1, 1).astype(np.float32, copy=False)
            self._inside = max(0.0, self._inside - part.shape[1])
            if self._stretch:
                part = self._stretched(part)
            if self._skip:
                part, self._skip = part[:, self._skip :], max(0, self._skip - part.shape[1])
            assert self._at is not None
            early = max(0, -round(self._at))
            self._at += part.shape[1]
            part = part[:, early:]
            if part.shape[1]:
                self._given += part.shape[1]
                yield part

    def _stretched(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        n = part.shape[1]
        more = round(float(np.clip(self._stretch, -n / 100, n / 100)))
        if not more or n + more < 2:
            return part
        self._stretch -= more
        self._off.clear()
        if abs(self._stretch) < 1:
            self._stretch = 0.0
        at = np.linspace(0, n - 1, n + more)
        return np.stack([np.interp(at, np.arange(n), channel) for channel in part]).astype(np.float32)


def _known_layout(frame: Any) -> Any:
    """The frame itself, or its first two channels where nobody knows what its channels are."""
    try:
        av.AudioLayout(frame.layout.name)
        return frame
    except ValueError:
        pass
    samples, count = frame.to_ndarray(), len(frame.layout.channels) or frame.layout.nb_channels
    if not frame.format.is_planar:
        samples = samples.reshape(-1, count).T
    planar = frame.format.name if frame.format.is_planar else frame.format.name + "p"
    kept = np.ascontiguousarray(samples[:2])
    other = av.AudioFrame.from_ndarray(kept, format=planar, layout="stereo" if len(kept) == 2 else "mono")
    other.sample_rate = frame.sample_rate
    return other
