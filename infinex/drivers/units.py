"""Driving by Action Units: text such as `AU12=0.8,AU6L=0.5`, emotions, timelines and their easing."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, option
from infinex.face import topology as top
from infinex.face.reading import read_units
from infinex.face.units import ALIKE, FACE_UNITS, UNITS, canonical, columns_of, combined, nearest, units_pose
from infinex.motion import Motion, Rest

Array = NDArray[np.float64]
LIMIT, EXAGGERATED = 1.0, 2.0
LEVELS = {"A": 0.2, "B": 0.4, "C": 0.6, "D": 0.8, "E": 1.0}  # FACS intensity letters
LONGEST = 600.0  # seconds of a timeline
STEADY = 0.03  # seconds: standard deviation over which units that were read are steadied
NECK = np.array([0.0, 0.45, 0.15])  # about which the head turns, from between the ears, IOD


def _set(strong: str, weak: str = "") -> dict[str, float]:
    """Units at full strength, and others as `unit:share of people who show it`."""
    out = {f"AU{n}": 0.85 for n in strong.split()}
    for item in weak.split():
        unit, share = item.split(":")
        out[f"AU{unit}"] = round(0.85 * float(share) / 100, 2)
    return out


EMOTIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": _set("12 25", "6:51"),
    "sad": _set("4 15", "1:60 6:50 11:26 17:67"),
    "angry": _set("4 7 24", "10:26 17:52 23:29"),
    "surprised": _set("1 2 25 26", "5:66"),
    "afraid": _set("1 4 20 25", "2:57 5:63 26:33"),
    "disgusted": _set("9 10 17", "4:31 24:26"),
    "contemptuous": {"AU14L": 1.0, "AU12L": 0.75, "AU10L": 0.3},
    "happily surprised": _set("1 2 12 25", "5:64 26:67"),
    "happily disgusted": _set("10 12 25", "4:32 6:61 9:59"),
    "sadly afraid": _set("1 4 20 25", "2:46 5:24 6:34 15:30"),
    "sadly angry": _set("4 15", "6:26 7:48 11:20 17:50"),
    "sadly surprised": _set("1 4 25 26", "2:27 6:31"),
    "sadly disgusted": _set("4 10", "1:49 6:61 9:20 11:35 15:54 17:47 25:43"),
    "fearfully angry": _set("4 20 25", "5:40 7:39 10:30 11:33"),
    "fearfully surprised": _set("1 2 5 20 25", "4:47 10:35 11:22 26:51"),
    "fearfully disgusted": _set("1 4 10 20 25", "2:64 5:50 6:26 9:28 15:33"),
    "angrily surprised": _set("4 25 26", "5:35 7:50 10:34"),
    "angrily disgusted": _set("4 10 17", "7:60 9:57 24:36"),
    "disgustedly surprised": _set("1 2 5 10", "4:45 9:37 17:66 24:33"),
    "appalled": _set("4 10", "6:25 9:56 17:67 24:36"),
    "hateful": _set("4 10", "7:57 9:27 17:63 24:37"),
    "awed": _set("1 2 5 25", "4:21 20:62 26:56"),
}
"""Emotions as units: basic and compound ones by Du, Tao and Martinez (PNAS 2014, Table 1), with units that
only some people show at the share of people who do; contempt, one-sided, by Ekman and Friesen (1986)."""

ALIASES = {
    "happiness": "happy", "joy": "happy", "smile": "happy", "sadness": "sad", "anger": "angry",
    "surprise": "surprised", "fear": "afraid", "fearful": "afraid", "scared": "afraid", "disgust": "disgusted",
    "contempt": "contemptuous", "hate": "hateful", "hatred": "hateful", "awe": "awed", "sadly fearful": "sadly afraid",
}  # fmt: skip


def emotion_name(name: str) -> str:
    """The emotion meant by a name. Raises InputError with the nearest one."""
    text = " ".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    text = ALIASES.get(text, text)
    if text in EMOTIONS:
        return text
    near = difflib.get_close_matches(text, [*EMOTIONS, *ALIASES], 1, 0.0)[0]
    raise InputError(f"unknown emotion {name.strip()!r}; did you mean {ALIASES.get(near, near)}?")


def emotion(name: str, strength: float = 1.0) -> dict[str, float]:
    """Units of an emotion such as "happy" or "happily surprised", `strength` 0..1 of its full intensity."""
    return {u: v * strength for u, v in EMOTIONS[emotion_name(name)].items()}


# -- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keyframe:
    """Units wanted at a time in seconds; units not named are at rest."""

    time: float
    units: Mapping[str, float]


def _marked(text: str, at: int, what: str, advice: str = "") -> InputError:
    shown = " ".join((text[:at] + " >>> " + text[at:]).split())
    return InputError(f"units, character {at + 1}: {what}: {shown}", advice=advice)


_ITEM = re.compile(r"\s*([^=,;:]*?)\s*(?:=\s*([^=,;:]*?)\s*)?(?=$|[,;:=])")
_TIME = re.compile(r"\s*([^:;]*?)\s*:")


def parse_units(text: str, exaggerate: bool = False) -> dict[str, float]:
    """Read `AU12=0.8,AU6L=0.5`: unit names, each with an intensity of 0..1 (to 2 with `exaggerate`), a FACS
    letter A..E, or nothing for 1. An emotion's name stands for its units. Raises InputError."""
    return _units(text, 0, text, exaggerate)


