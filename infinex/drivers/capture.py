"""From tracked landmarks to motion: the performer's rest, head coordinates, smoothing, lost frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive
from infinex.face import topology as top
from infinex.face.interior import SHAPE, ramp
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose, fit_pose, to_matrix, to_vector
from infinex.face.shape import eye_openness, gaze_of, lip_gaps
from infinex.face.units import basis
from infinex.motion import Move, Rest, is_whole, part_weights

Array = NDArray[np.float64]
T = TypeVar("T")
BRIDGE = 12  # frames without a face that are interpolated; longer gaps hold the last pose
RETURN = 6  # frames over which a face that was long gone is taken up again
NOISE = np.array([0.004, 0.004, 0.010])  # IOD: tracking noise of a point; depth is the least certain
HELD_ALIKE = 8.0  # degrees between heads at which a glance counts 1 / e as much
LOOKS_ABOUT, ASIDE = 0.06, 0.12  # rad: spread of glances that move, and how far aside such eyes may rest
NOISE_POSE = np.array([0.006, 0.006, 0.006, 0.003, 0.003, 0.003, 0.003, 0.03, 0.03])  # rad, IOD, log, gaze
NOISE_HEAD: Array = 8.0 * NOISE_POSE[:7]  # expressions leak into it
NOISE_FACE: Array = np.concatenate([NOISE_POSE[7:], np.tile(NOISE, top.POINTS)])
NOISE_BEYOND = np.repeat([0.012, 0.06], [12, 6])  # IOD: of the fields of `infinex.face.outline`; of `.interior`
REACH = 7  # frames of look-ahead that smoothing uses
FREE = 0.025  # log: by how much a head may grow and shrink as its body sways; the rest is a camera's
CALM = 0.8  # seconds in which a growth that stays is taken for the camera's
ZOOMING = (0.06, 0.12)  # log/s: from the first growth on, what moves along is the camera's, too; from the second wholly
DRIFT = 0.3  # seconds over which that movement is averaged
GROWN, MOVED = 0.2, 0.3  # log, IOD: growth and drift that the surroundings are carried along by at most
AWAKE = 0.7  # share of the widest opening from which on a performer counts as awake; below, the eyes look down or blink
SHUT = 0.11  # opening, in widths of an eye, under which lids are shut
MOST_SHUT = (0.115, 0.35)  # the same of lids that a blink shuts, at most; as a share of the usual one, of large eyes
NARROWED = 0.7  # share of the usual opening under which small eyes have narrowed, too
UNSEEN, LOW = 0.28, (0.42, 0.65)  # that share of shut ones where none were seen, less where the lowest were between
BLINK = (0.8, 0.6)  # shares of the usual opening that a blink comes from and goes back to, and that it falls below ...
FALLS, RISES = 0.14, 0.45  # ... in so many seconds (VanderWerf et al. 2003: some 0.1 down, 0.2 to 0.3 up)
TURNED = 18.0  # degrees of yaw by which the nearer eye alone has the say
DOUBT, DOUBTED = 0.8, (0.12, 0.38)  # how far lids neither shut nor open go to the wider of both; from shut to half open
OPEN = (0.5, 0.7)  # ... and those that are shut, with the other as open: nearly always the tracker's mistake
WINK = (0.2, 0.75)  # openings, of the usual one, of the shut and the open eye of a wink ...
WINK_LASTS, WINK_BEGINS = 0.16, 0.3  # ... the seconds that it lasts at least, and within which both eyes were open
SMILING, SMILE_NOISE = 0.8, 0.012  # cost of a smile at rest, IOD for IOD, and how far it is none
PURSING, PURSED = 1.5, 35  # the same of a mouth that is pursed, below a percentile of its widths
RAISING, CALM_BROWS = 0.8, (30, 45)  # the same of raised brows, above a percentile; up to which one they are calm
CLOSES = 0.035  # IOD between lips that never close: what parts them all the time is a smile, or nothing
SMILED, SMILE = 0.27, 0.21  # what `_smiled` says of most calm mouths at most, and how far AU12 = 1 takes it
CLOSED_LIPS = 0.012  # IOD between lips that are closed all the time: then nobody's who does what they do are open
WINK_SEEN = 10.0  # degrees of yaw beyond which none is seen


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
    moments: Sequence[float] | None = None,
) -> tuple[Rest, int]:
    """The performer's rest, and which of the landmark sets (478, 3) in `tracks` it was read from.

    `moments` are their times in seconds, by which blinks are told from lids that are low.

    The reference is the most neutral frame, closest to the pose `near` of the portrait; or, with `match`
    (478, 3 canonical), the one most alike to the portrait's own face; or `reference` itself."""
    mean = top.mean_face()
    poses = [fit_pose(mean, x) for x in tracks]
    faces = np.stack([p.to_head(x) for p, x in zip(poses, tracks)])
    openness, gaps = eye_openness(faces), lip_gaps(faces)
    middle = np.median(faces, axis=0)
    brows = _brows(faces)
    usual, closed = _lids(
        openness, np.array([p.angles[0] for p in poses]), brows <= np.percentile(brows, CALM_BROWS[1]),
        None if moments is None else np.asarray(moments),
    )  # fmt: skip
    named = reference is not None or match is not None
    if reference is None:
        aim = near.angles if near is not None else np.zeros(3)
        turn = np.array([np.abs(p.angles - aim).sum() for p in poses])
        if match is not None:
            unlike = np.sqrt(((faces - match)[:, : top.SURFACE, :2] ** 2).sum(-1).mean(1))
            cost = unlike + 0.002 * turn
        else:
            wide = usual.mean()
            odd = np.sqrt(((faces - middle)[:, : top.SURFACE] ** 2).sum(-1).mean(1))
            cost = 2 * np.maximum(0, gaps[:, 4] - 0.02) + np.abs(openness.mean(1) - wide) + 1.5 * odd
            cost = cost + 0.004 * turn + SMILING * _smiles(faces) + PURSING * _purses(faces)
            cost = cost + RAISING * np.maximum(0, brows - np.percentile(brows, CALM_BROWS[0]))
        reference = int(np.argmin(cost + (np.asarray(penalty) if penalty is not None else 0)))
    pose, face = poses[reference], faces[reference]
    alive = float(np.ptp(openness.mean(1))) > 0.03
    least = np.percentile(gaps, 4, axis=0)
    if not named and least[4] >= CLOSES:
        face = _unsmiled(face)
    shut = np.where(least < CLOSES, np.maximum(least, 0) + 0.004, 0.004)
    speaks = float(np.ptp(gaps[:, 4])) > 0.02
    rest = Rest(
        face,
        to_vector(pose.rotation),
        pose.translation / pose.scale,
        1.0,
        gaze_of(face) if named else _usual_gaze(faces, np.array([p.angles for p in poses]), reference),
        usual if alive else openness[reference],
        closed if alive else None,
        shut if speaks or float(np.median(gaps[:, 4])) < CLOSED_LIPS else None,
    )
    return rest, reference


