"""Which driver? The one place that opens them, for the command line, the API and the studio."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from infinex.beside import worthwhile
from infinex.drivers.apart import ApartDriver
from infinex.drivers.contract import WHOLE, Driver, Wrapped
from infinex.drivers.directions import open_directions
from infinex.drivers.motion import MotionDriver, still_motion
from infinex.drivers.overlay import LipsOver
from infinex.drivers.span import Excerpt
from infinex.drivers.text import label_of
from infinex.drivers.video import VideoDriver
from infinex.errors import FaceNotFoundError, InputError, option
from infinex.face.tracker import Face, choose, shared_finder
from infinex.interchange import formats
from infinex.interchange.take import TakeDriver
from infinex.media.image import is_image, read_image
from infinex.motion import Motion
from infinex.options import DrivingOptions, Options
from infinex.spec import systems

if TYPE_CHECKING:
    from infinex.voices.say import Spoken

Driving = str | Path | Motion | Driver
OF_CLIPS = ("reference", "smooth", "keep_readable", "driver_face")  # what only a film that is read can follow


def open_driver(driving: Driving, options: Options | None = None, apart: bool = False) -> Driver:
    """The driver for a video, a still picture, a `.motion.npz` file, a take of another tool, a bundled motion's name
    or a Motion.

    A driver that is open already is returned as it is. Call `settle` on it before iterating. Raises InputError, also
    for options that such a driver cannot follow.

    A clip may be read `apart`, by a process of its own, where the machine gains by it."""
    o = options or Options()
    if is_clip(driving):
        assert isinstance(driving, (str, Path))
        how = driving, o.reference, o.smooth, o.keep_readable, None, o.fps, o.measured, o.driver_face, o.start, o.end
        return ApartDriver(how, not o.panel) if apart and worthwhile() else VideoDriver(*how)
    if isinstance(driving, Driver):
        # One that is open may know of its part, and of everything else, already.
        part = (o.start, o.end) != WHOLE and driving.span == WHOLE and not isinstance(driving, Excerpt)
        return Excerpt(driving, o.start, o.end) if part else driving
    for name, usual in ((f.name, f.default) for f in fields(DrivingOptions) if f.name in OF_CLIPS):
        if getattr(o, name) != usual:
            raise InputError(f"{option(name)} goes with a driver that is a clip")
    opened = _motion(driving, o)
    return opened if (o.start, o.end) == WHOLE else Excerpt(opened, o.start, o.end)


def _motion(driving: str | Path | Motion, o: Options) -> Driver:
    """A performance that is not filmed, at the rate that is asked for."""
    if formats.is_take(driving):
        assert isinstance(driving, (str, Path))
        take = formats.read(driving)
        return TakeDriver(take.resampled(o.fps) if o.fps else take, Path(driving).name)
    if isinstance(driving, Motion):
        return MotionDriver(driving.resample(o.fps) if o.fps else driving)
    text = str(driving)
    if text.endswith(".npz") or (not Path(text).exists() and not Path(text).suffix):
        return MotionDriver.stored(text, o.fps)
    return MotionDriver(still_motion(*largest(driving), o.fps or 25.0), Path(text).name)


def is_clip(driving: Driving) -> bool:
    """Whether a driver is named that is opened as a video: a file, or a folder or pattern of pictures."""
    if not isinstance(driving, (str, Path)) or str(driving).endswith(".npz") or formats.is_take(driving):
        return False
    path = Path(driving)
    return (path.exists() or bool(path.suffix)) and not (path.is_file() and is_image(path))


def open_voice(speech: str | Path, other: Driving | None, options: Options, still: bool = False) -> Driver:
    """A voice, alone or over the face of another driver.

    A filmed performer blinks and moves already; under everything else the voice brings its own life, unless `still`.
    Raises InputError."""
    voice = systems()["speech"].load("driver", "a voice").SpeechDriver
    start, end = options.start, options.end
    if other is None or (isinstance(other, str) and not other):
        return voice(speech, options.fps, still, start=start, end=end)
    # A clip is cut along with the voice laid over it; what has no clock of its own begins with it.
    base = open_driver(other, options if is_clip(other) else replace(options, start=0.0, end=None))
    try:
        return LipsOver(base, voice(speech, options.fps, still or base.filmed, start=start, end=end))
    except BaseException:
        base.close()
        raise


class Said(Wrapped):
    """A text that is said: the driver, and the folder that holds its sound for as long as it is open."""

    def __init__(self, driver: Driver, folder: TemporaryDirectory[str], spoken: Spoken) -> None:
        super().__init__(driver)
        self._folder, self.spoken = folder, spoken

    @property
    def name(self) -> str:  # type: ignore[override]
        """What is said and by which voice, as the metadata of a result calls the driver."""
        return f"{label_of(' '.join(line.text for line in self.spoken.lines))}, said by {self.spoken.voice}"

    def close(self) -> None:
        """Remove the sound, too."""
        self.inner.close()
        self._folder.cleanup()


def open_said(
    script: str,
    other: Driving | None = None,
    options: Options | None = None,
    still: bool = False,
    voice: str = "",
    speed: float = 1.0,
    pitch: float = 0.0,
) -> Said:
    """A portrait says `script`, text with [stage directions]; see `infinex.voices.say.say` for the voice.

    The directions drive the face, or where there are none `other` does. Raises InputError, also for both at once, and
    MissingDependencyError without a voice."""
    from infinex.voices.say import say

    o = options or Options()
    spoken = say(script, voice, speed, pitch)
    if spoken.directions:
        if other:
            raise InputError(f"{option('say')}: stage directions move the face; leave out the other driver, or them")
        asked = [(d.start, d.end, d.text) for d in spoken.directions]
        other = open_directions(asked, spoken.seconds, o.fps or 25.0)
    folder = TemporaryDirectory(prefix="infinex-said-")
    try:
        sound = spoken.write(Path(folder.name) / "said.wav")
        return Said(open_voice(sound, other, o, still), folder, spoken)
    except BaseException:
        folder.cleanup()
        raise


def open_units(units: str, fps: float = 25.0, exaggerate: bool = False) -> MotionDriver:
    """Action Units in words, an emotion or a timeline as a driver. Raises InputError."""
    from infinex.drivers.units import parse_timeline, timeline_motion

    return MotionDriver(timeline_motion(parse_timeline(units, exaggerate), fps), units)


def label(driving: Driving) -> str:
    """What a file's metadata calls the driver."""
    if isinstance(driving, (str, Path)):
        return Path(driving).name
    return driving.name if isinstance(driving, Driver) else "motion"


def largest(picture: str | Path) -> tuple[Face, NDArray[np.uint8]]:
    """The largest face in a picture file, and the picture. Raises InputError or FaceNotFoundError."""
    image = read_image(picture)
    with shared_finder() as finder:
        faces = finder.find(image)
    if not faces:
        raise FaceNotFoundError(f"no face found in {Path(picture).name}; use a picture that shows a face clearly")
    return choose(faces, "largest", Path(picture).name)[0], image
