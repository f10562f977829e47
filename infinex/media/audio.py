"""Sound: whether a file has any, and its samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.files import readable_file


def has_audio(path: str | Path) -> bool:
    """Whether a file holds sound that can be decoded."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return False
            return any(True for _ in container.decode(audio=0))
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def iter_audio(path: str | Path, rate: int = 16000) -> Iterator[NDArray[np.float32]]:
    """Mono sound in -1..1 at `rate` Hz, in chunks as they are decoded.

    Raises InputError where there is no sound."""
    path = readable_file(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(f"{path.name} has no sound")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                for part in resampler.resample(frame):
                    yield part.to_ndarray().ravel()
            for part in resampler.resample(None):
                yield part.to_ndarray().ravel()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path.name} is not a sound file that can be read") from error


def read_audio(path: str | Path, rate: int = 16000) -> NDArray[np.float32]:
    """All of `iter_audio` at once, (N,). Raises InputError where there is no sound."""
    chunks = list(iter_audio(path, rate))
    if not chunks or not sum(len(c) for c in chunks):
        raise InputError(f"{Path(path).name} holds no sound")
    return np.concatenate(chunks)
