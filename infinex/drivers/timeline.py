"""A performance as cues in time: Action Units, head and gaze, eased like muscles, with idle life between them.

Channels are Action Units ("AU12", one-sided "AU12L", "AU12R", 0..1 of full intensity), `turn`, `nod`, `tilt`,
`look_x`, `look_y` in degrees (to the subject's left, down, to the subject's left shoulder; left, down),
`lean` (1: larger by a seventh) and `shift_x`, `shift_y` (eye distances to the subject's
left, down). Sides are the subject's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive, Driver
from infinex.drivers.units import NECK, rest_face
from infinex.face.pose import to_matrix, to_vector
from infinex.face.units import UNITS, units_offsets
from infinex.motion import Motion, Move

Array = NDArray[np.float64]
HEAD = ("turn", "nod", "tilt", "lean", "shift_x", "shift_y")
GAZE = ("look_x", "look_y")
LIMITS = {
    "turn": 30.0,
    "nod": 24.0,
    "tilt": 30.0,
    "look_x": 32.0,
    "look_y": 26.0,
    "lean": 1.0,
    "shift_x": 0.3,
    "shift_y": 0.3,
}
# Brows and lids move first, the head last: seconds by which a channel follows its cue.
LATENCY = {"AU1": -0.04, "AU2": -0.04, "AU4": -0.03, "AU5": -0.04, "AU6": 0.03, "nod": 0.04, "turn": 0.05}


def unit_of(channel: str) -> str:
    """A unit without its side: "AU12L" is AU12; other channels as they are."""
    return channel[:-1] if channel.startswith("AU") and channel[-1] in "LR" else channel


# Units of the head and the eyes: for more and for less of a channel, and how far they go.
AS_UNITS = {
    "turn": ("AU51", "AU52", 25.2),
    "nod": ("AU54", "AU53", 20.0),
    "tilt": ("AU55", "AU56", 20.0),
    "lean": ("AU57", "AU58", 1.0),
    "look_x": ("AU61", "AU62", 28.6),
    "look_y": ("AU64", "AU63", 23.5),
}


@dataclass(frozen=True)
class Cue:
    """One thing that happens: levels of channels under one envelope.

    `keys` are (seconds from `start`, level) with eased ways between them; `words` is the text it came from."""

    start: float
    keys: tuple[tuple[float, float], ...]
    levels: Mapping[str, float]
    words: str
    note: str = ""

    @property
    def end(self) -> float:
        """Seconds."""
        return self.start + self.keys[-1][0]

    def envelope(self, t: Array) -> Array:
        """Level at times `t` (T,): minimum-jerk ways between the keys."""
        times = np.array([k[0] for k in self.keys]) + self.start
        values = np.array([k[1] for k in self.keys])
        i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
        span = np.maximum(times[i + 1] - times[i], 1e-6)
        x = np.clip((t - times[i]) / span, 0, 1)
        ease = x**3 * (10 - 15 * x + 6 * x * x)
        out = values[i] + (values[i + 1] - values[i]) * ease
        return np.where((t < times[0]) | (t > times[-1]), 0.0, out)


@dataclass(frozen=True)
class Timeline:
    """What a text was understood to ask for. `unknown` are its words that nothing came of."""

    cues: tuple[Cue, ...]
    duration: float
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of all channels that move."""
        return tuple(sorted({c for cue in self.cues for c, v in cue.levels.items() if v}))

    def tracks(self, times: Array) -> dict[str, Array]:
        """Every channel at `times` (T,). Cues of a unit do not add up, those of the head and the gaze do."""
        out: dict[str, Array] = {}
        for cue in self.cues:
            for channel, level in cue.levels.items():
                value = level * cue.envelope(times - LATENCY.get(unit_of(channel), 0.0))
                if channel not in out:
                    out[channel] = value
                elif channel.startswith("AU"):
                    out[channel] = np.maximum(out[channel], value)
                else:
                    out[channel] = out[channel] + value
        return {k: np.clip(v, *((0, 1) if k.startswith("AU") else (-LIMITS[k], LIMITS[k]))) for k, v in out.items()}

    def peaks(self) -> dict[str, float]:
        """The value of every channel that is furthest from 0."""
        t = np.arange(0, self.duration, 1 / 50)
        return {k: float(v[np.abs(v).argmax()]) for k, v in self.tracks(t).items() if len(v)}

    def height(self) -> dict[str, float]:
        """Action Units, those of head and eyes among them, at the moment when most of the face moves."""
        t = np.arange(0, self.duration, 1 / 50)
        tracks = self.tracks(t)
        if not tracks:
            return {}
        amount = np.stack([np.abs(v) / LIMITS.get(k, 1.0) for k, v in tracks.items()]).sum(0)
        most = int(amount.argmax())
        out: dict[str, float] = {}
        for channel, track in tracks.items():
            value = float(track[most])
            if unit_of(channel) in UNITS:
                out[channel] = round(value, 3)
            elif channel in AS_UNITS and value:
                more, less, far = AS_UNITS[channel]
                out[more if value > 0 else less] = round(min(1.0, abs(value) / far), 3)
        return {k: v for k, v in out.items() if v > 0}

    def explain(self) -> str:
        """A line for each cue, then what was made of the rest."""
        rows = []
        for cue in sorted(self.cues, key=lambda c: (c.start, c.end)):
            levels = "  ".join(_show(k, v) for k, v in cue.levels.items())
            note = f"  ({cue.note})" if cue.note else ""
            rows.append(f"{cue.start:6.2f} - {cue.end:5.2f} s  {cue.words:<28} {levels}{note}")
        rows += [f"note: {n}" for n in self.notes]
        if self.unknown:
            rows.append("not understood: " + ", ".join(self.unknown))
        return "\n".join(rows)

    def motion(self, fps: float = 25.0, still: bool = False) -> Motion:
        """The whole performance, with Action Units. `still`: nothing but what the text asks for."""
        driver = TimelineDriver(self, fps, still)
        motion = Motion.collect((d.move for d in driver), driver.rest, fps)
        names, units = driver.units()
        return replace(motion, units=units, unit_names=names)


