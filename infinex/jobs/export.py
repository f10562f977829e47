"""Whatever drives - a film, a picture, a performance, a voice, a text - as a take for other tools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from infinex.drivers.contract import Drive, Driver
from infinex.drivers.motion import MotionDriver, bundled_motions
from infinex.drivers.timeline import TrackDriver
from infinex.drivers.video import VideoDriver
from infinex.errors import InputError
from infinex.interchange import formats
from infinex.interchange.take import Take, TakeDriver
from infinex.jobs.file import Progress
from infinex.jobs.open import open_driver, open_voice
from infinex.jobs.track import track
from infinex.media.image import is_image
from infinex.media.strip import is_sequence
from infinex.motion import Motion
from infinex.options import Options

VOICES = (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".wma")


def is_filmed(source: str | Path) -> bool:
    """Whether a source is a film or a picture, which is tracked; all else is known already."""
    path = Path(source)
    known = path.name.endswith(".npz") or formats.is_take(source) or path.suffix.lower() in VOICES
    return not known and not (str(source) in bundled_motions() and not path.exists())


class _Seen:
    """Keeps of every frame what a take wants beyond its motion."""

    def __init__(self, points: bool) -> None:
        from infinex.face.shape_reader import ShapeReader

        self._points = points
        self._kind = ShapeReader
        self._reader: ShapeReader | None = None
        self.points: list[np.ndarray] = []

    def __call__(self, driver: VideoDriver, drive: Drive) -> None:
        if self._reader is None:
            assert driver.rest_image is not None and driver.rest_points is not None  # it is settled
            self._reader = self._kind(driver.rest_image, driver.rest_points, driver.rest.face)
        self._reader.add(drive.image, drive.points, drive.move.offsets)
        if self._points:
            none = self.points[-1] if self.points else np.zeros((478, 2), np.float32)
            self.points.append(none if drive.points is None else drive.points[:, :2].astype(np.float32))

    def weights(self) -> np.ndarray | None:
        """(T, 52)."""
        return None if self._reader is None else self._reader.shapes()


def captured(
    source: str | Path, o: Options, progress: Progress | None = None, notes: list[str] | None = None,
    points: bool = False,
) -> tuple[Motion, Take]:  # fmt: skip
    """The performance in a film or a picture, and its take; see `take_of`. A folder of pictures is shown at `o.fps`."""
    notes = [] if notes is None else notes
    seen = _Seen(points)
    motion, lost = track(
        source, o.keep_readable, o.smooth, progress, o.start, o.end, o.driver_face, notes,
        None if is_image(source) else seen, o.fps if is_sequence(source) else None,
    )  # fmt: skip
    notes += [f"no face from {a:.1f} s to {b:.1f} s" for a, b in lost]
    take = replace(Take.of(motion, seen.weights()), points=np.stack(seen.points) if seen.points else None)
    return motion, take.resampled(o.fps) if o.fps else take


def take_of(
    source: str | Path | Driver, options: Options | None = None, progress: Progress | None = None,
    notes: list[str] | None = None, points: bool = False,
) -> Take:  # fmt: skip
    """The take of a film, picture, `.motion.npz`, take, bundled motion or voice, or of a driver that is open.

    Of the options `start`, `end`, `smooth`, `keep_readable`, `driver_face` and `fps` count. `points`: with landmarks,
    where there are pictures. Raises an InfinexError."""
    o = options or Options()
    notes = [] if notes is None else notes
    if isinstance(source, (str, Path)) and is_filmed(source):
        return captured(source, o, progress, notes, points)[1]
    if isinstance(source, Driver):
        driver = source
    elif Path(source).suffix.lower() in VOICES:
        driver = open_voice(source, None, o)
    else:
        driver = open_driver(source, o)
    try:
        if isinstance(driver, TakeDriver):
            notes.extend(driver.notes)
            return driver.take
        if isinstance(driver, MotionDriver):
            return Take.of(driver.motion)
        driver.settle()
        motion = Motion.collect((d.move for d in _counted(driver, progress)), driver.rest, driver.fps)
        if isinstance(driver, TrackDriver):
            names, amounts = driver.units()
            motion = replace(motion, units=amounts, unit_names=names)
        notes.extend(driver.warnings)
        return Take.of(motion)
    finally:
        driver.close()


def _counted(driver: Driver, progress: Progress | None) -> Iterable[Drive]:
    for k, drive in enumerate(driver, 1):
        yield replace(drive, image=None, move=replace(drive.move, offsets=drive.move.offsets.astype(np.float32)))
        if progress:
            progress(k, driver.frames)


def export(
    source: str | Path | Driver, output: str | Path, format: str | None = None, options: Options | None = None,
    progress: Progress | None = None, notes: list[str] | None = None,
) -> Take:  # fmt: skip
    """Write `source` (see `take_of`) to `output` in a format of `infinex.interchange.formats.FORMATS`.

    Without `format` the output's ending says which. Raises an InfinexError."""
    out = Path(output)
    found = formats.chosen(format, out)
    if found is None:
        raise InputError(f"{out.name}: for Infinex's own format use track")
    take = take_of(source, options, progress, notes, found.points)
    found.write(take, out)
    return take
