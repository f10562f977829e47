"""A clip of one person made ready to learn from: fitted, cut to a square, and drawn as networks are shown it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from infinex.engine import Source
from infinex.errors import InputError, MissingDependencyError, option
from infinex.face import topology as top
from infinex.face.identity import identity
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.person import Person
from infinex.face.morphable.solve import FLIP, Frame, Solver, State
from infinex.jobs.fit import fit
from infinex.media.files import atomic_path
from infinex.media.image import is_image
from infinex.media.video import VideoReader
from infinex.systems.puppet import CHANNELS, JUMP, Cut, Likeness, beyond_fit, conditions, gaze, lower_face
from infinex.systems.recall import PICTURES, Ground, Recall, Recaller
from infinex.systems.window import Leaning, Square

RGB = NDArray[np.uint8]
Say = Callable[[str], None]
Progress = Callable[[int, "int | None"], None]

PERSON, WHO = "person.npz", "who.npy"
SAME = 0.6  # distance of two embeddings up to which dlib takes them for one person
LOWER_ROOM = 1.3  # side of the square around the lower face, over that face's
SEAM = 0.08  # width of the seam around what is laid back, over the square's side
LOOKED_AT = 5  # pictures of a clip that say who it is
GAP = 1.0  # seconds around a frame of which none are recalled to learn it: they would be copies of it


@dataclass(frozen=True)
class Part:
    """Which part of a clip is learned from."""

    start: float = 0.0  # seconds
    end: float | None = None
    shortest: float = 4.0  # seconds that show the face


def prepared(
    clip: Path, folder: Path, part: Part, person: str, size: int, say: Say, progress: Progress | None,
    shown: bool = True, tracked: bool = False, lower: bool = False,
) -> None:  # fmt: skip
    """Fill `folder` with a fit of the clip, its frames and, where they are `shown`, conditions at `size` pixels, drawn
    where the fit or, if `tracked`, where the tracker has the face; what is there stays. `lower`: see `window_of`.

    `person` is a fit made before, else one is made. Raises InputError: no clip, two people, too short."""
    if not clip.exists():
        raise InputError(f"{option('data')} {clip}: no such clip")
    if clip.is_dir() or is_image(clip):
        raise InputError(f"{option('data')} {clip.name}: a clip of one person is wanted, at least {part.shortest:g} s")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / PERSON
    if not kept.is_file():
        if person:
            _taken_over(Path(person), clip, part).save(kept)
        else:
            _long_enough(clip, part)
            say(f"{clip.name} is fitted first")
            fit(clip, kept, None, part.start, part.end, progress)
    found = Person.load(kept)
    seconds = float(found.valid.sum()) / found.fps
    if seconds < part.shortest:
        raise _too_short(clip.name, seconds, part)
    frames, conditioned = _paths(folder, size, tracked, lower)
    if not all(p.is_file() for p in (frames, folder / WHO, *([conditioned] if shown else []))):
        _drawn(clip, folder, part, found, size, progress, shown, tracked, lower)


def _too_short(name: str, seconds: float, part: Part) -> InputError:
    return InputError(
        f"{name} shows the face for {seconds:.1f} s; at least {part.shortest:g} s are needed to learn a person from, "
        "half a minute is good"
    )


def _long_enough(clip: Path, part: Part) -> None:
    with VideoReader(clip, start=part.start, end=part.end) as reader:
        length = reader.info.duration
    if length is not None:
        seconds = min(float(length), part.end or float(length)) - part.start
        if seconds < part.shortest:
            raise _too_short(clip.name, max(0.0, seconds), part)


def _taken_over(path: Path, clip: Path, part: Part) -> Person:
    found = Person.load(path)
    with VideoReader(clip, start=part.start, end=part.end) as reader:
        size, frames = (reader.info.width, reader.info.height), reader.info.frames
    if found.size != size or (frames and part.start == 0 and part.end is None and abs(len(found) - frames) > 2):
        raise InputError(f"{path.name} is no fit of {clip.name}: fit it again, with the same start and end")
    if found.face.names != own_model().names:
        raise InputError(f"{path.name} was fitted with a face model of another topology; fit it without one's own")
    return found


def _paths(folder: Path, size: int, tracked: bool = False, lower: bool = False) -> tuple[Path, Path]:
    part = f"{'lower-' if lower else ''}{size}.npy"
    return folder / f"frames-{part}", folder / f"conditions-{'tracked-' if tracked else ''}{part}"


def window_of(person: Person, lower: bool = False) -> Square:
    """The square around all that a clip's face does, or around what is `lower` of it, see `infinex.systems.puppet`."""
    points = person.points[person.valid][:, : top.SURFACE, :2]
    if lower:
        points = points[:, lower_face()[: top.SURFACE]]
    points = points.reshape(-1, 2)
    width, height = person.size
    corners = np.stack([points.min(0), points.max(0)])
    room, framed = (LOWER_ROOM, np.inf) if lower else (1.55, 0.55)
    return Square(np.empty((height, width, 0), np.uint8), corners, room, framed)


