"""The grammar: English sentences to what the face should do, in what order and for how long.

    text ─► tokens ─► meanings (expressions, gestures, parts of the face, degrees, times) ─► clauses
         ─► events, side by side or one after another ─► `Timeline` ─► motion

A grammar of its own, no network: what it makes of a text can be read (`Timeline.explain`), and every word it
made nothing of is named. With a sentence encoder, whole clauses it knows no word of are understood too.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace

from infinex.drivers.clauses import (
    Item,
    aim,
    around,
    before_part,
    clauses,
    describes_part,
    following,
    sequential,
    side_of,
    timing,
)
from infinex.drivers.events import PART_REGION, UPPER, Event, Group, clash, schedule
from infinex.drivers.grammar import (
    ALONG,
    COMMON,
    DIRECTIONS,
    FADING,
    FOREIGN,
    GRAMMAR,
    GROWING,
    LOOK,
    NOT,
    SHIFT,
    SHORT,
    SIDES,
    SPEEDS,
    THEN,
    TILT,
    TURN,
    mark,
)  # fmt: skip
from infinex.drivers.timeline import GAZE, HEAD, Timeline, unit_of
from infinex.drivers.words import DROPPED, Lexicon, Meaning, Understand, base, lexicon, nearest, tokens
from infinex.errors import InputError, option


def check_language(text: str) -> None:
    """Raise InputError where there is no text, or its letters are not those of English."""
    if not text or not text.strip():
        raise InputError(
            f'{option("text")} is empty; say what the face should do, for example "she smiles, then looks up"'
        )
    letters = [c for c in text if c.isalpha()]
    if not letters:
        raise InputError(f'{option("text")} "{_short(text)}" has no words')
    foreign = [c for c in letters if ord(c) > 0x24F]
    if len(foreign) > 0.2 * len(letters):
        raise InputError(f"{option('text')} is read in English only; this looks like another language")
    if len(text) > 20000:
        raise InputError(f"{option('text')} has {len(text)} characters; 20000 are the most")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


class Reader:
    """Reads texts. `understand` gives a meaning to clauses without a known word."""

    def __init__(self, understand: Understand | None = None) -> None:
        self.book: Lexicon = lexicon()
        self._known = self.book.words | GRAMMAR
        self.understand = understand

    def __call__(self, text: str) -> Timeline:
        """The timeline of a text. Raises InputError for an empty text, another language, or nothing understood."""
        self._notes: list[str] = []
        self._unknown: list[str] = []
        self._last_part, self._last_aim = "", "look"
        self._last_verb: tuple[str, ...] = ()
        self._listed = False  # the last comma went on to the next thing
        self._last: Event | None = None
        check_language(text)
        groups: list[Group] = []
        for sentence in re.split(r"(?<!\d)[.!?](?!\d)|[.!?](?=\s|$)|\n|;", text):
            if sentence.strip():
                self._sentence(sentence, groups)
        foreign = [w for w in tokens(text) if w in FOREIGN and base(w, self.book.words) not in self.book.words]
        known = [e for g in groups for e in g.events]
        if len(foreign) >= 2 and len(foreign) >= len(known):
            raise InputError(
                f"{option('text')} is read in English only; {foreign[0]!r} and {foreign[1]!r} are not English"
            )
        if not known:
            what = f"; not understood: {', '.join(self._unknown)}" if self._unknown else ""
            raise InputError(
                f'nothing in "{_short(text)}" says what the face should do{what}. '
                'Try for example "she smiles, then looks surprised"'
            )
        cues, length = schedule(groups, self._notes)
        unknown = tuple(dict.fromkeys(self._unknown))
        return Timeline(tuple(cues), length, unknown, tuple(dict.fromkeys(self._notes)), zlib.crc32(text.encode()))

    # -- sentences and clauses ---------------------------------------------------------------------

    def _sentence(self, sentence: str, groups: list[Group]) -> None:
        items = self._items(mark(sentence))
        alone = bool(groups) and bool(items) and describes_part(items)
        for i, (how, clause) in enumerate(clauses(items)):
            events, wait, at = self._clause(clause)
            if not events:
                if wait or at is not None:
                    groups.append(Group([], wait, at))
                continue
            joined = how != "then" or (i == 0 and alone)
            together = (
                joined and bool(groups) and (i > 0 or alone) and bool(groups[-1].events) and not wait and at is None
            )
            if together and how == "list" and sequential(clause):
                together = False
            if together and how in ("and", "list", "list and"):
                together = not any(clash(a, b) for a in groups[-1].events for b in events)
                if how == "list and" and self._listed:
                    together = False
            self._listed = how == "list" and not together
            if how == "reverse" and groups:
                groups.insert(len(groups) - 1, Group(events, wait, at))
            elif together:
                groups[-1].events += events
            else:
                groups.append(Group(events, wait, at))

    def _items(self, text: str) -> list[Item]:
        words = tokens(text)
        bases = [base(w, self._known) for w in words]
        out: list[Item] = []
        i = 0
        while i < len(words):
            item, length = self._item(words, bases, i)
            item.text = " ".join(w for w in words[i : i + length] if not w.startswith("§")) or item.text
            out.append(item)
            i += length
        return out

    def _item(self, words: list[str], bases: list[str], i: int) -> tuple[Item, int]:
        w, b = words[i], bases[i]
        if w.startswith("§"):
            name, value = w[1:].split("=")
            return Item("", w, "time", value=(name, float(value))), 1
        if w in ",:":
            return Item(w, w, "link", value="list"), 1
        if w in DROPPED:
            return Item(w, b, "drop"), 1
        found, length = self._longest(words, bases, i)
        one = length <= 1
        if one and w in SPEEDS:
            return Item(w, b, "speed", value=SPEEDS[w]), 1
        if one and w in SHORT:
            return Item(w, b, "time", value=("for", SHORT[w])), 1
        for n in (2, 1):
            key = following(words, bases, i, n)
            if key and key[0] in DIRECTIONS and key[1] > length:
                return Item(w, b, "direction", value=DIRECTIONS[key[0]]), key[1]
        if one and (w in DIRECTIONS or (w,) in DIRECTIONS) and (found is None or found.kind == "part"):
            return Item(w, b, "direction", value=DIRECTIONS[w,]), 1
        if one and w in THEN:
            return Item(w, b, "link", value="then"), 1
        if one and w in ("before", "after", "and", "but"):
            return Item(w, b, "link", value={"but": "and"}.get(w, w)), 1
        if one and w in ALONG:
            return Item(w, b, "link", value="along"), 1
        if one and (w in NOT or b in NOT):
            return Item(w, b, "not", value=b == "stop" or b in ("quit", "cease")), 1
        return found or Item(w, b), max(length, 1)

    def _longest(self, words: list[str], bases: list[str], i: int) -> tuple[Item | None, int]:
        """The longest phrase of the lexicon at `i`: expressions and gestures before degrees before parts."""
        book = self.book
        key: list[str] = []
        best: Item | None = None
        length = 0
        j = i
        while j < len(words) and len(key) < book.longest:
            if words[j] in ",:" or words[j].startswith("§"):
                break
            if words[j] not in DROPPED:
                key.append(bases[j])
                k, surface = tuple(key), tuple(words[i : j + 1])
                if k in book.phrases:
                    m = book.phrases[k]
                    best, length = Item(" ".join(surface), k[-1], m.kind, m), j + 1 - i
                elif k in book.degrees and j + 1 - i > length:
                    m = book.degrees[k]
                    best, length = Item(" ".join(surface), k[-1], "degree", m, m.factor), j + 1 - i
                elif k in book.parts and j + 1 - i > length:
                    best, length = Item(" ".join(surface), k[-1], "part", value=book.parts[k]), j + 1 - i
            j += 1
        return best, length

    def _clause(self, clause: list[Item]) -> tuple[list[Event], float, float | None]:
        """What one clause asks for, and how long it waits before, or when it begins."""
        events = [*self._parts(clause), *self._directions(clause)]
        events += self._phrases(clause)
        events.sort(key=lambda e: e.place)
        wait, at, loose = self._modify(clause, events)
        if not events:
            events = self._elliptic(clause)
            if events:
                self._modify(clause, events)
        if not events:
            events = self._guess(clause)
            if events:
                self._modify(clause, events)
        self._name_unknown(clause, bool(events))
        if not events and self._last is not None:
            for change in loose:  # "..., for two seconds", said of what came before
                change(self._last)
            for item in clause:  # "winks ... with her right eye"
                if item.text in SIDES and not self._last.levels.keys() & {*HEAD, *GAZE}:
                    self._last.side = SIDES[item.text]
        for e in events:
            if not e.negated:
                self._last = e
        return events, wait, at

    def _phrases(self, clause: list[Item]) -> list[Event]:
        out = []
        region_of = next((PART_REGION.get(i.value) for i in clause if i.kind == "part" and not i.used), None)
        for n, item in enumerate(clause):
            if item.kind not in ("expression", "gesture") or item.used or item.meaning is None:
                continue
            item.used = True
            m = item.meaning
            levels = dict(m.levels)
            if region_of and m.kind == "expression":
                part = {c: v for c, v in levels.items() if (unit_of(c) in UPPER) == (region_of == "upper")}
                levels = part or levels
                for other in clause:
                    other.used = other.used or other.kind == "part"
            out.append(Event(around(clause, n), levels, m.gesture, m.kind == "expression", place=n))
        return out

    def _parts(self, clause: list[Item]) -> list[Event]:
        """Parts of the face and what they do: "raises her left eyebrow", "the corners of his mouth turn down"."""
        out: list[Event] = []
        whole = [(n, i) for n, i in enumerate(clause) if i.kind == "part"]
        for n, item in whole:
            if item.used:
                continue
            part = item.value
            if part == "eye" and any(
                i.kind == "direction" and not before_part(clause, k) for k, i in enumerate(clause)
            ):
                continue  # the eyes go somewhere: "left" before a part is its side
            match = self._predicate(clause, n, part)
            if match is None:
                continue
            meaning, used = match
            if meaning.gesture in ("tilt", "turn", "look") and any(i.kind == "direction" for i in clause):
                continue  # where to is said
            item.used = True
            for k in used:
                clause[k].used = True
            self._last_part = part
            self._last_verb = tuple(clause[k].word for k in used)
            words = " ".join(clause[k].text for k in sorted({*used, n}))
            event = self._frame_event(meaning, words, n)
            event.side = side_of(clause, n)
            out.append(event)
        return out

    def _frame_event(self, meaning: Meaning, words: str, n: int) -> Event:
        if meaning.gesture == "open_eyes":
            return Event(words, {"AU5": 0.35}, place=n, note="opens what was shut", ending=True)
        if meaning.gesture == "close_mouth":
            return Event(words, {"AU25": 0.01, "AU26": 0.01}, place=n, ending=True, note="shuts what was open")
        if meaning.gesture in ("tilt", "turn", "look"):
            angle = {"tilt": {"tilt": 11.0}, "turn": {"turn": 15.0}, "look": {"look_x": 16.0}}[meaning.gesture]
            return Event(words, angle, place=n)
        if meaning.gesture:
            return Event(words, {}, meaning.gesture, place=n)
        return Event(words, dict(meaning.levels), place=n)

    def _predicate(self, clause: list[Item], n: int, part: str) -> tuple[Meaning, list[int]] | None:
        """The longest phrase of the part's frames near it, its words in order with little between them."""
        best: tuple[float, Meaning, list[int]] | None = None
        for phrase, meaning in self.book.frames.get(part, {}).items():
            for start, item in enumerate(clause):
                if item.word != phrase[0] and item.text != phrase[0]:
                    continue
                if item.used or item.kind in ("part", "not"):
                    continue
                used, gap = [start], 0
                for w in phrase[1:]:
                    ahead = range(used[-1] + 1, min(len(clause), used[-1] + 6))
                    k = next((k for k in ahead if w in (clause[k].word, clause[k].text) and not clause[k].used), None)
                    if k is None:
                        break
                    gap += sum(1 for q in clause[used[-1] + 1 : k] if q.kind not in ("drop", "part", "degree", "speed"))
                    used.append(k)
                if len(used) < len(phrase) or gap > 2:
                    continue
                away = min(abs(k - n) for k in used)
                if away > 7:
                    continue
                score = 3 * len(phrase) - 0.5 * away - gap + (0.3 if start < n else 0)
                if best is None or score > best[0]:
                    best = score, meaning, used
        return None if best is None else (best[1], best[2])

    def _directions(self, clause: list[Item]) -> list[Event]:
        """ "looks up and to the left", "turns his head away", "tilts to the right"."""
        out: list[Event] = []
        parts = {i.value for i in clause if i.kind == "part" and not i.used}
        had_part = {i.value for i in clause if i.kind == "part"}
        for n, item in enumerate(clause):
            if item.kind != "direction" or item.used:
                continue
            if item.text in SIDES and before_part(clause, n):
                continue
            verb = next((k for k in range(n - 1, -1, -1) if clause[k].word in LOOK | TURN | TILT | SHIFT), None)
            word = clause[verb].word if verb is not None else ""
            kind = ""
            if parts & {"eye", "gaze"} or (had_part & {"eye", "gaze"} and word in SHIFT | TURN):
                kind = "look" if verb is not None or parts & {"gaze", "eye"} else ""
            elif "head" in parts or "chin" in parts:
                kind = "tilt" if word in TILT else "turn" if verb is not None else ""
            elif word in LOOK:
                kind = "look"
            elif word in TURN and word != "move":
                kind = "turn"
            elif word in TILT and word != "rest":
                kind = "tilt"
            if not kind:
                continue
            x, y = item.value
            if kind == "turn" and "head" not in had_part and word == "look":
                kind = "look"
            levels = aim(kind, x, y, item.text)
            item.used = True
            if verb is not None:
                clause[verb].used = True
            for i in clause:
                i.used = i.used or (i.kind == "part" and i.value in ("eye", "head", "gaze"))
            self._last_aim = kind
            first = min(verb if verb is not None else n, n)
            words = " ".join(i.text for i in clause[first : n + 1] if i.text)
            if out and not set(out[-1].levels) & {c for c, v in levels.items() if v}:
                out[-1].levels = {**out[-1].levels, **{c: v for c, v in levels.items() if v}}
                out[-1].words = words
                continue
            out.append(Event(words, levels, place=n))
        return out

    def _elliptic(self, clause: list[Item]) -> list[Event]:
        """ "..., then to the right", "... and her chin", "... then again": the verb of the clause before."""
        last = self._last
        if last is None:
            return []
        for n, item in enumerate(clause):
            if item.word == "again" and not any(i.kind in ("part", "direction") for i in clause):
                item.used = True
                return [replace(last, words=last.words + " again", levels=dict(last.levels))]
            if item.kind == "direction" and set(last.levels) & {*HEAD, *GAZE}:
                item.used = True
                levels = aim(self._last_aim, item.value[0], item.value[1], item.text)
                return [Event(item.text, levels, place=n)]
            if item.kind == "time" and item.value[0] == "flip" and set(last.levels) & {*HEAD, *GAZE, "tilt"}:
                item.used = True
                return [replace(last, words="the other way", levels={c: -v for c, v in last.levels.items()})]
            if item.text in ("it", "them") and self._last_part:
                part = Item(item.text, item.text, "part", value=self._last_part)
                changed = [*clause[:n], part, *clause[n + 1 :]]
                events = self._parts(changed)
                if events:
                    return events
            if item.kind == "part" and self._last_verb:
                frames = self.book.frames.get(item.value, {})
                meaning = frames.get(self._last_verb)
                if meaning is not None:
                    item.used = True
                    event = self._frame_event(meaning, item.text, n)
                    event.side = side_of(clause, n)
                    return [event]
        return []

    def _guess(self, clause: list[Item]) -> list[Event]:
        """A clause with no known word of expression: by its neighbours in spelling and meaning, or as a whole."""
        for n, item in enumerate(clause):
            if item.kind or item.used or item.word in COMMON or item.text in COMMON:
                continue
            word, how = nearest(item.text)
            key = (base(word, self.book.words),) if word else ()
            if key in self.book.phrases:
                m = self.book.phrases[key]
                item.used = True
                note = (
                    f"{item.text!r} {how}: {m.phrase}"
                    if how.startswith("taken")
                    else f"{item.text!r} is {how} to {m.phrase}"
                )
                return [Event(item.text, dict(m.levels), m.gesture, m.kind == "expression", place=n, note=note)]
        content = [i for i in clause if not i.kind and i.text not in COMMON]
        if self.understand is not None and content:
            text = " ".join(i.text for i in clause if i.text)
            found = self.understand(text)
            if found is not None:
                word, sure = found
                m = self.book.phrases[base(word, self.book.words),]
                for i in clause:
                    i.used = True
                return [
                    Event(
                        text,
                        dict(m.levels),
                        m.gesture,
                        m.kind == "expression",
                        note=f"understood as {word}, {sure:.2f}",
                    )
                ]
        return []

    def _modify(
        self, clause: list[Item], events: list[Event]
    ) -> tuple[float, float | None, list[Callable[[Event], None]]]:
        """Degrees, sides, speeds, numbers and negation of a clause, laid on its events."""
        wait, at = 0.0, None
        loose: list[Callable[[Event], None]] = []
        for n, item in enumerate(clause):
            near = min(events, key=lambda e: abs(e.place - n) + (0.4 if e.place < n else 0)) if events else None
            if item.kind == "degree" and near is not None and not item.used:
                near.degree *= item.value
                item.used = True
            elif item.kind == "speed":
                item.used = True
                for e in events:
                    e.speed *= item.value
            elif item.kind == "time":
                item.used = True
                name, value = item.value
                if name == "after":
                    wait += value
                elif name == "at":
                    at = value
                elif name == "stop":
                    for e in events:
                        e.negated, e.ending = True, True
                elif name != "flip":
                    for change in [timing(name, value)]:
                        loose.append(change)
                        for e in events:
                            change(e)
            elif item.kind == "not":
                for e in events:
                    if e.place > n or (
                        e.place < n and item.word in ("no", "not") and not any(x.place > n for x in events)
                    ):
                        e.negated = True
                        e.ending = e.ending or bool(item.value)
                item.used = True
            elif item.word in FADING and near is not None and near.expression and near.place < n and not item.kind:
                near.ending, item.used = True, True
                near.negated = True
            elif item.word in GROWING and near is not None and near.expression and near.place < n and not item.kind:
                near.degree, near.speed, item.used = near.degree * 1.3, near.speed * 1.8, True
            elif item.kind == "direction" and item.text in SIDES and not item.used and near is not None:
                near.side, item.used = near.side or SIDES[item.text], True
        for e in events:
            e.degree = min(e.degree, 1.6)
        return wait, at, loose

    def _name_unknown(self, clause: list[Item], understood: bool) -> None:
        for item in clause:
            if item.kind == "degree" and not item.used and not understood:
                continue
            if item.used or item.kind in ("drop", "link", "time", "not", "speed", "degree"):
                continue
            if item.kind in ("part", "direction") or item.text in COMMON or item.word in COMMON:
                continue
            if item.text.replace(".", "").isdigit():
                continue
            self._unknown.append(item.text)
