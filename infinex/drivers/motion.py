"""Driving by a saved performance, a bundled one or a still picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive, Driver
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.interior import interior
from infinex.face.pose import fit_pose, to_vector
from infinex.face.shape import eye_openness, gaze_of, lip_gaps
from infinex.face.tracker import Face
from infinex.motion import Motion, Move, Rest, displacements


class MotionDriver(Driver):
    """Plays a `Motion`; `name` is what the metadata of a result calls it."""

    def __init__(self, motion: Motion, name: str = "motion", file: Path | None = None) -> None:
        """`file` has the displacements where `motion` is lean: they are read as they are played."""
        self.motion, self.name, self._file = motion, name, file
        self.fps, self.frames, self.rest = motion.fps, len(motion), motion.rest
        self._times = np.arange(self.frames, dtype=np.float64)  # in frames of the file

    @classmethod
    def stored(cls, text: str, fps: float | None = None) -> MotionDriver:
        """Plays a bundled performance by name, or one by file, at its own rate or `fps`, in memory that does not grow
        with its displacements. Raises InputError."""
        file = motion_file(text)
        motion = Motion.load(file, lean=True)
        driver = cls(motion.resample(fps) if fps else motion, Path(text).name, file)
        driver._times = np.minimum(driver._times * motion.fps / driver.fps, len(motion) - 1)
        return driver

    def whole(self) -> Motion:
        """The performance with its displacements, all in memory."""
        if self._file is None:
            return self.motion
        motion = Motion.load(self._file)
        return motion if motion.fps == self.fps else motion.resample(self.fps)

    def peaks(self) -> dict[str, float]:
        """Those of the performance; empty where it is not made of units."""
        return self.motion.peaks()

    def units(self) -> tuple[Sequence[str], NDArray[np.float64]] | None:
        """Those of the motion, where it has some."""
        return None if self.motion.units is None else (self.motion.unit_names, self.motion.units)

    def __iter__(self) -> Iterator[Drive]:
        if self._file is None:
            yield from map(Drive, self.motion)
            return
        for move, offsets in zip(self.motion, self._streamed(self._file)):
            yield Drive(replace(move, offsets=offsets))

    def _streamed(self, file: Path) -> Iterator[NDArray[np.float64]]:
        """Displacements (478, 3) of every frame, interpolated as `Motion.resample` does."""
        rows = (row.astype(np.float64) for block in displacements(file) for row in block)
        at, now = 0, next(rows)
        ahead = next(rows, now)
        for t in self._times:
            while at < int(t):
                at, now, ahead = at + 1, ahead, next(rows, ahead)
            yield now * (1 - (t - at)) + ahead * (t - at)


def bundled_motions() -> dict[str, Path]:
    """Names and files of the performances that come with Infinex."""
    folder = resources.files("infinex").joinpath("motions")
    return {
        p.name.removesuffix(".motion.npz"): Path(str(p))
        for p in sorted(folder.iterdir(), key=lambda p: p.name)
        if p.name.endswith(".motion.npz")
    }


def load_motion(name: str) -> Motion:
    """A bundled performance by name, or one by file. Raises InputError where there is none."""
    return Motion.load(motion_file(name))


def motion_file(name: str) -> Path:
    """The file of a bundled performance, or the one that is named. Raises InputError where there is none."""
    known = bundled_motions()
    if name in known:
        return known[name]
    if Path(name).suffix or Path(name).exists():
        return Path(name)
    raise InputError(f"no motion called {name!r}; there are {', '.join(known)}, or name a .motion.npz file")


def still_motion(
    face: Face, image: NDArray[np.uint8] | None = None, fps: float = 25.0, ease: float = 1.0, hold: float = 1.6
) -> Motion:
    """The expression and pose of one tracked face, taken on from neutral over `ease` seconds and held.

    Where the picture (H, W, 3) it was tracked in is given, what its mouth shows is read, too."""
    m, _ = still_move(face, image)
    t = np.clip(np.arange(round((ease + hold) * fps)) / (ease * fps), 0, 1)
    ramp = t * t * (3 - 2 * t)
    moves = (
        Move(i / fps, m.rotation * r, np.zeros(3), 1.0, m.offsets * r, m.gaze * r, interior=m.interior)
        for i, r in enumerate(ramp)
    )
    return Motion.collect(moves, Rest.neutral(), fps)


def still_move(face: Face, image: NDArray[np.uint8] | None = None) -> tuple[Move, NDArray[np.float64]]:
    """The expression and pose of one tracked face, from neutral, and its intensities (U,) of `FACE_UNITS`.

    A single picture does not show its person at rest, so the expression is what Action Units explain of
    its difference from the mean face; proportions stay out of it."""
    from infinex.face.portrait import SourceFace
    from infinex.face.reading import read_units
    from infinex.face.units import basis

    mean = top.mean_face()
    pose = fit_pose(mean, face.landmarks)
    shape = pose.to_head(face.landmarks)
    b = basis()
    amounts = read_units((shape - mean)[None], still=True)[0]
    model = SourceFace(mean)
    target = mean + b.offsets(amounts)
    wide = eye_openness(mean)
    model.set_lids(target, np.clip(eye_openness(shape) / wide, 0, 1.5))
    model.set_lips(target, np.maximum(0, lip_gaps(shape) - 0.004))
    gaze = gaze_of(shape) - gaze_of(mean)
    shown = None if image is None else interior(image, face.landmarks)
    return Move(0.0, to_vector(pose.rotation), np.zeros(3), 1.0, target - mean, gaze, interior=shown), amounts


__all__ = ["MotionDriver", "bundled_motions", "load_motion", "still_motion", "still_move"]
