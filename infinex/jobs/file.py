"""The sink that writes a file: marked, encoded in a thread of its own, whole at the end or not there at all."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import WHOLE, Driver, Span
from infinex.errors import InputError, OutputError, option
from infinex.jobs.perform import Box, Cue, Picture
from infinex.media.overlap import DEPTH, Behind
from infinex.media.provenance import Mark, Seal, statement
from infinex.media.sink import check_output, open_sink, supports_alpha, supports_audio
from infinex.media.timecode import Timecode
from infinex.options import Options

Progress = Callable[[int, int | None], None]


class FileSink:
    """Takes pictures for a file; each is copied where it changed, so that the canvas can go on."""

    def __init__(self, sink: Any, mark: Mark | None, progress: Progress | None, total: int | None) -> None:
        self._sink, self._mark, self._progress, self._total = sink, mark, progress, total
        self._spare: queue.Queue[NDArray[np.uint8]] = queue.Queue()
        self._buffers = self._count = 0
        self.behind = Behind(self._write)

    def _write(self, item: tuple[Picture, Box | None]) -> None:
        picture, box = item
        self._sink.write(picture, box)
        self._spare.put(picture)

    def show(self, picture: Picture, changed: Box | None, drive: Cue) -> bool:
        """See `infinex.jobs.perform.Sink`."""
        if self._buffers < DEPTH + 2:
            copy = picture.copy()
            self._buffers += 1
        else:
            copy = self._recycled()
            if changed is None:
                copy[:] = picture
            else:
                x0, y0, x1, y1 = changed
                copy[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
        if self._mark is not None:
            x0, y0, x1, y1 = self._mark.box
            copy[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
            self._mark.draw(copy)
        self.behind.put((copy, changed))
        self._count += 1
        if self._progress:
            self._progress(self._count, self._total)
        return True

    def _recycled(self) -> Picture:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._spare.get(timeout=0.2)
            self.behind.check()


@contextlib.contextmanager
def open_file(
    out: Path,
    size: tuple[int, int],
    fps: float,
    metadata: dict[str, str],
    o: Options,
    sound: tuple[Path, Span] | None = None,
    alpha: bool = False,
    progress: Progress | None = None,
    total: int | None = None,
    timecode: Timecode | None = None,
) -> Iterator[FileSink]:
    """A sink for pictures of `size` (width, height); `sound` is a file and the part of it that goes with them."""
    audio, (start, end) = sound or (None, WHOLE)
    with open_sink(
        out,
        size,
        fps,
        audio,
        metadata,
        seal=seal_of(o, out),
        alpha=alpha,
        audio_start=start,
        audio_end=end,
        timecode=timecode,
    ) as sink:
        file = FileSink(sink, Mark(*size) if o.mark else None, progress, total)
        try:
            yield file
            file.behind.finish()
        finally:
            file.behind.close()


def checked_output(output: str | Path, o: Options) -> Path:
    """The output path, if it can hold what is asked for. Raises OutputError otherwise, before any work."""
    out = check_output(output)
    if o.background == "none" and not supports_alpha(out):
        raise OutputError(
            f"{out.name} cannot be transparent; use .webm, .apng, .mov, .gif or a folder, or name a colour"
        )
    seal_of(o, out)
    return out


def seal_of(o: Options, out: Path) -> Seal | None:
    """What signs the result, checked before any work."""
    if o.sign is None:
        return None
    seal = Seal(*o.sign)
    seal.check(out)
    return seal


def provenance(source: str | Path, driving: str, engine: str) -> dict[str, str]:
    """Metadata that says how a file was made."""
    return statement("an animated still portrait, not a recording", Path(source).name, driving, engine)


def own_sound(o: Options, out: Path | None) -> Path | None:
    """The file that `--audio` names, None for keep and none. Raises InputError where it cannot be heard in `out`."""
    from infinex.media.audio import has_audio

    if o.audio in ("keep", "none"):
        return None
    path = Path(o.audio)
    if not path.is_file() or not has_audio(path):
        raise InputError(f"{option('audio')} {o.audio}: keep, none or a file with sound")
    if out is None or not supports_audio(out):
        where = "a live view without -o" if out is None else f"{out.name}"
        raise InputError(
            f"{where} cannot carry the sound of {option('audio')} {o.audio}; write an .mp4 or .webm, or leave it out"
        )
    return path


def sound_for(out: Path, o: Options, own: Path | None, *drivers: Driver, source: Path | None = None) -> Any:
    """The sound of a result and the part of it: a file of its own, a driver's, or that of a film that is driven."""
    if o.audio == "none" or not supports_audio(out):
        return None
    if own is not None:
        return own, WHOLE
    for driver in drivers:
        if driver.audio is not None:
            return driver.audio, driver.span
    return None if source is None else (source, WHOLE)
