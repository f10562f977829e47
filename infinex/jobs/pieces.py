"""A long result in pieces: each is whole once it is written, a killed run goes on behind them, and they are joined
without a seam.

What a driver knows at a frame follows from all before it, so a run that goes on follows the performance from its
beginning again and draws from where the pieces end. Every piece is a stream of its own to the encoder; so pictures do
not depend on where a run was killed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from infinex._version import __version__
from infinex.drivers.contract import WHOLE, Drive, Driver, Span
from infinex.errors import InputError, option
from infinex.jobs.file import FileSink, Progress, open_file, seal_of
from infinex.jobs.open import Driving
from infinex.jobs.perform import Box, Cue, Picture
from infinex.media.sink import VIDEO, join_pieces
from infinex.media.timecode import Timecode
from infinex.options import Options
from infinex.stage import Stage

NAME = re.compile(r"(\d{9})-(\d+)")  # first frame and number of frames of a piece


def check_pieces(o: Options, out: Path) -> None:
    """Whether a result can be made in pieces. Raises InputError, before any work."""
    if o.pieces is None:
        return
    if out.suffix.lower() not in VIDEO:
        raise InputError(f"{option('pieces')}: the output must end in {', '.join(VIDEO)}")
    if o.passes is not None:
        raise InputError(f"{option('pieces')}: leave out {option('passes')}, whose folder cannot go on")


def no_pieces(o: Options, what: str) -> None:
    """Raise InputError where pieces are asked for with `what`, which cannot go on."""
    if o.pieces is not None:
        raise InputError(
            f"{option('pieces')} goes with a still picture and one driver that is not live, not with {what}"
        )


def made_of(source: str | Path, driving: Driving, driver: Driver, o: Options, size: tuple[int, int]) -> str:
    """What a result is made of, as a number that is another one for another result."""

    def stamp(path: str | Path) -> list[Any]:
        p = Path(path)
        return [str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] if p.exists() else [str(path)]

    how = stamp(driving) if isinstance(driving, (str, Path)) else [type(driving).__name__]
    sound = driver.audio.stat().st_size if driver.audio is not None and driver.audio.exists() else 0
    what = [__version__, stamp(source), how, driver.name, driver.frames, float(driver.fps), sound, asdict(o), size]
    return hashlib.sha256(json.dumps(what, default=str, sort_keys=True).encode()).hexdigest()


class Pieces:
    """The sink: pictures go into the piece that is being written."""

    def __init__(self, folder: Path, suffix: str, each: int, opened: Any, progress: Progress | None, total: int | None) -> None:  # fmt: skip  # noqa: E501
        """`each`: frames of a piece; `opened` a path: a context of a `FileSink` for it."""
        self._folder, self._suffix, self._each, self._opened = folder, suffix, each, opened
        self._progress, self._total = progress, total
        self._sink: FileSink | None = None
        self._stack, self._count = ExitStack(), 0
        self.files: list[Path] = []
        self.done = 0  # frames that are in whole pieces
        for path in sorted(folder.glob(f"*{suffix}")):
            found = NAME.fullmatch(path.stem)
            if found is not None and int(found[1]) == self.done:
                self.files.append(path)
                self.done += int(found[2])

    def show(self, picture: Picture, changed: Box | None, drive: Cue) -> bool:
        """See `infinex.jobs.perform.Sink`."""
        if self._sink is None:
            self._sink = self._stack.enter_context(self._opened(self._folder / f"now{self._suffix}"))
        self._sink.show(picture, changed, drive)
        self._count += 1
        if self._progress:
            self._progress(self.done + self._count, self._total)
        if self._count == self._each:
            self.close()
        return True

    def close(self) -> None:
        """The piece at hand is whole."""
        if self._sink is None:
            return
        self._stack.close()
        path = self._folder / f"{self.done:09d}-{self._count}{self._suffix}"
        (self._folder / f"now{self._suffix}").replace(path)
        self.files.append(path)
        self._sink, self.done, self._count = None, self.done + self._count, 0

    def abandon(self) -> None:
        """The piece at hand is given up, because of the exception that is being handled."""
        self._stack.__exit__(*sys.exc_info())


@contextmanager
def open_pieces(
    out: Path, size: tuple[int, int], fps: float, metadata: dict[str, str], o: Options, sound: tuple[Path, Span] | None,
    alpha: bool, progress: Progress | None, total: int | None, timecode: Timecode | None, made: str,
) -> Iterator[Pieces]:  # fmt: skip
    """A sink as `infinex.jobs.file.open_file` gives it, whose pieces lie beside `out` until all of them are there.

    Pieces of another result than what is `made` of the same (see `made_of`) are done anew."""
    folder = out.parent / f".{out.name}.pieces"
    note = folder / "made-of.txt"
    if folder.exists() and not (note.exists() and note.read_text() == made):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    note.write_text(made)
    assert o.pieces is not None
    plain = replace(o, sign=None)
    pieces = Pieces(
        folder, out.suffix, max(1, round(o.pieces * fps)),
        lambda path: open_file(path, size, fps, {}, plain, None, alpha), progress, total,
    )  # fmt: skip
    try:
        yield pieces
        pieces.close()
    except BaseException:
        pieces.abandon()
        raise
    audio, (start, end) = sound or (None, WHOLE)
    join_pieces(pieces.files, out, fps, audio, metadata, seal_of(o, out), start, end, timecode)
    shutil.rmtree(folder)


def resumed(cues: Iterator[Drive], stage: Stage, done: int) -> Iterator[Drive]:
    """The cues behind the first `done`, of which the stage learns only where shots begin."""
    for k, cue in enumerate(cues):
        if k >= done:
            yield cue
        elif cue.begins is not None:
            stage.begin(cue.begins.rest, cue.begins.image, cue.begins.points)
