"""Training samples from prepared folders (see `infinex prepare`): pairs of frames of the same clip."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.media.files import atomic_path
from infinex.media.video import VideoReader

MANIFEST = "manifest.csv"
SPLITS = ("train", "test")
Sample = Mapping[str, Any]


class Samples(Protocol):
    """What a system trains on. A sample depends on its index and on `rng` alone, so that order and
    chance can be repeated exactly after a stop."""

    def __len__(self) -> int:
        """Samples in one epoch."""

    def get(self, index: int, rng: np.random.Generator) -> Sample:
        """Arrays or tensors by name, of the same shapes for every index; they are stacked to batches."""


@dataclass(frozen=True)
class Clip:
    """One prepared clip."""

    name: str  # unique in the folder
    path: Path
    identity: str
    split: str
    frames: int
    fps: float
    width: int
    height: int


def read_clips(folder: str | Path, split: str | None = None) -> list[Clip]:
    """The usable clips of a prepared folder, of one split or all, in the order of the manifest.

    Raises InputError where the folder is none, or holds no usable clip."""
    folder = Path(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not path.is_file():
        raise InputError(f"{folder} holds no {MANIFEST}: make it with infinex prepare VIDEOS {folder}")
    clips = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["status"] != "ok":
                    continue
                clips.append(
                    Clip(Path(row["clip"]).stem, folder / row["clip"], row["identity"], row["split"],
                         int(row["frames"]), float(row["fps"]), int(row["width"]), int(row["height"]))
                )  # fmt: skip
    except (KeyError, ValueError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if not clips:
        raise InputError(f"{folder} holds no usable clip; {MANIFEST} says why")
    if (missing := next((c for c in clips if not c.path.is_file()), None)) is not None:
        raise InputError(f"{missing.path} is in {MANIFEST} but not there: run infinex prepare again")
    both = [{c.identity for c in clips if c.split == s} for s in SPLITS]
    if shared := sorted(both[0] & both[1]):
        raise InputError(f"{path}: {shared[0]} is in both splits; people must be held back whole")
    chosen = [c for c in clips if split is None or c.split == split]
    if split == "train" and not chosen:
        raise InputError(f"{folder} holds no clip for training")
    return chosen


class ClipFrames:
    """Frames (T, size, size, 3) uint8 RGB of one clip.

    A file of decoded frames is kept in `cache` and mapped, so that memory does not grow; without one,
    frames are decoded where they lie."""

    def __init__(self, clip: Clip, size: int, cache: Path | None) -> None:
        self.clip, self.size = clip, size
        self._path = beside(cache, clip, f"{size}.npy")
        self._frames: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return self.clip.frames

    def __getitem__(self, indices: list[int]) -> list[NDArray[np.uint8]]:
        if self._path is None:
            with VideoReader(self.clip.path) as reader:
                seen = {f.index: resized(f.image, self.size) for f in reader.at(sorted(set(indices)))}
            return [seen[i] for i in indices]
        if self._frames is None:
            if not self._path.is_file():
                self._decode(self._path)
            self._frames = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return [np.asarray(self._frames[min(i, len(self._frames) - 1)]) for i in indices]

    def _decode(self, path: Path) -> None:
        with VideoReader(self.clip.path, keep_readable=True) as reader:
            frames = [resized(f.image, self.size) for f in reader]
        with atomic_path(path) as temporary:
            np.save(temporary, np.stack(frames), allow_pickle=False)


def resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture at `size`."""
    if image.shape[:2] == (size, size):
        return image
    inter = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=inter)


