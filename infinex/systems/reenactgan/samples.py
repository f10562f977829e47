"""What the three stages of ReenactGAN learn from: faces of anybody, of one person, and of one person beside others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, option
from infinex.face import drawn
from infinex.face import topology as top
from infinex.systems.reenactgan.augment import Augmentation, moved
from infinex.systems.reenactgan.augment import drawn as chance
from infinex.systems.reenactgan.model import ReenactganConfig
from infinex.training.data import to_chw
from infinex.training.tracked import TrackedClips

Arrays = dict[str, NDArray[np.float32]]
HELD = 0.1  # share of a person's frames, the last ones of every clip, that their decoder never sees


def boundary_maps(landmarks: NDArray, config: ReenactganConfig, window: NDArray | None = None) -> NDArray[np.float32]:
    """(parts, S/4, S/4) in 0..1 of landmarks (478, 3) in pixels of a picture, or of its `window` (2, 3) of side S."""
    size = config.map_size
    return drawn.heat_maps(drawn.through(landmarks, window), size, drawn.scaled(config.size, size), sigma(config))


def sigma(config: ReenactganConfig) -> float:
    """How wide boundaries are drawn: a pixel in maps of 64; in smaller ones they are not thinned out of sight."""
    return max(0.75, config.map_size / 64)


class Faces:
    """Faces of tracked clips, moved a little."""

    def __init__(self, clips: TrackedClips, config: ReenactganConfig, a: Augmentation | None, with_maps: bool) -> None:
        self.clips, self.config, self.augmentation, self.with_maps = clips, config, a, with_maps

    def get(self, clip: int, frame: int, rng: np.random.Generator) -> Arrays:
        """`image` (3, S, S) in 0..1 and, where wanted, `maps` and `points` (2·points,) in pixels of the maps."""
        image, landmarks = self.clips.get(clip, frame)
        size = self.config.size
        by = np.array([[1.0, 0, 0], [0, 1, 0]])
        if self.augmentation is not None:
            by, mirrored = chance(self.augmentation, size, rng)
            image = moved(image, by, self.augmentation.smooth)
            if mirrored:
                landmarks = landmarks[top.mirror()]
        out: Arrays = {"image": to_chw(image)}
        if self.with_maps:
            places = drawn.through(landmarks, by)
            out["maps"] = boundary_maps(places, self.config)
            points = drawn.in_convention(places, self.config.points)  # type: ignore[arg-type]
            found = drawn.through(points, drawn.scaled(size, self.config.map_size))
            out["points"] = found.reshape(-1).astype(np.float32)
        return out


class AnybodysFaces:
    """One face of a clip each, with its boundaries; see `infinex.training.data.Samples`."""

    def __init__(
        self, folder: Path, split: str, config: ReenactganConfig, a: Augmentation, looks: int, repeats: int
    ) -> None:
        self.clips = TrackedClips(folder, split, config.size, looks)
        self.repeats = repeats if split == "train" else 1
        self.faces = Faces(self.clips, config, a if split == "train" else None, True)

    def __len__(self) -> int:
        return len(self.clips.clips) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See `Faces.get`; of a clip held back the frame in the middle."""
        clip = index % len(self.clips.clips)
        count = self.clips.count(clip)
        frame = count // 2 if self.faces.augmentation is None else int(rng.integers(count))
        return self.faces.get(clip, frame, rng)


def of_person(clips: TrackedClips, person: str) -> list[int]:
    """Numbers of one person's clips. Raises InputError that names the people there are."""
    people = clips.people()
    if person not in people:
        known = ", ".join(list(people)[:12]) + (" ..." if len(people) > 12 else "")
        raise InputError(f"{option('set')} person={person}: name one of the people in training: {known}")
    return people[person]


class OnesFaces:
    """Faces of one person; the last frames of every clip are held back."""

    def __init__(
        self, folder: Path, split: str, config: ReenactganConfig, a: Augmentation, person: str, looks: int,
        repeats: int, with_maps: bool,
    ) -> None:  # fmt: skip
        self.clips = TrackedClips(folder, "train", config.size, looks)
        train = split == "train"
        self.repeats = repeats if train else 1
        self.faces = Faces(self.clips, config, a if train else None, with_maps)
        self.rows: list[tuple[int, int]] = []
        for clip in of_person(self.clips, person):
            count = self.clips.count(clip)
            first = count - max(1, round(HELD * count)) if count > 1 else count
            self.rows += [(clip, i) for i in (range(first) if train else range(first, count))]

    def __len__(self) -> int:
        return len(self.rows) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See `Faces.get`."""
        clip, frame = self.rows[index % len(self.rows)]
        return self.faces.get(clip, frame, rng)


class FacesBesideOthers:
    """`image` of the person (3, S, S), and `others` (N, 3, S, S) of N people; `maps` and `others_maps` where wanted.

    On test data the others are people held back."""

    def __init__(
        self, folder: Path, split: str, config: ReenactganConfig, a: Augmentation, person: str, sources: int,
        looks: int, repeats: int, with_maps: bool,
    ) -> None:  # fmt: skip
        train = split == "train"
        self.own = OnesFaces(folder, split, config, a, person, looks, repeats, with_maps)
        clips = self.own.clips if train else TrackedClips(folder, split, config.size, looks)
        self.faces = Faces(clips, config, a if train else None, with_maps)
        people = {n: c for n, c in clips.people().items() if n != person}
        if train and len(people) < sources:
            raise InputError(f"{option('set')} sources={sources}: the data has {len(people)} other people")
        # Those of whom there is most to see.
        most = sorted(people, key=lambda n: -sum(map(clips.count, people[n])))[:sources]
        self.sources = [people[most[i % len(most)]] for i in range(sources)] if most else []
        self.train = train

    def __len__(self) -> int:
        return len(self.own) if self.sources else 0

    def get(self, index: int, rng: np.random.Generator) -> Arrays:
        """See above; frames of all are drawn by chance."""
        mine = self.own.get(index, rng)
        theirs = []
        for clips in self.sources:
            clip = clips[int(rng.integers(len(clips)))]
            theirs.append(self.faces.get(clip, int(rng.integers(self.faces.clips.count(clip))), rng))
        out = {"image": mine["image"], "others": np.stack([t["image"] for t in theirs])}
        if "maps" in mine:
            out |= {"maps": mine["maps"], "others_maps": np.stack([t["maps"] for t in theirs])}
        return out
