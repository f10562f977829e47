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
from infinex.training.data import Clip, Kept, beside, cache_folder, read_clips, resized, to_chw

Image = NDArray[np.uint8]
FRAMES = 24  # of a clip, evenly spread, that are looked at
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
    """Samples of one person from a folder of pictures, one picture, or a clip; see `sample`."""

    def __init__(self, path: str | Path, size: int, looks: int, steps: int, train: bool) -> None:
        self.frames = faces_in(Path(path), size)
        self.masks = masks_of(self.frames)
        self.looks, self.steps, self.train = looks, steps, train

    def __len__(self) -> int:
        return max(self.steps, len(self.frames)) if self.train else len(self.frames)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        return sample(self.frames, self.masks, self.looks, 0, rng, self.train)
