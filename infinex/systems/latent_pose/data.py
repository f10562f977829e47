"""What Latent Pose Descriptors learn from: several frames of one video, and one more cut out of its background."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError, InputError
from infinex.face.networks import Segmenter
from infinex.face.tracker import find_faces
from infinex.media.files import atomic_path
from infinex.media.image import SUFFIXES, read_image
from infinex.media.video import VideoReader
from infinex.systems.latent_pose.augment import disguised, shifted
from infinex.systems.square import square_view
from infinex.training.data import (
    Augmentation,
    Clip,
    Kept,
    Teacher,
    beside,
    cache_folder,
    jitter,
    placed,
    read_clips,
    resized,
    shares,
    to_chw,
)

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
FRAMES = 24  # of a clip, evenly spread, that are looked at
TAUGHT = 60  # where a tracker teaches
PICTURES = 30  # of one person, that are looked at


@cache
def segmenter() -> Segmenter:
    """Loaded when it is first asked."""
    return Segmenter()


def masks_of(images: list[Image]) -> Image:
    """Where the person is, 0..255, in pictures (S, S, 3): (N, S, S)."""
    return np.stack([np.round(255 * segmenter()(x)).astype(np.uint8) for x in images])


def sample(
    frames: list[Image], masks: Image, looks: int, label: int, rng: np.random.Generator, train: bool
) -> dict[str, Any]:
    """`pictures` (looks, 3, S, S) of a person, `performer` (3, S, S) disguised in training, `target` (3, S, S) the same
    frame on black, `mask` (1, S, S), and the `label` of the video."""
    count = len(frames)
    chosen = rng.choice(count, looks + 1, replace=count <= looks)
    target, mask = frames[chosen[-1]], masks[chosen[-1]]
    if train and rng.random() < 0.5:
        target, mask = shifted([target, mask], rng)
    performer = disguised(target, rng) if train else target
    share = (mask.astype(np.float32) / 255)[None]
    return {
        "pictures": np.stack([to_chw(frames[i]) for i in chosen[:-1]]),
        "performer": to_chw(performer),
        "target": to_chw(target) * share,
        "mask": share,
        "label": np.int64(label),
    }


def placed_sample(
    frames: list[Image], masks: Image, looks: int, a: Any, rng: np.random.Generator,
    points: Map | None = None, teacher: Teacher | None = None, disguise: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """As `sample`, every picture at another place; the performer is disguised half of the time, and never stretched.

    With `points` (T, K, 6) of all frames there is `taught` (K, 6), where the target's now are."""
    *others, last = rng.choice(len(frames), looks + 1, replace=len(frames) <= looks)
    flip = -1 if a.flip and rng.random() < 0.5 else 1
    taught = None if points is None else points[last : last + 1]
    if taught is not None and teacher is not None and flip < 0:
        taught = teacher.mirrored(taught[0])[None]
    share = to_chw(np.repeat(masks[last][..., None], 3, 2))
    # A picture and its mask as one, so that one similarity moves both.
    both = np.concatenate([to_chw(frames[last]), share])[..., ::flip]
    moved, taught = placed([both], taught, a, rng)
    pictures = [placed([to_chw(frames[i])[..., ::flip]], None, a, rng)[0][0] for i in others]
    target, *pictures = jitter([moved[0][:3], *pictures], a, rng)
    mask = moved[0][3:4]
    performer = target
    if disguise and rng.random() < 0.5:
        seen = np.round(target.transpose(1, 2, 0) * 255).astype(np.uint8)
        performer = to_chw(disguised(seen, rng, stretch=False))
    out = {"pictures": np.stack(pictures), "performer": performer, "target": target * mask, "mask": mask,
           "label": np.int64(0)}  # fmt: skip
    return out if taught is None else out | {"taught": taught[0]}


class Videos:
    """Samples of a prepared folder, one video each; see `sample`."""

    def __init__(self, folder: str | Path, split: str, size: int, looks: int, labels: int, repeats: int = 1) -> None:
        folder = Path(folder)
        self.clips = read_clips(folder, split)
        self.cache = cache_folder(folder, read_clips(folder), size, 8.0)
        self.size, self.looks, self.labels, self.repeats, self.train = size, looks, labels, repeats, split == "train"
        self._known: Kept[int, tuple[list[Image], Image]] = Kept()

    def __len__(self) -> int:
        return len(self.clips) * self.repeats

    def _frames(self, clip: Clip) -> tuple[list[Image], Image]:
        """Evenly spread frames and their masks, kept beside the decoded frames of other systems."""
        path = beside(self.cache, clip, f"{self.size}-person.npz")
        if path is not None and path.is_file():
            with np.load(path, allow_pickle=False) as file:
                return list(file["frames"]), file["masks"]
        wanted = np.unique(np.linspace(0, clip.frames - 1, FRAMES).round().astype(int)).tolist()
        with VideoReader(clip.path, keep_readable=True) as reader:
            frames = [resized(f.image, self.size) for f in reader if f.index in wanted]
        masks = masks_of(frames)
        if path is not None:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, frames=np.stack(frames), masks=masks)
        return frames, masks

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        index %= len(self.clips)
        frames, masks = self._known.get(index, lambda: self._frames(self.clips[index]))
        return sample(frames, masks, self.looks, index % self.labels, rng, self.train)