def _show(channel: str, level: float) -> str:
    if channel.startswith("AU"):
        return f"{channel} {level:.2f}"
    return f"{channel} {level:+.2f}" if channel in ("lean", "shift_x", "shift_y") else f"{channel} {level:+.0f}°"


class TrackDriver(Driver):
    """Plays channels over time, frame by frame; `tracks` are arrays (T,) at `fps`."""

    frames: int

    def __init__(self, tracks: Mapping[str, Array], frames: int, fps: float, still: bool, seed: int) -> None:
        self.fps, self.frames, self.rest = fps, frames, rest_face()
        self.notes: list[str] = []
        self._tracks = dict(tracks)
        if not still:
            add_idle_life(self._tracks, np.arange(frames) / fps, seed)
        self.unshown = tuple(sorted({unit_of(c) for c in self._tracks if c.startswith("AU")} - set(UNITS)))
        for unit in self.unshown:
            del self._tracks[unit]

    def explain(self) -> str:
        """Its Action Units and other channels at their furthest."""
        rows = [(k, float(v[np.abs(v).argmax()])) for k, v in self._tracks.items() if len(v) and np.abs(v).max() > 0.05]
        return "\n".join(_show(k, v) for k, v in sorted(rows))

    def units(self) -> tuple[tuple[str, ...], Array]:
        """Names of the Action Units that move, and their intensities (T, U)."""
        names = tuple(sorted(c for c in self._tracks if c.startswith("AU")))
        return names, np.stack([self._tracks[n] for n in names], 1) if names else np.zeros((self.frames, 0))

    def __iter__(self) -> Iterator[Drive]:
        for i in range(self.frames):
            yield Drive(self._move(i))

    def _move(self, i: int) -> Move:
        level = {k: float(v[i]) for k, v in self._tracks.items()}
        gaze = np.radians([level.get("look_x", 0.0), level.get("look_y", 0.0)])
        scale = 1 + 0.14 * level.get("lean", 0.0)
        rotation = head_turn(level.get("turn", 0.0), level.get("nod", 0.0), level.get("tilt", 0.0))
        shift = (NECK - to_matrix(rotation) @ NECK) * [1, 1, 0]  # the head turns about the neck
        shift += [level.get("shift_x", 0.0), level.get("shift_y", 0.0), 0.0]
        units = {k: v for k, v in level.items() if k.startswith("AU") and v > 0}
        # The upper lids go with the eyes.
        units |= {"AU63": max(0.0, -gaze[1]) / 0.4, "AU64": max(0.0, gaze[1]) / 0.42}
        return Move(i / self.fps, rotation, shift, scale, units_offsets(units), gaze)


