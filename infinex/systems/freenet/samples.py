"""What FReeNet learns from: expressions of one person on another's landmarks, and triples of faces."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.portrait import SourceFace
from infinex.systems.freenet.landmarks import Performer, in_unit
from infinex.systems.freenet.model import FreenetConfig
from infinex.training.data import to_chw
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


class Expressions:
    """Landmarks (2·points,) of two people; see `infinex.training.data.Samples`.

    `expression` and `neutral` are of one; `other_neutral`, `wanted`, what the expression is on that face, and `other`
    and `real`, two of their own frames, of the other."""

    def __init__(
        self, folder: Path, split: str, config: FreenetConfig, looks: int, repeats: int, shift: float, zoom: float
    ) -> None:
        self.people = People(folder, split, config, looks)
        self.train = split == "train"
        self.repeats = repeats if self.train else 1
        self.shift, self.zoom = (shift, zoom) if self.train else (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.people.clips.clips) * self.repeats

    def _placed(self, points: list[NDArray[np.float32]], rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """The same random shift and growth for all landmarks of one person."""
        grown, moved = 1 + rng.uniform(-self.zoom, self.zoom), rng.uniform(-self.shift, self.shift, 2)
        return [((p.reshape(-1, 2) - 256) * grown + 256 + moved).reshape(-1).astype(np.float32) for p in points]

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See above; frames are drawn by chance."""
        p = self.people
        clip = index % len(p.clips.clips)
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

    `a1` and `a2` (3, S, S) are of one person and `b1` of another, in 0..1; `a2_points`, `b1_points` (2·points,) are
    landmarks, `a_neutral`, `b_neutral` those of both people at rest."""

    def __init__(self, folder: Path, split: str, config: FreenetConfig, looks: int, repeats: int) -> None:
        self.people = People(folder, split, config, looks)
        self.repeats = repeats if split == "train" else 1

    def __len__(self) -> int:
        return len(self.people.clips.clips) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See above; frames are drawn by chance."""
        p = self.people
        clip = index % len(p.clips.clips)
        other = p.other(clip, rng)
        first, second, third = (int(rng.integers(p.clips.count(c))) for c in (clip, clip, other))
        (a1, _), (a2, a2_points), (b1, b1_points) = (
            p.clips.get(c, f) for c, f in ((clip, first), (clip, second), (other, third))
        )
        rests = [p.points(p.performer(c).frames[p.performer(c).neutral]) for c in (clip, other)]
        return {
            "a1": to_chw(a1), "a2": to_chw(a2), "b1": to_chw(b1),
            "a2_points": p.points(a2_points), "b1_points": p.points(b1_points),
            "a_neutral": rests[0], "b_neutral": rests[1],
        }  # fmt: skip
