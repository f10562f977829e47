"""What a preparation speaks of: a file to examine, a stretch of it, what became of it, and the manifest's columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1
MANIFEST_COLUMNS = ["file", "clip", "split", "identity", "status", "reason", "start", "seconds", "frames", "fps",
                    "width", "height", "audio", "box"]  # fmt: skip


class Job(NamedTuple):
    """One file to examine, or one stretch of it that an annotation marks."""

    key: str  # unique, and in the order of the manifest
    path: str
    name: str  # of its clips
    identity: str  # "" if it is not known beforehand
    stretch: tuple[float, float, Corners] | None  # seconds, and a box in fractions of the picture


@dataclass
class Outcome:
    """What became of a job."""

    key: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    embeddings: list[list[float]] = field(default_factory=list)  # one per row that is ok


@dataclass
class Stretch:
    """What is known of a shot."""

    first: int  # frame
    last: int  # one behind the end
    boxes: list[Corners] = field(default_factory=list)
    looks: int = 0
    crowded: int = 0


class Refused(Exception):  # noqa: N818  (no error of ours: an answer)
    """Why a file is not used."""