class TimelineDriver(TrackDriver):
    """Plays a timeline."""

    def __init__(self, timeline: Timeline, fps: float = 25.0, still: bool = False) -> None:
        frames = max(1, round(timeline.duration * fps))
        self.timeline = timeline
        super().__init__(timeline.tracks(np.arange(frames) / fps), frames, fps, still, timeline.seed)

    def explain(self) -> str:
        """See `Timeline.explain`."""
        return self.timeline.explain()


def head_turn(turn: float, nod: float, tilt: float) -> Array:
    """Rotation vector of degrees to the subject's left, down and towards the left shoulder."""
    y, x, z = np.radians([-turn, nod, tilt])
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return to_vector(about_z @ about_y @ about_x)


# -- life between the cues ------------------------------------------------------------------------


def add_idle_life(tracks: dict[str, Array], times: Array, seed: int) -> None:
    """Blinks, breath, sway and small movements of the eyes added to `tracks`, in place; the same for a seed."""
    rng = np.random.default_rng(seed)
    n = len(times)

    def add(channel: str, value: Array) -> None:
        tracks[channel] = tracks.get(channel, np.zeros(n)) + value

    def drift(periods: tuple[float, ...]) -> Array:
        """Slow wandering of amplitude about one, 0 at the start."""
        wave = sum(np.sin(2 * np.pi * (times / p + rng.uniform())) / np.sqrt(len(periods)) for p in periods)
        return (wave - wave[0]) * np.clip(times / 1.0, 0, 1)

    add("turn", 0.9 * drift((7.3, 4.1, 2.7)))
    add("nod", 0.7 * drift((6.1, 3.7, 2.3)))
    add("tilt", 0.7 * drift((8.7, 5.3, 3.1)))
    breath = np.sin(2 * np.pi * times / 3.9) * np.clip(times / 1.0, 0, 1)
    add("shift_y", -0.006 * breath)
    add("lean", 0.02 * breath)
    add("AU12", np.clip(0.03 * drift((5.9, 3.3)), 0, 1))
    add("AU1", np.clip(0.04 * drift((4.7, 2.9)), 0, 1))
    # The eyes rest on a point and jump to the next.
    look = np.zeros((2, n))
    at, aim = 0.4 + rng.exponential(0.5), np.zeros(2)
    while at < times[-1]:
        new = rng.normal(0, (1.3, 0.8))
        jump = np.clip((times - at) / 0.05, 0, 1)
        look += (new - aim)[:, None] * jump
        aim = new
        at += 0.35 + rng.exponential(0.9)
    add("look_x", look[0])
    add("look_y", look[1])
    shut = np.maximum.reduce([tracks.get(u, np.zeros(n)) for u in ("AU43", "AU46", "AU46L", "AU46R", "AU45")])
    wide = tracks.get("AU5", np.zeros(n))
    lids = np.zeros(n)
    for moment in _blink_times(tracks, times, rng):
        i = min(n - 1, int(np.searchsorted(times, moment)))
        near = slice(max(0, i - 8), i + 12)
        if shut[near].max() > 0.3 or wide[near].max() > 0.8:
            continue
        x = times - moment
        lids = np.maximum(lids, np.where(x < 0.1, np.clip(x / 0.08, 0, 1), np.clip(1 - (x - 0.12) / 0.18, 0, 1)))
    tracks["AU45"] = np.maximum(tracks.get("AU45", np.zeros(n)), lids)


def _blink_times(tracks: dict[str, Array], times: Array, rng: np.random.Generator) -> list[float]:
    """Every few seconds, and with large shifts of gaze or head."""
    out = []
    at = rng.uniform(0.9, 2.2)
    moved = np.abs(np.gradient(tracks["turn"])) + np.abs(np.gradient(tracks["look_x"])) if len(times) > 2 else None
    while at < times[-1] - 0.3:
        out.append(float(at))
        at += np.clip(rng.gamma(4.0, 0.9), 1.2, 7.0)
    if moved is not None:
        fps = 1 / (times[1] - times[0])
        for i in np.flatnonzero((moved * fps > 70) & (moved * fps >= np.roll(moved * fps, 1))):
            if all(abs(times[i] - b) > 1.0 for b in out):
                out.append(float(times[i]))
    return sorted(out)