def _usual_gaze(faces: Array, angles: Array, reference: int) -> Array:
    """Where the performer's eyes rest (2,) as the head is held in the `reference`, whose own glance may be aside.

    Of `faces` (N, 478, 3) with open eyes, heads at `angles` (N, 3) degrees, those count that are held alike. Who looks
    about is not taken to rest far beside straight ahead or the camera."""
    gaze = np.array([gaze_of(f) for f in faces])
    width = eye_openness(faces).mean(1)
    turn = np.abs(angles[:, :2] - angles[reference, :2]).sum(1)
    weight = np.exp(-turn / HELD_ALIKE) * (width > 0.75 * np.median(width)) + 1e-3
    weight[reference] += 1e-2  # alone of its kind, it is all there is
    order = np.argsort(gaze, axis=0)
    mass = np.cumsum(weight[order], axis=0)
    at = (mass >= mass[-1] / 2).argmax(0)
    usual = np.take_along_axis(gaze, np.take_along_axis(order, at[None], 0), 0)[0]
    if gaze[:, 0].std() > LOOKS_ABOUT:
        camera = -np.radians(angles[reference, 1])
        usual[0] = np.clip(usual[0], min(0.0, camera) - ASIDE, max(0.0, camera) + ASIDE)
    return np.asarray(usual)


