"""Part of a driver: from one time to another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import WHOLE, Drive, Driver, Span, Wrapped
from infinex.errors import InputError, option
from infinex.media.timecode import Timecode


def check_span(start: float, end: float | None) -> None:
    """Raise InputError for a part that cannot be."""
    if not (math.isfinite(start) and start >= 0):
        raise InputError(f"{option('start')} {start:g}: a time from 0 on is wanted, in seconds or m:ss")
    if end is not None and not (math.isfinite(end) and end > start):
        raise InputError(f"{option('end')} {end:g}: it must come after {option('start')} {start:g}")


def frames_of(span: Span, fps: float, frames: int | None, name: str) -> tuple[int, int | None]:
    """First frame and the one after the last of a span. Raises InputError where nothing lies between."""
    first = round(span[0] * fps)
    last = frames if span[1] is None else round(span[1] * fps)
    if last is not None and frames is not None:
        last = min(last, frames)
        if first >= last:
            raise _nothing(span, name, frames / fps)
    return first, last


class Excerpt(Wrapped):
    """Part of a driver that is open; its time counts from `start`."""

    def __init__(self, driver: Driver, start: float, end: float | None) -> None:
        """`start`, `end`: seconds. Raises InputError where nothing lies between."""
        super().__init__(driver)
        self._part = start, end
        self._first, self._last = frames_of(self._part, driver.fps, driver.frames, driver.name)

    @property
    def span(self) -> Span:  # type: ignore[override]
        """The part of the driver's sound that belongs to it."""
        return self._part

    @property
    def frames(self) -> int | None:  # type: ignore[override]
        """How many frames lie in it, where that is known."""
        return None if self._last is None else self._last - self._first

    @property
    def timecode(self) -> Timecode | None:  # type: ignore[override]
        """That of the first frame which lies in it."""
        code = self.inner.timecode
        return code and code.later(self._first)

    def __iter__(self) -> Iterator[Drive]:
        for i, drive in enumerate(self.inner):
            if self._last is not None and i >= self._last:
                return
            if i >= self._first:
                yield replace(drive, move=replace(drive.move, time=(i - self._first) / self.inner.fps))


def excerpt(chunks: Iterator[NDArray[np.float32]], rate: int, span: Span, name: str) -> Iterator[NDArray[np.float32]]:
    """The samples of a span out of a stream of them, (N,) each. Raises InputError where nothing lies in it."""
    first = round(span[0] * rate)
    last = None if span[1] is None else round(span[1] * rate)
    done, some = 0, False
    for chunk in chunks:
        part = chunk[max(0, first - done) : None if last is None else max(0, last - done)]
        done += len(chunk)
        if len(part):
            some = True
            yield part
        if last is not None and done >= last:
            break
    if not some and (span[0] or span[1] is not None):
        raise _nothing(span, name, done / rate)


def _nothing(span: Span, name: str, lasts: float) -> InputError:
    upto = "the end" if span[1] is None else f"{span[1]:g} s"
    return InputError(f"nothing lies between {span[0]:g} s and {upto} of {name}, which lasts {lasts:.2f} s")


__all__ = ["WHOLE", "Excerpt", "Span", "check_span", "excerpt", "frames_of"]
