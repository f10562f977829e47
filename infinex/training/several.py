"""Several frames of one clip at once, with their landmarks, by chance and changed alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.training.data import jitter, placed, read_clips, to_chw
from infinex.training.tracked import TrackedClips


@dataclass(frozen=True)
class Colours:
    """Augmentation: mirrored half of the time, colours and places changed by up to so much; see `jitter`, `placed`."""

    flip: bool = True
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.03
    shift: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0
    apart: float = 0.0  # share of samples in which every frame but those in a row is moved by itself


class Seen(NamedTuple):
    """Frames of one clip: pictures (3, S, S) in 0..1, landmarks (N, 478, 3) in their pixels, the person's number."""

    images: list[NDArray[np.float32]]
    landmarks: NDArray[np.float64]
    who: int


class SeveralFrames:
    """Draws frames of tracked clips, everybody as often as everybody else."""

    def __init__(self, folder: str | Path, split: str, size: int, colours: Colours | None, looks: int) -> None:
        """Without `colours` frames are as they are. Raises InputError where there is no place to keep landmarks, or
        no face in what teaches."""
        self.tracked, self.colours = TrackedClips(folder, split, size, looks), colours
        if split == "train" and not self.tracked.clips:
            raise InputError(f"{folder}: no face was seen in the clips")
        self.size = size
        self.people = sorted({c.identity for c in read_clips(folder)})  # of both splits: numbers mean the same in each
        self._clips = list(self.tracked.people().values())

    def __len__(self) -> int:
        return len(self.tracked.clips)

    def who(self, clip: int) -> int:
        """The number of a clip's person."""
        return self.people.index(self.tracked.clips[clip].identity)

    def clip(self, rng: np.random.Generator, other_than: int | None = None) -> int:
        """A clip by chance; of somebody else than the clip `other_than`, where there is anybody."""
        people = [c for c in self._clips if other_than not in c] or self._clips
        chosen = people[int(rng.integers(len(people)))]
        return chosen[int(rng.integers(len(chosen)))]

    def some(self, clip: int, count: int, rng: np.random.Generator, row: int = 1) -> Seen:
        """`count` frames of a clip: the first `row` successive ones of those tracked, the rest by chance; different
        ones as far as there are as many."""
        known = self.tracked.count(clip)
        first = int(rng.integers(max(1, known - row + 1)))
        successive = np.minimum(first + np.arange(row), known - 1)
        left = np.setdiff1d(np.arange(known), successive)
        left = left if len(left) else successive
        places = [*successive, *rng.choice(left, count - row, replace=len(left) < count - row)]
        frames = [self.tracked.get(clip, int(p)) for p in places]
        images, marks = [to_chw(i) for i, _ in frames], np.stack([m for _, m in frames])
        if self.colours is not None:
            if self.colours.flip and rng.random() < 0.5:
                images = [i[..., ::-1] for i in images]
                marks = marks[:, top.mirror()] * [-1, 1, 1] + [self.size - 1, 0, 0]
            images = jitter(images, self.colours, rng)  # type: ignore[arg-type]  # frozen, which is as good
            apart = rng.random() < self.colours.apart
            groups = [slice(0, row), *(slice(i, i + 1) for i in range(row, count))] if apart else [slice(0, count)]
            for group in groups:
                images[group], marks[group] = self._placed(images[group], marks[group], rng)
        return Seen([np.ascontiguousarray(i) for i in images], marks, self.who(clip))

    def _placed(
        self, images: list[NDArray[np.float32]], marks: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float64]]:
        """Pictures and their landmarks (N, 478, 3) under one random similarity."""
        half = (self.size - 1) / 2
        still = np.broadcast_to(np.array([1, 0, 0, 1], np.float32), (*marks.shape[:2], 4))
        points = np.concatenate([marks[..., :2] / half - 1, still], -1).astype(np.float32)
        moved, found = placed(images, points, self.colours, rng)  # type: ignore[arg-type]
        assert found is not None
        larger = np.hypot(found[0, 0, 2], found[0, 0, 4])
        return moved, np.concatenate([(found[..., :2] + 1) * half, marks[..., 2:] * larger], -1)
