"""What the sliders of a page say, as moves of a face: a pose of sliders, and keyframes between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.units import EMOTIONS, NECK, rest_face, timeline_rows, units_motion
from infinex.drivers.units import Keyframe as UnitsAt
from infinex.errors import InputError
from infinex.face.units import FACE_UNITS, SIDED, UNITS
from infinex.motion import Motion, Move

Array = NDArray[np.float64]
TURN = {"yaw": 35.0, "pitch": 25.0, "roll": 35.0}  # degrees a slider goes to
GAZE = {"right": 28.0, "down": 22.0}
MAX_KEYFRAMES = 200
NAMES = tuple(dict.fromkeys((*FACE_UNITS, *SIDED)))
TURNS = (*TURN, *GAZE)


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
        out = {}
        for name, value in units.items():
            if name not in NAMES:
                raise InputError(f"there is no unit {str(name)[:20]!r}")
            out[name] = _number(value, name, 0.0, 1.0)
        turns = {k: _number(data.get(k, 0.0), k, -limit, limit) for k, limit in (TURN | GAZE).items()}
        return Expression(out, **turns)

    @property
    def turns(self) -> Array:
        """Yaw, pitch, roll, gaze right and down in degrees, (5,)."""
        return np.array([getattr(self, name) for name in TURNS])


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


def _turned(motion: Motion, turns: Array) -> Motion:
    """A motion of units with the head and the eyes turned by degrees (T, 5) as well."""
    vectors = np.stack([rotation(*t[:3]) if t[:3].any() else np.zeros(3) for t in turns])
    shift = np.stack([(NECK - cv2.Rodrigues(v)[0] @ NECK) * [1, 1, 0] if v.any() else np.zeros(3) for v in vectors])
    return replace(motion, rotation=vectors, translation=shift, gaze=motion.gaze + np.radians(turns[:, 3:]))


def motion_of(keyframes: Sequence[tuple[float, Expression]], fps: float = 25.0, hold: float = 0.0) -> Motion:
    """Keyframes (seconds, setting) as a performance: eased from one to the next, `hold` seconds at the end."""
    if not keyframes:
        raise InputError("a timeline needs at least one keyframe")
    frames = sorted(keyframes, key=lambda k: k[0])
    times = np.arange(max(1, math.floor((frames[-1][0] + hold) * fps + 1e-6) + 1)) / fps
    names = tuple(dict.fromkeys(n for _, e in frames for n, v in e.units.items() if v))
    with_turns = [UnitsAt(t, dict(e.units) | {n: v + 360 for n, v in zip(TURNS, e.turns)}) for t, e in frames]
    rows = timeline_rows(with_turns, (*names, *TURNS), times)
    return _turned(units_motion(rows[:, : len(names)], names, fps), rows[:, len(names) :] - 360)


def move_of(expression: Expression) -> Move:
    """The move of one setting, measured from `rest()`."""
    return motion_of([(0.0, expression)]).at(0)


def rest() -> Any:
    """What settings are measured from."""
    return rest_face()


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


def emotions() -> dict[str, dict[str, float]]:
    """Emotions by name, as intensities of units."""
    return {name: {u: v for u, v in units.items() if u in NAMES} for name, units in EMOTIONS.items()}


__all__ = ["GAZE", "NAMES", "TURN", "UNITS", "Expression", "ease_in", "emotions", "motion_of", "move_of",
           "read_keyframes", "rest", "rotation"]  # fmt: skip
