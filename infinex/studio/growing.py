"""A clip's performance that is seen while it is still being read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from infinex.drivers.capture import from_rest
from infinex.drivers.contract import Driver
from infinex.errors import InputError
from infinex.face.portrait import SourceFace
from infinex.motion import Motion, Move
from infinex.studio.checks import GoneError, Watch

STEP = 0.25  # seconds between looks whether somebody still waits


def moves_of(driver: Driver) -> Iterator[Move]:
    """What a driver does, small enough to be kept."""
    for drive in driver:
        yield replace(drive.move, offsets=drive.move.offsets.astype(np.float32))


Other = tuple["Motion | Growing", int]  # and which frame of it is the first here


class Growing:
    """As a `Motion`: its length is what the clip says until it has been read, and what was not read yet is waited for.

    It is read in a thread of its own, for as long as one of those who asked for it is there."""

    def __init__(
        self, driver: Driver, frames: int, path: Path, forget: Callable[[], None], other: Other | None = None
    ) -> None:
        """`driver` is settled and has `frames`; it is closed here. `forget` is called where reading fails. `other` is
        another part of the same clip: what it knows is shown, measured from this one's rest, until that is read."""
        self.rest, self.fps = driver.rest, float(driver.fps)
        self._driver, self._frames, self._path, self._forget = driver, frames, path, forget
        self._watches: list[Watch] = []
        self._moves: list[Move] = []
        self._news = threading.Condition()
        self._done = False
        self._failed: Exception | None = None
        self._other, self._face = other, SourceFace(driver.rest.face) if other else None

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="infinex-clip", daemon=True).start()

    def join(self, watch: Watch) -> None:
        """Somebody wants it, until their watch says that they have gone. Raises what reading failed with."""
        if self._failed is not None:
            raise self._failed
        if not self._done and watch not in self._watches:
            self._watches = [w for w in self._watches if not w.gone.is_set()] + [watch]

    def _read(self) -> None:
        try:
            for move in moves_of(self._driver):
                if all(w.gone.is_set() for w in self._watches):
                    raise GoneError
                with self._news:
                    self._moves.append(move)
                    self._news.notify_all()
            if not self._moves:
                raise InputError(f"{self._path.name} shows nothing")
        except Exception as error:  # told to whoever waits
            self._failed = error
            self._forget()
        finally:
            self._driver.close()
            with self._news:
                self._done = True
                self._news.notify_all()
            self._watches = []
            self._other = None

    def __len__(self) -> int:
        return len(self._moves) if self._done else max(self._frames, len(self._moves))

    def knows(self, i: int) -> bool:
        """Whether frame `i` has been read."""
        return i < len(self._moves)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self) / self.fps

    def at(self, i: int) -> Move:
        """The instant of frame `i`, once it is read. Raises what reading failed with, GoneError where all went."""
        other = self._other
        if other is not None and self._face is not None and not self.knows(i):
            motion, first = other
            if 0 <= i + first < len(motion) and (not isinstance(motion, Growing) or motion.knows(i + first)):
                return from_rest(motion.at(i + first), motion.rest, self.rest, self._face)
        with self._news:
            while len(self._moves) <= i and not self._done:
                self._news.wait(STEP)
        if self._failed is not None and i >= len(self._moves):
            raise self._failed
        return self._moves[min(i, len(self._moves) - 1)]

    def whole(self, watch: Watch) -> Motion:
        """All of it, once it is read. Raises GoneError where nobody waits for it."""
        with self._news:
            while not self._done:
                watch(self._path)
                self._news.wait(STEP)
        if self._failed is not None:
            raise self._failed
        return Motion.collect(self._moves, self.rest, self.fps)
