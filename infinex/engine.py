"""What every engine is to the rest of the product, and the two data types that meet in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.tracker import Face
from infinex.motion import Move, Rest
from infinex.spec import with_engines

if TYPE_CHECKING:
    from infinex.face.portrait import SourceFace


@dataclass(frozen=True)
class Source:
    """A portrait: `image` (H, W, 3) uint8 RGB at its own resolution and one face tracked in it.

    Of a picture with transparency `image` is laid on white, and `cutout` (H, W, 4) is the picture itself, its colours
    not premultiplied."""

    image: NDArray[np.uint8]
    face: Face
    cutout: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Shot:
    """What a stretch of a performance is measured from: its rest, in a film with the frame and its landmarks."""

    rest: Rest
    image: NDArray[np.uint8] | None = None  # (H, W, 3) uint8 RGB
    points: NDArray[np.float64] | None = None  # (478, 3) pixels of `image`


@dataclass(frozen=True)
class Drive:
    """One instant of a performance: its motion and, where a driver has frames, the frame and its landmarks.

    After a cut the motion is measured from another rest, which comes with the first drive: `begins`."""

    move: Move
    image: NDArray[np.uint8] | None = None  # (H, W, 3) uint8 RGB
    points: NDArray[np.float64] | None = None  # (478, 3) pixels of `image`
    begins: Shot | None = None


class Prepared(Protocol):
    """One face of one portrait inside an engine."""

    box: tuple[int, int, int, int]  # x0, y0, x1, y1: outside, nothing changes

    @property
    def face(self) -> SourceFace:
        """The portrait's face: its pose and proportions."""

    def begin(self, rest: Rest, image: NDArray[np.uint8] | None, points: NDArray | None) -> None:
        """Start a performance: its rest, with the reference frame and its landmarks where there are any.

        An engine that needs frames is always given both."""

    def draw(self, canvas: NDArray[np.uint8], drive: Drive) -> tuple[Any, Any]:
        """Draw the face under `drive` over its `box` of `canvas` (H, W, 3), in place.

        Returns what the panel shows: the points of the face where they are known, and the occlusion map
        (box height, box width) uint8, dark where the source shows nothing of the result; each may be None.
        An engine that needs frames is given `image` and `points` unless the performer is out of sight."""


class Engine(Protocol):
    """Renders a portrait under motion."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Literal["motion", "frames"]:
        """What of a `Drive` it reads. Drivers without frames are first rendered by the mesh engine."""

    def prepare(self, source: Source) -> Prepared:
        """Do once what depends on the source alone."""


@runtime_checkable
class Suited(Protocol):
    """A driver that moves one portrait otherwise than another: it is told which before it is iterated."""

    def suit(self, face: NDArray[np.float64]) -> None:
        """`face` (478, 3) is the portrait's canonical face as it is at rest."""


def engine_names() -> list[str]:
    """Engines of this installation, whether or not what they need is installed; the default one first."""
    return list(with_engines())


def load_engine(name: str, options: Any = None, weights: str = "") -> Engine:
    """An engine by name, ready to prepare portraits. `options` are `infinex.pipeline.Options`.

    Raises InputError for unknown names, MissingDependencyError and WeightsError for what it lacks."""
    found = with_engines().get(name)
    if found is None:
        raise InputError(f"unknown engine {name!r}; there are {', '.join(engine_names())}")
    module = found.load(found.system.engine, f"the engine {name}")
    if options is None:
        from infinex.pipeline import Options

        options = Options(engine=name)
    engine: Engine = module.open_engine(options, weights)
    return engine
