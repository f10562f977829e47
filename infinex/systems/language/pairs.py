"""Descriptions and unit trajectories in pairs: from the grammar's timelines, and from tracked clips.

A trajectory ends while its last expression is held, as the paper's sequences do, so that it can be gone on with.
Phrases are split by their words: what a test sentence calls an expression stands in no training sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.text import read_text
from infinex.drivers.timeline import LIMITS
from infinex.errors import InputError
from infinex.systems.language.sentences import PEOPLE, sentence

CHANNELS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU16", "AU17", "AU18", "AU20",
    "AU22", "AU23", "AU24", "AU25", "AU26", "AU27", "AU28", "AU43", "AU45", "AU1L", "AU1R", "AU2L", "AU2R", "AU4L",
    "AU4R", "AU6L", "AU6R", "AU12L", "AU12R", "AU14R", "AU43L", "AU43R", "AU46L", "AU46R",
    "turn", "nod", "tilt", "look_x", "look_y", "lean",
)  # fmt: skip
LEAD_SECONDS = 0.3  # of the grammar, taken off
HELD_LEVEL = 0.97  # where the grammar lets an expression go


@dataclass(frozen=True)
class Pairs:
    """Texts (N), and trajectories (N, T, C) on `CHANNELS` as shares of full intensity; `group` names the phrase."""

    texts: tuple[str, ...]
    motion: NDArray[np.float32]
    group: NDArray[np.int64]


def trajectory(text: str, frames: int, fps: float) -> NDArray[np.float32] | None:
    """(frames, C) of what the grammar makes of a text; None where it makes nothing of it."""
    try:
        timeline = read_text(text)
    except InputError:
        return None
    if not timeline.cues or timeline.unknown:
        return None
    # What is held at the end stays instead of letting go: time stops before the last release.
    held = [c for c in timeline.cues if len(c.keys) == 4 and c.keys[2][1] == HELD_LEVEL]
    stop = max((c.start + c.keys[2][0] for c in held), default=0.0)
    if any(c.end > stop + 0.2 for c in timeline.cues if c not in held) or not held:
        stop = timeline.duration  # a gesture comes last, and ends by itself
    times = np.minimum(LEAD_SECONDS + np.arange(frames) / fps, stop)
    return on_channels(timeline.tracks(times), frames)


def on_channels(tracks: dict[str, NDArray[np.float64]], frames: int) -> NDArray[np.float32]:
    """Tracks as (frames, C); sides that have no channel of their own go to both."""
    out = np.zeros((frames, len(CHANNELS)), np.float32)
    for channel, value in tracks.items():
        name = channel if channel in CHANNELS else channel.rstrip("LR") if channel.startswith("AU") else channel
        if name in CHANNELS:
            k = CHANNELS.index(name)
            out[:, k] += (value / LIMITS.get(name, 1.0)).astype(np.float32)
    return np.clip(out, -1, 1)


def spoken(split: str, count: int, frames: int, fps: float, seed: int = 0) -> Pairs:
    """Pairs of sentences of a split ("train", "val", "test") with what the grammar makes of them."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    rows: list[NDArray[np.float32]] = []
    group: list[int] = []
    keys: dict[str, int] = {}
    for _ in range(6 * count):
        if len(texts) == count:
            break
        text, asked, _ = sentence(split, rng)
        track = trajectory(asked, frames, fps) if asked else np.zeros((frames, len(CHANNELS)), np.float32)
        if track is None or (asked and not np.abs(track).max() > 0.1):
            continue
        texts.append(text)
        rows.append(track)
        group.append(keys.setdefault(asked, len(keys)))
    return Pairs(tuple(texts), np.stack(rows), np.array(group))


# -- tracked clips --------------------------------------------------------------------------------

