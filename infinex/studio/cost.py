"""How long a job will take at least: what cannot end within a job's time is not begun."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass

from infinex.errors import InputError
from infinex.studio.settings import Settings

# Seconds of a frame on two idle cores, and more for each million of its pixels, by what is drawn.
FRAME, MEGAPIXEL = 0.022, 0.0115  # one face of a still portrait, by the mesh engine
CLIP_FRAME, CLIP_MEGAPIXEL = 0.1, 0.06  # of a portrait that is a video: every frame is prepared anew
FIRST = 0.5  # of that, until jobs have shown how fast this machine is
TELLING = 20.0  # seconds a job takes usually from which its speed is learned; short ones are mostly beginning
SLOWEST = 4.0  # times the usual that are believed; beyond that the machine was busy with something else
ANIMATION_PIXELS = 4e9  # of all frames of a GIF or APNG, which may take a byte each


@dataclass(frozen=True)
class Length:
    """How long a driver goes on: seconds, and its own rate in frames a second."""

    seconds: float
    fps: float = 25.0

    def cut(self, start: float, end: float | None) -> Length:
        """What is left between two times in seconds. Raises InputError where nothing is."""
        last = self.seconds if end is None else min(end, self.seconds)
        if last <= start:
            raise InputError(f"start {start:g}: nothing is left, the performance lasts {self.seconds:.1f} s")
        return Length(last - start, self.fps)

    def frames(self, fps: float | None) -> int:
        """At a rate that is asked for, or at its own."""
        return max(1, round(self.seconds * (fps or self.fps)))


@dataclass(frozen=True)
class Work:
    """What a job has to draw."""

    engine: str
    frames: int
    width: int
    height: int
    faces: int = 1
    clip: bool = False  # the portrait is a video

    @property
    def usual(self) -> float:
        """Seconds it takes on two idle cores."""
        area = self.width * self.height / 1e6
        if self.clip:
            return self.frames * (CLIP_FRAME + CLIP_MEGAPIXEL * area)
        return self.frames * (FRAME * self.faces + MEGAPIXEL * area)


class Pace:
    """How fast this machine is, learned from the jobs it has done: the fastest of the last ones counts."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=20))
        self._lock = threading.Lock()

    def learn(self, work: Work, seconds: float) -> None:
        """A job has taken so many seconds."""
        if work.usual >= TELLING and seconds > 0:
            with self._lock:
                self._seen[f"{work.engine}{work.clip}"].append(min(SLOWEST, seconds / work.usual))

    def least(self, work: Work) -> float:
        """Seconds that a job takes at least."""
        with self._lock:
            seen = self._seen.get(f"{work.engine}{work.clip}")
            return work.usual * (min(seen) if seen else FIRST)

    def check(self, work: Work, kind: str, settings: Settings) -> None:
        """Raise InputError for a job that cannot end in time, or whose result would not fit."""
        if work.frames > settings.most_frames:
            raise InputError(
                f"{work.frames} frames would have to be made, and the limit here is {settings.most_frames}; ask for "
                "fewer frames a second, or for a shorter part"
            )
        if kind in ("gif", "apng") and work.frames * work.width * work.height > ANIMATION_PIXELS:
            raise InputError(f"as {kind.upper()} this would become too large; ask for MP4, a smaller size or a part")
        least = self.least(work)
        if least > settings.job:
            raise InputError(
                f"this would take {least / 60:.1f} minutes or more here; the limit is {settings.job / 60:.1f}: ask for "
                "a smaller size, fewer frames a second or a shorter part"
            )
