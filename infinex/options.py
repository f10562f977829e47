"""The choices of one animation, by what they concern; the command line, the API and the studio offer the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from infinex.drivers.cast import parse_cast
from infinex.drivers.span import check_span
from infinex.drivers.whose import check_driver_face
from infinex.engine import Proportions, engine_names, find_engine
from infinex.errors import InputError, option
from infinex.media.background import parse_background
from infinex.motion import DEFAULT_PARTS, is_whole, part_weights
from infinex.spec import Found

Place = tuple[float, float, float, float]  # x, y, width, height in pixels, as people write it

CROPS = ("keep", "1:1", "9:16", "16:9")


@dataclass(frozen=True)
class SourceOptions:
    """Of the portrait."""

    face: str = "largest"  # largest, all, a number from the left, or a driver for each: 1=a.mp4,2=nod
    box: Place | None = None  # where the face is, if none is found
    size: int | None = None  # longer side of the result, pixels
    open_eyes: bool = False  # closed ones are drawn open first
    crop: str = "keep"  # keep, 1:1, 9:16 or 16:9, around the face
    background: str = "keep"  # keep, none (transparent), a colour by name or #rrggbb, or a picture's path


@dataclass(frozen=True)
class DrivingOptions:
    """Of the driver."""

    reference: int | None = None
    smooth: float = 0.5
    keep_readable: bool = False
    driver_face: str = "largest"  # whose performance: largest, moving, a number from the left, or x,y,width,height
    start: float = 0.0  # seconds: the part of the driver that is used, its sound along with it
    end: float | None = None
    fps: float | None = None


@dataclass(frozen=True)
class MotionOptions:
    """Of what is carried over, and how."""

    parts: Sequence[str] = DEFAULT_PARTS
    strength: float = 1.0
    absolute: bool = False
    loop: bool = False  # the end runs into the beginning

    @property
    def changed(self) -> bool:
        """Whether less or other than the whole performance is shown."""
        return self.strength != 1 or not is_whole(self.parts)


@dataclass(frozen=True)
class OutputOptions:
    """Of the result."""

    audio: str = "keep"
    panel: bool = False
    passes: Path | None = None  # a folder for what compositors make the frames again from
    pieces: float | None = None  # seconds of each piece of a result that goes on after a kill
    mark: bool = False  # a visible mark in the corner
    sign: tuple[Path, Path] | None = None  # certificate chain and private key, PEM


@dataclass(frozen=True)
class EngineOptions:
    """Of the engine: which one, and choices that not every engine knows (see `infinex.spec.System.options`)."""

    engine: str = "mesh"
    weights: str = ""  # a name of `infinex weights list`, a file or a run's folder; "": those it comes with
    mouth: Literal["auto", "driver", "own"] = "auto"  # auto: the driver's where driver and portrait are one person
    wrinkles: Literal["driver", "none"] = "driver"
    neutral: bool = False  # the portrait's own expression is taken off first
    album: str = ""  # a folder or a clip with more of the same person
    proportions: Proportions = "auto"  # how displacements are carried over to a face of other proportions
    refine: bool = True  # networks correct what warping cannot show
    own: Mapping[str, str] = field(default_factory=dict)  # further ones by name, as text

    @property
    def measured(self) -> bool:
        """Whether drivers measure what landmarks miss: for an engine that shows it, unless `refine` is off."""
        return self.refine and find_engine(self.engine).system.measures

    def of_engine(self, found: Found) -> dict[str, Any]:
        """What is handed to an engine. Raises InputError for what it does not know."""
        shared = {f.name: f.default for f in fields(EngineOptions) if f.name not in ("engine", "weights", "own")}
        shared["absolute"] = False
        known = found.system.options
        for name, usual in shared.items():
            if name not in known and getattr(self, name) != usual:
                flag = f"no_{name}" if usual is True else name
                raise InputError(f"{option(flag)}: the engine {found.name} does not know it")
        for name in self.own:
            if name not in known or name in shared:
                there = ", ".join(n for n in known if n not in shared) or "none of its own"
                raise InputError(f"{option('option')} {name}: the engine {found.name} does not know it; it has {there}")
        return {n: getattr(self, n) if n in shared else self.own[n] for n in known if n in shared or n in self.own}


@dataclass(frozen=True)
class Options(SourceOptions, DrivingOptions, MotionOptions, OutputOptions, EngineOptions):
    """Choices of one animation; see `infinex animate --help`."""

    def check(self) -> None:
        """Raise InputError for a choice that does not exist."""
        if self.engine not in engine_names():
            raise InputError(f"unknown engine {self.engine!r}; there are {', '.join(engine_names())}")
        if self.weights and self.engine == "mesh":
            raise InputError(f"{option('weights')} goes with an engine that has some, such as {option('engine')} fomm")
        part_weights(self.parts)
        check_driver_face(self.driver_face)
        parse_cast(self.face)
        if not 0 <= self.strength <= 3:
            raise InputError(f"{option('strength')} {self.strength}: it goes from 0 to 3")
        if not 0 <= self.smooth <= 1:
            raise InputError(f"{option('smooth')} {self.smooth}: it goes from 0 to 1")
        if self.size is not None and not 64 <= self.size <= 8192:
            raise InputError(f"{option('size')} {self.size}: it goes from 64 to 8192 pixels")
        if self.crop not in CROPS:
            raise InputError(f"{option('crop')} {self.crop}: it is {', '.join(CROPS[:-1])} or {CROPS[-1]}")
        if self.fps is not None and not 1 <= self.fps <= 120:
            raise InputError(f"{option('fps')} {self.fps}: it goes from 1 to 120")
        if self.mouth not in ("auto", "driver", "own"):
            raise InputError(f"{option('mouth')} {self.mouth}: it is auto, driver or own")
        if self.wrinkles not in ("driver", "none"):
            raise InputError(f"{option('wrinkles')} {self.wrinkles}: it is driver or none")
        if self.proportions not in get_args(Proportions):
            known = ", ".join(get_args(Proportions))
            raise InputError(f"{option('proportions')} {self.proportions}: it is one of {known}")
        found = find_engine(self.engine)
        if parse_background(self.background) != "keep":
            if not found.system.mattes:
                raise InputError(
                    f"{option('background')} goes with {option('engine')} mesh: {self.engine} does not tell person "
                    "and background apart"
                )
            if self.panel:
                raise InputError(f"{option('panel')} shows the picture as it is; leave out {option('background')}")
        if self.passes is not None:
            if not found.system.mattes:
                raise InputError(f"{option('passes')} goes with {option('engine')} mesh: {self.engine} has none")
            if self.panel or parse_background(self.background) not in ("keep", "none"):
                other = "panel" if self.panel else "background"
                raise InputError(f"{option('passes')} are of the picture as it is; leave out {option(other)}")
        if self.pieces is not None and self.engine != "mesh":  # others may know of earlier frames
            raise InputError(f"{option('pieces')} goes with {option('engine')} mesh, not with {self.engine}")
        if self.pieces is not None and not 1 <= self.pieces <= 3600:
            raise InputError(f"{option('pieces')} {self.pieces:g}: it goes from 1 to 3600 seconds")
        self.of_engine(found)
        check_span(self.start, self.end)
