"""One job, in a process of its own: what the queue can end at any moment."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from infinex.errors import InfinexError

REPORT = 0.2  # seconds between words of progress
MOTION = "result.motion.npz"


@dataclass(frozen=True)
class Task:
    """What to make. One of `driving`, `motion`, `keyframes`, `units` and `text` is given, or `speech`, or both."""

    source: str
    output: str
    driving: str | None = None
    motion: str | None = None  # of a bundled performance
    keyframes: str | None = None  # JSON
    units: str | None = None
    text: str | None = None
    speech: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


class Recorded:
    """A driver that keeps the moves it gave out, so that the performance can be saved beside the video."""

    def __init__(self, driver: Any, label: str) -> None:
        self._driver = driver
        self.name = label  # what the file's metadata calls it
        self._moves: list[Any] = []
        self._reader: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def settle(self, near: Any = None, match: Any = None) -> Recorded:
        self._driver = self._driver.settle(near, match)
        return self

    def suit(self, face: Any) -> None:
        """Hand the portrait on to a driver that is suited to it; protocols do not look behind `__getattr__`."""
        from infinex.engine import Suited

        if isinstance(self._driver, Suited):
            self._driver.suit(face)

    def __iter__(self) -> Iterator[Any]:
        from infinex.drivers.video import VideoDriver
        from infinex.face.reading import UnitReader

        self._moves = []
        d = self._driver
        seen = isinstance(d, VideoDriver) and d.rest_image is not None  # under a voice the lips are not the picture's
        self._reader = UnitReader(d.rest_image, d.rest_points, d.rest.face) if seen else None
        for drive in d:
            self._moves.append(replace(drive.move, offsets=drive.move.offsets.astype(np.float32)))
            if self._reader is not None:
                self._reader.add(drive.image, drive.points, drive.move.offsets)
            yield drive

    def performed(self) -> Any:
        """What was played, with its Action Units: the driver's own, else estimated."""
        from infinex.drivers.units import with_units
        from infinex.motion import Motion

        motion = Motion.collect(self._moves, self._driver.rest, float(self._driver.fps))
        played = getattr(self._driver, "motion", None)
        if played is not None and played.units is not None and len(played) == len(motion):
            return replace(motion, units=played.units, unit_names=played.unit_names)
        spoken = getattr(self._driver, "units", None)
        if callable(spoken):
            names, units = spoken()
            if len(units) == len(motion):
                return replace(motion, units=np.clip(units, 0, 1), unit_names=tuple(names))
        return with_units(motion, self._reader.units() if self._reader is not None else None)


def units_of(text: str) -> Any:
    """Action Units in words, an emotion or a timeline as a performance. Raises InputError."""
    from infinex.drivers.units import parse_timeline, timeline_motion

    return timeline_motion(parse_timeline(text))


def driver_of(task: Task, options: Any) -> Any:
    """The driver a task asks for. Raises InfinexError."""
    if task.speech is None:
        return _face_of(task, options)
    voice = import_module("infinex.drivers.speech").SpeechDriver
    if all(v is None for v in (task.driving, task.motion, task.keyframes, task.units, task.text)):
        return voice(task.speech, options.fps)
    from infinex.drivers.video import VideoDriver

    base = _face_of(task, options)
    try:  # a filmed performer has a life of its own
        lips = voice(task.speech, options.fps, isinstance(base, VideoDriver))
        return import_module("infinex.drivers.overlay").LipsOver(base, lips)
    except BaseException:
        base.close()
        raise


def _face_of(task: Task, options: Any) -> Any:
    """The driver of the whole face."""
    from infinex.drivers.motion import load_motion
    from infinex.pipeline import open_driver
    from infinex.studio import expression

    if task.keyframes is not None:
        frames = expression.read_keyframes(json.loads(task.keyframes), 1e6)
        if len(frames) == 1 and frames[0][0] == 0:
            return open_driver(expression.ease_in(frames[0][1]), options)
        return open_driver(expression.motion_of(frames, hold=0.2), options)
    if task.units is not None:
        return open_driver(units_of(task.units), options)
    if task.text is not None:
        from infinex.drivers.text import open_text

        return open_text(task.text, options.fps or 25.0)
    if task.motion is not None:
        return open_driver(load_motion(task.motion), options)
    assert task.driving is not None
    return open_driver(task.driving, options)


def label_of(task: Task) -> str:
    """What the metadata of a result calls its driver, and the voice over it."""
    from infinex.drivers.text import label_of as words_of

    files = [Path(f).name for f in (task.driving, task.speech) if f is not None]
    if task.driving is None:
        said = None if task.text is None else words_of(task.text)
        own = task.motion or (task.units or "")[:200] or said or ("timeline" if task.keyframes is not None else "")
        files = [n for n in (own, *files) if n]
    return ", ".join(files)


def perform(task: Task, progress: Any = None) -> dict[str, Any]:
    """Do a task; a summary for JSON. Raises InfinexError."""
    from infinex.pipeline import Options, animate

    given = dict(task.options)
    if given.get("box") is not None:
        given["box"] = tuple(given["box"])
    options = Options(**given)
    options.check()
    driver = Recorded(driver_of(task, options), label_of(task))
    try:
        summary = animate(task.source, driver, task.output, options, progress).as_dict()
        motion = driver.performed()
        summary["warnings"] = [*getattr(driver, "notes", []), *getattr(driver, "warnings", []), *summary["warnings"]]
    finally:
        driver.close()
    motion.save(Path(task.output).with_name(MOTION))
    return summary


def work(pipe: Any, cores: list[int], folder: str) -> None:
    """The worker's loop: tasks come in through `pipe`, words about them go out, until it is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    if not os.environ.get("INFINEX_DEBUG"):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)  # native libraries write their log lines there
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    import infinex.pipeline  # noqa: F401  (the first job need not wait for it)

    pipe.send(("ready",))
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        last = [0.0]

        def progress(done: int, total: int | None, last: list[float] = last) -> None:
            now = time.monotonic()
            if now - last[0] >= REPORT or done == total:
                last[0] = now
                pipe.send(("progress", done, total))

        try:
            pipe.send(("done", perform(task, progress)))
        except InfinexError as error:
            pipe.send(("failed", error.words()))
        except MemoryError:
            pipe.send(("failed", "there was not enough memory for this; try a smaller size"))
        except BrokenPipeError:
            return
        except Exception as error:  # a fault of ours: the visitor hears that it failed, the log hears why
            pipe.send(("broken", f"{type(error).__name__}: {error}"))
