"""What FReeNet learns from: expressions of one person on another's landmarks, and triples of faces."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.systems.freenet.landmarks import Performer, in_unit
from infinex.systems.freenet.model import FreenetConfig
from infinex.training.data import Augmentation, jitter, placed, shares, to_chw
from infinex.training.tracked import TrackedClips

Arrays = dict[str, NDArray[np.float32]]
STEADY = 24  # frames of a clip among which its rest is looked for


class People:
    """The clips of a split and, of each, the performer in it."""

    def __init__(self, folder: Path, split: str, config: FreenetConfig, looks: int) -> None:
        self.config = config
        self.clips = TrackedClips(folder, split, config.size, looks)
        self._performers: dict[int, Performer] = {}
        self._still: dict[int, SourceFace] = {}
        if split == "train" and len(self.clips.people()) < 2:
            raise InputError(
                f"{folder}: expressions are carried from one person to another, and there is one in training"
            )

    @cached_property
    def _of(self) -> list[str]:
        return [c.identity for c in self.clips.clips]

    def performer(self, clip: int) -> Performer:
        """Of one clip."""
        if clip not in self._performers:
            self._performers[clip] = Performer(self.clips.landmarks(clip))
        return self._performers[clip]

    def still(self, clip: int) -> SourceFace:
        """Their face at rest."""
        if clip not in self._still:
            own = self.performer(clip)
            self._still[clip] = SourceFace(own.frames[own.neutral])
        return self._still[clip]

    def other(self, clip: int, rng: np.random.Generator) -> int:
        """A clip of somebody else; of the same person where there is nobody else."""
        others = [i for i, who in enumerate(self._of) if who != self._of[clip]]
        return int(rng.choice(others)) if others else clip

    def points(self, landmarks: NDArray) -> NDArray[np.float32]:
        """See `in_unit`."""
        return in_unit(landmarks, self.config.size, self.config)


def chosen(places: NDArray[np.float64], rng: np.random.Generator) -> int:
    """The number of a clip, by `shares`."""
    return min(int(np.searchsorted(places, rng.random())), len(places) - 1)


class Expressions:
    """Landmarks (2·points,) of two people; see `infinex.training.data.Samples`.

    `expression` and `neutral` are of one; `other_neutral`, `wanted`, what the expression is on that face, and `other`
    and `real`, two of their own frames, of the other."""

    def __init__(
        self, folder: Path, split: str, config: FreenetConfig, looks: int, repeats: int, shift: float, zoom: float,
        alike: bool = False, kept: bool = False,
    ) -> None:  # fmt: skip
        """`alike`: all people perform equally often; `kept`: a sample is drawn once and the same in every epoch."""
        self.people = People(folder, split, config, looks)
        self.train = split == "train"
        self._places = shares(self.people.clips.clips) if alike and self.train else None
        self.repeats = repeats if self.train else 1
        self.shift, self.zoom = (shift, zoom) if self.train else (0.0, 0.0)
        self._kept: dict[int, Arrays] | None = {} if kept and self.train else None

    def __len__(self) -> int:
        return len(self.people.clips.clips) * self.repeats

    def _placed(self, points: list[NDArray[np.float32]], rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """The same random shift and growth for all landmarks of one person."""
        grown, moved = 1 + rng.uniform(-self.zoom, self.zoom), rng.uniform(-self.shift, self.shift, 2)
        return [((p.reshape(-1, 2) - 256) * grown + 256 + moved).reshape(-1).astype(np.float32) for p in points]

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See above; frames are drawn by chance."""
        if self._kept is None:
            return self._get(index, rng)
        if index not in self._kept:
            self._kept[index] = self._get(index, np.random.default_rng(index))
        return self._kept[index]

    def _get(self, index: int, rng: np.random.Generator) -> Arrays:
        p = self.people
        clip = index % len(p.clips.clips) if self._places is None else chosen(self._places, rng)
        other = p.other(clip, rng) if rng.random() < 0.8 else clip
        mine, theirs = p.performer(clip), p.performer(other)
        frame = int(rng.integers(len(mine.frames)))
        wanted = mine.frames[frame] if other == clip else mine.onto(frame, p.still(other))
        two = rng.integers(len(theirs.frames), size=2)
        own = self._placed([p.points(mine.frames[i]) for i in (frame, mine.neutral)], rng)
        rest = [p.points(x) for x in (theirs.frames[theirs.neutral], wanted, *theirs.frames[two])]
        names = ("expression", "neutral", "other_neutral", "wanted", "other", "real")
        return dict(zip(names, [*own, *self._placed(rest, rng)]))


