"""Another driver for each face of a group: `--face 1=a.mp4,2=b.mp4`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinex.engine import Drive
from infinex.errors import InputError

if TYPE_CHECKING:
    from infinex.pipeline import Driver, Driving, Options, Stage


def parse_cast(text: str) -> dict[int, str] | None:
    """Drivers by the number of a face from the left, of `1=a.mp4,2=nod`; None for what names no drivers.

    Raises InputError for what is neither."""
    if "=" not in text:
        return None
    cast: dict[int, str] = {}
    for part in re.split(r",(?=\s*\d+\s*=)", text):  # names may contain commas
        number, _, name = (p.strip() for p in part.partition("="))
        if not number.isdigit() or int(number) < 1 or not name:
            raise InputError(f"--face {text}: NUMBER=DRIVER is wanted, several with commas, as in 1=a.mp4,2=b.mp4")
        if int(number) in cast:
            raise InputError(f"--face {text}: face {int(number)} is given two drivers")
        cast[int(number)] = name
    return cast


class Ensemble:
    """Several drivers, one for each face of a stage. The longest rules; who is done holds the last instant.

    Frame rate and name are the first one's, the sound that of the first one that has some."""

    def __init__(self, drivers: Sequence[Driver], options: Options) -> None:
        self.drivers, self._options = list(drivers), options
        self.fps = self.drivers[0].fps
        counts = [d.frames for d in self.drivers]
        self.frames = None if None in counts else max(c or 0 for c in counts)
        self.audio: Path | None = next((d.audio for d in self.drivers if d.audio is not None), None)
        self.lost: list[tuple[float, float]] = []

    @staticmethod
    def open(driving: Sequence[Driving], options: Options) -> Ensemble:
        """Open every driver at the rate of the first. Raises what `open_driver` raises; none stays open then."""
        from infinex.pipeline import open_driver

        opened: list[Driver] = []
        try:
            for d in driving:
                rate = options.fps or (opened[0].fps if opened else None)
                opened.append(open_driver(d, replace(options, fps=rate)))
        except BaseException:
            for done in opened:
                with suppress(Exception):
                    done.close()
            raise
        return Ensemble(opened, options)

    @property
    def name(self) -> str:
        """All of them, as the metadata of a result calls them."""
        return ", ".join(getattr(d, "name", "motion") for d in self.drivers)

    @property
    def warnings(self) -> list[str]:
        """Words about any of them."""
        out: list[str] = []
        for d in self.drivers:
            out += getattr(d, "warnings", [])
            out += [f"no face from {a:.1f} s to {b:.1f} s of {getattr(d, 'name', 'a driver')}" for a, b in d.lost]
        return out

    def begin(self, stage: Stage) -> None:
        """Settle each driver on its face of the stage."""
        from infinex.pipeline import begin

        for i, driver in enumerate(self.drivers):
            begin(stage, driver, self._options, i)

    def close(self) -> None:
        """Close all."""
        for d in self.drivers:
            d.close()

    def __iter__(self) -> Iterator[list[Drive]]:
        """Drives of all faces, a list for each frame."""
        from infinex.pipeline import adjusted

        streams: list[Any] = [adjusted(d, self._options) for d in self.drivers]
        now: list[Drive | None] = [None] * len(streams)
        running = set(range(len(streams)))
        try:
            while True:
                for i in list(running):
                    item = next(streams[i], None)
                    if item is None:
                        running.discard(i)
                        last = now[i]
                        now[i] = None if last is None else replace(last, begins=None)
                    else:
                        now[i] = item
                if not running or any(n is None for n in now):
                    return
                yield [n for n in now if n is not None]
        finally:
            for s in streams:
                with closing(s):
                    pass
