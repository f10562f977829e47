"""The one way from a driver to whatever takes pictures: drives adjusted, drawn on a stage, handed to sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.blend import looped
from infinex.drivers.capture import Adjust, one_rest
from infinex.drivers.contract import Drive, Driver, Shot
from infinex.engine import Engine, Shown
from infinex.face.identity import forgotten
from infinex.face.portrait import SourceFace
from infinex.media.overlap import Ahead, alone
from infinex.memory import trim
from infinex.options import MotionOptions
from infinex.panel import panel_frame
from infinex.stage import Stage

Picture = NDArray[np.uint8]  # (H, W, 3), or (H, W, 4) where the stage is transparent
Box = tuple[int, int, int, int]
Cue = Drive | Sequence[Drive]


class Scene(Protocol):
    """Where drives become pictures: `infinex.stage.Stage`, or a film whose head stays where it is."""

    @property
    def box(self) -> Box | None:
        """Outside, pictures never change; None: they may anywhere."""

    def render(self, drive: Cue) -> tuple[Picture, list[Shown]] | None:
        """The picture under one drive, or one for each face; None where the scene has ended by itself."""


class Sink(Protocol):
    """Takes the pictures of a performance."""

    def show(self, picture: Picture, changed: Box | None, drive: Cue) -> bool:
        """One picture; outside the box `changed` it equals the last one. The array is used again. False ends it all."""


@dataclass
class Summary:
    """What was done."""

    output: str
    frames: int
    seconds: float
    fps: float
    duration: float
    width: int
    height: int
    faces: int
    engine: str
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


# -- drives ---------------------------------------------------------------------------------------


class Adjusting:
    """Drives as they are shown: parts, strength and size applied, and only what an engine may see of the performer.

    A frame shows the whole performance: what is scaled, left out or blended can only be shown by the portrait itself,
    so that an engine which `needs` frames gets none of the performer's then."""

    def __init__(self, o: MotionOptions, needs: str, first: Shot, mixed: bool = False) -> None:
        """`first` is what the performance is measured from as it begins; `mixed`: its frames show only part of it."""
        self._adjust = Adjust(o.parts, o.strength, o.absolute)
        self._frames = needs == "motion" or not (o.changed or o.loop or mixed)
        self._pictures = "lips" in o.parts or not o.changed
        self._first: Shot | None = first

    def __call__(self, drive: Drive) -> Drive:
        """The next drive."""
        shot = drive.begins or self._first
        self._first = None
        if shot is not None:
            self._adjust.begin(shot.rest)
            shot = shot if self._frames else Shot(shot.rest)
        image = drive.image if self._pictures else None
        return replace(drive, move=self._adjust(drive.move), image=image, begins=shot)


def settled(driver: Driver, face: SourceFace, absolute: bool) -> Driver:
    """The driver, told whom it moves."""
    driver.settle(face.pose, face.face if absolute else None)
    driver.suit(face.face)
    return driver


def heard(engine: Engine, driver: Driver) -> None:
    """The engine, told the voice that a driver speaks with, where it does; and the driver, how they are in a clip."""
    if driver.new_voice and driver.audio is not None:
        engine.hear(driver.audio, driver.span)
    if engine.seen is not None:
        driver.acquaint(engine.seen)


def adjusted(driver: Driver, o: MotionOptions, needs: str, watch: Any = None) -> Iterator[Drive]:
    """The stream of a settled driver as it is shown, looped where it is to be; `watch` sees it as it was."""
    drives = _one_shot(driver) if o.loop else iter(driver)
    adjust = Adjusting(o, needs, Shot(driver.rest, driver.rest_image, driver.rest_points), driver.mixed)
    stream = (adjust(d) for d in (drives if watch is None else watch(drives)))
    yield from looped(stream, float(driver.fps)) if o.loop else stream


def _one_shot(driver: Driver) -> Iterator[Drive]:
    """A film as if it had no cuts, so that its end can meet its beginning; pictures of later shots are left out."""
    shots = 0

    def counted() -> Iterator[Drive]:
        nonlocal shots
        for drive in driver:
            shots += drive.begins is not None
            yield drive

    for drive in one_rest(counted(), driver.rest):
        yield replace(drive, image=None, points=None) if shots else drive


# -- the loop -------------------------------------------------------------------------------------


def perform(
    scene: Scene,
    cues: Iterable[Cue],
    sinks: Sequence[Sink],
    panel: Stage | None = None,
    ahead: bool = True,
    meanwhile: Callable[[], None] | None = None,
) -> int:
    """Play cues on a scene into every sink; how many pictures there were.

    With `panel`, the stage itself, the sinks get panels. Unless `ahead`, a cue is made only when it is due, as a
    camera's must be. What is to be done `meanwhile` is done while the first one is made."""
    count = 0
    stack = ExitStack()
    if ahead:
        stack.enter_context(alone())
    reading = Ahead(iter(cues)) if ahead else None
    try:
        if meanwhile is not None:
            meanwhile()
        for cue in cues if reading is None else reading:
            drawn = scene.render(cue)
            if drawn is None:
                break
            picture, shown = drawn
            changed = scene.box
            if panel is not None:
                first = cue if isinstance(cue, Drive) else cue[0]
                picture, changed = panel_frame(panel, first, picture, shown), None
            count += 1
            if count == 1:
                forgotten()  # to begin takes more than to go on
                trim()
            going = [sink.show(picture, changed, cue) for sink in sinks]  # every one is given it
            if not all(going):
                break
    finally:
        if reading is not None:
            reading.close()
        stack.close()
    return count


def frames(scene: Scene, cues: Iterator[Cue]) -> Iterator[Picture]:
    """The same as an iterator: every picture is a new array."""
    with closing(cues):  # type: ignore[type-var]
        for cue in cues:
            drawn = scene.render(cue)
            if drawn is None:
                return
            yield drawn[0].copy()