class TaughtVideos:
    """Samples of a prepared folder with what a face tracker says of them; see `placed_sample`.

    Clips are drawn by identity; held-back ones are seen in turn, as they are."""

    def __init__(
        self, folder: str | Path, split: str, size: int, looks: int, a: Augmentation, teacher: Teacher, repeats: int = 1
    ) -> None:
        """Raises InputError where there is no place to keep what is tracked."""
        self.clips = read_clips(folder, split)
        cache = cache_folder(Path(folder), read_clips(folder), size, 8.0)
        if cache is None:
            raise InputError(f"{folder}: the frames are too many, or the folder is read-only; a teacher needs a cache")
        self.cache, self.size, self.looks, self.repeats, self.a = cache, size, looks, repeats, a
        self.teacher, self.train = teacher, split == "train"
        self._shares = shares(self.clips)
        self._known: Kept[int, tuple[list[Image], Image, Map]] = Kept()

    def __len__(self) -> int:
        return len(self.clips) * self.repeats

    def _frames(self, clip: Clip) -> tuple[list[Image], Image, Map]:
        """Evenly spread frames in which a face was seen, their masks, and what the teacher says."""
        path = beside(self.cache, clip, f"{self.size}-{self.teacher.name}-person.npz")
        if not path.is_file():
            wanted = set(np.linspace(0, clip.frames - 1, TAUGHT).round().astype(int).tolist())
            with VideoReader(clip.path, keep_readable=True) as reader:
                images = [f.image for f in reader if f.index in wanted]
            points = self.teacher(images)
            good = np.flatnonzero(np.isfinite(points).all((1, 2)))
            frames = [resized(images[i], self.size) for i in good]
            masks = masks_of(frames) if frames else np.zeros((0, self.size, self.size), np.uint8)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, frames=np.array(frames, np.uint8), masks=masks, points=points[good].astype(np.float32))
        with np.load(path, allow_pickle=False) as file:
            return list(file["frames"]), file["masks"], file["points"]

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        chosen = index % len(self.clips)
        if self.train:
            chosen = min(int(np.searchsorted(self._shares, rng.random())), len(self.clips) - 1)
        frames, masks, points = self._known.get(chosen, lambda: self._frames(self.clips[chosen]))
        if not frames:  # a clip in which no face was seen: another one
            return self.get(index + 1, rng)
        a = self.a if self.train else Augmentation()
        return placed_sample(frames, masks, self.looks, a, rng, points, self.teacher, self.train)


def faces_in(path: Path, size: int) -> list[Image]:
    """Squares (size, size, 3) around the largest face of pictures in a folder, of one picture, or of frames of a clip.

    Raises InputError where there is no such thing, FaceNotFoundError where no face is seen."""
    if not path.exists():
        raise InputError(f"{path}: no such folder, picture or clip")
    out = []
    for image in _pictures(path):
        faces = find_faces(image)
        if faces:
            out.append(square_view(size, image, faces[0].landmarks).image)
    if not out:
        raise FaceNotFoundError(f"no face found in {path.name}; give pictures of the person")
    return out


def _pictures(path: Path) -> list[Image]:
    files = [path] if path.suffix.lower() in SUFFIXES else []
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    if files or path.is_dir():
        kept = np.unique(np.linspace(0, len(files) - 1, min(PICTURES, len(files))).round().astype(int))
        return [read_image(files[i]) for i in kept]
    with VideoReader(path) as reader:
        count = sum(1 for _ in reader)
    wanted = set(np.linspace(0, count - 1, min(PICTURES, count)).round().astype(int).tolist())
    with VideoReader(path) as reader:
        return [f.image for f in reader if f.index in wanted]


class Album:
    """Samples of one person from a folder of pictures, one picture, or a clip; see `sample`, or `placed_sample`."""

    def __init__(
        self, path: str | Path, size: int, looks: int, steps: int, train: bool, a: Augmentation | None = None
    ) -> None:
        """`a`: pictures are moved so, and the performer is not disguised."""
        self.frames = faces_in(Path(path), size)
        self.masks = masks_of(self.frames)
        self.looks, self.steps, self.train, self.a = looks, steps, train, a

    def __len__(self) -> int:
        return max(self.steps, len(self.frames)) if self.train else len(self.frames)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        if self.train and self.a is not None:
            return placed_sample(self.frames, self.masks, self.looks, self.a, rng, disguise=False)
        return sample(self.frames, self.masks, self.looks, 0, rng, self.train)
