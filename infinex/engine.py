"""What every engine is to the rest of the product: it prepares portraits and draws them, and shows how it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_type_hints

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive, Shot
from infinex.errors import InputError, option
from infinex.face.tracker import Face
from infinex.fields import parsed
from infinex.motion import Rest
from infinex.spec import Found, with_engines

if TYPE_CHECKING:
    from infinex.face.portrait import SourceFace

RGB = NDArray[np.uint8]
# How a performer's motion is carried over to a face of other proportions: as the engine does by itself; displacements
# scaled to the portrait's; displacements, or with absolute motion landmarks, as they are; or the expression alone
# (`infinex.face.landmark_transformer`).
Proportions = Literal["auto", "scaled", "plain", "landmark-transformer"]


@dataclass(frozen=True)
class Source:
    """A portrait: `image` (H, W, 3) uint8 RGB at its own resolution and one face tracked in it.

    Of a picture with transparency `image` is laid on white, and `cutout` (H, W, 4) is the picture itself, its colours
    not premultiplied. `views` are further pictures of the same person, for engines that learn from more than one;
    `others` are faces of this picture that stay as they are."""

    image: RGB
    face: Face
    cutout: RGB | None = None
    views: tuple[Source, ...] = ()
    others: tuple[Face, ...] = ()


@dataclass(frozen=True)
class Setting:
    """Where a face stands: other faces `beside` it, whether the person is `cut` out of the background, and whether the
    picture is a frame of a `film`, whose head stays where it is."""

    beside: Sequence[Face] = ()
    cut: bool = False
    film: bool = False


class Shown:
    """How a face was drawn, for panels and for engines that look at what another one made.

    `points` (N, 3) or (N, 2) are its landmarks in pixels of the picture, where they are known. `occlusion` (box height,
    box width) uint8 is dark where the source shows nothing of the result, `driving` (H, W, 3) what stands for the
    performer in a panel; either may be None, and is made only when it is asked for."""

    def __init__(
        self,
        points: NDArray[np.float64] | None = None,
        occlusion: Callable[[], NDArray[np.uint8] | None] | None = None,
        driving: Callable[[], RGB | None] | None = None,
    ) -> None:
        self.points = points
        self._occlusion, self._driving = occlusion, driving

    @cached_property
    def occlusion(self) -> NDArray[np.uint8] | None:
        """See above; ask before the face is drawn again."""
        return None if self._occlusion is None else self._occlusion()

    @cached_property
    def driving(self) -> RGB | None:
        """See above; ask before the face is drawn again."""
        return None if self._driving is None else self._driving()


class Prepared(Protocol):
    """One face of one portrait inside an engine."""

    box: tuple[int, int, int, int]  # x0, y0, x1, y1: outside, nothing changes

    @property
    def face(self) -> SourceFace:
        """The portrait's face: its pose and proportions."""

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance: its rest, with the reference frame and its landmarks where there are any.

        An engine that needs frames is always given both."""

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face under `drive` over its `box` of `canvas` (H, W, 3), in place.

        An engine that needs frames is given `image` and `points` unless the performer is out of sight."""


class Layered(Protocol):
    """The persons of a picture as a layer of their own."""

    def compose(self, canvas: RGB, drawn: Sequence[Any]) -> NDArray[np.uint8]:
        """The frame for what was drawn on `canvas` (H, W, 3), by the `Shown` of every face: the same array every time,
        (H, W, 4) with alpha, not premultiplied, or (H, W, 3) over another background."""


class Engine:
    """Renders a portrait under motion. Derive from it."""

    name: str
    needs: Literal["motion", "frames"] = "motion"  # of a `Drive`; frames that a driver lacks the mesh engine renders
    own_rest: bool = True  # whether a face at rest is the source itself, pixel by pixel
    seen: NDArray[np.float64] | None = None  # (N, 478, 3) canonical faces of the person prepared, in a clip of them

    def hear(self, sound: Path, span: tuple[float, float | None]) -> None:
        """The voice that a performance speaks with, and the part of it in seconds, before it begins."""

    def prepare(self, source: Source, setting: Setting = Setting()) -> Any:
        """Do once what depends on the source alone: a `Prepared`."""
        raise NotImplementedError

    def layer(self, image: RGB, faces: Sequence[Any], cutout: RGB | None, behind: RGB | None) -> Layered:
        """The persons of `image` as a layer, of an engine whose system says that it `mattes`: over `behind` (H, W, 3),
        or transparent.

        `faces` are its own prepared ones, `cutout` the picture with its own transparency (H, W, 4)."""
        raise NotImplementedError


def engine_names() -> list[str]:
    """Engines of this installation, whether or not what they need is installed; the default one first."""
    return list(with_engines())


class Choices(Protocol):
    """What a job asks of its engine: `infinex.options.Options`."""

    def of_engine(self, found: Found) -> dict[str, Any]:
        """Values by the names of the engine's options. Raises InputError for what it does not know."""


def load_engine(name: str, options: Choices | None = None, weights: str = "") -> Engine:
    """An engine by name, ready to prepare portraits.

    Raises InputError for unknown names and for options that the engine does not know, MissingDependencyError and
    WeightsError for what it lacks."""
    found = find_engine(name)
    settings = {} if options is None else options.of_engine(found)
    module = found.load(found.system.engine, f"the engine {name}")
    hints = get_type_hints(module.OPTIONS)
    for key, value in settings.items():
        if isinstance(value, str) and hints[key] is not str:
            try:
                settings[key] = parsed(value, hints[key])
            except ValueError as error:
                raise InputError(f"{option('option')} {key}={value}: {error}") from None
    engine: Engine = module.open_engine(module.OPTIONS(**settings), weights)
    return engine


def find_engine(name: str) -> Found:
    """The system of an engine. Raises InputError that names those there are."""
    found = with_engines().get(name)
    if found is None:
        raise InputError(f"unknown engine {name!r}; there are {', '.join(engine_names())}")
    return found


__all__ = ["Drive", "Engine", "Layered", "Prepared", "Proportions", "Setting", "Shot", "Shown", "Source",
           "engine_names", "find_engine", "load_engine"]  # fmt: skip