def _drawn(
    clip: Path, folder: Path, part: Part, person: Person, size: int, progress: Progress | None, shown: bool,
    tracked: bool, lower: bool,
) -> None:  # fmt: skip
    frames, drawn = _paths(folder, size, tracked, lower)
    square = window_of(person, lower)
    T = len(person)
    looked_at = set(
        np.flatnonzero(person.valid)[np.linspace(0, person.valid.sum() - 1, LOOKED_AT).astype(int)].tolist()
    )
    who = []
    bare = Likeness.from_person(person, Cut(square.x, square.y, square.side), np.zeros(0))
    with atomic_path(frames) as a, atomic_path(drawn) if shown else contextlib.nullcontext() as b:
        pictures = open_memmap(a, "w+", np.uint8, (T, size, size, 3))
        conditioned = None if b is None else open_memmap(b, "w+", np.uint8, (T, size, size, CHANNELS))
        t = -1
        with VideoReader(clip, start=part.start, end=part.end) as reader:
            for t, frame in enumerate(reader):
                if t >= T:
                    break
                pictures[t] = square.cut(frame.image, size)
                points = person.points[t].astype(np.float64)
                if conditioned is not None:
                    state = person.states[t]
                    off = beyond_fit(person.face, person.who, state, points, person.size) if tracked else None
                    conditioned[t] = conditions(bare, state, gaze(points), size, off)
                if t in looked_at:
                    with contextlib.suppress(MissingDependencyError):
                        who.append(identity(frame.image, points))
                if progress:
                    progress(t + 1, T)
        for rest in range(t + 1, T):  # a clip whose end can be read only once
            pictures[rest] = pictures[t]
            if conditioned is not None:
                conditioned[rest] = conditioned[t]
        for written in (pictures, conditioned):
            if written is not None:
                written.flush()
        del pictures, conditioned, written
    with atomic_path(folder / WHO) as temporary, temporary.open("wb") as file:
        np.save(file, np.median(who, 0) if who else np.zeros(0))


def likeness(folder: Path, lower: bool = False) -> Likeness:
    """Who was learned, from a folder that is `prepared`."""
    person = Person.load(folder / PERSON)
    square = window_of(person, lower)
    who = np.load(folder / WHO, allow_pickle=False)
    return Likeness.from_person(person, Cut(square.x, square.y, square.side), who)


def recalled(folder: Path, size: int, count: int, progress: Progress | None) -> None:
    """Add to a folder that is `prepared` what an album of `count` of its frames recalls for each of them."""
    kept, drawn = _album_paths(folder, size, count)
    if kept.is_file() and drawn.is_file():
        return
    frames = Frames(folder, size, 0.0, "train")
    person, rows = frames.person, frames.rows
    points, usual = frames.surface(), int(np.abs(person.points - frames.likeness.points).sum((1, 2)).argmin())
    chosen = np.unique([*rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)].tolist(), usual])
    ground = Ground(np.asarray(frames.pictures[usual]), points[usual])
    T = len(person)
    outline, guess = np.zeros((T, 2, 2, 3), np.float32), None
    for t in rows.tolist():
        guess = ground.measured(np.asarray(frames.pictures[t]), points[t], guess)
        outline[t] = guess
    eyes = np.stack([gaze(p.astype(np.float64)) for p in person.points]).astype(np.float32)
    album = Recall(
        np.ascontiguousarray(frames.pictures[chosen]), points[chosen].astype(np.float32), outline[chosen],
        eyes[chosen], int(np.searchsorted(chosen, usual)),
    )  # fmt: skip
    ask = Recaller(album)
    with atomic_path(drawn) as path:
        out = open_memmap(path, "w+", np.uint8, (T, size, size, PICTURES))
        for n, t in enumerate(rows.tolist()):
            out[t] = ask(points[t], outline[t], eyes[t], np.abs(chosen - t) <= GAP * person.fps)
            if progress:
                progress(n + 1, len(rows))
        out.flush()
        del out
    with atomic_path(kept) as path, path.open("wb") as file:
        np.savez(file, **album.arrays())  # type: ignore[arg-type]


def _album_paths(folder: Path, size: int, count: int) -> tuple[Path, Path]:
    return folder / f"album-{size}-{count}.npz", folder / f"recalled-{size}-{count}.npy"


