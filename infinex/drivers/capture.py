"""From tracked landmarks to motion: the performer's rest, head coordinates, smoothing, lost frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import SHAPE
from infinex.face.pose import Pose, fit_pose, to_matrix, to_vector
from infinex.face.shape import eye_openness, gaze_of, lip_gaps
from infinex.motion import Move, Rest

Array = NDArray[np.float64]
T = TypeVar("T")
BRIDGE = 12  # frames without a face that are interpolated; longer gaps hold the last pose
RETURN = 6  # frames over which a face that was long gone is taken up again
NOISE = np.array([0.004, 0.004, 0.010])  # IOD: tracking noise of a point; depth is the least certain
NOISE_POSE = np.array([0.006, 0.006, 0.006, 0.003, 0.003, 0.003, 0.003, 0.03, 0.03])  # rad, IOD, log, gaze
NOISE_HEAD: Array = 8.0 * NOISE_POSE[:7]  # expressions leak into it
NOISE_FACE: Array = np.concatenate([NOISE_POSE[7:], np.tile(NOISE, top.POINTS)])
NOISE_BEYOND = np.repeat([0.012, 0.06], [12, 6])  # IOD: of the fields of `infinex.face.outline`; of `.interior`
REACH = 7  # frames of look-ahead that smoothing uses


@dataclass(frozen=True)
class Sighting:
    """Landmarks (478, 3) of one frame, or None where no face was seen."""

    points: Array | None


def choose_rest(
    tracks: Sequence[Array],
    near: Pose | None = None,
    match: Array | None = None,
    reference: int | None = None,
    penalty: Sequence[float] | None = None,
) -> tuple[Rest, int]:
    """The performer's rest, and which of the landmark sets (478, 3) in `tracks` it was read from.

    The reference is the most neutral frame, closest to the pose `near` of the portrait; or, with `match`
    (478, 3 canonical), the one most alike to the portrait's own face; or `reference` itself."""
    mean = top.mean_face()
    poses = [fit_pose(mean, x) for x in tracks]
    faces = np.stack([p.to_head(x) for p, x in zip(poses, tracks)])
    openness, gaps = eye_openness(faces), lip_gaps(faces)
    middle = np.median(faces, axis=0)
    if reference is None:
        aim = near.angles if near is not None else np.zeros(3)
        turn = np.array([np.abs(p.angles - aim).sum() for p in poses])
        if match is not None:
            unlike = np.sqrt(((faces - match)[:, : top.SURFACE, :2] ** 2).sum(-1).mean(1))
            cost = unlike + 0.002 * turn
        else:
            wide = np.percentile(openness.mean(1), 70)
            odd = np.sqrt(((faces - middle)[:, : top.SURFACE] ** 2).sum(-1).mean(1))
            cost = 2 * np.maximum(0, gaps[:, 4] - 0.02) + np.abs(openness.mean(1) - wide) + 1.5 * odd
            cost = cost + 0.004 * turn
        reference = int(np.argmin(cost + (np.asarray(penalty) if penalty is not None else 0)))
    pose, face = poses[reference], faces[reference]
    lids_open = np.percentile(openness, 55, axis=0)
    low = np.percentile(openness, 1, axis=0)
    closed = np.where(low < 0.55 * lids_open, np.minimum(low + 0.02, 0.45 * lids_open), 0.28 * lids_open)
    alive = float(np.ptp(openness.mean(1))) > 0.03
    least = np.percentile(gaps, 4, axis=0)
    shut = np.where(least < 0.035, np.maximum(least, 0) + 0.004, 0.004)
    speaks = float(np.ptp(gaps[:, 4])) > 0.02
    rest = Rest(
        face,
        to_vector(pose.rotation),
        pose.translation / pose.scale,
        1.0,
        gaze_of(face),
        lids_open if alive else openness[reference],
        closed if alive else None,
        shut if speaks else None,
    )
    return rest, reference


