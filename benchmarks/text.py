"""How many sentences the text driver gets right.

    python benchmarks/text.py [SENTENCES] [--encoder] [--wrong] [--model recurrent]

A sentence is right when every channel it must move moves and none that it must not does. A unit moves from 0.15
of full intensity, and must not reach 0.12; head and eyes move from 4 degrees, and must not reach 3. The
default list was written after the grammar was finished, and is not for mending it: what is mended by it is
no longer measured by it. `--encoder` lets a sentence encoder at the clauses that the grammar knows no word of;
`--model` has a network ("recurrent", or a file of weights) make the motion in the grammar's place.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.text import Understand, read_text
from infinex.drivers.timeline import LIMITS, unit_of
from infinex.errors import InputError

DEFAULT = Path(__file__).with_name("text_sentences.txt")
UNIT, UNIT_STILL, ANGLE, ANGLE_STILL, LEAN, LEAN_STILL = 0.15, 0.12, 4.0, 3.0, 0.1, 0.08


def reach(peaks: dict[str, tuple[float, float]], channel: str) -> tuple[float, float]:
    """How far a channel goes, and what counts as moving: unsigned, or towards the sign it ends in."""
    sign = {"+": 1, "-": -1}.get(channel[-1], 0)
    name = channel.rstrip("+-")
    if name in LIMITS:
        low, high = peaks.get(name, (0.0, 0.0))
        far = high if sign > 0 else -low if sign < 0 else max(high, -low)
        return far, LEAN if name == "lean" else ANGLE
    sides = [v[1] for k, v in peaks.items() if k == name or unit_of(k) == name or (k == unit_of(name) != name)]
    return max(sides, default=0.0), UNIT


def tracks_of(sentence: str, understand: Understand | None, model: str = "grammar") -> dict[str, NDArray[np.float64]]:
    """Every channel over time. Raises InputError for a sentence that moves nothing."""
    if model != "grammar":
        from infinex.systems.language.units import acted

        return acted(sentence, 50.0, model)[0]
    timeline = read_text(sentence, understand)
    return timeline.tracks(np.arange(0, timeline.duration, 1 / 50))


def judge(sentence: str, must: str, must_not: str, understand: Understand | None, model: str = "grammar") -> str:
    """What is wrong with a sentence; empty where nothing is."""
    try:
        tracks = tracks_of(sentence, understand, model)
    except InputError as error:
        return f"refused: {error}"
    peaks = {k: (float(v.min()), float(v.max())) for k, v in tracks.items()}
    for choice in must.split():
        if not any(far >= least for far, least in (reach(peaks, c) for c in choice.split("/"))):
            return f"lacks {choice}"
    for channel in must_not.split():
        far, least = reach(peaks, channel)
        if far >= {UNIT: UNIT_STILL, ANGLE: ANGLE_STILL, LEAN: LEAN_STILL}[least]:
            return f"moves {channel}"
    return ""


def main() -> None:
    words = [a for a in sys.argv[1:] if not a.startswith("--")]
    model = "grammar"
    if "--model" in sys.argv:
        model = sys.argv[sys.argv.index("--model") + 1]
        words.remove(model)
    understand: Understand | None = None
    if "--encoder" in sys.argv:
        from infinex.drivers.meaning import free_wording

        understand = free_wording()
    rows = [
        [part.strip() for part in line.split("|")]
        for line in Path(words[0] if words else DEFAULT).read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    wrong = [(row[0], why) for row in rows if (why := judge(row[0], row[1], row[2], understand, model))]
    if "--wrong" in sys.argv:
        for sentence, why in wrong:
            print(f"{why:30} {sentence}")
    print(f"{len(rows) - len(wrong)} of {len(rows)} sentences right ({1 - len(wrong) / len(rows):.1%})")


if __name__ == "__main__":
    main()
