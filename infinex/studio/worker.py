"""One job, in a process of its own: what the queue can end at any moment."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from infinex.drivers import expression
from infinex.drivers.contract import Drive, Driver, Wrapped
from infinex.drivers.directions import open_directions
from infinex.drivers.layers import read_scene
from infinex.drivers.motion import load_motion
from infinex.drivers.text import label_of as words_of
from infinex.drivers.text import open_text
from infinex.drivers.units import parse_timeline, timeline_motion, with_units
from infinex.errors import InfinexError
from infinex.face.unit_reader import UnitReader
from infinex.jobs.animate import animate
from infinex.jobs.layers import Cast, open_layers
from infinex.jobs.open import OF_CLIPS, Driving, is_clip, open_driver, open_voice
from infinex.motion import Motion, Move
from infinex.options import Options

REPORT = 0.2  # seconds between words of progress
MOTION = "result.motion.npz"
CAPTIONS = "captions.vtt"
FRAMES = ".png.zip"


@dataclass(frozen=True)
class Task:
    """What to make. One of `driving`, `motion`, `keyframes`, `units` and `text` is given, or `speech`, or both; or
    `layers` alone."""

    source: str
    output: str
    driving: str | None = None
    motion: str | None = None  # of a bundled performance
    keyframes: str | None = None  # JSON
    units: str | None = None
    text: str | None = None
    layers: str | None = None  # JSON; its files lie in `files`, beside the output
    speech: str | None = None
    said: str | None = None  # what the voice of `speech` says
    directions: tuple[tuple[float, float, str], ...] = ()  # what the face does meanwhile: from, until (seconds), words
    options: dict[str, Any] = field(default_factory=dict)


class Recorded(Wrapped):
    """A driver that keeps the moves it gave out, so that the performance can be saved beside the video."""

    def __init__(self, driver: Driver, label: str) -> None:
        super().__init__(driver)
        self._label = label  # what the file's metadata calls it
        self._moves: list[Move] = []
        self._reader: UnitReader | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """What the file's metadata calls it."""
        return self._label

    def __iter__(self) -> Iterator[Drive]:
        self._moves = []
        d = self.inner
        # Under a voice the lips are not the picture's.
        seen = d.rest_image is not None and d.rest_points is not None
        self._reader = UnitReader(d.rest_image, d.rest_points, d.rest.face) if seen else None  # type: ignore[arg-type]
        for drive in d:
            self._moves.append(replace(drive.move, offsets=drive.move.offsets.astype(np.float32)))
            if self._reader is not None:
                self._reader.add(drive.image, drive.points, drive.move.offsets)
            yield drive

    def performed(self) -> Any:
        """What was played, with its Action Units: the driver's own, else estimated."""
        motion = Motion.collect(self._moves, self.inner.rest, float(self.inner.fps))
        known = self.inner.units()
        if known is not None and len(known[1]) == len(motion):
            return replace(motion, units=np.clip(known[1], 0, 1), unit_names=tuple(known[0]))
        return with_units(motion, self._reader.units() if self._reader is not None else None)


class RecordedCast(Cast):
    """A cast that keeps what the first of its faces does."""

    def open(self, chosen: Sequence[int], count: int) -> dict[int, Driver]:
        """See `Cast`."""
        out = super().open(chosen, count)
        first = min(out)
        self.recorded = out[first] = Recorded(out[first], self.name)
        return out


def driver_of(task: Task, options: Options) -> Driver | RecordedCast:
    """The driver a task asks for. Raises InfinexError."""
    driving: Driving | None = task.driving
    if task.layers is not None:
        files = Path(task.output).parent / "files"
        plain = replace(options, **{n: getattr(Options(), n) for n in OF_CLIPS})
        scene = read_scene(json.loads(task.layers))
        found = lambda name: files / Path(name).name  # noqa: E731
        if scene.faces:
            return RecordedCast(scene, plain, found)
        opened = open_layers(scene, plain, found)
        assert isinstance(opened, Driver)
        return opened
    if task.keyframes is not None:
        keys = expression.read_keyframes(json.loads(task.keyframes), 1e6)
        alone = len(keys) == 1 and keys[0][0] == 0
        driving = expression.ease_in(keys[0][1]) if alone else expression.motion_of(keys, hold=0.2)
    elif task.units is not None:
        driving = timeline_motion(parse_timeline(task.units))
    elif task.text is not None:
        driving = open_text(task.text, options.fps or 25.0)
    elif task.motion is not None:
        driving = load_motion(task.motion)
    elif task.directions:
        driving = open_directions(task.directions, task.directions[-1][1], options.fps or 25.0)
    if not is_clip(driving or ""):  # what the page says of films says nothing to these
        options = replace(options, **{n: getattr(Options(), n) for n in OF_CLIPS})
    if task.speech is not None:
        return open_voice(task.speech, driving, options)
    assert driving is not None
    return open_driver(driving, options)


def label_of(task: Task) -> str:
    """What the metadata of a result calls its driver, and the voice over it."""
    if task.layers is not None:
        return "layers"
    files = [Path(f).name for f in (task.driving, task.speech) if f is not None]
    if task.said is not None:
        files[-1] = words_of(task.said)
    if task.driving is None:
        said = None if task.text is None else words_of(task.text)
        own = task.motion or (task.units or "")[:200] or said or ("timeline" if task.keyframes is not None else "")
        files = [n for n in (own, *files) if n]
    return ", ".join(files)


def perform(task: Task, progress: Any = None) -> dict[str, Any]:
    """Do a task; a summary for JSON. Raises InfinexError."""
    given = dict(task.options)
    if given.get("box") is not None:
        given["box"] = tuple(given["box"])
    options = Options(**given)
    options.check()
    asked = driver_of(task, options)
    driver = asked if isinstance(asked, RecordedCast) else Recorded(asked, label_of(task))
    try:
        zipped = task.output.endswith(FRAMES)
        output = str(Path(task.output).with_name("frames")) if zipped else task.output
        summary = animate(task.source, driver, output, options, progress).as_dict()
        if zipped:
            pack_frames(Path(output), Path(task.output))
        played = driver.recorded if isinstance(driver, RecordedCast) else driver
        motion = played.performed()
        summary["warnings"] = [*played.notes, *summary["warnings"]]
    finally:
        if isinstance(driver, Recorded):  # a cast was closed by whom it was opened
            driver.close()
    motion.save(Path(task.output).with_name(MOTION))
    return summary


def pack_frames(folder: Path, out: Path) -> None:
    """A folder of PNG frames as one zip, and the folder gone."""
    temporary = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:  # PNG is packed already
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
                path.unlink()
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _end_with(parent: int) -> None:
    """End this process when the one that began it has gone, however that went."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def work(pipe: Any, cores: list[int], folder: str) -> None:
    """The worker's loop: tasks come in through `pipe`, words about them go out, until it is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    if not os.environ.get("INFINEX_DEBUG"):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)  # native libraries write their log lines there
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
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
