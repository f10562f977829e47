"""Whatever drives - a film, a picture, a performance, a voice, a text - as a take for other tools."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from infinex.drivers.contract import Drive, Driver
from infinex.drivers.motion import MotionDriver, bundled_motions
from infinex.drivers.timeline import TrackDriver
from infinex.drivers.video import VideoDriver, faces_in
from infinex.errors import InputError, MissingDependencyError, option
from infinex.face.identity import identity_network, same_person
from infinex.interchange import formats, openface
from infinex.interchange.openface import POINTS_68
from infinex.interchange.take import Take, TakeDriver, tenths
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
    """Keeps of every frame what a take wants beyond its motion and shapes: with `points` 68 landmarks.

    With `alone` frames after a cut that show somebody else are as without a face, where dlib is there to tell."""

    def __init__(self, points: bool, alone: bool) -> None:
        self._points, self._alone = points, alone
        self._places = array("h")
        self._own = array("b")
        self._cuts = 0
        self._asked, self._same = False, True
        self.start = 0.0  # seconds of the day, by the film's timecode

    def __call__(self, driver: VideoDriver, drive: Drive) -> None:
        assert driver.rest_image is not None and driver.rest_points is not None  # it is settled
        if not self._own and driver.timecode is not None:
            self.start = driver.timecode.seconds
        if self._points:
            last = self._places[-136:] or array("h", [0] * 136)
            seen = drive.points
            self._places.extend(last if seen is None else tenths(seen[POINTS_68, :2]).ravel().tolist())
        if self._alone:
            self._asked |= len(driver.cuts) != self._cuts
            self._cuts = len(driver.cuts)
            if self._asked and drive.image is not None and drive.points is not None:
                self._asked = False
                with contextlib.suppress(MissingDependencyError):  # then the tracker's word stands
                    identity_network()
                    self._same = same_person(drive.image, drive.points, driver.rest_image, driver.rest_points)
        self._own.append(self._same)

    def take(self, motion: Motion, shapes: list[np.ndarray]) -> Take:
        """The take of what was seen; a picture has no `shapes`."""
        if not shapes:
            return Take.of(motion)
        take = replace(Take.of(motion, np.concatenate(shapes)), start=self.start)
        points = np.frombuffer(self._places, np.int16).reshape(-1, 68, 2) if self._points else None
        return replace(take, points=points, valid=take.valid & np.frombuffer(self._own, np.int8).astype(bool))


def captured(
    source: str | Path, o: Options, progress: Progress | None = None, notes: list[str] | None = None,
    points: bool = False, lean: bool = False, alone: bool = False,
) -> tuple[Motion, Take]:  # fmt: skip
    """The performance in a film or a picture, and its take; see `take_of`. A folder of pictures is shown at `o.fps`.

    `lean`: see `track`. `alone`: frames in which the face is somebody else's count as without one."""
    notes = [] if notes is None else notes
    seen = _Seen(points, alone)
    shapes: list[np.ndarray] = []
    motion, lost = track(
        source, o.keep_readable, o.smooth, progress, o.start, o.end, o.driver_face, notes,
        None if is_image(source) else seen, o.fps if is_sequence(source) else None, lean, shapes,
    )  # fmt: skip
    notes += [f"no face from {a:.1f} s to {b:.1f} s" for a, b in lost]
    take = seen.take(motion, shapes)
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
        return captured(source, o, progress, notes, points, lean=True)[1]
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
            return Take.of(driver.motion if driver.motion.units is not None else driver.whole())
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


def people_of(
    source: str | Path, options: Options, progress: Progress | None = None, notes: list[str] | None = None
) -> list[Take]:
    """A take of every face that a film begins with, from the left; each is followed for itself, from end to end."""
    count = faces_in(source, options.keep_readable, options.start, options.end)
    takes = []
    for k in range(1, max(1, count) + 1):
        own: list[str] = []
        one = replace(options, driver_face=str(k) if count else "largest")
        takes.append(captured(source, one, progress, own, points=True, lean=True, alone=True)[1])
        if notes is not None:
            notes += [f"face {k}: {line}" for line in own]
    return takes


def export(
    source: str | Path | Driver, output: str | Path, format: str | None = None, options: Options | None = None,
    progress: Progress | None = None, notes: list[str] | None = None,
) -> Take:  # fmt: skip
    """Write `source` (see `take_of`) to `output` in a format of `infinex.interchange.formats.FORMATS`.

    Without `format` the output's ending says which. With the `driver_face` all a table of OpenFace's has every face of
    a film, and its first is returned. Raises an InfinexError."""
    out = Path(output)
    found = formats.chosen(format, out)
    if found is None:
        raise InputError(f"{out.name}: for Infinex's own format use track")
    if options is not None and options.driver_face == "all":
        if found.name != "openface" or not isinstance(source, (str, Path)) or not is_filmed(source):
            raise InputError(f"{option('driver_face')} all goes with a film and {option('format')} openface")
        if not is_image(source):
            takes = people_of(source, options, progress, notes)
            openface.write_people(takes, out)
            return takes[0]
        options = replace(options, driver_face="largest")
    take = take_of(source, options, progress, notes, found.points)
    found.write(take, out)
    return take
