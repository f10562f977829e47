"""Part of a driver: from one time to another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Suited
from infinex.errors import InputError

if TYPE_CHECKING:
    from infinex.pipeline import Driver

Span = tuple[float, "float | None"]  # seconds; None: to the end
WHOLE: Span = (0.0, None)


def check_span(start: float, end: float | None) -> None:
    """Raise InputError for a part that cannot be."""
    if not (math.isfinite(start) and start >= 0):
        raise InputError(f"--start {start:g}: a time from 0 on is wanted, in seconds or m:ss")
    if end is not None and not (math.isfinite(end) and end > start):
        raise InputError(f"--end {end:g}: it must come after --start {start:g}")


def frames_of(span: Span, fps: float, frames: int | None, name: str) -> tuple[int, int | None]:
    """First frame and the one after the last of a span. Raises InputError where nothing lies between."""
    first = round(span[0] * fps)
    last = frames if span[1] is None else round(span[1] * fps)
    if last is not None and frames is not None:
        last = min(last, frames)
        if first >= last:
            raise _nothing(span, name, frames / fps)
    return first, last


class Excerpt:
    """Part of a driver that is open; its time counts from `start`."""

    def __init__(self, driver: Driver, start: float, end: float | None) -> None:
        """`start`, `end`: seconds. Raises InputError where nothing lies between."""
        self._driver, self.span = driver, (start, end)
        self._first, self._last = frames_of(self.span, driver.fps, driver.frames, self.name)

    def __getattr__(self, key: str) -> Any:
        return getattr(self._driver, key)

    @property
    def name(self) -> str:
        """That of the whole."""
        return str(getattr(self._driver, "name", "motion"))

    @property
    def frames(self) -> int | None:
        """How many frames lie in it, where that is known."""
        return None if self._last is None else self._last - self._first

    def settle(self, near: Any = None, match: Any = None) -> Excerpt:
        """Settle the whole."""
        self._driver.settle(near, match)
        return self

    def suit(self, face: Any) -> None:
        """Tell the whole whose face it moves."""
        if isinstance(self._driver, Suited):
            self._driver.suit(face)

    def __iter__(self) -> Iterator[Drive]:
        for i, drive in enumerate(self._driver):
            if self._last is not None and i >= self._last:
                return
            if i >= self._first:
                yield replace(drive, move=replace(drive.move, time=(i - self._first) / self._driver.fps))


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
