"""What a text asks for, before and after it is laid out in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from infinex.drivers.gestures import GESTURES, perform, scaled
from infinex.drivers.grammar import MOST_SECONDS
from infinex.drivers.timeline import GAZE, HEAD, Cue, unit_of
from infinex.errors import InputError, option

LEAD = 0.3  # seconds before the first cue
ONSET, APEX, OFFSET = 0.45, 1.15, 0.65  # of an expression that nothing is said about
OPPOSED = (
    ("AU12", "AU15", "the corners of the mouth"), ("AU5", "AU43", "the lids"), ("AU26", "AU24", "the mouth"),
    ("AU25", "AU24", "the mouth"), ("AU27", "AU24", "the mouth"), ("AU12", "AU18", "the mouth"),
)  # fmt: skip
UPPER = frozenset({"AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU43", "AU45", "AU46"})
REGIONS = {"AU1": "brows", "AU2": "brows", "AU4": "brows", "AU5": "lids", "AU6": "cheeks", "AU7": "lids",
           "AU43": "lids", "AU45": "lids", "AU46": "lids", "AU9": "nose", "AU38": "nose", "turn": "turn",
           "nod": "nod", "tilt": "tilt", "look_x": "gaze", "look_y": "gaze", "lean": "lean"}  # fmt: skip
PART_REGION = {"brow": "upper", "inner_brow": "upper", "outer_brow": "upper", "eye": "upper", "upper_lid": "upper",
               "lower_lid": "upper", "mouth": "lower", "lip": "lower", "upper_lip": "lower", "lower_lip": "lower",
               "corner": "lower"}  # fmt: skip


def region(channel: str) -> str:
    """The part of the face that a channel moves."""
    return REGIONS.get(unit_of(channel), "mouth")


@dataclass
class Event:
    """One thing asked for, not yet in time."""

    words: str
    levels: dict[str, float] = field(default_factory=dict)
    gesture: str = ""
    expression: bool = False  # of the whole face: ends another such
    negated: bool = False
    ending: bool = False  # asks for the end of what it names
    degree: float = 1.0
    speed: float = 1.0
    count: int | None = None
    seconds: float | None = None
    over: float | None = None
    side: str = ""
    stay: bool = False
    note: str = ""
    place: int = 0

    @property
    def main(self) -> str:
        """The channel that shows it most."""
        return max(self.levels, key=lambda c: abs(self.levels[c])) if self.levels else ""

    @property
    def regions(self) -> set[str]:
        """Parts of the face it moves."""
        return {region(c) for c in self.levels}


@dataclass
class Group:
    """Events at the same time."""

    events: list[Event]
    wait: float = 0.0
    at: float | None = None


def clash(a: Event, b: Event) -> bool:
    """Whether two events cannot be at the same time, so that "and" must mean "and then"."""
    if a.negated or b.negated or a.ending or b.ending:
        return a.ending != b.ending and bool(a.regions & b.regions)
    if a.gesture and b.gesture:
        shared = {c for s in GESTURES.get(a.gesture, GESTURES["nod"]).strands for c in s.levels} & {
            c for s in GESTURES.get(b.gesture, GESTURES["nod"]).strands for c in s.levels
        }
        return bool(shared)
    for first, second in ((a, b), (b, a)):
        if any(first.levels.get(x, 0) > 0.2 and second.levels.get(y, 0) > 0.2 for x, y, _ in OPPOSED):
            return True
        if first.gesture and GESTURES.get(first.gesture, GESTURES["nod"]).face and second.expression:
            return any(x in _channels(first) and second.levels.get(y, 0) > 0.2 for x, y, _ in OPPOSED) or any(
                y in _channels(first) and second.levels.get(x, 0) > 0.2 for x, y, _ in OPPOSED
            )
    same = set(a.levels) & set(b.levels) & {*HEAD, *GAZE}
    return any(a.levels[c] * b.levels[c] <= 0 and (a.levels[c] or b.levels[c]) for c in same)


def _channels(e: Event) -> set[str]:
    if e.gesture in GESTURES:
        return {c for s in GESTURES[e.gesture].strands for c in s.levels}
    return set(e.levels)


# -- time -----------------------------------------------------------------------------------------


@dataclass
class _Held:
    event: Event
    start: float
    onset: float


def schedule(groups: Sequence[Group], notes: list[str]) -> tuple[list[Cue], float]:
    """Groups of events one after another, as cues: a held expression lasts until another replaces it."""
    cues: list[Cue] = []
    held: list[_Held] = []
    cursor = LEAD
    last = 0.0

    def release(h: _Held, at: float, fade: float = OFFSET) -> None:
        at = max(at, h.start + h.onset + 0.1)
        keys = ((0.0, 0.0), (h.onset, 1.0), (at - h.start, 0.97), (at - h.start + fade, 0.0))
        cues.append(Cue(h.start, keys, _levels(h.event), h.event.words, h.event.note))

    for group in groups:
        cursor += group.wait
        if group.at is not None:
            cursor = max(cursor if cues or held else 0.0, group.at)
        forbidden = _forbid(group.events, notes)
        ends = [cursor]
        before = list(held)
        for e in _settle(group.events, forbidden, notes):
            if e.negated and not e.ending:
                ends.append(cursor + 1.0 if len(group.events) == 1 else cursor)
                continue
            gone = [h for h in before if h in held and _replaces(e, h.event)]
            if e.ending and e.negated and not gone and e.levels:  # "her smile fades": it has to be there first
                release(_Held(replace(e, negated=False), cursor, ONSET), cursor + 0.9, 1.2)
                ends.append(cursor + 2.0)
                continue
            for h in gone:
                held.remove(h)
                release(h, cursor, OFFSET if not e.ending else 0.5 * max(e.speed, 1))
            if e.gesture == "neutral" or (e.ending and not e.levels.get("AU5")):
                length = e.seconds or 0.9
                cues.append(Cue(cursor, ((0.0, 0.0), (length, 0.0)), {}, e.words, e.note or "back to rest"))
                ends.append(cursor + length)
                continue
            if e.gesture:
                made = perform(e.gesture, cursor, e.words, e.degree, e.speed, e.count, e.seconds, e.side, e.note)
                made = [replace(c, levels={k: v for k, v in c.levels.items() if k not in forbidden}) for c in made]
                cues += made
                ends.append(max(c.end for c in made) - 0.1)
                continue
            onset = e.over or ONSET * max(e.speed, 0.3)
            if e.count and e.count > 1:
                for k in range(e.count):
                    s = cursor + k * 1.15 * e.speed
                    keys = tuple((t * e.speed, v) for t, v in ((0.0, 0.0), (0.35, 1.0), (0.6, 1.0), (0.95, 0.0)))
                    cues.append(Cue(s, keys, _levels(e), e.words, e.note))
                ends.append(cursor + e.count * 1.15 * e.speed)
            elif e.seconds is not None and not e.stay:
                stay = max(0.1, e.seconds - onset)
                fade = OFFSET * min(max(e.speed, 0.5), 1.5)
                keys = ((0.0, 0.0), (onset, 1.0), (onset + stay, 0.97), (onset + stay + fade, 0.0))
                cues.append(Cue(cursor, keys, _levels(e), e.words, e.note))
                ends.append(cursor + onset + stay)
            elif e.ending:
                keys = ((0.0, 0.0), (0.3, 1.0), (0.7, 0.6), (1.2, 0.0))
                cues.append(Cue(cursor, keys, _levels(e), e.words, e.note))
                ends.append(cursor + 0.9)
            else:
                held.append(_Held(e, cursor, onset))
                ends.append(cursor + onset + APEX)
        cursor = max(ends)
        if cursor > MOST_SECONDS:
            raise InputError(f"{option('text')} describes more than {MOST_SECONDS:.0f} seconds; that is the most")
    for h in held:
        release(h, cursor)
    last = max([c.end for c in cues] + [cursor])
    return sorted(cues, key=lambda c: c.start), round(max(last + 0.35, 1.5), 3)


def _levels(e: Event) -> Mapping[str, float]:
    out = {}
    for c, v in e.levels.items():
        name = c
        if c.startswith("AU") and e.side:
            name = (c[:-1] if c[-1] in "LR" else c) + e.side
        out[name] = round(scaled(c, v, e.degree), 3)
    return out


def _replaces(new: Event, old: Event) -> bool:
    """Whether a held event ends when a new one begins."""
    if new.gesture == "neutral":
        return not set(old.levels) & {*HEAD, *GAZE} or old.expression
    if new.negated or new.ending:
        if new.ending and not new.negated:  # opens the eyes, shuts the mouth
            lids = "AU5" in new.levels
            return any(region(c) == ("lids" if lids else "mouth") for c in old.levels) and not old.expression
        return bool(new.regions & old.regions) or new.words == old.words
    if new.gesture:
        if GESTURES[new.gesture].face and (
            old.expression or {region(c) for c in _channels(new)} & old.regions - {*HEAD}
        ):
            return True
        return new.gesture in ("look_around", "roll_eyes") and bool(old.regions & {"gaze"}) and not old.expression
    if new.expression and old.expression:
        return True
    if old.main in (*HEAD, *GAZE):  # eyes that went a little with a turned head may look elsewhere
        return region(old.main) in new.regions
    return bool(new.regions & old.regions) and (not old.expression or _against(new, old))


def _against(a: Event, b: Event) -> bool:
    return clash(a, b) or any((a.levels.get(x, 0) and b.levels.get(y, 0)) or (a.levels.get(y, 0) and b.levels.get(x, 0))
                              for x, y, _ in OPPOSED)  # fmt: skip


def _forbid(events: Sequence[Event], notes: list[str]) -> set[str]:
    """Units that a negation beside other events keeps down."""
    out: set[str] = set()
    positive = [e for e in events if not e.negated]
    for e in events:
        if not e.negated or e.ending:
            continue
        units = {c for c in _channels(e) if c.startswith("AU")}
        mains = {p.main for p in positive}
        if e.main in mains and e.main:
            if (
                len(units) > 1
                and any(c not in mains for c in units)
                and "tooth" in e.words + "tooth" * ("teeth" in e.words)
            ):
                units -= mains
            else:
                notes.append(f'"{e.words}" is asked for and forbidden at once; it is left out')
        out |= units
        if not positive:
            notes.append(f'"{e.words}" is left out, as asked')
    return out


def _settle(events: Sequence[Event], forbidden: set[str], notes: list[str]) -> list[Event]:
    """The events of a group without what is forbidden and without what contradicts what was said first."""
    out: list[Event] = []
    for e in events:
        if not e.negated and forbidden and e.levels:
            e.levels = {c: v for c, v in e.levels.items() if c not in forbidden}
            if not e.levels:
                continue
        if not e.negated and not e.ending:
            for before in out:
                if before.negated or before.ending:
                    continue
                for x, y, where in OPPOSED:
                    for mine, theirs in ((x, y), (y, x)):
                        if e.levels.get(mine, 0) > 0.2 and before.levels.get(theirs, 0) > 0.2:
                            notes.append(
                                f'"{before.words}" and "{e.words}" contradict each other at {where}; the first is kept'
                            )
                            e.levels = {c: v for c, v in e.levels.items() if c != mine}
                for c in ("turn", "nod", "tilt", "look_x", "look_y"):
                    if e.levels.get(c, 0) * before.levels.get(c, 0) < 0 and not (e.expression or before.expression):
                        notes.append(f'"{before.words}" and "{e.words}" contradict each other; the first is kept')
                        e.levels = {k: v for k, v in e.levels.items() if k != c}
        if e.levels or e.gesture or e.negated or e.ending:
            out.append(e)
    return out