class Capture:
    """Landmarks of one performer to moves; `unit` is the IOD of the reference frame in pixels."""

    def __init__(self, rest: Rest, unit: float, fps: float, smooth: float = 0.5) -> None:
        self.rest, self.unit, self.fps, self.smooth = rest, unit, fps, smooth
        self._back = to_matrix(rest.rotation).T

    def state(self, points: Array) -> Array:
        """One frame as a flat vector: turn from rest (3), translation (3), log scale, gaze (2), offsets."""
        head = self._head(points)
        return np.concatenate([head, self._face(points, head)])

    def _head(self, points: Array) -> Array:
        """Turn from rest (3), translation (3) and log scale."""
        pose = fit_pose(self.rest.face, points)
        turn = to_vector(pose.rotation @ self._back)
        shift = pose.translation / self.unit - self.rest.translation
        return _settled(np.array([*turn, *shift, np.log(pose.scale / self.unit)]))

    def _face(self, points: Array, head: Array) -> Array:
        """Gaze (2) and offsets, in a head that is where `head` says."""
        face = self._pose(head).to_head(points)
        return _settled(np.concatenate([gaze_of(face) - self.rest.gaze, (face - self.rest.face).ravel()]))

    def _pose(self, head: Array) -> Pose:
        rotation = to_matrix(head[:3]) @ self._back.T
        return Pose(float(np.exp(head[6])) * self.unit, rotation, self.unit * (self.rest.translation + head[3:6]))

    def move(self, state: Array, time: float, valid: bool) -> Move:
        """The inverse of `state`, which may go on with an outline (12) and an interior of the mouth (6)."""
        rotation = self.rest.rotation if not state[:3].any() else to_vector(to_matrix(state[:3]) @ self._back.T)
        shift, gaze = self.rest.translation + state[3:6], self.rest.gaze + state[7:9]
        offsets, beyond = state[9 : 9 + 3 * top.POINTS].reshape(-1, 3), state[9 + 3 * top.POINTS :]
        outline = beyond[:12].reshape(2, 2, 3) if len(beyond) else None
        interior = beyond[12:].reshape(SHAPE) if len(beyond) > 12 else None
        return Move(time, rotation, shift, float(np.exp(state[6])), offsets, gaze, valid, outline, interior)

    def moves(
        self, seen: Iterable[tuple[Sighting, T]], beyond: Callable[[T, Array, Pose, bool], Array] | None = None
    ) -> Iterator[tuple[Move, Array, T]]:
        """Stream sightings, each with a companion, into smoothed moves; also yields the landmarks used.

        `beyond` measures outline and interior (18) of a companion, given landmarks, pose and whether a face was seen.

        The head is steadied first, and much more than the face: it is heavy, and expressions leak into where it
        seems to be. The face is then read in the steadied head, so that every landmark stays where it was seen."""
        heads = ((self._head(p), (p, valid, other)) for p, valid, other in bridge(seen))
        steady = smooth(heads, self.fps, self.smooth, NOISE_HEAD)

        def seen_in_it() -> Iterator[tuple[Array, tuple[Array, Array, bool, T]]]:
            for head, (points, valid, other) in steady:
                state = self._face(points, head)
                if beyond is not None:
                    state = np.concatenate([state, beyond(other, points, self._pose(head), valid)])
                yield state, (head, points, valid, other)

        noise = NOISE_FACE if beyond is None else np.concatenate([NOISE_FACE, NOISE_BEYOND])
        states = smooth(seen_in_it(), self.fps, self.smooth, noise)
        for i, (face, (head, points, valid, other)) in enumerate(states):
            yield self.move(np.concatenate([head, face]), i / self.fps, valid), points, other


def _settled(state: Array) -> Array:
    """Rest is rest, free of rounding."""
    return np.where(np.abs(state) < 1e-7, 0.0, state)


def bridge(seen: Iterable[tuple[Sighting, T]]) -> Iterator[tuple[Array, bool, T]]:
    """Fill frames without a face: short gaps by interpolation, long ones by holding the last pose."""
    last: Array | None = None
    waiting: list[T] = []
    long_gone = False
    for sighting, other in seen:
        points = sighting.points
        if points is None:
            waiting.append(other)
            if last is not None and len(waiting) > BRIDGE:
                long_gone = True
                yield last, False, waiting.pop(0)
            continue
        if waiting:
            start = points if last is None else last
            n = len(waiting)
            for k, held in enumerate(waiting):
                w = (k + 1) / (n + 1)
                if long_gone:
                    w = max(0.0, 1 - (n - k) / (RETURN + 1))
                yield start * (1 - w) + points * w, False, held
            waiting, long_gone = [], False
        last = points
        yield points, True, other
    if last is not None:
        for held in waiting:
            yield last, False, held