def _units(text: str, start: int, whole: str, exaggerate: bool) -> dict[str, float]:
    out: dict[str, float] = {}
    if not text.strip():
        return out
    at = 0
    while True:
        found = _ITEM.match(text, at)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            end = at if found is None else found.end()
            raise _marked(whole, start + end, "a comma is wanted between units")
        name, value = found.group(1), found.group(2)
        if not name:
            raise _marked(whole, start + found.start(1), "a unit is wanted, such as AU12=0.8")
        for unit, v in _item(name, value, whole, start + found.start(1), start + max(0, found.start(2)), exaggerate):
            out[unit] = max(out.get(unit, 0.0), v)
        if found.end() >= len(text):
            return out
        at = found.end() + 1


def _item(
    name: str, value: str | None, whole: str, name_at: int, value_at: int, exaggerate: bool
) -> list[tuple[str, float]]:
    limit = EXAGGERATED if exaggerate else LIMIT
    amount = 1.0
    if value is not None:
        try:
            amount = LEVELS[value.upper()] if value.upper() in LEVELS else float(value)
        except ValueError:
            raise _marked(whole, value_at, f"{name} wants a number from 0 to {limit:g}, not {value!r}") from None
        if not math.isfinite(amount) or not 0 <= amount <= limit:
            more = "" if exaggerate else f" (to {EXAGGERATED:g} with {option('allow_exaggeration')})"
            raise _marked(whole, value_at, f"{name}={value}: an intensity goes from 0 to {limit:g}", more)
    if not any(c.isdigit() for c in name):
        try:
            return [(u, v * amount) for u, v in emotion(name).items()]
        except InputError:
            known = [u.name for u in UNITS.values() if u.title == name.lower().replace("_", " ")]
            if not known:
                raise _marked(whole, name_at, f"unknown unit {name!r}; did you mean {_suggest(name)}?") from None
            return [(known[0], amount)]
    try:
        return [(canonical(name), amount)]
    except InputError as error:
        raise _marked(whole, name_at, str(error)) from None


def _suggest(name: str) -> str:
    words = difflib.get_close_matches(name.lower(), EMOTIONS, 1, 0.6)
    return words[0] if words else nearest(name)


def is_timeline(text: str) -> bool:
    """Whether units text names times."""
    return ":" in text or ";" in text


def parse_timeline(text: str, exaggerate: bool = False) -> list[Keyframe]:
    """Read `0s: ; 1s: AU12=1,AU6=.6; 2s: AU12=.2`: keyframes in order of time, seconds (s) or milliseconds (ms).

    Text without times is one expression, taken on and held. Raises InputError with the place marked."""
    if not is_timeline(text):
        return [
            Keyframe(0.0, {}),
            Keyframe(0.6, parse_units(text, exaggerate)),
            Keyframe(2.0, parse_units(text, exaggerate)),
        ]
    keys: list[Keyframe] = []
    at = 0
    for piece in text.split(";"):
        if piece.strip() or (at == 0 and text.strip(" ;") == ""):
            found = _TIME.match(piece)
            place = at + len(piece) - len(piece.lstrip())
            if found is None:
                raise _marked(text, place, "a time is wanted, such as 1s:")
            time = _seconds(found.group(1), text, at + found.start(1))
            if keys and time <= keys[-1].time:
                raise _marked(text, at + found.start(1), f"{time:g} s does not come after {keys[-1].time:g} s")
            rest = piece[found.end() :]
            keys.append(Keyframe(time, _units(rest, at + found.end(), text, exaggerate)))
        at += len(piece) + 1
    if not keys:
        raise _marked(text, 0, "a timeline needs at least one time, such as 1s: AU12=1")
    return keys


def _seconds(word: str, text: str, at: int) -> float:
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(s|ms|sec|seconds)?", word.lower())
    if match is None:
        raise _marked(text, at, f"a time such as 1s or 250ms is wanted, not {word!r}")
    time = float(match.group(1)) * (1e-3 if match.group(2) == "ms" else 1.0)
    if time > LONGEST:
        raise _marked(text, at, f"a timeline lasts at most {LONGEST:g} s")
    return time


# -- easing ---------------------------------------------------------------------------------------


def ease(t: Array | float, rising: bool = True) -> Array:
    """How far a muscle has come after a share `t` (0..1) of its time.

    Contraction follows the minimum-jerk course of voluntary movement (Flash and Hogan 1985), its peak speed
    a little early; relaxation is passive: it starts as fast and ends slowly."""
    t = np.clip(np.asarray(t, np.float64), 0, 1)
    u = t**0.85 if rising else 1 - (1 - t) ** 1.5
    return u**3 * (10 - 15 * u + 6 * u * u)