def _smiles(faces: Array) -> Array:
    """By how much (T,) in IOD corners of the mouth are wider apart and higher than where the performer smiles least.

    In a clip that smiles most of the time the usual face is no rest."""
    smile = _smiled(faces)
    return np.maximum(0, smile - np.percentile(smile, 8) - SMILE_NOISE)


def _smiled(faces: Array) -> Array:
    """Height of the corners of the mouth above its middle and half its width (T,) in IOD: 0.19 to 0.29 of calm ones."""
    raised = (faces[:, 13, 1] + faces[:, 14, 1]) / 2 - (faces[:, 61, 1] + faces[:, 291, 1]) / 2
    return np.asarray(raised + 0.5 * _widths(faces))


def _unsmiled(face: Array) -> Array:
    """A face (478, 3) without the smile that it has beyond most people's calm mouths.

    Who smiles with bared teeth all the time is never seen at rest: teeth without that smile are a snarl."""
    amount = float(np.clip((_smiled(face[None])[0] - SMILED) / SMILE, 0, 1))
    if amount == 0:
        return face
    units = basis()
    return np.asarray(face - units.offsets(np.array([amount * (name == "AU12") for name in units.names])))


def _widths(faces: Array) -> Array:
    """Width (T,) in IOD of the mouth of faces (T, 478, 3)."""
    return np.asarray(np.linalg.norm(faces[:, 61, :2] - faces[:, 291, :2], axis=1))


def _purses(faces: Array) -> Array:
    """By how much (T,) in IOD the mouth is narrower than it is a third of the time: lips that round or purse.

    Who speaks rounds them often, and a mouth that then merely widened would be drawn as a grin. Of one who smiles all
    the time mouths as wide as most people's are narrow, but not pursed."""
    width = _widths(faces)
    usual = min(float(np.percentile(width, PURSED)), float(_widths(top.mean_face()[None])[0]))
    return np.maximum(0, usual - width - SMILE_NOISE)


def _brows(faces: Array) -> Array:
    """Height (T,) in IOD of the brows above the corners of the eyes, of faces (T, 478, 3)."""
    eyes = faces[:, [33, 133, 362, 263], 1].mean(1)
    return np.asarray(eyes - faces[:, top.RIGHT_BROW + top.LEFT_BROW, 1].mean(1))


def _say(yaw: Array | float) -> Array:
    """How much each eye, right and left, counts in a head turned by `yaw` degrees: the nearer one more, (..., 2)."""
    right = np.clip(0.5 + np.asarray(yaw) / (2 * TURNED), 0, 1)
    return np.stack([right, 1 - right], -1)


def _lids(openness: Array, yaw: Array, calm: NDArray[np.bool_], moments: Array | None = None) -> tuple[Array, Array]:
    """Openness (2,) of a performer's lids as they usually are, and of shut ones, from frames (T, 2), yaw (T,) degrees.

    Usual is the median over the frames in which the performer is awake, whatever share of the clip those are, and
    `calm` (T,), that is without raised brows, which widen the eyes. Both lids are judged as one, by the eye that is
    seen better."""
    say = _say(yaw)
    each = np.maximum(np.percentile(openness, 85, axis=0), 1e-3)
    both = (say * openness / each).sum(1)
    awake = both >= AWAKE * np.percentile(both, 95)
    awake = awake & calm if (awake & calm).any() else awake
    seen = awake[:, None] & (say > 0.2)
    wide = np.array([np.median(openness[s if s.any() else awake, k]) for k, s in enumerate(seen.T)])
    shares = (say * openness / np.maximum(wide, 1e-3)).sum(1)
    low = float(np.percentile(shares, 1))
    usual = max(float(wide.mean()), 1e-3)
    most = max(MOST_SHUT[0] / usual, MOST_SHUT[1])
    blinks = np.zeros(0) if moments is None else _blinks(shares, moments)
    if len(blinks):  # who blinks shuts the eyes, however open a tracker has them then
        return wide, wide * min(float(np.median(blinks)) + 0.03, most)
    if low * usual < SHUT and low < NARROWED:
        return wide, wide * min(low + 0.05, most)
    # Lids that were low, but never shut, look lower to a tracker than to the eye.
    return wide, wide * float(np.interp(low, LOW, (0.08, UNSEEN)))