class Triples:
    """Three faces and their landmarks; see `infinex.training.data.Samples`.

    `a1` and `a2` (3, S, S) are of one person and `b1` of another, in 0..1; `a1_points`, `a2_points`, `b1_points`
    (2·points,) are landmarks, `a_neutral`, `b_neutral` those of both people at rest; `a1_mesh`, `a2_mesh` (478, 2) the
    tracked mesh, from -1 to 1 between the picture's edges."""

    def __init__(
        self, folder: Path, split: str, config: FreenetConfig, looks: int, repeats: int,
        augmentation: Augmentation | None = None,
    ) -> None:  # fmt: skip
        """With `augmentation` the pictures of a person are moved and coloured alike, and all people count alike."""
        self.people = People(folder, split, config, looks)
        self.config, train = config, split == "train"
        self.repeats = repeats if train else 1
        self.augmentation = augmentation if train else None
        self._places = shares(self.people.clips.clips)

    def __len__(self) -> int:
        return len(self.people.clips.clips) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See above; frames are drawn by chance."""
        p = self.people
        clip = index % len(p.clips.clips) if self.augmentation is None else chosen(self._places, rng)
        other = p.other(clip, rng)
        (a1, a2), (a1_points, a2_points, a_rest) = self._of(clip, 2, rng)
        (b1,), (b1_points, b_rest) = self._of(other, 1, rng)
        k = 2 / self.config.size
        return {
            "a1": a1, "a2": a2, "b1": b1,
            "a1_points": p.points(a1_points), "a2_points": p.points(a2_points), "b1_points": p.points(b1_points),
            "a_neutral": p.points(a_rest), "b_neutral": p.points(b_rest),
            "a1_mesh": ((a1_points[:, :2] + 0.5) * k - 1).astype(np.float32),
            "a2_mesh": ((a2_points[:, :2] + 0.5) * k - 1).astype(np.float32),
        }  # fmt: skip

    def _of(self, clip: int, count: int, rng: np.random.Generator) -> tuple[list[NDArray[np.float32]], list[NDArray]]:
        """`count` pictures (3, S, S) of a clip and their landmarks (478, 2 or 3), with those at rest as the last."""
        p = self.people
        frames = [p.clips.get(clip, int(rng.integers(p.clips.count(clip)))) for _ in range(count)]
        images = [to_chw(image) for image, _ in frames]
        points: list[NDArray] = [x for _, x in frames]
        points.append(p.performer(clip).frames[p.performer(clip).neutral])
        a: Any = self.augmentation
        if a is None:
            return images, points
        half = (self.config.size - 1) / 2
        if a.flip and rng.random() < 0.5:
            images = [np.ascontiguousarray(x[..., ::-1]) for x in images]
            points = [x[top.mirror()] * [-1, 1, 1] + [2 * half, 0, 0] for x in points]
        flat = np.stack([x[:, :2] for x in points]) / half - 1
        frame = np.concatenate([flat, np.zeros((*flat.shape[:2], 4))], -1).astype(np.float32)
        images, moved = placed(images, frame, a, rng)
        assert moved is not None
        return jitter(images, a, rng), list((moved[..., :2].astype(np.float64) + 1) * half)
