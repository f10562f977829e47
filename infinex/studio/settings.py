"""What a studio allows, and for how long it keeps things."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _core_groups() -> int:
    """One job at a time on up to four cores, another for every four more."""
    return max(1, (os.cpu_count() or 1) // 4)


@dataclass(frozen=True)
class Settings:
    """Limits and times of one studio; sizes in bytes, times in seconds."""

    folder: Path | None = None  # where work is kept over restarts; None: a temporary one, removed at the end
    space: int = 20 << 30  # of all that is kept
    fetch: tuple[str, ...] = ()  # hosts from which pictures and sounds that a request names may be fetched
    webhooks: tuple[str, ...] = ()  # addresses, or their beginnings, that may be told of a job's end
    address: str | None = None  # where others reach this studio, with its token
    connections: int = 600  # open at once
    header: float = 20.0  # longest time in which a request's first lines come
    body: float = 1800.0  # longest time in which a whole upload comes
    token: str | None = None  # asked from every client where set
    loopback: bool = True  # answer only to requests for this machine's own names
    workers: int = field(default_factory=_core_groups)
    queue: int = 24  # jobs that may wait; a batch counts as one
    upload: int = 200 << 20  # of one request
    duration: float = 300.0  # of a driving clip, a motion, a voice or a timeline
    frames: int | None = None  # of a driving clip and of a result; None: 60 for each second of `duration`
    pixels: int = 40_000_000  # of a portrait
    side: int = 4096  # of a result, and of a driving clip
    text: int = 2000  # characters
    rate: int = 240  # jobs and portraits one client may hand in a minute
    keep: float = 3600.0  # finished results and portraits
    job: float = 1800.0  # longest time one job may take
    jobs: int = 200  # results kept at once; the oldest go first
    portraits: int = 100  # portraits kept for one visitor
    shelf: int = 200  # performances, expressions and projects of one visitor, each
    previews: int = 40  # pages that may preview at once
    preview: int = 512  # longer side of a preview in pixels
    sharpest: int = 1024  # the same, where a page asks for as many as its screen has
    lives: int = 30  # pages that may drive live at once
    look: float = 600.0  # longest time that looking over one file may take
    stall: float = 60.0  # longest time in which nothing of an upload comes
    absent: float = 300.0  # time after which a page's job is stopped when its page asks no more
    idle: float = 600.0  # time after which a preview that nobody moves gives up its place; a tenth of it live

    @property
    def most_frames(self) -> int:
        """Frames that a driving clip and a result may have."""
        return self.frames if self.frames is not None else max(60, round(60 * self.duration))
