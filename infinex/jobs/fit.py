"""Fitting the parametric face to a clip or a photograph of one person."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError, InputError, option
from infinex.face import topology as top
from infinex.face.morphable.bases import face_model
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.person import Person
from infinex.face.morphable.rest import Rest, found_person
from infinex.face.morphable.solve import Frame, Solver, State, Who
from infinex.face.pose import fit_pose
from infinex.face.tracker import FaceTracker, find_faces
from infinex.media.files import atomic_path
from infinex.media.image import is_image, read_image
from infinex.media.video import VideoReader

Progress = Callable[[int, "int | None"], None]
RGB = NDArray[np.uint8]

KEYS = 6  # frames from which who it is is learned
CANDIDATES = 32  # frames that are kept to choose those from
SHORTEST = 12  # frames with a face that a clip must have
BESIDE = 0.5  # size of a second face, over the first one's, from which there are two people
SAVE_EVERY = 10.0  # seconds


@dataclass
class _Seen:
    """What the first look at a clip found: tracked points, and frames to learn from."""

    points: list[NDArray[np.float32]] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    kept: list[tuple[int, Frame]] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)


def fit(
    source: str | Path,
    output: str | Path | None = None,
    model: str | Path | None = None,
    start: float = 0.0,
    end: float | None = None,
    progress: Progress | None = None,
) -> Person:
    """Fit a clip or a picture of one person; with `output` the result is written there, whole or not at all.

    `model` is a face model's file, ours where None. A fit that was stopped goes on where it was, by a file beside
    `output`. Raises FaceNotFoundError, InputError: two people, too short, a model of another kind."""
    face = face_model(model)
    if is_image(source):
        if (start, end) != (0.0, None):
            raise InputError(
                f"{Path(source).name} is a still picture, of which {option('start')} and {option('end')} name no part"
            )
        person = _photo(Path(source), face)
    else:
        person = _Clip(Path(source), face, start, end, progress, None if output is None else Path(output)).run()
    if output is not None:
        person.save(output)
        _unfinished(Path(output)).unlink(missing_ok=True)
    return person


def _alone(image: RGB, name: str) -> None:
    """Raises InputError where a picture shows two people."""
    faces = find_faces(image)
    if len(faces) > 1 and faces[1].size > BESIDE * faces[0].size:
        raise InputError(f"{name} shows {len(faces)} people; one is wanted: cut the picture to one of them")


def _photo(path: Path, face: MorphableFace) -> Person:
    image = read_image(path)
    faces = find_faces(image)
    if not faces:
        raise FaceNotFoundError(f"no face found in {path.name}; use a clearer or larger face")
    _alone(image, path.name)
    points = faces[0].landmarks
    frame, solver = Frame(image, points), Solver(face)
    who, states = solver.bundle([frame], [points])
    state, value = solver.follow(frame, who, states[0])
    return Person(face, who, [state], points[None].astype(np.float32), np.ones(1, bool), np.array([value]),
                  (image.shape[1], image.shape[0]), 25.0)  # fmt: skip


def _unfinished(output: Path) -> Path:
    return output.with_name(f".{output.stem}.unfinished.npz")


class _Clip:
    """A fit of a clip: a first look that tracks, then frame after frame."""

    def __init__(self, path: Path, face: MorphableFace, start: float, end: float | None, progress: Progress | None,
                 output: Path | None) -> None:  # fmt: skip
        self.path, self.face, self.start, self.end, self.progress = path, face, start, end, progress
        self.at_rest = Rest(np.zeros(len(face.expression)), np.asarray(face.spread, np.float64))
        self.unfinished = None if output is None else _unfinished(output)
        self._saved = time.monotonic()
        with self._reader() as reader:
            self.fps, self.frames = float(reader.info.fps), reader.info.frames
            stat = path.stat()
            self.key = f"{path.name} {stat.st_size} {stat.st_mtime_ns} {face.title} {start} {end}"
        if self.frames and (start or end is not None):
            self.frames = None

    def _reader(self) -> VideoReader:
        return VideoReader(self.path, start=self.start, end=self.end)

    def run(self) -> Person:
        """See `fit`."""
        found = self._resumed()
        if found is None:
            seen = self._look()
            (who, self.at_rest), points, valid = self._who(seen), np.stack(seen.points), np.array(seen.valid)
            states: list[State] = []
            energy: list[float] = []
        else:
            self.at_rest, who, points, valid, states, energy = found
        total = len(points)
        self._fit(who, points, valid, states, energy, total)
        face = self.at_rest.face(self.face)
        return Person(face, who, states, points, valid, np.array(energy), self._size, self.fps)

    def _look(self) -> _Seen:
        seen, every = _Seen(), 1
        with self._reader() as reader, FaceTracker() as tracker:
            for n, shot in enumerate(reader):
                h, w = shot.image.shape[:2]
                seen.size = self._size = w, h
                found = tracker(shot.image)
                if n % 50 == 0 and n <= 500:
                    _alone(shot.image, self.path.name)
                seen.valid.append(found is not None)
                last = seen.points[-1] if seen.points else np.zeros((top.POINTS, 3), np.float32)
                seen.points.append(last if found is None else found.landmarks.astype(np.float32))
                if found is not None and n % every == 0:
                    seen.kept.append((n, Frame(shot.image, found.landmarks)))
                    if len(seen.kept) > CANDIDATES:
                        every *= 2
                        seen.kept = [k for k in seen.kept if k[0] % every == 0]
                if self.progress:
                    self.progress(n + 1, 2 * self.frames if self.frames else None)
        shown = sum(seen.valid)
        if not shown:
            raise FaceNotFoundError(f"no face found in {self.path.name}; use a clearer or larger face")
        if shown < SHORTEST:
            raise InputError(
                f"{self.path.name} shows the face in {shown} frames; at least {SHORTEST} are needed to learn from"
            )
        if not seen.kept:
            raise FaceNotFoundError(f"the face is hardly seen in {self.path.name}; use a clearer clip")
        return seen

    def _who(self, seen: _Seen) -> tuple[Who, Rest]:
        """From frames that differ most in pose and mouth; rest from all that were kept."""
        marks = [seen.points[n].astype(np.float64) for n, _ in seen.kept]
        poses = [fit_pose(top.mean_face(), p) for p in marks]
        gap = [float(np.linalg.norm(p[13] - p[14])) / pose.scale for p, pose in zip(marks, poses)]
        traits = np.array([[*pose.angles / 15, g / 0.15] for pose, g in zip(poses, gap)])
        chosen = [int(np.abs(traits - np.median(traits, 0)).sum(1).argmin())]
        while len(chosen) < min(KEYS, len(traits)):
            away = np.min([np.linalg.norm(traits - traits[c], axis=1) for c in chosen], 0)
            chosen.append(int(away.argmax()))
        return found_person(self.face, [frame for _, frame in seen.kept], marks, chosen)

    def _fit(
        self, who: Who, points: NDArray, valid: NDArray, states: list[State], energy: list[float], total: int
    ) -> None:
        done, solver = len(states), Solver(self.at_rest.expected(self.face))
        state: State | None = states[-1] if states and valid[:done].any() else None
        with self._reader() as reader:
            for n, shot in enumerate(reader):
                if n >= total:
                    break
                if n < done:
                    continue
                h, w = shot.image.shape[:2]
                self._size = w, h
                if valid[n]:
                    frame = Frame(shot.image, points[n])
                    if state is None or not valid[n - 1]:
                        state, _ = solver.again(frame, points[n].astype(np.float64), who)
                    state, value = solver.follow(frame, who, state)
                else:
                    value = energy[-1] if energy else 0.0
                    if state is None:  # before the face is first seen
                        first = int(np.argmax(valid))
                        early = Frame(shot.image, points[first])
                        state, _ = solver.again(early, points[first].astype(np.float64), who)
                states.append(state)
                energy.append(value)
                if self.progress:
                    self.progress(total + n + 1, 2 * total)
                self._save(who, points, valid, states, energy)
        while len(states) < total:  # a clip whose end can be read only once
            states.append(states[-1])
            energy.append(energy[-1])

    # -- going on ---------------------------------------------------------------------------------

    def _save(self, who: Who, points: NDArray, valid: NDArray, states: list[State], energy: list[float]) -> None:
        if self.unfinished is None or time.monotonic() - self._saved < SAVE_EVERY:
            return
        with atomic_path(self.unfinished) as temporary, temporary.open("wb") as file:
            np.savez(
                file, key=np.array(self.key), identity=who.identity, skin=who.skin, focal=who.focal, detail=who.detail,
                rest=self.at_rest.weights, spread=self.at_rest.spread, points=points,
                valid=valid, energy=np.array(energy), size=np.array(self._size),
                rotation=np.stack([s.rotation for s in states]), shift=np.stack([s.shift for s in states]),
                expression=np.stack([s.expression for s in states]), light=np.stack([s.light for s in states]),
            )  # fmt: skip
        self._saved = time.monotonic()

    def _resumed(self) -> tuple[Rest, Who, NDArray, NDArray, list[State], list[float]] | None:
        if self.unfinished is None or not self.unfinished.is_file():
            return None
        with contextlib.suppress(Exception):  # what cannot be read is done again
            with np.load(self.unfinished, allow_pickle=False) as data:
                a = {k: data[k] for k in data.files}
            if str(a["key"]) == self.key:
                self._size = int(a["size"][0]), int(a["size"][1])
                parts = zip(a["rotation"], a["shift"], a["expression"], a["light"])
                who = Who(a["identity"], a["skin"], float(a["focal"]), a["detail"])
                return (
                    Rest(a["rest"], a["spread"]),
                    who,
                    a["points"],
                    a["valid"],
                    [State(*p) for p in parts],
                    a["energy"].tolist(),
                )
        return None