def album_of(folder: Path, size: int, count: int) -> Recall:
    """The album of a folder for which it was `recalled`."""
    with np.load(_album_paths(folder, size, count)[0], allow_pickle=False) as data:
        return Recall.of({k: data[k] for k in data.files})


class Frames:
    """The frames of a prepared clip, at `size` pixels; the last share of them is `held` back from learning."""

    def __init__(self, folder: Path, size: int, held: float, split: str, lower: bool = False) -> None:
        self.person = Person.load(folder / PERSON)
        self.likeness = likeness(folder, lower)
        self.pictures = np.load(_paths(folder, size, lower=lower)[0], mmap_mode="r", allow_pickle=False)
        T = len(self.person)
        cut = T - round(held * T)
        if cut < 1:
            raise InputError(f"{option('set')} held={held}: nothing is left to learn from")
        shown = np.flatnonzero(self.person.valid)
        self.rows = shown[shown < cut] if split == "train" else shown[shown >= cut]
        self.size = size
        window = self.likeness.window
        k = size / window.side
        self.points = (self.person.points[..., :2] - [window.x, window.y] + 0.5) * k - 0.5

    def surface(self) -> NDArray[np.float64]:
        """The surface points (T, 468, 3) in pixels of the pictures, depth in the same unit."""
        depth = self.person.points[:, : top.SURFACE, 2:] * (self.size / self.likeness.window.side)
        return np.concatenate([self.points[:, : top.SURFACE], depth], 2).astype(np.float64)

    def frame(self, t: int) -> NDArray[np.float32]:
        """(3, S, S) in -1..1."""
        return np.asarray(self.pictures[t]).transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - 1