def timeline_rows(keyframes: Sequence[Keyframe], names: Sequence[str], times: Array) -> Array:
    """Eased intensities (T, N) of the named units at times (T,) in seconds."""
    values = np.array([[max(0.0, float(k.units.get(n, 0.0))) for n in names] for k in keyframes])
    values = values.reshape(len(keyframes), len(names))
    at = np.array([k.time for k in keyframes])
    i = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 1)
    j = np.minimum(i + 1, len(at) - 1)
    span = at[j] - at[i]
    t = np.clip((times - at[i]) / np.where(span > 0, span, 1), 0, 1)
    up = values[j] >= values[i]
    share = np.where(up, ease(t)[:, None], ease(t, False)[:, None])
    return values[i] + (values[j] - values[i]) * share


def timeline_motion(
    keyframes: Iterable[Keyframe | tuple[float, Mapping[str, float]]], fps: float = 25.0, hold: float = 0.0
) -> Motion:
    """A performance of Action Units: keyframes of (time in seconds, {unit: intensity}) at `fps`, the last one
    held for `hold` seconds more. Before the first keyframe its expression stands.

    Units that are not named at a time are at rest there. The motion is measured from the mean face; its
    `units` hold the named units as written. Raises InputError for unknown units, negative or infinite
    intensities, times out of order and rates outside 1..120."""
    keys = [k if isinstance(k, Keyframe) else Keyframe(float(k[0]), k[1]) for k in keyframes]
    if not keys:
        raise InputError("a timeline needs at least one keyframe")
    if not 1 <= fps <= 120:
        raise InputError(f"{fps} frames/s: it goes from 1 to 120")
    keys = [Keyframe(k.time, _checked(k.units)) for k in keys]
    if keys[0].time < 0 or any(b.time <= a.time for a, b in itertools.pairwise(keys)):
        raise InputError("the times of a timeline must rise from 0")
    if not keys[-1].time + hold <= LONGEST:
        raise InputError(f"a timeline lasts at most {LONGEST:g} s")
    names = tuple(dict.fromkeys(n for k in keys for n in k.units))
    frames = max(1, math.floor((keys[-1].time + hold) * fps + 1e-6) + 1)
    return units_motion(timeline_rows(keys, names, np.arange(frames) / fps), names, fps)


def _checked(units: Mapping[str, float]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in units.items():
        if not math.isfinite(value) or not 0 <= value <= EXAGGERATED:
            raise InputError(f"{name}={value}: an intensity goes from 0 to 1, or 2 when exaggerated")
        known = canonical(name)
        out[known] = max(out.get(known, 0.0), float(value))
    return out


def units_motion(amounts: Array, names: Sequence[str], fps: float = 25.0) -> Motion:
    """A performance from per-frame intensities (T, N) of the named units: offsets, head turns and gaze."""
    amounts = np.asarray(amounts, np.float64)
    known = [canonical(n) for n in names]
    rows = np.stack([columns_of(dict(zip(known, a))) for a in amounts])
    offsets = np.concatenate([combined(rows[i : i + 256]).astype(np.float32) for i in range(0, len(rows), 256)])
    poses = [units_pose(dict(zip(known, a))) for a in amounts]
    rotation, scale = np.stack([p[0] for p in poses]), np.array([p[1] for p in poses])
    rest = rest_face()
    return Motion(
        fps,
        offsets,
        rotation,
        np.stack([_about_neck(v) for v in rotation]) * scale[:, None],
        scale,
        np.stack([p[2] for p in poses]),
        np.ones(len(amounts), bool),
        rest,
        amounts,
        tuple(known),
    )


def with_units(motion: Motion, units: Array | None = None) -> Motion:
    """A tracked performance with the Action Units read off it, frame by frame against the performer's own rest,
    steadied over a twentieth of a second; (T, U) in 0..1.

    `units` (T, U) of `FACE_UNITS` are given where pictures were at hand to read them (`UnitReader`)."""
    if units is None:
        blocks = [motion.offsets[i : i + 256] for i in range(0, len(motion), 256)]
        units = np.concatenate([read_units(b) for b in blocks])
    from scipy.ndimage import gaussian_filter1d  # slow to load, and seldom asked for

    return told_apart(motion, gaussian_filter1d(units, STEADY * motion.fps, axis=0, mode="nearest"))


def told_apart(motion: Motion, units: Array) -> Motion:
    """A performance with intensities (T, U) of `FACE_UNITS`, less those that only their duration tells apart."""
    keep = [k for k, n in enumerate(FACE_UNITS) if n not in ALIKE]
    return replace(motion, units=units[:, keep], unit_names=tuple(FACE_UNITS[k] for k in keep))


def rest_face() -> Rest:
    """What unit motion is measured from: the mean face, whose lids meet when AU43 or AU45 is 1."""
    return Rest(top.mean_face(), lids_closed=np.full(2, 0.01))


def _about_neck(vector: Array) -> Array:
    """Where a turn about the neck carries the point between the ears, in IOD; nothing for no turn."""
    from infinex.face.pose import to_matrix

    if not vector.any():
        return np.zeros(3)
    return (NECK - to_matrix(vector) @ NECK) * [1, 1, 0]
