"""English sentences to motion: what the face should do, in what order and for how long.

    text ─► tokens ─► meanings (expressions, gestures, parts of the face, degrees, times) ─► clauses
         ─► events, side by side or one after another ─► `Timeline` ─► motion

A grammar of its own, no network: what it makes of a text can be read (`Timeline.explain`), and every word it
made nothing of is named. With a sentence encoder, whole clauses it knows no word of are understood too.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from infinex.drivers.gestures import GESTURES, perform, scaled
from infinex.drivers.timeline import GAZE, HEAD, Cue, Timeline
from infinex.drivers.words import DROPPED, Lexicon, Meaning, base, lexicon, nearest, tokens
from infinex.errors import InputError

LEAD = 0.3  # seconds before the first cue
ONSET, APEX, OFFSET = 0.45, 1.15, 0.65  # of an expression that nothing is said about
MOST_SECONDS = 600.0
Understand = Callable[[str], tuple[str, float] | None]  # a clause to (a word of the lexicon, similarity)

NUMBERS = {"zero": 0, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
           "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "half": 0.5,
           "half a": 0.5, "half an": 0.5, "a half": 0.5, "couple": 2, "a couple": 2, "a couple of": 2, "few": 3,
           "a few": 3, "several": 4, "one and a half": 1.5, "two and a half": 2.5, "a quarter of a": 0.25,
           "another": 1, "some": 3, "many": 4, "a full": 1, "the first": 1}  # fmt: skip
_N = r"(\d+(?:\.\d+)?|" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + r")"
_UNIT = r"\s*-?(seconds?|secs?|s|minutes?|mins?|milliseconds?|ms)\b"
_ABOUT = r"(?:about |around |roughly |at least |exactly |approximately |nearly |almost |another |the next |the first )?"
TIMINGS = (
    (r"\b(?:after|in) " + _ABOUT + _N + _UNIT, "after"),
    (r"\b(?:waits?|pauses?|waiting|pausing|stays? still|holds? still|does nothing)(?: for)? " + _ABOUT + _N + _UNIT,
     "after"),
    (_N + _UNIT + r"\s+(?:later|after that|afterwards)", "after"),
    (r"\bat(?: the)? (?:second |time )?" + _N + _UNIT, "at"),
    (r"\b(?:over|within|across|in the course of|taking|takes) " + _ABOUT + _N + _UNIT, "over"),
    (r"\b(?:for|lasting|during|hold(?:s|ing)?(?: it| that| this)?(?: for)?) " + _ABOUT + _N + _UNIT, "for"),
    (_N + r"[- ]second(?:s)?(?:[- ]long)?\b", "for"),
    (r"\b" + _N + r" (?:more )?times\b", "times"),
)  # fmt: skip
FIXED = (
    (r"\b(?:for|in)? ?(?:just |only )?(?:a|one|the) (?:brief |short |split |quick )?(?:moment|instant|bit of a second|split second|flash|beat)\b(?! later)",
     " §for=0.5 "),
    (r"\b(?:a moment|a bit|shortly|an instant|some time|a little while|a while|moments) (?:later|after)\b", " §after=0.8 "),
    (r"\b(?:for )?(?:a long time|a long while|ages|quite a while|a while|a good while)\b", " §for=3.5 "),
    (r"\b(?:the whole time|all the time|throughout|the entire time|all along|non ?stop|the whole clip)\b", " §stay=1 "),
    (r"\bonce more\b|\bone more time\b|\byet again\b", " again "),
    (r"\b(?:over and over(?: again)?|again and again|repeatedly|continuously|constantly|many times|several times|a few times|multiple times)\b",
     " §times=3 "),
    (r"\b(?:a couple of times|a couple times)\b|\btwice\b|\bboth times\b|\bdouble (?=blink|nod|wink)", " §times=2 "),
    (r"\bthrice\b", " §times=3 "),
    (r"(?<!at )(?<!all at )(?<!for )\bonce\b(?! (?:she|he|they|it|the|more))", " §times=1 "),
    (r"\b(?:can|could) ?(?:not|n't) (?:help|stop|hold back)(?: but)?\b|\bcan't (?:help|stop)(?: but)?\b", " "),
    (r"\b(?:tr(?:y|ies|ying) (?:hard )?not to|(?:hold|holds|holding|fight|fights|fighting|chok\w+) back|suppress\w*|stif\w+|struggl\w+ not to|bites? back)\b", " §hide=1 "),
    (r"\bnot only\b", " "),
    (r"\b(?:no longer|any ?more|any longer)\b", " §stop=1 "),
    (r"\b(?:right now|right away|of course|at all|all right|in front of)\b", " "),
    (r"\b(?:to|into|at|on|from) (?:the|his|her|their|its|my|your)? ?(?:other|opposite) (?:side|way|direction)\b|\bthe other way\b",
     " §flip=1 "),
)  # fmt: skip
SPEEDS = {
    "slowly": 2.2, "slow": 2.2, "gradually": 2.6, "gradual": 2.6, "leisurely": 2.0, "languidly": 2.2, "lazily": 1.8,
    "unhurriedly": 2.0, "quickly": 0.55, "quick": 0.55, "rapidly": 0.5, "rapid": 0.5, "fast": 0.5, "swiftly": 0.5,
    "briskly": 0.6, "suddenly": 0.35, "sudden": 0.35, "abruptly": 0.35, "abrupt": 0.35, "instantly": 0.3,
    "immediately": 0.4, "hastily": 0.55, "hurriedly": 0.55, "snappily": 0.5, "sluggishly": 2.2,
}  # fmt: skip
SHORT = {"briefly": 0.4, "momentarily": 0.4, "fleetingly": 0.25, "fleeting": 0.25, "brief": 0.4, "short": 0.4}
THEN = frozenset(
    "then next afterwards afterward finally later eventually subsequently until till becomes become thereafter "
    "lastly thereupon".split()
)
INTO = re.compile(
    r"\b(?:turn(?:s|ing|ed)? in ?to|chang(?:e|es|ing|ed) (?:in ?to|to)|giv(?:e|es|ing) way to|fad(?:e|es|ing) (?:in ?to|to)"
    r"|morph(?:s|ing)? in ?to|transform(?:s|ing)? in ?to|transition(?:s|ing)? (?:in ?to|to)|shift(?:s|ing)? (?:in ?to|to (?=\w+(?:ed|ness|er|y|ion|ment|ief|ear|oy)\b))"
    r"|followed by|after that|after which|replaced by|switch(?:es|ing)? to|melt(?:s|ing)? in ?to|in the end|at last"
    r"|end(?:s|ing)? (?:up|with|in)|dissolv(?:e|es|ing) in ?to|break(?:s|ing)? in ?to|burst(?:s|ing)? in ?to|all of a sudden|only to"
    r"|leading to|and back to|back to|mov(?:e|es|ing) on to|progress(?:es|ing)? to|grow(?:s|ing)? in ?to|gives? rise to|soften(?:s|ing)? in ?to)\b"
)
FROM_TO = re.compile(r"\bfrom ((?:being )?\w+(?: \w+)?) (?:over )?(?:in)?to ")
ALONG = frozenset("while as with when meanwhile simultaneously during whereas though although whereby plus".split())
NOT = frozenset("not no without never nor neither hardly cannot lacking stop avoid quit cease refuse instead rather "
                "don dont doesnt".split())  # fmt: skip
SIDES = {"left": "L", "right": "R"}
BOTH = frozenset({"both", "two"})
LOOK = frozenset("look glance gaze stare peek peer see eye watch focus squint glimpse turn_eyes".split())
TURN = frozenset("turn face rotate twist spin pivot swivel swing look_turn whip move".split())
TILT = frozenset("tilt lean cock tip incline cant bend rest".split())
SHIFT = frozenset("move shift cast direct drop lower raise lift drift slide flick dart avert go fall follow wander roll "
                  "sweep bring keep".split())  # fmt: skip
DIRECTIONS: dict[tuple[str, ...], tuple[float, float]] = {
    ("left",): (1, 0), ("right",): (-1, 0), ("up",): (0, -1), ("upward",): (0, -1), ("upwards",): (0, -1),
    ("down",): (0, 1), ("downward",): (0, 1), ("downwards",): (0, 1), ("sideways",): (1, 0), ("sideway",): (1, 0),
    ("aside",): (1, 0), ("away",): (1, 0.25), ("to", "side"): (1, 0), ("from", "camera"): (1, 0.2),
    ("at", "ceiling"): (0, -1), ("at", "sky"): (0, -1), ("to", "sky"): (0, -1), ("to", "ceiling"): (0, -1),
    ("heavenward",): (0, -1), ("skyward",): (0, -1), ("skywards",): (0, -1), ("above",): (0, -1), ("below",): (0, 1),
    ("at", "floor"): (0, 1), ("at", "ground"): (0, 1), ("to", "floor"): (0, 1), ("to", "ground"): (0, 1),
    ("at", "foot"): (0, 1), ("at", "feet"): (0, 1), ("at", "shoe"): (0, 1), ("at", "phone"): (0, 0.9),
    ("at", "hand"): (0, 1), ("at", "hands"): (0, 1), ("at", "lap"): (0, 1), ("at", "watch"): (-0.5, 1),
    ("over", "shoulder"): (1.5, 0.1), ("ahead",): (0, 0), ("straight",): (0, 0), ("forward",): (0, 0),
    ("forwards",): (0, 0), ("at", "camera"): (0, 0), ("to", "camera"): (0, 0), ("into", "camera"): (0, 0),
    ("at", "viewer"): (0, 0), ("at", "me"): (0, 0), ("at", "you"): (0, 0), ("at", "us"): (0, 0), ("back",): (0, 0),
    ("at", "lens"): (0, 0), ("at", "audience"): (0, 0), ("to", "front"): (0, 0), ("front",): (0, 0),
    ("center",): (0, 0), ("centre",): (0, 0), ("into", "distance"): (0, -0.15), ("to", "heaven"): (0, -1),
    ("out", "window"): (1, -0.1), ("to", "chest"): (0, 1), ("to", "neighbour"): (1, 0), ("to", "neighbor"): (1, 0),
    ("on", "floor"): (0, 1), ("at", "table"): (0, 0.9), ("at", "book"): (0, 0.9), ("at", "star"): (0, -1),
    ("at", "stars"): (0, -1), ("overhead",): (0, -1),
}  # fmt: skip
FADING = frozenset("fade disappear vanish die drop slip wane fall dissolve subside ebb falter leave end".split())
GROWING = frozenset("widen grow spread broaden deepen intensify increase build".split())
# Words of grammar and of the scene, that need not be understood to be obeyed.
COMMON = frozenset(
    """and or but of in to at on into onto from by for about like if so such too also just still only even yet again back
    person people man woman boy girl guy lady child kid baby model portrait character subject someone somebody everyone
    one anyone him me us them who which what there here where how why because since
    look seem appear feel get become make give go start begin stop keep stay remain hold have do let can could will would should may
    might must try continue show display wear put take express bring come turn act pretend react respond ready about manage
    expression emotion feeling mood face facial camera viewer side way time moment second bit lot hint sense tone manner kind sort
    sudden once now today already almost nearly appear out up off over upon around along through together apart
    please want need animate video clip image photo picture well good more less most least rather than enough
    sight thing something anything nothing everything all each every other another same first last own old young
    its itself herself himself deep quite bare full then while slight little look wear direction pace speed
    suddenly again oneself both eye head brow lip mouth cheek nose jaw chin forehead tooth gaze motion movement gesture
    slightest whole entire complete total really be always often sometimes usually towards toward attempt proceed
    without before after until during under behind between against beyond inside outside near next to
    leave find meet see hear watch set fall break burst let's lets mr mrs ms dr yes am pm ok okay actually literally basically perhaps
    maybe probably finally shape form natural naturally spontaneous direct directly visible camera's face's""".split()
)  # fmt: skip
GRAMMAR = COMMON | LOOK | TURN | TILT | SHIFT | FADING | GROWING
FOREIGN = frozenset(
    """el la los las una uno ella él sonríe sonrie luego mira después despues cierra ojos boca cabeza der die das und sie
    er lächelt lachelt dann schaut nach augen kopf mund langsam überrascht le les une elle il sourit puis regarde yeux
    tête bouche avec est und il lei lui sorride poi guarda occhi testa ela ele sorri depois olha olhos het een zij hij
    glimlacht dan kijkt ogen ja jest ona uśmiecha potem hon han ler sedan ardından gülümsüyor ingat con ist mit nicht
    triste feliz enojado traurig glücklich wütend heureux heureuse fâché kafa auf zu ne pas sus""".split()
)  # fmt: skip
OPPOSED = (
    ("AU12", "AU15", "the corners of the mouth"), ("AU05", "AU43", "the lids"), ("AU26", "AU24", "the mouth"),
    ("AU25", "AU24", "the mouth"), ("AU27", "AU24", "the mouth"), ("AU12", "AU18", "the mouth"),
)  # fmt: skip
UPPER = frozenset({"AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU43", "AU45", "AU46"})
REGIONS = {"AU01": "brows", "AU02": "brows", "AU04": "brows", "AU05": "lids", "AU06": "cheeks", "AU07": "lids",
           "AU43": "lids", "AU45": "lids", "AU46": "lids", "AU09": "nose", "AU38": "nose", "turn": "turn",
           "nod": "nod", "tilt": "tilt", "look_x": "gaze", "look_y": "gaze", "lean": "lean"}  # fmt: skip
PART_REGION = {"brow": "upper", "inner_brow": "upper", "outer_brow": "upper", "eye": "upper", "upper_lid": "upper",
               "lower_lid": "upper", "mouth": "lower", "lip": "lower", "upper_lip": "lower", "lower_lip": "lower",
               "corner": "lower"}  # fmt: skip


def region(channel: str) -> str:
    """The part of the face that a channel moves."""
    return REGIONS.get(channel[:4] if channel.startswith("AU") else channel, "mouth")


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


@dataclass
class Item:
    """A token, or several that mean one thing together."""

    text: str
    word: str  # base form
    kind: str = ""  # expression, gesture, degree, part, direction, speed, time, not, link, drop, ""
    meaning: Meaning | None = None
    value: Any = None
    used: bool = False


class Reader:
    """Reads texts. `understand` gives a meaning to clauses without a known word, where a sentence encoder is at hand."""

    def __init__(self, understand: Understand | None = None) -> None:
        self.book: Lexicon = lexicon()
        self._known = self.book.words | GRAMMAR
        self.understand = understand

    def __call__(self, text: str) -> Timeline:
        """The timeline of a text. Raises InputError for an empty text, another language, or nothing understood."""
        self._notes: list[str] = []
        self._unknown: list[str] = []
        self._last_part = ""
        self._last: Event | None = None
        check_language(text)
        groups: list[Group] = []
        for sentence in re.split(r"(?<!\d)[.!?](?!\d)|[.!?](?=\s|$)|\n|;", text):
            if sentence.strip():
                self._sentence(sentence, groups)
        foreign = [w for w in tokens(text) if w in FOREIGN and base(w, self.book.words) not in self.book.words]
        known = [e for g in groups for e in g.events]
        if len(foreign) >= 2 and len(foreign) >= len(known):
            raise InputError(f"--text is read in English only; {foreign[0]!r} and {foreign[1]!r} are not English")
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
        items = self._items(_mark(sentence))
        alone = bool(groups) and bool(items) and _describes_part(items)
        for i, (how, clause) in enumerate(_clauses(items)):
            events, wait, at = self._clause(clause)
            if not events:
                if wait or at is not None:
                    groups.append(Group([], wait, at))
                continue
            joined = how != "then" or (i == 0 and alone)
            together = joined and bool(groups) and (i > 0 or alone) and bool(groups[-1].events) and not wait and at is None
            if together and how == "list" and _sequential(clause):
                together = False
            if together and how in ("and", "list", "list and"):
                together = not any(clash(a, b) for a in groups[-1].events for b in events)
                if how == "list and" and getattr(self, "_listed", False):
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
        book = self.book
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
            key = _skip(words, bases, i, n)
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
        if not events and not wait and at is None:
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
                part = {c: v for c, v in levels.items() if (c[:4] in UPPER) == (region_of == "upper")}
                levels = part or levels
                for other in clause:
                    other.used = other.used or other.kind == "part"
            out.append(Event(_context(clause, n), levels, m.gesture, m.kind == "expression", place=n))
        return out

    def _parts(self, clause: list[Item]) -> list[Event]:
        """Parts of the face and what they do: "raises her left eyebrow", "the corners of his mouth turn down"."""
        out: list[Event] = []
        whole = [(n, i) for n, i in enumerate(clause) if i.kind == "part"]
        for n, item in whole:
            if item.used:
                continue
            part = item.value
            if part == "eye" and any(i.kind == "direction" for i in clause) and not _before_part(clause, n):
                continue
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
            event.side = _side(clause, n)
            out.append(event)
        return out

    def _frame_event(self, meaning: Meaning, words: str, n: int) -> Event:
        if meaning.gesture == "open_eyes":
            return Event(words, {"AU05": 0.35}, place=n, note="opens what was shut", ending=True)
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
                    k = next((k for k in range(used[-1] + 1, min(len(clause), used[-1] + 6))
                              if (clause[k].word == w or clause[k].text == w) and not clause[k].used), None)  # fmt: skip
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
            if item.text in SIDES and _before_part(clause, n):
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
            levels = _aim(kind, x, y, item.text)
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
                levels = _aim(getattr(self, "_last_aim", "look"), *item.value, item.text)
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
            if item.kind == "part" and getattr(self, "_last_verb", ()):
                frames = self.book.frames.get(item.value, {})
                meaning = frames.get(self._last_verb)
                if meaning is not None:
                    item.used = True
                    event = self._frame_event(meaning, item.text, n)
                    event.side = _side(clause, n)
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
                note = f"{item.text!r} {how}: {m.phrase}" if how.startswith("taken") else f"{item.text!r} is {how} to {m.phrase}"
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
                return [Event(text, dict(m.levels), m.gesture, m.kind == "expression", note=f"understood as {word}, {sure:.2f}")]
        return []

    def _modify(self, clause: list[Item], events: list[Event]) -> tuple[float, float | None, list[Callable[[Event], None]]]:
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
                    for change in [_timing(name, value)]:
                        loose.append(change)
                        for e in events:
                            change(e)
            elif item.kind == "not":
                for e in events:
                    if e.place > n or (e.place < n and item.word in ("no", "not") and not any(x.place > n for x in events)):
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


# -- small helpers of the grammar -----------------------------------------------------------------


def check_language(text: str) -> None:
    """Raise InputError where there is no text, or its letters are not those of English."""
    if not text or not text.strip():
        raise InputError('--text is empty; say what the face should do, for example "she smiles, then looks up"')
    letters = [c for c in text if c.isalpha()]
    if not letters:
        raise InputError(f'--text "{_short(text)}" has no words')
    foreign = [c for c in letters if ord(c) > 0x24F]
    if len(foreign) > 0.2 * len(letters):
        raise InputError("--text is read in English only; this looks like another language")
    if len(text) > 20000:
        raise InputError(f"--text has {len(text)} characters; 20000 are the most")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


def _mark(sentence: str) -> str:
    """Times, counts and turns of phrase replaced by marks."""
    text = " " + sentence.lower().replace("’", "'").replace("-", " ") + " "
    for pattern, mark in FIXED:
        text = re.sub(pattern, mark, text)
    for pattern, name in TIMINGS:
        text = re.sub(pattern, lambda m, name=name: f" §{name}={_seconds(m, name):.3f} ", text)
    text = FROM_TO.sub(r" \1 then ", text)
    return INTO.sub(" then ", text)


def _seconds(m: re.Match[str], name: str) -> float:
    number, unit = m[1], (m[2] if m.re.groups > 1 else "s")
    value = float(NUMBERS.get(number, 0)) if number in NUMBERS else float(number)
    if name == "times":
        return max(1, round(value))
    scale = 60.0 if unit.startswith("min") else 0.001 if unit.startswith(("ms", "milli")) else 1.0
    return min(value * scale, MOST_SECONDS)


def _skip(words: list[str], bases: list[str], i: int, n: int) -> tuple[tuple[str, ...], int] | None:
    """The next `n` words that are not dropped, and how far they reach."""
    out: list[str] = []
    j = i
    while j < len(words) and len(out) < n:
        if words[j] not in DROPPED:
            out.append(words[j] if words[j] in ("left", "right", "at", "to", "into", "over", "out", "on") else bases[j])
        j += 1
    return (tuple(out), j - i) if len(out) == n else None


def _clauses(items: list[Item]) -> list[tuple[str, list[Item]]]:
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


def _describes_part(items: list[Item]) -> bool:
    """Whether a sentence says what a part of the face is like ("Her eyes are closed"), not what happens next."""
    words = [i.text for i in items[:6]]
    return any(i.kind == "part" for i in items[:3]) and any(w in ("is", "are", "stay", "remain", "stays") for w in words)


def _sequential(clause: list[Item]) -> bool:
    """Whether a clause after a comma goes on to the next thing: it begins with a verb in a finite form."""
    for item in clause:
        if item.kind in ("drop", "speed", "degree", "time"):
            continue
        w = item.text.split()[0] if item.text else ""
        if item.kind == "part" or w.endswith(("ing", "ed", "ly")) or w in ("in", "eyes", "with", "but", "like"):
            return False
        verb = w.endswith("s") and not w.endswith("ss")
        return verb or (item.kind == "gesture" or item.word in LOOK | TURN | TILT | SHIFT | {"open", "close", "raise", "show"})
    return False


def _before_part(clause: list[Item], n: int) -> bool:
    """Whether `left` or `right` at `n` stands before a part of the face (or before "side")."""
    for item in clause[n + 1 : n + 4]:
        if item.kind == "part":
            return True
        if item.text == "side":
            return not any(i.word in LOOK | TURN | TILT for i in clause[:n])
        if item.kind not in ("drop", "", "degree"):
            return False
    return False


def _side(clause: list[Item], n: int) -> str:
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


def _aim(kind: str, x: float, y: float, text: str) -> dict[str, float]:
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


def _context(clause: list[Item], n: int) -> str:
    """The words around an event that it is explained by."""
    lo = n
    while lo > 0 and n - lo < 3 and (clause[lo - 1].kind in ("degree", "speed", "drop") or clause[lo - 1].word in LOOK):
        lo -= 1
    words = [i.text for i in clause[lo : n + 1] if i.text and i.text not in ("a", "an", "the", "she", "he", "they", "is", "are")]
    return " ".join(words)


def _timing(name: str, value: float) -> Callable[[Event], None]:
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
            if e.gesture == "neutral" or (e.ending and not e.levels.get("AU05")):
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
            raise InputError(f"--text describes more than {MOST_SECONDS:.0f} seconds; that is the most")
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
            lids = "AU05" in new.levels
            return any(region(c) == ("lids" if lids else "mouth") for c in old.levels) and not old.expression
        return bool(new.regions & old.regions) or new.words == old.words
    if new.gesture:
        if GESTURES[new.gesture].face and (old.expression or {region(c) for c in _channels(new)} & old.regions - {*HEAD}):
            return True
        return new.gesture in ("look_around", "roll_eyes") and bool(old.regions & {"gaze"}) and not old.expression
    if new.expression and old.expression:
        return True
    return bool(new.regions & old.regions) and (not old.expression or _against(new, old))


def _against(a: Event, b: Event) -> bool:
    return clash(a, b) or any(a.levels.get(x, 0) and b.levels.get(y, 0) or a.levels.get(y, 0) and b.levels.get(x, 0)
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
            if len(units) > 1 and any(c not in mains for c in units) and "tooth" in e.words + "tooth" * ("teeth" in e.words):
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
                            notes.append(f'"{before.words}" and "{e.words}" contradict each other at {where}; the first is kept')
                            e.levels = {c: v for c, v in e.levels.items() if c != mine}
                for c in ("turn", "nod", "tilt", "look_x", "look_y"):
                    if e.levels.get(c, 0) * before.levels.get(c, 0) < 0 and not (e.expression or before.expression):
                        notes.append(f'"{before.words}" and "{e.words}" contradict each other; the first is kept')
                        e.levels = {k: v for k, v in e.levels.items() if k != c}
        if e.levels or e.gesture or e.negated or e.ending:
            out.append(e)
    return out


def read_text(text: str, understand: Understand | None = None) -> Timeline:
    """The timeline of English text.

    `understand` may give meaning to clauses the grammar knows no word of. Raises InputError for an empty
    text, a language other than English, or a text that says nothing about a face."""
    return Reader(understand)(text)


__all__ = ["Reader", "Timeline", "check_language", "read_text"]
