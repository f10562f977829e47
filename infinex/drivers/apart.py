"""A clip that drives, read in a process of its own: in one process what is drawn and what is read would wait for each
other, since Python does one thing at a time."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.beside import taken
from infinex.drivers.contract import Drive, Driver
from infinex.drivers.video import VideoDriver
from infinex.errors import InfinexError
from infinex.face.pose import Pose
from infinex.media.overlap import alone
from infinex.memory import frugal, trim

OPENED = ("name", "span", "fps", "frames", "timecode", "audio")  # what is known of a driver once it is open, ...
SETTLED = ("rest", "rest_image", "rest_points")  # ... settled, ...
ENDED = ("lost", "warnings")  # ... and at its end


@dataclass
class _Said:
    """What the process says besides drives."""

    known: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None


class ApartDriver(Driver):
    """A `VideoDriver` in another process, which is ahead of whoever iterates by as much as a pipe holds."""

    filmed = True

    def __init__(self, arguments: tuple[Any, ...], closely: bool) -> None:
        """`arguments` are those of a `VideoDriver`, whose errors are raised here, too; `closely` see `Driver`."""
        self.name, self.closely = Path(arguments[0]).name, closely
        self._process = taken(__name__)
        try:
            self._say(arguments)
            self._learn()
        except BaseException:
            self.close()
            raise

    def _say(self, what: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(what, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()

    def _heard(self) -> Any:
        """What the process says next, if it is no error."""
        assert self._process.stdout is not None
        try:
            said = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            code = self._process.wait()
            raise RuntimeError(f"the process that reads {self.name} has ended by itself ({code})") from None
        if isinstance(said, _Said) and said.error is not None:
            raise said.error
        return said

    def _learn(self) -> None:
        self.__dict__.update(self._heard().known)

    def settle(  # type: ignore[override]
        self, near: Pose | None = None, match: NDArray[np.float64] | None = None
    ) -> ApartDriver:
        """See `VideoDriver`; from now on drives are made."""
        self._say((near, match, self.closely))
        self._learn()
        return self

    def __iter__(self) -> Iterator[Drive]:
        while isinstance(said := self._heard(), Drive):
            yield said
        self.__dict__.update(said.known)

    def close(self) -> None:
        """End the process."""
        self._process.kill()  # it writes nothing that could be left half done
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def serve() -> None:
    """The other process: a driver is opened, settled and run as it is told to.

    What is pickled goes between these two processes alone, over pipes that are theirs; no file is read like that."""
    frugal()
    told, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(what: Any) -> None:
        pickle.dump(what, out, pickle.HIGHEST_PROTOCOL)
        out.flush()

    def known(names: tuple[str, ...]) -> _Said:
        return _Said({name: getattr(driver, name) for name in names})

    try:
        with alone():
            driver = VideoDriver(*pickle.load(told))
            say(known(OPENED))
            near, match, driver.closely = pickle.load(told)
            driver.settle(near, match)
            say(known(SETTLED))
            for n, drive in enumerate(driver):
                say(drive)
                if n == 0:
                    trim()  # to look a clip over takes more than to follow it
            say(known(ENDED))
    except (BrokenPipeError, EOFError):  # nobody waits any more
        os._exit(1)
    except BaseException as error:
        if not isinstance(error, InfinexError):
            traceback.print_exc()
        say(_Said(error=_sent(error)))


def _sent(error: BaseException) -> BaseException:
    """An error as it can be sent: itself, or its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
