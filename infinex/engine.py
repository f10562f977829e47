"""What every engine is to the rest of the product, and the two data types that meet in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from infinex.face.tracker import Face
from infinex.motion import Move, Rest


@dataclass(frozen=True)
class Source:
    """A portrait: `image` (H, W, 3) uint8 RGB at its own resolution and one face tracked in it."""

    image: NDArray[np.uint8]
    face: Face


@dataclass(frozen=True)
class Drive:
    """One instant of a performance: its motion and, where a driver has frames, the frame and its landmarks."""

    move: Move
    image: NDArray[np.uint8] | None = None  # (H, W, 3) uint8 RGB
    points: NDArray[np.float64] | None = None  # (478, 3) pixels of `image`


class Prepared(Protocol):
    """One face of one portrait inside an engine."""

    box: tuple[int, int, int, int]

    def begin(self, rest: Rest, image: NDArray[np.uint8] | None, points: NDArray | None) -> None:
        """Start a performance."""

    def draw(self, canvas: NDArray[np.uint8], drive: Drive) -> tuple[Any, Any]:
        """Draw the face under `drive` over its `box` of `canvas` (H, W, 3), in place."""


class Engine(Protocol):
    """Renders a portrait under motion."""

    name: str
    needs: Literal["motion", "frames"]

    def prepare(self, source: Source) -> Prepared:
        """Do once what depends on the source alone."""