def _blinks(shares: Array, moments: Array) -> Array:
    """Least openings (N,) of what can only be blinks: lids that fall at once and are soon back up.

    `shares` (T,) of the usual opening at `moments` (T,), seconds, in order or not."""
    order = np.argsort(moments, kind="stable")
    shares, moments = shares[order], moments[order]
    found = []
    for i in range(1, len(shares) - 1):
        if shares[i] > BLINK[1] or shares[i] > min(shares[i - 1], shares[i + 1]):
            continue
        gap = np.abs(moments - moments[i])
        before, after = np.arange(len(shares)) < i, np.arange(len(shares)) > i
        fell, rose = shares[before & (gap <= FALLS)], shares[after & (gap <= RISES)]
        if fell.max(initial=0.0) >= BLINK[0] and rose.max(initial=0.0) >= BLINK[0]:
            found.append(shares[i])
    return np.array(found)


class Lids:
    """Lets both lids of a performer do the same, but for a wink that is plain.

    Trackers guess at the farther eye of a turned head and at lashes: one eye shut beside one that is open is their
    mistake far more often than the performer's wish."""

    def __init__(self, rest: Rest) -> None:
        self._rest, self._face = rest, SourceFace(rest.face)
        self._shut, self._wide = rest.lids
        self._open_ago, self._winking = 1.0, False

    def shares(self, offsets: Array, yaw: float) -> tuple[Array, float]:
        """Opening of each lid as a share of the usual one, (2,), and of both as one; from offsets (478, 3)."""
        each = (eye_openness(self._rest.face + offsets) - self._shut) / np.maximum(self._wide - self._shut, 1e-3)
        both = float(_say(yaw) @ each)
        doubt = DOUBT * float(max(ramp(np.asarray(both), *DOUBTED), ramp(each.max(), *OPEN)))
        return each, both + doubt * max(min(float(each.max()), 1.0) - both, 0.0)

    def winks(self, each: Array, yaw: float, seconds: float) -> bool:
        """Whether one eye is clearly shut and the other clearly open, in a head that shows both, and both were open
        just before; the frame came `seconds` after the last one."""
        self._open_ago = 0.0 if each.min() > WINK[1] else self._open_ago + seconds
        begun = self._winking or self._open_ago < WINK_BEGINS
        self._winking = bool(begun and each.min() < WINK[0] and each.max() > WINK[1] and abs(yaw) < WINK_SEEN)
        return self._winking

    def agreed(self, offsets: Array, each: Array, both: float) -> Array:
        """Offsets with both lids open by the share `both`, (478, 3)."""
        if np.abs(each - both).max() < 0.02 or not offsets.any():
            return offsets
        wanted = np.maximum(self._shut + both * (self._wide - self._shut), 0)
        asked = wanted.copy()
        for _ in range(3):  # lids are set column by column, and read otherwise: from the middle of the eye
            face = self._rest.face + offsets
            self._face.set_lids(face, np.maximum(asked, 0) / np.maximum(self._face.openness, 1e-3))
            asked += wanted - eye_openness(face)
        return face - self._rest.face


class Camera:
    """Tells how much of a head's growth and drift is a camera's that zooms, or that somebody walks up to.

    A portrait's body can do neither. Small quick changes are the head's own; what is larger or stays is not."""

    def __init__(self) -> None:
        self._time: float | None = None
        self._size = 0.0  # log: what of the growth is the camera's
        self._shift, self._speed, self._last = np.zeros(3), np.zeros(3), np.zeros(3)

    def __call__(self, time: float, head: Array) -> Array:
        """The state of a head (7: turn, translation, log scale, from rest) as a camera that stays would see it.

        Frames come in order; `time` in seconds."""
        size, place = float(head[6]), head[3:6]
        before = self._size
        if self._time is not None:
            step = max(time - self._time, 1e-6)
            self._size += (size - self._size) * (1 - np.exp(-step / CALM))
        elif abs(size) > FREE:  # the rest was filmed otherwise
            self._size, self._shift = size, place.copy()
        self._size = float(np.clip(self._size, size - FREE, size + FREE))
        if self._time is not None:
            self._speed += ((place - self._last) / step - self._speed) * (1 - np.exp(-step / DRIFT))
            rate = abs(self._size - before) / step
            share = np.clip((rate - ZOOMING[0]) / (ZOOMING[1] - ZOOMING[0]), 0, 1)
            self._shift = self._shift + share * self._speed * step
        self._time, self._last = time, place
        out = head.copy()
        out[3:6] -= self._shift
        out[6] -= self._size
        return out


