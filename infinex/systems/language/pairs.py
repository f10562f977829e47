"""Descriptions and unit trajectories in pairs: from the grammar's timelines, and from tracked clips.

A trajectory ends while its last expression is held, as the paper's sequences do, so that it can be gone on with.
Phrases are split by their words: what a test sentence calls an expression stands in no training sentence.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.text import read_text
from infinex.drivers.timeline import LIMITS
from infinex.drivers.words import Meaning, lexicon
from infinex.errors import InputError

CHANNELS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU16", "AU17", "AU18", "AU20",
    "AU23", "AU24", "AU25", "AU26", "AU27", "AU28", "AU43", "AU45", "AU2L", "AU12R", "AU14R", "AU46L", "AU46R",
    "turn", "nod", "tilt", "look_x", "look_y", "lean",
)  # fmt: skip
LEAD_SECONDS = 0.3  # of the grammar, taken off
SUBJECTS = ("she", "he", "the person", "the woman", "the man", "the girl", "the old man")
DEGREES = ("", "", "", "", "slightly ", "very ", "a little ", "extremely ")
ADJECTIVE = ("{s} is {d}{w}", "{s} looks {d}{w}", "{s} seems {d}{w}", "a {d}{w} face", "the expression turns {d}{w}",
             "{s} feels {d}{w}", "{d}{w}", "the face is {d}{w}")  # fmt: skip
NOUN = ("{s} shows {w}", "a face of {w}", "{s} with {w}", "{w}", "an expression of {w}")
VERB = ("{s} {v}", "{s} {v}", "{s} starts to {w}", "{s} begins to {w}", "{w}")
JOINTS = (", then ", " and then ", ", after that ", " before ")
_ROUGH = ("ed", "ful", "y", "ous", "ing", "ant", "ent", "ic", "ive", "al", "ish", "less", "ate", "id")


@dataclass(frozen=True)
class Pairs:
    """Texts (N), and trajectories (N, T, C) on `CHANNELS` as shares of full intensity; `group` names the phrase."""

    texts: tuple[str, ...]
    motion: NDArray[np.float32]
    group: NDArray[np.int64]


def held_out(phrase: str) -> bool:
    """Whether a phrase is kept from training: one in seven, by its letters."""
    return zlib.crc32(phrase.encode()) % 7 == 0


def phrases(split: str) -> list[Meaning]:
    """Phrases of the lexicon of "train" or "test"."""
    book = lexicon()
    found = [m for m in book.phrases.values() if m.gesture != "neutral" and held_out(m.phrase) == (split == "test")]
    return sorted(found, key=lambda m: m.phrase)


def sentence_of(meaning: Meaning, rng: np.random.Generator) -> str:
    """A sentence that says one phrase."""
    subject, degree = rng.choice(SUBJECTS), rng.choice(DEGREES)
    w = meaning.phrase
    adjective = meaning.kind == "expression" and " " not in w and w.endswith(_ROUGH)
    if adjective:
        return str(rng.choice(ADJECTIVE)).format(s=subject, d=degree, w=w)
    if meaning.kind == "gesture":
        first, _, rest = w.partition(" ")
        ends = "es" if first.endswith(("s", "sh", "ch", "x", "o")) else "s"
        verb = (first[:-1] + "ies" if first.endswith("y") and first[-2] not in "aeiou" else first + ends) + (
            " " + rest if rest else ""
        )
        return str(rng.choice(VERB)).format(s=subject, v=verb, w=w)
    return str(rng.choice(("{s} shows {w}", "a face of {w}", "{s} with {w}", "{w}", "an expression of {w}"))).format(
        s=subject, w=w
    )


def trajectory(text: str, frames: int, fps: float) -> NDArray[np.float32] | None:
    """(frames, C) of what the grammar makes of a text; None where it makes nothing of it."""
    try:
        timeline = read_text(text)
    except InputError:
        return None
    if not timeline.cues or timeline.unknown:
        return None
    # Stay at the last height instead of letting go: time stops before the last release.
    held = [c for c in timeline.cues if len(c.keys) == 4 and c.keys[2][1] > 0.9 and c.levels]
    stop = max((c.start + c.keys[2][0] for c in held), default=timeline.duration)
    times = np.minimum(LEAD_SECONDS + np.arange(frames) / fps, stop)
    if LEAD_SECONDS + frames / fps > timeline.duration + 1.5:
        times = np.minimum(times, stop)
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
    """Pairs from the grammar: one phrase, sometimes two in a row."""
    rng = np.random.default_rng(seed)
    words = phrases(split)
    texts: list[str] = []
    rows, group = [], []
    attempts = 0
    while len(texts) < count and attempts < 4 * count:
        attempts += 1
        k = int(rng.integers(len(words)))
        text = sentence_of(words[k], rng)
        if rng.random() < 0.2:
            other = words[int(rng.integers(len(words)))]
            text += str(rng.choice(JOINTS)) + sentence_of(other, rng)
            k = len(words) + len(texts)
        track = trajectory(text, frames, fps)
        if track is None or not np.abs(track).max() > 0.1:
            continue
        texts.append(text)
        rows.append(track)
        group.append(k)
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
    return f"{rng.choice(SUBJECTS)} {' and '.join(said[:3])}"


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
