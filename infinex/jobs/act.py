"""A portrait that acts by itself: a generator makes every picture, of a text or of chance, and no driver moves it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive
from infinex.engine import Shown
from infinex.errors import InputError, option
from infinex.face.topology import POINTS
from infinex.jobs.file import checked_output, open_file, provenance
from infinex.jobs.perform import Summary, perform
from infinex.jobs.source import load_source
from infinex.motion import Move
from infinex.options import Options

Image = NDArray[np.uint8]
FPS = 10.0  # if nothing else is asked for
KNOWN = ("face", "box", "open_eyes", "fps", "mark", "sign", "engine", "weights")  # of Options
STILL = (np.zeros(3), np.zeros(3), 1.0, np.zeros((POINTS, 3)), np.zeros(2))  # a move that is none


class Actor(Protocol):
    """An engine without a driver."""

    name: str
    side: int  # of its square pictures
    frames: int  # of a performance, if nothing else is asked for
    worded: bool  # it acts out a text; else it moves as it likes

    def check(self, text: str) -> None:
        """Before anything is made of it. Raises InputError for a text that it cannot act out."""

    def prepare(self, image: Image, landmarks: NDArray[np.floating]) -> Any:
        """What depends on the portrait (H, W, 3) and its face (478, 3) alone."""

    def stream(self, source: Any, text: str, frames: int, seed: int = 0) -> Iterator[Image]:
        """`frames` pictures (side, side, 3), one by one, with memory that does not grow."""


class Acting:
    """The scene in which an actor's pictures come one by one; see `infinex.jobs.perform.Scene`."""

    box = None

    def __init__(self, pictures: Iterator[Image]) -> None:
        self._pictures = pictures

    def render(self, drive: object) -> tuple[Image, list[Shown]] | None:
        """The next picture; the actor moves by itself."""
        picture = next(self._pictures, None)
        return None if picture is None else (picture, [])


def act(
    photo: str | Path, text: str, actor: Actor, output: str | Path, options: Options | None = None,
    progress: Callable[[int, int | None], None] | None = None, frames: int = 0,
) -> Summary:  # fmt: skip
    """Write the aligned face of `photo` acting, at the actor's own size; `frames` (0: as many as it likes).

    Raises InputError, for choices that are not among KNOWN, too."""
    started = time.perf_counter()
    o = options or Options()
    usual = Options()
    for f in fields(Options):
        if f.name not in KNOWN and getattr(o, f.name) != getattr(usual, f.name):
            flag = f"no_{f.name}" if getattr(usual, f.name) is True else f.name
            raise InputError(f"{option(flag)}: the engine {actor.name} does not know it")
    replace(usual, face=o.face, fps=o.fps).check()
    actor.check(text)
    out = checked_output(output, o)
    source = load_source(photo, o.face, o.box, open_eyes=o.open_eyes, crop=o.crop)[0]
    prepared = actor.prepare(source.image, source.face.landmarks)
    side, frames, fps = actor.side, frames or actor.frames, o.fps or FPS
    words = provenance(photo, "text" if actor.worded else actor.name, actor.name)
    with open_file(out, (side, side), fps, words, o, progress=progress, total=frames) as file:
        scene = Acting(actor.stream(prepared, text, frames))
        beats = (Drive(Move(k / fps, *STILL)) for k in range(frames))
        count = perform(scene, beats, [file], ahead=False)
    seconds = time.perf_counter() - started
    return Summary(
        str(out), count, round(seconds, 3), round(count / seconds, 2), round(count / fps, 3), side, side, 1, actor.name,
    )  # fmt: skip