def _carried(still: Array, filmed: Array) -> Array:
    """What a camera's zoom adds to an outline, (2, 2, 3), from two states (7) of a head: without it, and as filmed.

    The head takes along what is near it by itself; only the shoulders are told where the camera puts them."""
    size = float(np.clip(filmed[6] - still[6], -GROWN, GROWN))
    shift = filmed[3:5] - still[3:5]
    shift = shift * min(1.0, MOVED / max(float(np.linalg.norm(shift)), 1e-9))
    k, scale = np.exp(size), np.exp(still[6] + size)
    out = np.zeros((2, 2, 3))
    out[1, 0, 0] = out[1, 1, 1] = (k - 1) / scale
    out[1, :, 2] = (still[3:5] + shift - k * still[3:5]) / scale
    return out


class Adjust:
    """What is shown of a driver's moves: some parts, more or less strongly, at a size that the body can bear.

    Without `scale` in `parts` the head does not follow a camera that zooms, see `Camera`; an `absolute` pose does."""

    def __init__(self, parts: Sequence[str], strength: float = 1.0, absolute: bool = False) -> None:
        self.parts, self.strength = tuple(parts), strength
        self._weight = None if is_whole(parts) else part_weights(parts)
        self._damped = not absolute and "scale" not in parts

    def begin(self, rest: Rest) -> None:
        """Start a performance, or a shot of it, that is measured from `rest`."""
        self._rest, self._camera = rest, Camera()
        self._filmed = rest.lids_open is not None  # what was written, not performed, leans forward as it means to

    def __call__(self, move: Move) -> Move:
        """The next move."""
        if self._damped and self._filmed:
            move = self._steadied(move)
        if self._weight is None and self.strength == 1:
            return move
        return with_strength(move, self._rest, self.strength, self._weight, self.parts)

    def _steadied(self, move: Move) -> Move:
        r = self._rest
        shift = (move.translation - r.translation) / r.scale
        filmed = np.array([0.0, 0.0, 0.0, *shift, np.log(move.scale / r.scale)])
        still = self._camera(move.time, filmed)
        if np.array_equal(still, filmed):
            return move
        outline = move.outline if move.outline is None else move.outline - _carried(still, filmed)
        place, scale = r.translation + still[3:6] * r.scale, r.scale * float(np.exp(still[6]))
        return replace(move, translation=place, scale=scale, outline=outline)