def to_chw(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 to (3, H, W) in 0..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255  # type: ignore[return-value]


def cache_folder(folder: Path, clips: list[Clip], size: int, gigabytes: float) -> Path | None:
    """Where decoded frames are kept: in the data folder if all of them take at most `gigabytes`, else nowhere."""
    needed = sum(c.frames for c in clips) * size * size * 3 / 1e9
    path = folder / ".frames"
    if needed > gigabytes:
        return None
    try:
        path.mkdir(exist_ok=True)
    except OSError:
        return None  # a data folder on a read-only disk: frames are decoded every time
    return path if os.access(path, os.W_OK) else None


@overload
def beside(cache: Path, clip: Clip, what: str) -> Path: ...
@overload
def beside(cache: Path | None, clip: Clip, what: str) -> Path | None: ...
def beside(cache: Path | None, clip: Clip, what: str) -> Path | None:
    """Where something made of a clip is kept, by the clip's size and date; None without a cache.

    Where it is not there, what was made of an earlier clip of this name goes."""
    if cache is None:
        return None
    state = clip.path.stat()
    stamp = hashlib.sha256(f"{state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:12]
    path = cache / f"{clip.name}-{stamp}-{what}"
    if cache.is_dir() and not path.is_file():
        earlier = re.compile(rf"{re.escape(clip.name)}-([0-9a-f]{{12}}-)?{re.escape(what)}")
        for old in cache.iterdir():
            if earlier.fullmatch(old.name):
                with contextlib.suppress(OSError):
                    old.unlink()
    return path


K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """What was made of pictures before, arrays or lists of them, up to `gigabytes`: what was made first goes first."""

    def __init__(self, gigabytes: float = 2.0) -> None:
        self._left, self._made = gigabytes * 1e9, dict[K, V]()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under `key`, or what `make` makes of it now."""
        if key not in self._made:
            value = make()
            self._left -= _bytes(value)
            while self._left < 0 and self._made:
                self._left += _bytes(self._made.pop(next(iter(self._made))))
            self._made[key] = value
        return self._made[key]


def _bytes(value: object) -> int:
    return sum(map(_bytes, value)) if isinstance(value, (list, tuple)) else int(getattr(value, "nbytes", 0))


class ColourJitter(Protocol):
    """How far colours are changed; see `jitter`."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


def jitter(images: list[NDArray[np.float32]], a: ColourJitter, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """The same random change of colour for pictures (3, H, W) in 0..1.

    Brightness and contrast are factors within 1 ± the amount, contrast around the mean of the first picture,
    saturation against luminance; hue turns the colour plane by up to ± the amount of a full turn."""
    light, strength, colour = (1 + rng.uniform(-v, v) for v in (a.brightness, a.contrast, a.saturation))
    angle = 2 * np.pi * rng.uniform(-a.hue, a.hue)
    luma = np.array([0.299, 0.587, 0.114])
    to_yiq = np.array([luma, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    matrix = np.linalg.inv(to_yiq) @ np.diag([1, colour, colour]) @ turn @ to_yiq
    mean = float(luma @ images[0].mean((1, 2)))
    out = []
    for x in images:
        y = np.tensordot(matrix.astype(np.float32), x, 1)
        out.append(np.clip(((y - mean) * strength + mean) * light, 0, 1, dtype=np.float32))
    return out


class Placement(Protocol):
    """How far pictures are moved; see `placed`."""

    shift: float
    zoom: float
    turn: float


def placed(
    images: list[NDArray[np.float32]], points: NDArray[np.float32] | None, a: Placement, rng: np.random.Generator
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
    """The same random similarity for pictures (3, H, W) and the keypoints (N, K, 6) in them, see `Teacher`.

    Up to ± `shift` of the half width sideways and down, a factor of up to 1 + `zoom` or its inverse, up to ± `turn`
    degrees; what comes in from beyond the border is the picture mirrored."""
    if not (a.shift or a.zoom or a.turn):
        return images, points
    angle = np.radians(rng.uniform(-a.turn, a.turn))
    scale = (1 + a.zoom) ** rng.uniform(-1, 1)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = rng.uniform(-a.shift, a.shift, 2)
    h, w = images[0].shape[1:]
    half = np.array([w - 1, h - 1]) / 2
    pixels = np.diag(half) @ linear @ np.diag(1 / half)
    matrix = np.c_[pixels, half + half * offset - pixels @ half]
    out = []
    for image in images:
        moved = cv2.warpAffine(image.transpose(1, 2, 0), matrix, (w, h), borderMode=cv2.BORDER_REFLECT_101)
        out.append(np.ascontiguousarray(moved.transpose(2, 0, 1)))
    if points is None:
        return out, None
    value, jacobian = points[..., :2] @ linear.T + offset, linear @ points[..., 2:].reshape(*points.shape[:-1], 2, 2)
    return out, np.concatenate([value, jacobian.reshape(*points.shape[:-1], 4)], -1).astype(np.float32)


def shares(clips: list[Clip]) -> NDArray[np.float64]:
    """(N,) up to 1: clips drawn by a number between these show everybody equally often, who has many clips or one."""
    counts = Counter(c.identity for c in clips)
    share = np.array([1 / counts[c.identity] for c in clips])
    return np.asarray(np.cumsum(share) / share.sum() if len(share) else share, np.float64)


class FramePairs:
    """`source` and `driving` (3, S, S) in 0..1: two frames of one clip, drawn anew every time.

    Clips are drawn by identity: who has many clips, or clips cut from one take, is not seen more often."""

    def __init__(
        self,
        folder: str | Path,
        split: str,
        size: int,
        repeats: int = 1,
        augmentation: Any = None,  # with `flip` and the amounts of `jitter` and `placed`; None: frames as they are
        cache_gb: float = 8.0,
        teacher: Teacher | None = None,
        looks: int = 60,  # frames of a clip that the teacher is shown; pairs are drawn from these
    ) -> None:
        folder = Path(folder)
        self.clips = read_clips(folder, split)
        cache = cache_folder(folder, read_clips(folder), size, cache_gb)
        self.frames = [ClipFrames(c, size, cache) for c in self.clips]
        self.repeats, self.augmentation, self.teacher = repeats, augmentation, teacher
        self.points: list[ClipPoints] = []
        if teacher is not None:
            if cache is None:
                raise InputError(
                    f"{folder}: the frames are too many, or the folder is read-only; a teacher needs a cache"
                )
            self.points = [ClipPoints(c, teacher, cache, looks) for c in self.clips]
        self._places = shares(self.clips)

    def __len__(self) -> int:
        return len(self.clips) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """See `Samples`; without augmentation the clip is `index`'s own, so that every clip is seen."""
        a = self.augmentation
        chosen = index % len(self.clips) if a is None else int(np.searchsorted(self._places, rng.random()))
        chosen = min(chosen, len(self.frames) - 1)
        frames = self.frames[chosen]
        taught: NDArray[np.float32] | None = None
        first, second = rng.choice(len(frames), 2, replace=len(frames) < 2)
        if self.teacher is not None:
            known, points = self.points[chosen].known()
            if not known:  # a clip the teacher knows nothing of: another one
                return self.get(index, rng)
            i, j = rng.choice(len(known), 2, replace=len(known) < 2)
            first, second, taught = known[i], known[j], points[[i, j]]
        source, driving = (to_chw(i) for i in frames[[int(first), int(second)]])
        if a is not None:
            if a.flip and rng.random() < 0.5:
                source, driving = source[..., ::-1], driving[..., ::-1]
                if taught is not None and self.teacher is not None:
                    taught = np.stack([self.teacher.mirrored(p) for p in taught])
            (source, driving), taught = placed([source, driving], taught, a, rng)
            source, driving = jitter([source, driving], a, rng)
        out = {"source": np.ascontiguousarray(source), "driving": np.ascontiguousarray(driving)}
        return out if taught is None else out | {"taught": taught}


@dataclass(frozen=True)
class Augmentation:
    """Applied alike to both frames of a pair, colours and places by up to so much; nothing unless a recipe says so."""

    flip: bool = False  # mirrored left to right, and source and driving exchanged, half of the time each
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    shift: float = 0.0  # of half the picture, sideways and down
    zoom: float = 0.0  # larger by up to so much, or smaller by as much
    turn: float = 0.0  # degrees


class Teacher(Protocol):
    """Says where the keypoints of a picture should be; see `FramePairs`."""

    name: str  # of its files in the cache

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(T, K, 6) for successive frames of one clip: x and y in -1..1, then a 2x2 matrix; NaN where unknown."""

    def mirrored(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """What (K, 6) becomes when the picture is mirrored."""


def each_face(
    images: Iterable[NDArray[np.uint8]],
    shape: tuple[int, int],
    placed: Callable[[NDArray, int, int], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """(T, *shape) for successive frames (H, W, 3) of one clip; NaN where no face is seen.

    `placed` makes a row of tracked landmarks (478, 3) in pixels, and the picture's width and height."""
    from infinex.face.tracker import FaceTracker

    out = []
    with FaceTracker() as tracker:
        for image in images:
            face, (h, w) = tracker(image), image.shape[:2]
            out.append(np.full(shape, np.nan, np.float32) if face is None else placed(face.landmarks, w, h))
    return np.stack(out) if out else np.zeros((0, *shape), np.float32)


class TrackedTeacher(ABC):
    """A teacher that looks at each frame's tracked landmarks."""

    count: int  # K

    @abstractmethod
    def placed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(K, 6) of landmarks (478, 2) in -1..1."""

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(T, K, 6) for successive frames (H, W, 3) of one clip; NaN where no face is seen."""
        return each_face(
            images, (self.count, 6), lambda p, w, h: self.placed(p[:, :2] * 2 / np.array([w - 1, h - 1]) - 1)
        )


class ClipPoints:
    """What a teacher says of some frames of one clip, kept beside the decoded frames."""

    def __init__(self, clip: Clip, teacher: Teacher, cache: Path, looks: int) -> None:
        self.clip, self.teacher, self.looks = clip, teacher, looks
        self._path = beside(cache, clip, f"{teacher.name}-{looks}.npz")
        self._known: tuple[list[int], NDArray[np.float32]] | None = None

    def known(self) -> tuple[list[int], NDArray[np.float32]]:
        """Indices of frames, at most `looks`, evenly spread, and (N, K, 6)."""
        if self._known is None:
            if not self._path.is_file():
                self._ask()
            with np.load(self._path, allow_pickle=False) as file:
                self._known = file["frames"].tolist(), file["points"]
        return self._known

    def _ask(self) -> None:
        step = max(1, -(-self.clip.frames // self.looks))
        with VideoReader(self.clip.path, keep_readable=True) as reader:
            points = self.teacher(f.image for f in reader if f.index % step == 0)
        good = np.isfinite(points).all((1, 2))
        with atomic_path(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, frames=np.flatnonzero(good) * step, points=points[good].astype(np.float32))
