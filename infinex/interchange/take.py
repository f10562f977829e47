"""A take: what a face does in the terms that other tools share - Apple's 52 shapes, head and eyes - and back to
moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive, Driver
from infinex.drivers.units import _about_neck, rest_face
from infinex.errors import InputError
from infinex.face import blendshapes as shapes
from infinex.face.pose import Pose, to_matrix, to_vector
from infinex.media.timecode import Timecode
from infinex.motion import Motion, Move

Array = NDArray[np.float64]
MOST_FRAMES = 1_000_000
AT_ONCE = 128  # frames whose displacements are made at a time


@dataclass(frozen=True)
class Take:
    """A performance at a constant rate: time-major arrays.

    `shapes` (T, 52) weights 0..1 in the order of `blendshapes.NAMES`; `head` (T, 3) yaw, pitch and roll in radians:
    positive yaw turns to the viewer's right (the subject's left), positive pitch looks down, positive roll leans
    clockwise
    on screen; `eyes` (T, 2, 2) where left and right eye look within the head, radians right and down as the viewer
    sees it; `valid` (T,) whether a face was seen; `units` (T, U) Action Units 0..1 named by `unit_names`, where they
    were read; `points` (T, 68, 2) landmarks of the iBUG scheme in tenths of the picture's pixels, where there was one;
    `place` (T, 3) the head's place and size (IOD right and down, and times its size at rest)."""

    fps: float
    shapes: Array
    head: Array
    eyes: Array
    valid: NDArray[np.bool_]
    units: Array | None = None
    unit_names: tuple[str, ...] = ()
    points: NDArray[np.int16] | None = None
    place: Array | None = None
    start: float = 0.0  # seconds of day at which it begins
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.shapes)

    @staticmethod
    def of(motion: Motion, weights: Array | None = None) -> Take:
        """The take of a performance. `weights` (T, 52) are given where they were read from pictures; else those that
        its units stand for, and where it has no units those that explain how its mesh moves.

        Head and gaze are as the camera saw them."""
        angles = np.radians([Pose(1.0, to_matrix(v), np.zeros(3)).angles for v in motion.rotation])
        eyes = np.repeat(np.asarray(motion.gaze)[:, None], 2, 1)
        if weights is None:
            weights = drawn(motion)
            weights[:, shapes.EYES] = shapes.look(eyes)
        else:
            eyes = shapes.gaze(weights)
        r = motion.rest
        place = np.column_stack([(motion.translation - r.translation)[:, :2] / r.scale, motion.scale / r.scale])
        return Take(
            motion.fps, np.clip(weights, 0, 1), angles, eyes, motion.valid, motion.units, motion.unit_names, None, place
        )

    def resampled(self, fps: float) -> Take:
        """The same at another rate, linearly interpolated."""
        if fps == self.fps:
            return self
        n = max(1, round(len(self) / self.fps * fps))
        t = np.minimum(np.arange(n) * self.fps / fps, len(self) - 1)
        return replace(
            self, fps=fps, shapes=_at(self.shapes, t), head=_at(self.head, t), eyes=_at(self.eyes, t),
            valid=self.valid[np.round(t).astype(int)], units=None if self.units is None else _at(self.units, t),
            points=None, place=None if self.place is None else _at(self.place, t),
        )  # fmt: skip


def _at(x: Array, t: Array) -> Array:
    i = t.astype(int)
    j = np.minimum(i + 1, len(x) - 1)
    w = (t - i).reshape(-1, *[1] * (x.ndim - 1))
    return np.asarray(x[i] * (1 - w) + x[j] * w)


def drawn(motion: Motion) -> Array:
    """Weights (T, 52) of a performance that was not read from pictures."""
    if motion.units is not None and motion.unit_names:
        return shapes.from_units(motion.units, motion.unit_names)
    blocks = [motion.offsets[i : i + AT_ONCE] for i in range(0, len(motion), AT_ONCE)]
    return np.concatenate([shapes.from_offsets(b) for b in blocks])


def turned(head: Array) -> Array:
    """Rotation matrix (3, 3) of yaw, pitch and roll (3,) as in `Take.head`; the inverse of `Pose.angles`."""
    yaw, pitch, roll = head
    c, s = np.cos, np.sin
    Rz = np.array([[c(roll), -s(roll), 0], [s(roll), c(roll), 0], [0, 0, 1]])
    Ry = np.array([[c(yaw), 0, -s(yaw)], [0, 1, 0], [s(yaw), 0, c(yaw)]])
    Rx = np.array([[1, 0, 0], [0, c(pitch), -s(pitch)], [0, s(pitch), c(pitch)]])
    return np.asarray(Rz @ Ry @ Rx)