class Capture:
    """Landmarks of one performer to moves; `unit` is the IOD of the reference frame in pixels."""

    def __init__(self, rest: Rest, unit: float, fps: float, smooth: float = 0.5) -> None:
        self.rest, self.unit, self.fps, self.smooth = rest, unit, fps, smooth
        self._back = to_matrix(rest.rotation).T
        self._lids = None if rest.lids_closed is None else Lids(rest)
        self._winked = 0.0  # seconds for which a wink has lasted, of frames told one by one

    def state(self, points: Array) -> Array:
        """One frame as a flat vector: turn from rest (3), translation (3), log scale, gaze (2), offsets."""
        head = self._head(points)
        return np.concatenate([head, self._face(points, head)])

    def told(self, points: Array, seconds: float) -> Array:
        """`state` of a frame that came `seconds` after the last one, both lids agreed."""
        state = self.state(points)
        if self._lids is None:
            return state
        offsets, yaw = state[9:].reshape(-1, 3), self._yaw(state[:7])
        each, both = self._lids.shares(offsets, yaw)
        self._winked = self._winked + seconds if self._lids.winks(each, yaw, seconds) else 0.0
        if self._winked < WINK_LASTS:
            state[9:] = self._lids.agreed(offsets, each, both).ravel()
        return state

    def _yaw(self, head: Array) -> float:
        """Degrees by which a head in this state is turned aside in the picture."""
        return float(self._pose(head).angles[0])

    def _agreed(self, states: Iterable[tuple[Array, T]], yaw: Callable[[T], float]) -> Iterator[tuple[Array, T]]:
        """A stream of states without heads (gaze, offsets, what lies beyond) with both lids agreed but for winks.

        Looks as far ahead as a wink must last, and some frames more, in which it begins."""
        if self.rest.lids_closed is None:
            yield from states
            return
        lids = Lids(self.rest)
        least, around = max(2, round(WINK_LASTS * self.fps)), max(1, round(0.1 * self.fps))
        end = 2 + 3 * top.POINTS
        held: deque[tuple[Array, T, Array, float]] = deque()
        runs: deque[list[int]] = deque()  # for each frame held, the wink that it is in: its length so far, or 0
        gone = around  # frames since the last wink ended
        run = [0]

        def out() -> tuple[Array, T]:
            nonlocal gone
            state, other, each, both = held.popleft()
            winks = runs[0][0] >= least
            gone = 0 if winks else gone + 1
            near = gone <= around or any(runs[i][0] >= least for i in range(min(around + 1, len(runs))))
            runs.popleft()
            if not near:
                state[2:end] = lids.agreed(state[2:end].reshape(-1, 3), each, both).ravel()
            return state, other

        for state, other in states:
            angle = yaw(other)
            each, both = lids.shares(state[2:end].reshape(-1, 3), angle)
            if lids.winks(each, angle, 1 / self.fps):
                run[0] += 1
            elif run[0]:
                run = [0]
            held.append((state, other, each, both))
            runs.append(run if run[0] else [0])
            if len(held) > least + around:
                yield out()
        while held:
            yield out()

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
        self,
        seen: Iterable[tuple[Sighting, T]],
        beyond: Callable[[T, Array, Pose, Pose, bool], Array] | None = None,
        first: int = 0,
        camera: Camera | None = None,
    ) -> Iterator[tuple[Move, Array, T]]:
        """Stream sightings, each with a companion, into smoothed moves; also yields the landmarks used.

        `beyond` measures outline and interior (18) of a companion, given landmarks, pose, the pose that a camera
        which stays would see, and whether a face was seen. `first` is the number of the first frame; `camera` goes
        on from frames before.

        The head is steadied first, and much more than the face: it is heavy, and expressions leak into where it
        seems to be. The face is then read in the steadied head, so that every landmark stays where it was seen."""
        heads = ((self._head(p), (p, valid, other)) for p, valid, other in bridge(seen))
        steady = smooth(heads, self.fps, self.smooth, NOISE_HEAD)
        camera = camera or Camera()

        def seen_in_it() -> Iterator[tuple[Array, tuple[tuple[Array, Array], Array, bool, T]]]:
            for i, (head, (points, valid, other)) in enumerate(steady):
                state = self._face(points, head)
                still = camera((first + i) / self.fps, head)
                if beyond is not None:
                    poses = self._pose(head), self._pose(still)
                    state = np.concatenate([state, beyond(other, points, *poses, valid)])
                yield state, ((head, still), points, valid, other)

        noise = NOISE_FACE if beyond is None else np.concatenate([NOISE_FACE, NOISE_BEYOND])
        agreed = self._agreed(seen_in_it(), lambda other: self._yaw(other[0][0]))
        states = smooth(agreed, self.fps, self.smooth, noise)
        for i, (face, ((head, still), points, valid, other)) in enumerate(states):
            move = self.move(np.concatenate([head, face]), (first + i) / self.fps, valid)
            if move.outline is not None:  # measured as if the camera stayed; a move says what was filmed
                move = replace(move, outline=move.outline + _carried(still, head))
            yield move, points, other


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


@cache
def _weights(left: int, right: int, narrow: int, wide: float) -> tuple[Array, Array]:
    """Weights over frames -left..right of the value at 0: local cubic fit, and a Gaussian mean."""
    t = np.arange(-left, right + 1, dtype=float)
    inside = np.abs(t) <= narrow
    a = np.vander(t[inside], min(4, int(inside.sum())), increasing=True)
    fit = np.zeros(len(t))
    fit[inside] = np.linalg.pinv(a)[0]
    mean = np.exp(-0.5 * (t / wide) ** 2)
    return fit, mean / mean.sum()