def _weights(left: int, right: int, narrow: int, wide: float) -> tuple[Array, Array]:
    """Weights over frames -left..right of the value at 0: local cubic fit, and a Gaussian mean."""
    t = np.arange(-left, right + 1, dtype=float)
    inside = np.abs(t) <= narrow
    a = np.vander(t[inside], min(4, int(inside.sum())), increasing=True)
    fit = np.zeros(len(t))
    fit[inside] = np.linalg.pinv(a)[0]
    mean = np.exp(-0.5 * (t / wide) ** 2)
    return fit, mean / mean.sum()


def smooth(states: Iterable[tuple[Array, T]], fps: float, amount: float, noise: Array) -> Iterator[tuple[Array, T]]:
    """Smooth a stream of states without lag; `noise` is by how much each of their entries wanders.

    A local cubic fit (Savitzky and Golay) keeps the course of a movement. Where it differs from a wider
    mean by no more than the tracker's noise, nothing moves and the mean is taken; where the frame itself
    differs from the fit by much more, it is believed. `amount` 0..1."""
    if amount <= 0:
        yield from states
        return
    narrow = max(1, round((1 + 4 * amount) * fps / 30))
    noise = noise * (2 * amount)
    window: deque[tuple[Array, T]] = deque()
    at = 0  # position in the window of the frame to be yielded next

    def out() -> tuple[Array, T]:
        left, right = min(at, REACH), min(len(window) - 1 - at, REACH)
        part = np.stack([window[i][0] for i in range(at - left, at + right + 1)])
        fit, mean = _weights(left, right, narrow, 3.0)
        fine, calm = fit @ part, mean @ part
        change = fine - calm
        keep = np.clip(np.abs(change) / noise - 0.5, 0, 1)
        # What is faster than the fit, as lips that meet for one frame, is let through: it is no noise.
        fast = part[left] - fine
        fast *= np.clip(np.abs(fast) / (2 * noise) - 0.5, 0, 1)
        # All that stood still stays exactly still, free of rounding.
        still = (part == part[0]).all(0)
        return np.where(still, part[0], calm + keep * change + fast), window[at][1]

    for item in states:
        window.append(item)
        if len(window) - 1 - at >= REACH:
            yield out()
            at += 1
            if at > REACH:
                window.popleft()
                at -= 1
    while at < len(window):
        yield out()
        at += 1


def with_strength(move: Move, rest: Rest, strength: float, weight: Array | None, parts: Sequence[str]) -> Move:
    """A move `strength` times as far from rest, of which only some parts are kept (see `part_weights`)."""
    offsets = move.offsets * strength if strength != 1 else move.offsets
    if weight is not None:
        offsets = offsets * weight[:, None]
    pose, gaze = "pose" in parts, "gaze" in parts
    rotation, translation, scale, look = move.rotation, move.translation, move.scale, move.gaze
    if not pose:
        rotation, translation, scale = rest.rotation, rest.translation, rest.scale
    elif strength != 1:
        turn = to_vector(to_matrix(rotation) @ to_matrix(rest.rotation).T) * strength
        rotation = to_vector(to_matrix(turn) @ to_matrix(rest.rotation))
        translation = rest.translation + (translation - rest.translation) * strength
        scale = rest.scale * (scale / rest.scale) ** strength
    if not gaze:
        look = rest.gaze
    elif strength != 1:
        look = rest.gaze + (look - rest.gaze) * strength
    outline = move.outline * strength if pose and move.outline is not None else None
    interior = move.interior if "lips" in parts else None
    return replace(
        move, offsets=offsets, rotation=rotation, translation=translation, scale=float(scale), gaze=look,
        outline=outline, interior=interior,
    )  # fmt: skip
