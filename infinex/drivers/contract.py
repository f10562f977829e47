"""What every driver is to the rest of the product, and the data that it hands on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infinex.face.pose import Pose
from infinex.media.timecode import Timecode
from infinex.motion import Move, Rest

Self = TypeVar("Self", bound="Driver")
Span = tuple[float, "float | None"]  # seconds; None: to the end
WHOLE: Span = (0.0, None)


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


class Driver:
    """Whatever says how a portrait should move: a stream of drives at a constant rate. Derive from it.

    `settle` is called once, before the stream begins; what stands here is what holds for a driver that says no more."""

    fps: float
    rest: Rest
    name: str = "motion"  # what the metadata of a result calls it
    frames: int | None = None  # how many there will be, where that is known
    rest_image: NDArray[np.uint8] | None = None  # (H, W, 3) uint8 RGB, the performer at rest, where there are frames
    rest_points: NDArray[np.float64] | None = None  # (478, 3) pixels of it
    audio: Path | None = None  # a file whose sound belongs to it
    span: Span = WHOLE  # the part of that sound
    timecode: Timecode | None = None  # of its first frame, where it has one
    filmed: bool = False  # whether a performer was seen, who blinks and sways as people do
    mixed: bool = False  # its frames, where it has some, show only part of it
    closely: bool = False  # set by who needs no more of its frames than the face, with its places in what is left
    new_voice: bool = False  # a filmed mouth's own speech gives way to it
    lost: Sequence[tuple[float, float]] = ()  # stretches without a face, seconds; known once the stream has ended
    notes: Sequence[str] = ()  # words to the user that are known before it begins
    warnings: Sequence[str] = ()  # further ones, complete once the stream has ended

    def settle(self: Self, near: Pose | None = None, match: NDArray[np.float64] | None = None) -> Self:
        """Choose the performer's rest: near the portrait's pose, or most like its canonical face `match` (478, 3)."""
        return self

    def suit(self, face: NDArray[np.float64]) -> None:
        """`face` (478, 3) is the portrait's canonical face as it is at rest: some move one otherwise than another."""

    def acquaint(self, faces: NDArray[np.float64]) -> None:
        """`faces` (N, 478, 3) are the canonical ones that the portrait's person has in a clip; after `suit`."""

    def peaks(self) -> Mapping[str, float] | None:
        """The strongest intensity of every Action Unit, where it is written in them."""
        return None

    def units(self) -> tuple[Sequence[str], NDArray[np.float64]] | None:
        """Names, and intensities (T, U) in 0..1, of the Action Units of its moves, where it knows them itself."""
        return None

    def __iter__(self) -> Iterator[Drive]:
        raise NotImplementedError

    def close(self) -> None:
        """Free what is open."""


class Wrapped(Driver):
    """A driver that changes something about another one, `inner`, and is like it in all else."""

    def __init__(self, driver: Driver) -> None:
        self.inner = driver

    def settle(self: Self, near: Pose | None = None, match: NDArray[np.float64] | None = None) -> Self:
        """Settle the inner one."""
        self.inner.settle(near, match)  # type: ignore[attr-defined]
        return self

    def suit(self, face: NDArray[np.float64]) -> None:
        """Tell the inner one whose face it moves."""
        self.inner.suit(face)

    def acquaint(self, faces: NDArray[np.float64]) -> None:
        """Acquaint the inner one with whom it moves."""
        self.inner.acquaint(faces)

    def peaks(self) -> Mapping[str, float] | None:
        """Those of the inner one."""
        return self.inner.peaks()

    def __iter__(self) -> Iterator[Drive]:
        return iter(self.inner)

    def close(self) -> None:
        """Close the inner one."""
        self.inner.close()


# Asked for anew each time: some are known only after a stream has ended.
for _name in ("fps", "rest", "name", "frames", "rest_image", "rest_points", "audio", "span", "filmed", "mixed",
              "new_voice", "lost", "notes", "warnings", "timecode"):  # fmt: skip
    setattr(Wrapped, _name, property(attrgetter(f"inner.{_name}")))