def around(items: Iterable[T], reach: int) -> Iterator[tuple[Sequence[T], int]]:
    """Every item of a stream among at least `reach` before it and `reach` after it, as far as there are: what is held
    of the stream, and the place of the item in it."""
    window: deque[T] = deque()
    at = 0
    for item in items:
        window.append(item)
        if len(window) - 1 - at >= reach:
            yield window, at
            at += 1
            if at > reach:
                window.popleft()
                at -= 1
    while at < len(window):
        yield window, at
        at += 1


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
    held = ((state, [other]) for state, other in states)
    for window, at in around(held, REACH):
        left, right = min(at, REACH), min(len(window) - 1 - at, REACH)
        part = np.stack([window[i][0] for i in range(at - left, at + right + 1)])
        fit, mean = _weights(left, right, narrow, 3.0)
        fine, calm = np.stack([fit, mean]) @ part
        change = fine - calm
        keep = np.clip(np.abs(change) / noise - 0.5, 0, 1)
        # What is faster than the fit, as lips that meet for one frame, is let through: it is no noise.
        fast = part[left] - fine
        fast *= np.clip(np.abs(fast) / (2 * noise) - 0.5, 0, 1)
        state = calm + keep * change + fast
        still = np.flatnonzero(np.abs(change) < 1e-12)
        if len(still):  # all that stood still stays exactly still, free of rounding
            still = still[(part[:, still] == part[0, still]).all(0)]
            state[still] = part[0, still]
        yield state, window[at][1].pop()  # a frame is let go at once


def one_rest(drives: Iterable[Drive], first: Rest) -> Iterator[Drive]:
    """The drives of a film, all measured from its first rest: what a single rest must serve cuts, too."""
    rest, model = first, None
    for drive in drives:
        if drive.begins is not None:
            rest = drive.begins.rest
            model = None if rest is first else SourceFace(first.face)
        move = drive.move if model is None else from_rest(drive.move, rest, first, model)
        yield replace(drive, move=move, begins=None)


def from_rest(move: Move, rest: Rest, other: Rest, model: SourceFace) -> Move:
    """A move measured from `rest`, measured from `other`, whose face `model` is: lids and lips do the same on it."""
    performer = rest.face + move.offsets
    face = other.face + move.offsets
    (shut, wide), (my_shut, my_wide) = rest.lids, other.lids
    share = (eye_openness(performer) - shut) / np.maximum(wide - shut, 1e-3)
    model.set_lids(face, (my_shut + share * (my_wide - my_shut)) / np.maximum(model.openness, 1e-3))
    theirs = lip_gaps(rest.face) if rest.lips_closed is None else rest.lips_closed
    mine = lip_gaps(other.face) if other.lips_closed is None else other.lips_closed
    model.set_lips(face, np.maximum(0, lip_gaps(performer) - theirs) + mine)
    turn = to_matrix(move.rotation) @ to_matrix(rest.rotation).T
    return replace(
        move,
        rotation=to_vector(turn @ to_matrix(other.rotation)),
        translation=other.translation + (move.translation - rest.translation) / rest.scale * other.scale,
        scale=move.scale / rest.scale * other.scale,
        offsets=face - other.face,
        gaze=other.gaze + move.gaze - rest.gaze,
    )


def with_strength(move: Move, rest: Rest, strength: float, weight: Array | None, parts: Sequence[str]) -> Move:
    """A move `strength` times as far from rest, of which only some parts are kept (see `part_weights`)."""
    offsets = move.offsets * strength if strength != 1 else move.offsets
    if weight is not None:
        offsets = offsets * weight[:, None]
    pose, gaze, size = "pose" in parts, "gaze" in parts, "pose" in parts or "scale" in parts
    rotation, translation, scale, look = move.rotation, move.translation, move.scale, move.gaze
    if not pose:
        rotation, translation = rest.rotation, rest.translation
    elif strength != 1:
        turn = to_vector(to_matrix(rotation) @ to_matrix(rest.rotation).T) * strength
        rotation = to_vector(to_matrix(turn) @ to_matrix(rest.rotation))
        translation = rest.translation + (translation - rest.translation) * strength
    scale = rest.scale * (scale / rest.scale) ** strength if size else rest.scale
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
