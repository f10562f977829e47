"""Sound: whether a file has any, and its samples."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.files import readable_file
from infinex.media.video import MAX_GAP, open_container, sound_stream, start_time

DRIFT = 0.04  # seconds by which time stamps may wander before silence is put in or sound taken out


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


def decoded(container: Any, stream: Any, rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """Sound as (channels, N) in -1..1 without gaps, from the instant at which the file's pictures begin.

    Where sound sets in later or is damaged there is silence, so that it stays in step with the pictures."""
    layout = "mono" if channels == 1 else "stereo"
    zero = start_time(container, stream)
    resampler: Any = None
    done, skip = 0, 0
    for frame in _frames(container, stream):
        if frame.time is not None:
            ahead = round((frame.time - zero) * rate) - done
            if resampler is None or abs(ahead) > DRIFT * rate:
                skip = max(0, -ahead)
                silence = ahead if ahead <= MAX_GAP * rate else 0
                while silence > 0:  # in pieces, since a gap can be long
                    part = np.zeros((channels, min(silence, rate)), np.float32)
                    done, silence = done + part.shape[1], silence - part.shape[1]
                    yield part
        if resampler is None:
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        try:
            parts = resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):  # the format changed midway
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            parts = resampler.resample(frame)
        for part in _samples(parts):
            part, skip = part[:, skip:], max(0, skip - part.shape[1])
            done += part.shape[1]
            if part.shape[1]:
                yield part
    if resampler is not None:
        for part in _samples(resampler.resample(None)):
            if part.shape[1] > skip:
                yield part[:, skip:]


def _samples(parts: list[Any]) -> Iterator[NDArray[np.float32]]:
    for part in parts:
        yield np.clip(np.nan_to_num(part.to_ndarray()), -1, 1)
