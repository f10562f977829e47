"""What about a driver will not show, found while it runs and said at the end in a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import WHOLE, Drive, Driver, Span
from infinex.errors import Note, option
from infinex.motion import PARTS, Move, part_weights

TURN, SHIFT, GROWTH, LOOK = 0.006, 0.006, 0.004, 0.01  # rad, IOD, log, rad below which nothing is seen to move
POINT = 0.006  # IOD, of the face's points that move most
MOST = 12  # of them are left out: single landmarks may wander
GONE = 0.5  # share of a performance without a face that is worth a word


class Doings:
    """Passes a driver's stream on and remembers how far each part went."""

    def __init__(self, driver: Driver, parts: Sequence[str], asked: bool) -> None:
        """`parts` are what is carried over, `asked` whether somebody chose them."""
        self._driver, self._parts, self._asked = driver, [p for p in PARTS if p in parts], asked
        self._faces = {p: part_weights([p]) for p in ("lips", "eyes", "brows")}
        self._first: Move | None = None
        self._went: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._count = self._unseen = 0

    def __call__(self, drives: Iterator[Drive]) -> Iterator[Drive]:
        for drive in drives:
            self._look(drive.move)
            yield drive

    def _look(self, move: Move) -> None:
        self._count += 1
        self._unseen += not move.valid
        a = self._first
        if a is None:
            self._first = move
            a = move
        went = {
            "pose": max(_norm(move.rotation - a.rotation) / TURN, _norm(move.translation - a.translation) / SHIFT),
            "scale": abs(float(np.log(move.scale / a.scale))) / GROWTH,
            "gaze": _norm(move.gaze - a.gaze) / LOOK,
        }
        if "scale" not in PARTS:
            went["pose"] = max(went["pose"], went.pop("scale"))
        far = np.linalg.norm(move.offsets - a.offsets, axis=1)
        if far.max() > 0:
            for part, weight in self._faces.items():
                went[part] = float(np.partition(far * weight, -MOST - 1)[-MOST - 1]) / POINT
        for part, amount in went.items():
            self._went[part] = max(self._went.get(part, 0.0), amount)

    def remarks(self) -> list[str]:
        """Notes, best said once the stream has ended."""
        name = self._driver.name + _part(self._driver.span)
        if self._count < 2:
            return []
        if max(self._went.values()) < 1 and not (self._first is not None and self._moved_at_once()):
            return [] if self._driver.new_voice else [f"{name} never moves: nothing is carried over"]
        notes: list[str] = []
        if self._unseen > GONE * self._count:
            seconds = self._unseen / float(self._driver.fps)
            gone = f"{name} shows no face for most of its time ({seconds:.1f} s)"
            notes.append(Note(f"{gone}; choose a stretch with {option('start')}"))
        if self._asked:
            idle = [p for p in self._parts if self._went[p] < 1]
            if idle and len(idle) == len(self._parts):
                notes.append(f"nothing moves: {name} does nothing with {' and '.join(idle)}")
            elif idle:
                notes.append(f"{name} does nothing with {' and '.join(idle)}")
        return notes

    def _moved_at_once(self) -> bool:
        """Whether the driver is away from rest from its first frame on: it shapes the portrait though nothing moves."""
        assert self._first is not None
        return bool(np.abs(self._first.offsets).max() > POINT)


def _part(span: Span) -> str:
    """Which part of a driver was used, where it was not all of it."""
    start, end = span
    if span == WHOLE:
        return ""
    return f" from {start:g} s on" if end is None else f" from {start:g} to {end:g} s"


def _norm(x: NDArray[Any]) -> float:
    return float(np.linalg.norm(x))
