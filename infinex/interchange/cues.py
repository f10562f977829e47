"""Mouth cues as Rhubarb Lip Sync writes them (TSV and JSON, for After Effects, Spine, Godot, OpenToonz ...) and as
WebVTT.

Letters are Rhubarb's: A lips shut, B barely open with teeth shown, C open, D wide open, E rounded, F puckered, X at
rest. G (teeth on the lip) and H (tongue) are its optional ones and are not told apart here.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.blendshapes import AT, NAMES, named
from infinex.interchange.take import Take
from infinex.media.files import atomic_path

Array = NDArray[np.float64]
FPS = 50.0  # of a take that is read
SHORTEST = 0.04  # seconds: shorter cues join the one before
RESTING = 0.30  # seconds of shut lips after which a mouth is at rest
SOFT = 0.06  # seconds over which a mouth that is read goes from one shape to the next
LONGEST = 7200.0  # seconds
MOUTHS: dict[str, dict[str, float]] = {
    "X": {}, "A": {"mouthPressLeft": 0.4, "mouthPressRight": 0.4, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    "B": {"jawOpen": 0.08, "mouthStretchLeft": 0.3, "mouthStretchRight": 0.3, "mouthLowerDownLeft": 0.25,
          "mouthLowerDownRight": 0.25, "mouthUpperUpLeft": 0.15, "mouthUpperUpRight": 0.15},
    "C": {"jawOpen": 0.28, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2},
    "D": {"jawOpen": 0.55, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2},
    "E": {"jawOpen": 0.25, "mouthFunnel": 0.5}, "F": {"jawOpen": 0.08, "mouthPucker": 0.8},
    "G": {"mouthRollLower": 0.6, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3, "jawOpen": 0.05},
    "H": {"jawOpen": 0.25, "mouthUpperUpLeft": 0.1, "mouthUpperUpRight": 0.1},
}  # fmt: skip
Cue = tuple[float, float, str]


def letters(weights: Array) -> list[str]:
    """The letter of every frame's mouth, of weights (T, 52); a mouth at rest is A until it has lasted, see
    `cues_of`."""

    def of(*names: str) -> Array:
        return np.asarray(np.mean([weights[:, AT[n]] for n in names], 0))

    jaw = np.maximum(0, of("jawOpen") - of("mouthClose"))
    opened = (
        jaw
        + 0.35 * of("mouthLowerDownLeft", "mouthLowerDownRight")
        + 0.25 * of("mouthUpperUpLeft", "mouthUpperUpRight")
    )
    rounded = np.maximum(of("mouthPucker"), of("mouthFunnel"))
    out = []
    for o, j, r, p in zip(opened, jaw, rounded, of("mouthPucker")):
        if o < 0.05 and r < 0.3:
            out.append("A")
        elif r >= 0.35:
            out.append("F" if p >= 0.35 and j < 0.2 else "E")
        else:
            out.append("B" if j < 0.15 else "C" if j < 0.38 else "D")
    return out


def cues_of(take: Take) -> list[Cue]:
    """Start, end and letter of every mouth shape, seconds from the beginning, without gaps."""
    runs: list[list[float | str]] = []
    at = 0
    for letter, group in groupby(letters(take.shapes)):
        n = len(list(group))
        a, b = at / take.fps, (at + n) / take.fps
        at += n
        if letter == "A" and b - a >= RESTING:
            letter = "X"
        if runs and (b - a < SHORTEST or runs[-1][2] == letter):
            runs[-1][1] = b
        else:
            runs.append([a, b, letter])
    return [(float(a), float(b), str(c)) for a, b, c in runs]


def write_tsv(take: Take, path: Path) -> None:
    """Rhubarb's TSV: a time and a letter a line; the last line is where it ends, at rest."""
    cues = cues_of(take)
    text = "".join(f"{a:.2f}\t{letter}\n" for a, _, letter in cues) + f"{cues[-1][1]:.2f}\tX\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii")


def write_json(take: Take, path: Path) -> None:
    """Rhubarb's JSON."""
    cues = cues_of(take)
    whole = {
        "metadata": {"soundFile": "", "duration": round(cues[-1][1], 2)},
        "mouthCues": [{"start": round(a, 2), "end": round(b, 2), "value": letter} for a, b, letter in cues],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(whole, indent=2) + "\n", encoding="ascii")


def write_vtt(take: Take, path: Path) -> None:
    """WebVTT with a letter for every cue, as a track of kind metadata wants it."""

    def clock(t: float) -> str:
        ms = round(t * 1000)
        return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"

    text = "WEBVTT\n\n" + "".join(f"{clock(a)} --> {clock(b)}\n{letter}\n\n" for a, b, letter in cues_of(take))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii")


# -- reading --------------------------------------------------------------------------------------


def read(path: Path) -> Take:
    """Mouth cues as a take: TSV, JSON or WebVTT. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from error
    try:
        cues = _json(text) if text.lstrip().startswith("{") else _vtt(text) if text.startswith("WEBVTT") else _tsv(text)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path.name} holds no mouth cues that can be read ({error})") from error
    if not cues:
        raise InputError(f"{path.name} holds no mouth cues")
    end = max(b for _, b, _ in cues)
    if not all(np.isfinite([a, b]).all() and 0 <= a <= b for a, b, _ in cues) or end > LONGEST:
        raise InputError(f"{path.name}: its times do not go on from 0, or last longer than {LONGEST:g} s")
    for _, _, letter in cues:
        if letter not in MOUTHS:
            raise InputError(f"{path.name}: {letter[:20]!r} is not a mouth shape; they are {', '.join(sorted(MOUTHS))}")
    from scipy.ndimage import gaussian_filter1d

    n = max(1, round(end * FPS))
    weights = np.zeros((n, len(NAMES)))
    for a, b, letter in cues:
        weights[round(a * FPS) : max(round(b * FPS), round(a * FPS) + 1)] = named(MOUTHS[letter])
    weights = gaussian_filter1d(weights, SOFT * FPS / 2, axis=0, mode="nearest")
    return Take(FPS, weights, np.zeros((n, 3)), np.zeros((n, 2, 2)), np.ones(n, bool))


def _json(text: str) -> list[Cue]:
    return [(float(c["start"]), float(c["end"]), str(c["value"])) for c in json.loads(text)["mouthCues"]]


def _tsv(text: str) -> list[Cue]:
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    if not rows or any(len(r) < 2 for r in rows):
        raise ValueError("a line without a tab" if rows else "it is empty")
    marks = [(float(r[0]), r[1].strip()) for r in rows]
    ends = [t for t, _ in marks[1:]]
    return (
        [(t, e, letter) for (t, letter), e in zip(marks, ends)] if ends else [(*marks[0][:1], marks[0][0], marks[0][1])]
    )


_SPAN = re.compile(r"(?:(\d+):)?(\d\d):(\d\d\.\d{3})\s+-->\s+(?:(\d+):)?(\d\d):(\d\d\.\d{3})")


def _vtt(text: str) -> list[Cue]:
    out: list[Cue] = []
    lines = text.splitlines()
    for k, line in enumerate(lines[:-1]):
        m = _SPAN.match(line.strip())
        if m:
            a, b = (3600 * int(m[i] or 0) + 60 * int(m[i + 1]) + float(m[i + 2]) for i in (1, 4))
            out.append((a, b, lines[k + 1].strip()))
    return out
