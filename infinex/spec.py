"""What a system says of itself, and the scan that finds every system: one folder each, and nothing to register."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from infinex.errors import MissingDependencyError


@dataclass(frozen=True)
class Weights:
    """One set of weights of a system: where it comes from, under which licence, and how to get it."""

    name: str
    origin: str  # who made them, and where they are described
    licence: str
    megabytes: float  # of the download, for published ones
    bundled: str = ""  # file in the system's folder `data`
    url: str = ""  # a direct link, where there is one
    sha256: str = ""  # of the file behind `url`
    otherwise: str = ""  # what to do where nothing can be fetched
    convert: str = ""  # the system's module with `convert(source, target, config)` from the published form to ours


@dataclass(frozen=True)
class System:
    """What a system's `__init__` states as `SYSTEM`. Modules are named inside the folder and loaded when needed, so
    that finding a system imports nothing heavy.

    `actors` are engines that need no driver and draw pictures of their own: the name of each with a module that has
    `open_actor(weights)`, see `infinex.jobs.act.Actor`.

    `engine` names a module with `OPTIONS`, a dataclass, and `open_engine(options, weights)`, see `infinex.engine`;
    `options` are the names of its fields that a user may choose; `recipes` one with `RECIPES`,
    `task` and `samples`, see `infinex.training.recipes`; `evaluate` one with `evaluate` and `lines`, which
    `infinex evaluate --task` calls by the name `task`."""

    label: str  # one line for people
    engine: str = ""
    options: tuple[str, ...] = ()
    mattes: bool = False  # the engine tells person and background apart
    films: bool = False  # it draws into the frames of a film
    knows: bool = False  # it was taught the person: of a clip as source it takes the first picture that shows the face
    album: bool = False  # it wants more pictures of the person; a film is its own album
    measures: bool = False  # it shows what landmarks miss of a performer, which its drivers then measure
    recipes: str = ""
    evaluate: str = ""
    task: str = ""
    actors: tuple[tuple[str, str], ...] = ()
    weights: tuple[Weights, ...] = ()


@dataclass(frozen=True)
class Found:
    """A system and the folder that it was found in."""

    name: str
    package: str
    system: System

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(importlib.import_module(self.package).__path__[0])

    @property
    def data(self) -> Path:
        """Where weights that come along lie, with their card."""
        return self.folder / "data"

    def load(self, module: str, purpose: str) -> ModuleType:
        """One of its modules. Raises MissingDependencyError that says what `purpose` lacks."""
        try:
            return importlib.import_module(f"{self.package}.{module}")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == self.package.partition(".")[0]:
                raise  # a file of ours, which no installation brings
            raise MissingDependencyError(f"{purpose} needs {error.name}: pip install 'infinex[train]'") from None


def systems() -> dict[str, Found]:
    """Every system of this installation by the name of its folder, its underscores as hyphens: the default engine, then
    those of the papers."""
    folder = importlib.import_module("infinex.systems")
    packages = [
        "infinex.mesh",
        *(f"{folder.__name__}.{e.name}" for e in pkgutil.iter_modules(folder.__path__) if e.ispkg),
    ]
    found = {}
    for package in ("infinex.mesh", *packages):
        stated = getattr(importlib.import_module(package), "SYSTEM", None)
        if isinstance(stated, System):
            name = package.rpartition(".")[2].replace("_", "-")
            found[name] = Found(name, package, stated)
    return found


def with_engines() -> dict[str, Found]:
    """Those that render a portrait; the default engine first."""
    return {name: s for name, s in systems().items() if s.system.engine}


def actors() -> dict[str, tuple[Found, str]]:
    """Engines that act by themselves, by name: their system and the module that opens them."""
    return {name: (found, module) for found in systems().values() for name, module in found.system.actors}