def moves(weights: Array, head: Array, eyes: Array, valid: NDArray[np.bool_], first: int, fps: float) -> Iterator[Move]:
    """The moves of frames from `first` on: shapes (T, 52), head (T, 3) and eyes (T, 2, 2) as in `Take`."""
    offsets = shapes.offsets_of(weights)
    for k in range(len(weights)):
        rotation = to_vector(turned(head[k]))
        yield Move((first + k) / fps, rotation, _about_neck(rotation), 1.0, offsets[k], eyes[k].mean(0), bool(valid[k]))


def tenths(points: Array) -> NDArray[np.int16]:
    """Pixels as `Take.points` has them."""
    return np.clip(np.round(10 * points), -32000, 32000).astype(np.int16)


class TakeDriver(Driver):
    """Plays a take, in memory that does not grow with its length."""

    def __init__(self, take: Take, name: str = "take") -> None:
        """Raises InputError for a take without frames."""
        if not len(take):
            raise InputError(f"{name} holds no frames")
        self.take, self.name = take, name
        self.fps, self.frames, self.rest = take.fps, len(take), rest_face()
        rate = Fraction(usual(take.fps)).limit_denominator(1001)
        self.timecode = Timecode.of(take.start, rate) if take.start else None
        self.notes = take.notes
        self.warnings = take.notes

    def __iter__(self) -> Iterator[Drive]:
        t = self.take
        for i in range(0, len(t), AT_ONCE):
            part = slice(i, i + AT_ONCE)
            for move in moves(t.shapes[part], t.head[part], t.eyes[part], t.valid[part], i, t.fps):
                yield Drive(move)


def even(times: Array, columns: Array, name: str) -> tuple[float, Array, NDArray[np.bool_], list[str]]:
    """Rows at `times` (N,) in seconds laid on an even clock: rate, columns (T, C), which frames are real (T,), notes.

    Rows that hold something that is no number are bridged; so are gaps, as frames without a face where they last longer
    than half a second. Raises InputError."""
    notes: list[str] = []
    timed = np.isfinite(times)
    good = np.isfinite(columns).all(1) & timed
    if not good.any():
        raise InputError(f"{name}: no row holds numbers only")
    if not good.all():
        notes.append(f"{name}: {int((~good).sum())} of {len(good)} rows hold something that is no number; bridged")
    first, last = float(times[timed].min()), float(times[timed].max())
    times, columns = times[good], columns[good]
    order = np.argsort(times, kind="stable")
    if (np.diff(times) < 0).any():
        notes.append(f"{name}: its rows are not in order of time; sorted")
    times, columns = times[order], columns[order]
    fresh = np.concatenate([[True], np.diff(times) > 1e-6])
    times, columns = times[fresh], columns[fresh]
    if len(times) == 1:
        return 25.0, columns, np.ones(1, bool), notes
    fps = rate_of(times)
    if not 1 <= fps <= 1000:
        raise InputError(f"{name}: rows {1 / fps:g} s apart cannot be played")
    frames = round((last - first) * fps) + 1
    if frames > min(20 * len(times) + 1000, MOST_FRAMES):
        raise InputError(f"{name}: its times have gaps that are far longer than what it holds")
    clock = first + np.arange(frames) / fps
    at = np.interp(clock, times, np.arange(len(times)))
    near = times[np.clip(np.round(at).astype(int), 0, len(times) - 1)]
    return fps, _at(columns, at), np.abs(near - clock) <= 0.25, notes


RATES = (10.0, 12.0, 15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 90.0, 100.0, 119.88, 120.0)


def rate_of(times: Array) -> float:
    """Frames a second of rows at ascending `times` (N,), at least two.

    The mean of all single steps, since one that is rounded to milliseconds is off by some percent."""
    steps = np.diff(times)
    middle = float(np.sort(steps)[(len(steps) - 1) // 2])
    return usual(1 / float(steps[(steps > middle / 1.5) & (steps < 1.5 * middle)].mean()))


def usual(fps: float) -> float:
    """The usual rate that a measured one is, where it is within half a percent of one."""
    near = min(RATES, key=lambda r: abs(r - fps))
    return near if abs(near - fps) < 5e-3 * near and abs(near - fps) <= min(abs(r - fps) for r in RATES) else fps
