"""Portraits to begin with, all in the public domain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static" / "examples"


@dataclass(frozen=True)
class Example:
    """A picture in `static/examples`."""

    name: str
    label: str
    credit: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return FOLDER / f"{self.name}.jpg"


EXAMPLES = (
    Example("hopper", "Grace Hopper", "United States Navy, 1986; public domain"),
    Example("collins", "Eileen Collins", "NASA, 1999; public domain"),
)