CAPTIONS = (
    ({"AU12": 0.35, "AU6": 0.1}, ("smiles", "is happy", "looks cheerful")),
    ({"AU1": 0.35, "AU2": 0.3}, ("raises the eyebrows", "looks surprised", "lifts both brows")),
    ({"AU4": 0.4}, ("frowns", "lowers the brows", "looks serious")),
    ({"AU26": 0.4}, ("opens the mouth", "drops the jaw", "talks with an open mouth")),
    ({"AU43": 0.6}, ("closes the eyes", "shuts the eyes")),
    ({"AU15": 0.35}, ("pulls down the corners of the mouth", "looks sad")),
    ({"AU9": 0.35}, ("wrinkles the nose", "looks disgusted")),
    ({"AU18": 0.4}, ("puckers the lips", "purses the lips")),
)
TURNS = (("turn", 9.0, "turns the head to the left", "turns the head to the right"),
         ("nod", 8.0, "lowers the head", "raises the head"), ("tilt", 8.0, "tilts the head to the left",
          "tilts the head to the right"))  # fmt: skip


def captioned(folder: str | Path, frames: int, fps: float, seed: int = 0) -> Pairs:
    """Pairs from performances (`.motion.npz` of `infinex track`): windows described by the units they show.

    A window begins where the face is near its own rest; the description names what the window ends in."""
    from infinex.face.reading import read_units
    from infinex.face.units import FACE_UNITS
    from infinex.motion import Motion

    rng = np.random.default_rng(seed)
    texts: list[str] = []
    rows: list[NDArray[np.floating]] = []
    group: list[int] = []
    for path in sorted(Path(folder).glob("*.motion.npz")):
        motion = Motion.load(path).relative().resample(fps)
        if len(motion) < frames // 2:
            continue
        if motion.units is None:
            motion = replace(motion, units=read_units(motion.offsets), unit_names=FACE_UNITS)
        tracks = _tracks(motion)
        table = on_channels(tracks, len(motion))
        calm = np.abs(table).sum(1)
        for start in range(0, len(motion) - frames // 2, frames // 4):
            if calm[start] > np.percentile(calm, 60):
                continue
            part = table[start : start + frames] - table[start]
            part = np.concatenate([part, np.repeat(part[-1:], frames - len(part), 0)])
            text = describe(part, rng)
            if text:
                texts.append(text)
                rows.append(np.clip(part, -1, 1))
                group.append(len(group))
    if not rows:
        return Pairs((), np.zeros((0, frames, len(CHANNELS)), np.float32), np.zeros(0, np.int64))
    return Pairs(tuple(texts), np.stack(rows).astype(np.float32), np.array(group))


def _tracks(motion: object) -> dict[str, NDArray[np.float64]]:
    from infinex.face.pose import Pose, to_matrix
    from infinex.motion import Motion

    assert isinstance(motion, Motion) and motion.units is not None
    out = {n: motion.units[:, i].astype(np.float64) for i, n in enumerate(motion.unit_names)}
    blink = out.pop("AU45", None)
    if blink is not None:
        out["AU43"] = blink
    angles = np.array([Pose(1.0, to_matrix(v), np.zeros(3)).angles for v in motion.rotation])
    out |= {"turn": angles[:, 0], "nod": angles[:, 1], "tilt": angles[:, 2]}
    out |= {"look_x": np.degrees(motion.gaze[:, 0]), "look_y": np.degrees(motion.gaze[:, 1])}
    return out


def describe(part: NDArray[np.floating], rng: np.random.Generator) -> str:
    """A sentence for a trajectory (T, C) by the units it ends in; empty where nothing stands out."""
    end = part[-max(3, len(part) // 3) :].mean(0)
    level = {c: float(end[k]) for k, c in enumerate(CHANNELS)}
    said = [str(rng.choice(words)) for units, words in CAPTIONS if all(level[u] >= v for u, v in units.items())]
    for channel, least, more, less in TURNS:
        angle = level[channel] * LIMITS[channel]
        if abs(angle) >= least:
            said.append(more if angle > 0 else less)
    if not said:
        return ""
    return f"{PEOPLE[int(rng.integers(len(PEOPLE)))][0]} {' and '.join(said[:3])}"


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Several sets of pairs as one."""
    texts: list[str] = []
    motion, group = [], []
    base = 0
    for p in parts:
        texts += p.texts
        motion.append(p.motion)
        group.append(p.group + base)
        base += int(p.group.max(initial=-1)) + 1
    return Pairs(tuple(texts), np.concatenate(motion), np.concatenate(group))
