"""Words of a sentence as the grammar sees them, the clauses they make, and what stands around a word in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infinex.drivers.events import Event
from infinex.drivers.grammar import BOTH, LOOK, SHIFT, SIDES, TILT, TURN
from infinex.drivers.words import DROPPED, Meaning


@dataclass
class Item:
    """A token, or several that mean one thing together."""

    text: str
    word: str  # base form
    kind: str = ""  # expression, gesture, degree, part, direction, speed, time, not, link, drop, ""
    meaning: Meaning | None = None
    value: Any = None
    used: bool = False


def following(words: list[str], bases: list[str], i: int, n: int) -> tuple[tuple[str, ...], int] | None:
    """The next `n` words that are not dropped, and how far they reach."""
    out: list[str] = []
    j = i
    while j < len(words) and len(out) < n:
        if words[j] not in DROPPED:
            out.append(words[j] if words[j] in ("left", "right", "at", "to", "into", "over", "out", "on") else bases[j])
        j += 1
    return (tuple(out), j - i) if len(out) == n else None


def clauses(items: list[Item]) -> list[tuple[str, list[Item]]]:
    """Clauses with how each joins the one before: "then", "along", "and", "list" (a comma), "reverse"."""
    out: list[tuple[str, list[Item]]] = []
    how, current = "then", list[Item]()
    listed = False
    pending_after = False

    def flush() -> None:
        nonlocal current, how
        if any(i.kind != "drop" for i in current):
            out.append((how, current))
        current = []

    for item in items:
        if item.kind != "link":
            if item.kind == "not" and item.word in ("without", "instead") and current:
                flush()
                how = "along"
            current.append(item)
            continue
        value = item.value
        empty = not any(i.kind != "drop" for i in current)
        flush()
        if value == "before":
            how = "then"
        elif value == "after":
            pending_after = not out
            how = "reverse" if out else "then"
        elif value == "list":
            how = "then" if pending_after else ("list" if not empty or how not in ("then", "along") else how)
            pending_after = False
            listed = True
        elif value == "and":
            if empty and how in ("then", "along", "list"):
                how = "list and" if how == "list" else how
            else:
                how = "list and" if listed else "and"
        elif value == "along":
            how = "along"
        else:
            how = "then"
    flush()
    return out


def describes_part(items: list[Item]) -> bool:
    """Whether a sentence says what a part of the face is like ("Her eyes are closed"), not what happens next."""
    words = [i.text for i in items[:6]]
    return any(i.kind == "part" for i in items[:3]) and any(
        w in ("is", "are", "stay", "remain", "stays") for w in words
    )


def sequential(clause: list[Item]) -> bool:
    """Whether a clause after a comma goes on to the next thing: it begins with a verb in a finite form."""
    for item in clause:
        if item.kind in ("drop", "speed", "degree", "time"):
            continue
        w = item.text.split()[0] if item.text else ""
        if item.kind == "part" or w.endswith(("ing", "ed", "ly")) or w in ("in", "eyes", "with", "but", "like"):
            return False
        verb = w.endswith("s") and not w.endswith("ss")
        return verb or (
            item.kind == "gesture" or item.word in LOOK | TURN | TILT | SHIFT | {"open", "close", "raise", "show"}
        )
    return False


def before_part(clause: list[Item], n: int) -> bool:
    """Whether `left` or `right` at `n` stands before a part of the face (or before "side")."""
    for item in clause[n + 1 : n + 4]:
        if item.kind == "part":
            return True
        if item.text == "side":
            return not any(i.word in LOOK | TURN | TILT for i in clause[:n])
        if item.kind not in ("drop", "", "degree"):
            return False
    return False


def side_of(clause: list[Item], n: int) -> str:
    """The side of the part at `n`, "" for both."""
    for item in reversed(clause[max(0, n - 4) : n]):
        if item.text in SIDES:
            item.used = True
            return SIDES[item.text]
        if item.kind == "part" or item.text in BOTH:
            return ""
        if item.text in ("one", "single"):
            return "L"
    return ""


def aim(kind: str, x: float, y: float, text: str) -> dict[str, float]:
    """Degrees of a look, a turn or a tilt towards (left, down)."""
    if kind == "look":
        levels = {"look_x": 18 * x, "turn": 7 * x, "look_y": 13 * y, "nod": 5 * y}
    elif kind == "turn":
        levels = {"turn": 18 * x, "look_x": 6 * x, "nod": 12 * y}
    else:
        back = -11.0 if text in ("back", "backward") else 9.0 if text in ("forward", "forwards") else 12 * y
        levels = {"tilt": 12 * x, "nod": back}
    kept = {c: v for c, v in levels.items() if v}
    return kept or dict.fromkeys(levels, 0.0)


def around(clause: list[Item], n: int) -> str:
    """The words around an event that it is explained by."""
    lo = n
    while lo > 0 and n - lo < 3 and (clause[lo - 1].kind in ("degree", "speed", "drop") or clause[lo - 1].word in LOOK):
        lo -= 1
    words = [
        i.text
        for i in clause[lo : n + 1]
        if i.text and i.text not in ("a", "an", "the", "she", "he", "they", "is", "are")
    ]
    return " ".join(words)


def timing(name: str, value: float) -> Callable[[Event], None]:
    """What a time or a manner changes of an event."""

    def change(e: Event) -> None:
        if name == "for":
            e.seconds = value
        elif name == "times":
            e.count = max(1, round(value))
        elif name == "over":
            e.over = value
        elif name == "stay":
            e.stay = True
        elif name == "hide" and not e.gesture:
            e.degree *= 0.3
            e.levels["AU24"] = max(e.levels.get("AU24", 0.0), 0.6 / 0.3)
            e.note = e.note or "held back"
        elif name == "hide":
            e.gesture, e.levels, e.note = "", {"AU24": 0.6, "AU12": 0.2}, "held back"

    return change