class Lesson(Frames):
    """The instants of a prepared clip: `frame` (3, S, S) and `window` (N·9, S, S) of conditions up to it, in -1..1, and
    `focus` (1, S, S) where mouth and eyes are. Where there is an `album`, what it recalls comes before the conditions,
    (9 + N·9, S, S)."""

    def __init__(
        self, folder: Path, size: int, window: int, held: float, split: str, repeats: int = 1, tracked: bool = False,
        album: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(folder, size, held, split)
        self._shown = np.load(_paths(folder, size, tracked)[1], mmap_mode="r", allow_pickle=False)
        self._recalled = None
        if album:
            self._recalled = np.load(_album_paths(folder, size, album)[1], mmap_mode="r", allow_pickle=False)
        self.window, self.repeats = window, repeats if split == "train" else 1

    def __len__(self) -> int:
        return len(self.rows) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """See `infinex.training.data.Samples`."""
        t = int(self.rows[index % len(self.rows)])
        # The first instant stands for those before it.
        at = np.maximum(np.arange(t - self.window + 1, t + 1), 0)
        window = np.asarray(self._shown[at]).transpose(0, 3, 1, 2).reshape(-1, self.size, self.size)
        if self._recalled is not None:
            window = np.concatenate([np.asarray(self._recalled[t]).transpose(2, 0, 1), window])
        return {
            "frame": self.frame(t),
            "window": window.astype(np.float32) / np.float32(127.5) - 1,
            "focus": focus_of(self.points[t], self.size)[None],
        }


def focus_of(points: NDArray, size: int) -> NDArray[np.float32]:
    """(size, size) 1 where mouth and eyes are, of points (478, 2) in its pixels."""
    out = np.zeros((size, size), np.float32)
    for ids in (top.LIPS_OUTER, top.RIGHT_EYE, top.LEFT_EYE):
        part = points[ids]
        room = 0.15 * float(np.ptp(part[:, 0]))
        x0, y0 = np.clip(np.floor(part.min(0) - room), 0, size).astype(int)
        x1, y1 = np.clip(np.ceil(part.max(0) + room) + 1, 0, size).astype(int)
        out[y0:y1, x0:x1] = 1
    return out


def check_person(known: NDArray[np.floating], image: RGB, landmarks: NDArray, system: str) -> None:
    """Raises InputError where a portrait shows somebody else than was learned, as far as that can be told here."""
    if not len(known):
        return
    with contextlib.suppress(MissingDependencyError):
        if float(np.linalg.norm(identity(image, landmarks) - known)) > SAME:
            raise InputError(
                f"these {option('weights')} of {system} were taught another person than the portrait shows"
            )


class Placed:
    """Where the square that was learned lies in a picture of the person, and the picture as the clip would have it."""

    def __init__(self, person: Likeness, source: Source, pixels: int, system: str) -> None:
        """Raises InputError where the picture shows another person."""
        landmarks = np.asarray(source.face.landmarks, np.float64)
        check_person(person.who, source.image, landmarks, system)
        self.person, self.pixels = person, pixels
        p, image = person.window, source.image
        points = landmarks[:, :2]
        middle = points[top.LIPS_OUTER].mean(0) - [p.x, p.y]
        to_clip = np.array([[1.0, 0, 0], [0, 1, 0]])
        if image.shape[1::-1] != person.size or (middle < 0).any() or (middle > p.side).any():
            # No frame of the clip: the head that was learned is laid over this one.
            usual = person.points[:, :2].astype(np.float64)
            s = float(np.linalg.norm(np.ptp(usual, 0)) / max(1.0, float(np.linalg.norm(np.ptp(points, 0)))))
            to_clip = np.column_stack([s * np.eye(2), usual.mean(0) - s * points.mean(0)])
        self._to_clip = to_clip
        cut = p.matrix(pixels)
        matrix = np.column_stack([cut[:, :2] @ to_clip[:, :2], cut[:, :2] @ to_clip[:, 2] + cut[:, 2]])
        self.window = Leaning(matrix, pixels, image.shape)
        self.box = self.window.box
        x0, y0, x1, y1 = self.box
        self._still = image[y0:y1, x0:x1].astype(np.float32)
        self._seam = np.clip(self.window.spread(self._inner(matrix, image)), 0, 1)[..., None]
        self.points = landmarks.copy()
        self.points[:, :2] = points @ to_clip[:, :2].T + to_clip[:, 2]
        self.points[:, 2] *= to_clip[0, 0]
        same = bool((to_clip == np.eye(2, 3)).all())
        self.picture: RGB = image if same else cut_picture(image, to_clip, person.size)

    def _inner(self, matrix: NDArray[np.float64], image: RGB) -> NDArray[np.float32]:
        """(pixels, pixels) 1 inside, 0 towards those edges behind which the picture goes on."""
        h, w = image.shape[:2]
        corners = np.array([[0, 0], [w, h]]) @ matrix[:, :2].T + matrix[:, 2]
        ramp = np.clip((np.arange(self.pixels) + 0.5) / (SEAM * self.pixels), 0, 1).astype(np.float32)
        lines = []
        for axis in (0, 1):
            line = np.ones(self.pixels, np.float32)
            if corners[0, axis] < -1:
                line *= ramp
            if corners[1, axis] > self.pixels + 1:
                line *= ramp[::-1]
            lines.append(line * line * (3 - 2 * line))
        return np.outer(lines[1], lines[0]).astype(np.float32)

    def fitted(self, last: State | None = None) -> State:
        """The person as the picture shows them, in the clip's camera; from the `last` frame's solution where there is
        one and the head is not far from there."""
        frame, solver, person = Frame(self.picture, self.points), Solver(self.person.face), self.person
        if last is not None:
            seen = solver.look(person.person, last).camera[: top.SURFACE] * FLIP
            off = frame.camera(person.focal, 1).project(seen) / frame.to_level(1) + frame.corner - frame.points
            if float(np.abs(off).mean()) > JUMP * frame.size:
                last = None
        if last is None:
            state, _ = solver.again(frame, self.points, person.person)
        else:
            state, _ = solver.follow(frame, person.person, last)
        return state

    def lay(self, canvas: RGB, made: NDArray[np.float32], share: NDArray[np.float32] | None = None) -> None:
        """A picture of the square (pixels, pixels, 3) in 0..255 over the box of `canvas`, with a soft seam; where there
        is a `share` (pixels, pixels) in 0..1, as much of it as that says."""
        x0, y0, x1, y1 = self.box
        seam = self._seam if share is None else self._seam * np.clip(self.window.spread(share), 0, 1)[..., None]
        laid = self.window.spread(made) * seam + self._still * (1 - seam)
        canvas[y0:y1, x0:x1] = np.clip(laid + 0.5, 0, 255).astype(np.uint8)

    def drawn_at(self, state: State) -> NDArray[np.float64]:
        """Where the surface points of the person in a state are, (468, 2) in pixels of the picture."""
        p = self.person
        seen = p.look(state).camera[: top.SURFACE] * FLIP
        inside = p.window.camera(p.focal, p.size, self.pixels).project(seen)
        back = np.linalg.inv(np.vstack([self.window.matrix, [0, 0, 1]]))
        return np.asarray(inside @ back[:2, :2].T + back[:2, 2])


def cut_picture(image: RGB, matrix: NDArray[np.float64], size: tuple[int, int]) -> RGB:
    """A picture moved by a matrix (2, 3) into one of `size` (width, height); its edge goes on beyond it."""
    k = float(np.hypot(*matrix[:, 0]))
    if k < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / k), np.uint8)
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
