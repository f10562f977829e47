"""What the sliders of a page say, as moves of a face: a pose of sliders, and keyframes between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.units import basis
from infinex.motion import Motion, Move, Rest

Array = NDArray[np.float64]
TURN = {"yaw": 35.0, "pitch": 25.0, "roll": 35.0}  # degrees a slider goes to
GAZE = {"right": 30.0, "down": 22.0}
LARGEST = 1.5  # of a unit; beyond 1 is more than any face does
MAX_KEYFRAMES = 200


@dataclass(frozen=True)
class Expression:
    """One setting of all sliders: units 0..1, head in degrees (yaw to the viewer's right, pitch down, roll
    clockwise on screen), gaze in degrees (to the viewer's right, down)."""

    units: Mapping[str, float] = field(default_factory=dict)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    right: float = 0.0
    down: float = 0.0

    @staticmethod
    def read(data: Any) -> Expression:
        """From JSON: {"units": {"AU12": 0.8}, "yaw": 10, ...}. Raises InputError for anything else."""
        if not isinstance(data, dict):
            raise InputError('an expression is an object such as {"units": {"AU12": 0.8}, "yaw": 10}')
        units = data.get("units") or {}
        if not isinstance(units, dict):
            raise InputError('units is an object such as {"AU12": 0.8}')
        known = set(basis().names)
        out = {}
        for name, value in units.items():
            if name not in known:
                raise InputError(f"there is no unit {str(name)[:20]!r}")
            out[name] = _number(value, name, 0.0, LARGEST)
        turns = {k: _number(data.get(k, 0.0), k, -limit, limit) for k, limit in (TURN | GAZE).items()}
        return Expression(out, **turns)

    def amounts(self) -> Array:
        """Unit intensities in the basis' order, (U,)."""
        return np.array([self.units.get(n, 0.0) for n in basis().names])

    def row(self) -> Array:
        """All of it as one vector: units, then yaw, pitch, roll, right, down in degrees."""
        return np.concatenate([self.amounts(), [self.yaw, self.pitch, self.roll, self.right, self.down]])


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{str(name)[:20]} wants a number")
    return float(min(max(value, low), high))


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation vector (3,) of a head turned by degrees, with the signs of `face.pose.Pose.angles`."""
    a, b, c = np.radians([-yaw, pitch, roll])
    x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return cv2.Rodrigues(z @ y @ x)[0].ravel()


def _move(row: Array, time: float) -> Move:
    yaw, pitch, roll, right, down = row[-5:]
    turned = rotation(yaw, pitch, roll) if row[-5:-2].any() else np.zeros(3)
    offsets = basis().offsets(row[:-5])
    return Move(time, turned, np.zeros(3), 1.0, offsets, np.radians([right, down]))


def move_of(expression: Expression, time: float = 0.0) -> Move:
    """The move of one setting, measured from `Rest.neutral()`."""
    return _move(expression.row(), time)


def motion_of(keyframes: Sequence[tuple[float, Expression]], fps: float = 25.0, hold: float = 0.0) -> Motion:
    """Keyframes (seconds, setting) as a performance: eased from one to the next, `hold` seconds at the end."""
    if not keyframes:
        raise InputError("a timeline needs at least one keyframe")
    frames = sorted(keyframes, key=lambda k: k[0])
    times = np.array([t for t, _ in frames])
    rows = np.stack([e.row() for _, e in frames])
    count = max(1, math.ceil((times[-1] + hold) * fps) + 1)
    t = np.arange(count) / fps
    after = np.clip(np.searchsorted(times, t, side="right"), 1, max(1, len(times) - 1))
    if len(times) == 1:
        tracks = np.repeat(rows, count, 0)
    else:
        before = after - 1
        w = np.clip((t - times[before]) / np.maximum(times[after] - times[before], 1e-6), 0, 1)
        w = (w * w * (3 - 2 * w))[:, None]
        tracks = rows[before] * (1 - w) + rows[after] * w
    motion = Motion.collect([_move(r, s) for r, s in zip(tracks, t)], Rest.neutral(), fps)
    return _with_units(motion, tracks[:, :-5])


def _with_units(motion: Motion, units: Array) -> Motion:
    from dataclasses import replace

    return replace(motion, units=np.clip(units, 0, 1), unit_names=basis().names)


def read_keyframes(data: Any, longest: float) -> list[tuple[float, Expression]]:
    """From JSON: a list of {"time": seconds, "units": ..., "yaw": ...}. Raises InputError for anything else."""
    if not isinstance(data, list) or not data:
        raise InputError('keyframes is a list such as [{"time": 0, "units": {"AU12": 0.8}}]')
    if len(data) > MAX_KEYFRAMES:
        raise InputError(f"a timeline holds at most {MAX_KEYFRAMES} keyframes")
    out = []
    for item in data:
        expression = Expression.read(item)
        time = item.get("time", 0.0)
        if isinstance(time, bool) or not isinstance(time, (int, float)) or not 0 <= time <= longest:
            raise InputError(f"a keyframe's time is a number of seconds from 0 to {longest:g}")
        out.append((float(time), expression))
    return out


def ease_in(expression: Expression, seconds: float = 0.8, hold: float = 1.6) -> Motion:
    """A setting taken on from rest and held."""
    return motion_of([(0.0, Expression()), (seconds, expression)], hold=hold)


# -- what a page can offer, by what is installed -----------------------------------------------------


def motion_of_units(text: str) -> Motion:
    """Units such as `AU12=0.8,AU6=0.4` as a performance. Raises InputError."""
    out: dict[str, float] = {}
    known = basis().names
    for item in filter(None, (i.strip() for i in text.split(","))):
        name, _, value = item.partition("=")
        try:
            out[name.strip()] = float(value or 1)
        except ValueError:
            raise InputError(f"{name.strip()[:20]} wants a number from 0 to 1, not {value.strip()[:20]!r}") from None
        if name.strip() not in known:
            raise InputError(f"there is no unit {name.strip()[:20]!r}; there are {', '.join(known)}")
        if not 0 <= out[name.strip()] <= 1:
            raise InputError(f"{name.strip()}: an intensity goes from 0 to 1")
    return ease_in(Expression(out))


# Where the table of the units driver is not there yet.
_FEW = {
    "neutral": {},
    "happy": {12: 0.8, 6: 0.5, 25: 0.4},
    "sad": {1: 0.6, 4: 0.5, 15: 0.6, 17: 0.3},
    "angry": {4: 0.9, 7: 0.6, 23: 0.6},
    "surprised": {1: 0.8, 2: 0.8, 5: 0.7, 25: 0.6, 26: 0.5},
    "afraid": {1: 0.7, 2: 0.4, 4: 0.5, 5: 0.7, 20: 0.5, 25: 0.4},
    "disgusted": {9: 0.8, 10: 0.5, 17: 0.4},
}


def emotions() -> dict[str, dict[str, float]]:
    """Emotions by name, as intensities of units of the basis."""
    known = set(basis().names)
    try:
        from infinex.drivers.units import EMOTIONS  # type: ignore[import-not-found,unused-ignore]

        table = {k: dict(v) for k, v in EMOTIONS.items()}
    except ImportError:
        numbers = {int("".join(c for c in n if c.isdigit())): n for n in known}
        table = {k: {numbers[u]: v for u, v in e.items() if u in numbers} for k, e in _FEW.items()}
    return {name: {u: v for u, v in units.items() if u in known} for name, units in table.items()}


def motion_of_text(text: str) -> Motion:
    """A sentence as a performance. Raises InputError."""
    raise InputError("driving by text is not part of this installation")


def motion_of_speech(path: object) -> Motion:
    """A voice as a performance. Raises InputError."""
    raise InputError("driving by a voice is not part of this installation")
