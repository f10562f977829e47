"""What somebody is to say: "[smiles] Good morning, class. [pause] [raises eyebrows]" as lines and stage directions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infinex.errors import InputError, option

MOST = 20_000  # characters: half an hour of speech
PAUSE = re.compile(r"(?:a |short )?(?:pause|wait)s?(?: (?:of |for )?(\d+(?:\.\d+)?) ?(?:s|sec|seconds?)?)?", re.I)
USUAL_PAUSE, LONGEST_PAUSE = 0.8, 30.0  # seconds
# A sentence ends at a full stop, but not within a number, nor after an initial or a usual abbreviation.
_END = re.compile(r"(?<=[.!?…。！？])[\"'”’»)]*(?=\s|$)|\n+")
_SHORT = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Nr|bzw|z\.B|d\.h|e\.g|i\.e|vs|Sr|Sra|M|Mme)|\b[A-ZÄÖÜ])\.$")


@dataclass(frozen=True)
class Line:
    """A sentence to be said."""

    text: str


@dataclass(frozen=True)
class Direction:
    """What the face does from here on, in English words."""

    text: str


@dataclass(frozen=True)
class Pause:
    """Silence, seconds."""

    seconds: float


Part = Line | Direction | Pause


def read_script(script: str) -> list[Part]:
    """A script in order; words in square brackets are directions, [pause] and [pause 2] silence.

    Raises InputError for an open bracket, a script that says nothing, or one of more than 20,000 characters."""
    if len(script) > MOST:
        raise InputError(f"{option('say')}: {len(script)} characters; at most {MOST:,} are said at once")
    parts: list[Part] = []
    for i, piece in enumerate(re.split(r"\[([^\[\]]*)\]", script)):
        words = " ".join(piece.split())
        if i % 2:
            found = PAUSE.fullmatch(words)
            if found:
                seconds = float(found[1]) if found[1] else USUAL_PAUSE
                if seconds > LONGEST_PAUSE:
                    raise InputError(f"{option('say')}: [{words}]: a pause takes at most {LONGEST_PAUSE:g} seconds")
                parts.append(Pause(seconds))
            elif words:
                parts.append(Direction(words))
            continue
        if "[" in piece or "]" in piece:
            raise InputError(f"{option('say')}: a square bracket without its other half near {_near(piece)!r}")
        parts += [Line(s) for s in _sentences(piece)]
    if not any(isinstance(p, Line) for p in parts):
        raise InputError(f"{option('say')}: there is nothing to be said; words in [brackets] are stage directions")
    return parts


def _sentences(text: str) -> list[str]:
    """Sentences without the space around them; what has no letter or digit is left out."""
    out, begun = [], 0
    for end in [*(m.end() for m in _END.finditer(text)), len(text)]:
        sentence = " ".join(text[begun:end].split())
        if _SHORT.search(sentence) and end < len(text) and "\n" not in text[begun:end]:
            continue
        begun = end
        if re.search(r"\w", sentence):
            out.append(sentence)
    return out


def _near(piece: str) -> str:
    at = min(i for i in (piece.find("["), piece.find("]")) if i >= 0)
    return piece[max(0, at - 10) : at + 20].strip()
