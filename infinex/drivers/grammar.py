"""Words of grammar: times, counts, directions, links between clauses, and words that ask for nothing."""

from __future__ import annotations

import re
from functools import partial

from infinex.drivers.words import word_set

MOST_SECONDS = 600.0
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


def _any(*choices: str) -> str:
    """A pattern that matches one of some word sequences."""
    return r"\b(?:" + "|".join(choices) + r")\b"


_SHORT = r"(?:brief |short |split |quick )?(?:moment|instant|split second|flash|beat)"
FIXED = (
    (rf"\b(?:for|in)? ?(?:just |only )?(?:a|one|the) {_SHORT}\b(?! later)", " §for=0.5 "),
    (_any("(?:a moment|a bit|shortly|an instant|some time|a little while|a while|moments) (?:later|after)"),
     " §after=0.8 "),
    (_any("(?:for )?(?:a long time|a long while|ages|quite a while|a while|a good while)"), " §for=3.5 "),
    (_any("the whole time", "all the time", "throughout", "the entire time", "all along", "non ?stop",
          "the whole clip"), " §stay=1 "),
    (_any("once more", "one more time", "yet again"), " again "),
    (_any("over and over(?: again)?", "again and again", "repeatedly", "continuously", "constantly", "many times",
          "several times", "a few times", "multiple times"), " §times=3 "),
    (_any("a couple(?: of)? times", "twice", "both times") + r"|\bdouble (?=blink|nod|wink)", " §times=2 "),
    (r"\bthrice\b", " §times=3 "),
    (r"(?<!at )(?<!all at )(?<!for )\bonce\b(?! (?:she|he|they|it|the|more))", " §times=1 "),
    (r"\b(?:can|could) ?(?:not|n't) (?:help|stop|hold back)(?: but)?\b|\bcan't (?:help|stop)(?: but)?\b", " "),
    (_any("tr(?:y|ies|ying) (?:hard )?not to", "(?:holds?|holding|fights?|fighting|chok\\w+|bites?) back",
          "suppress\\w*", "stif\\w+", "struggl\\w+ not to"), " §hide=1 "),
    (r"\bnot only\b", " "),
    (_any("no longer", "any ?more", "any longer"), " §stop=1 "),
    (_any("right now", "right away", "of course", "at all", "all right", "in front of"), " "),
    (r"\b(?:to|into|at|on|from) (?:(?:the|his|her|their|its|my|your) )?(?:other|opposite) (?:side|way|direction)\b"
     r"|\bthe other way\b", " §flip=1 "),
)  # fmt: skip
SPEEDS = {
    "slowly": 2.2, "slow": 2.2, "gradually": 2.6, "gradual": 2.6, "leisurely": 2.0, "languidly": 2.2, "lazily": 1.8,
    "unhurriedly": 2.0, "quickly": 0.55, "quick": 0.55, "rapidly": 0.5, "rapid": 0.5, "fast": 0.5, "swiftly": 0.5,
    "briskly": 0.6, "suddenly": 0.35, "sudden": 0.35, "abruptly": 0.35, "abrupt": 0.35, "instantly": 0.3,
    "immediately": 0.4, "hastily": 0.55, "hurriedly": 0.55, "snappily": 0.5, "sluggishly": 2.2,
}  # fmt: skip
SHORT = {"briefly": 0.4, "momentarily": 0.4, "fleetingly": 0.25, "fleeting": 0.25, "brief": 0.4, "short": 0.4}
THEN = word_set(
    "then next afterwards afterward finally later eventually subsequently until till becomes become thereafter "
    "lastly thereupon"
)
_TO = "(?:in ?to|to)"
INTO = re.compile(
    _any(
        "turn(?:s|ing|ed)? in ?to", f"chang(?:e|es|ing|ed) {_TO}", "giv(?:e|es|ing) way to", f"fad(?:e|es|ing) {_TO}",
        "(?:morph|transform|melt|break|burst|grow|soften)(?:s|ing)? in ?to", f"transition(?:s|ing)? {_TO}",
        r"shift(?:s|ing)? (?:in ?to|to (?=\w+(?:ed|ness|er|y|ion|ment|ief|ear|oy)\b))", "dissolv(?:e|es|ing) in ?to",
        "followed by", "after that", "after which", "replaced by", "switch(?:es|ing)? to", "in the end", "at last",
        "end(?:s|ing)? (?:up|with|in)", "all of a sudden", "only to", "leading to", "back to", "mov(?:e|es|ing) on to",
        "progress(?:es|ing)? to", "gives? rise to",
    )
)  # fmt: skip
FROM_TO = re.compile(r"\bfrom ((?:being )?\w+(?: \w+)?) (?:over )?(?:in)?to ")
ALONG = word_set("while as with when meanwhile simultaneously during whereas though although whereby plus")
NOT = word_set("not no without never nor neither hardly cannot lacking stop avoid quit cease refuse instead rather "
                "don dont doesnt")  # fmt: skip
SIDES = {"left": "L", "right": "R"}
BOTH = frozenset({"both", "two"})
LOOK = word_set("look glance gaze stare peek peer see eye watch focus squint glimpse turn_eyes")
TURN = word_set("turn face rotate twist spin pivot swivel swing look_turn whip move")
TILT = word_set("tilt lean cock tip incline cant bend rest")
SHIFT = word_set("move shift cast direct drop lower raise lift drift slide flick dart avert go fall follow wander roll "
                  "sweep bring keep")  # fmt: skip
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
FADING = word_set("fade disappear vanish die drop slip wane fall dissolve subside ebb falter leave end")
GROWING = word_set("widen grow spread broaden deepen intensify increase build")
# Words of grammar and of the scene, that need not be understood to be obeyed.
COMMON = word_set(
    """
    and or but of in to at on into onto from by for about like if so such too also just still only even yet
    again back person people man woman boy girl guy lady child kid baby model portrait character subject someone
    somebody everyone one anyone him me us them who which what there here where how why because since look seem
    appear feel get become make give go start begin stop keep stay remain hold have do let can could will would
    should may might must try continue show display wear put take express bring come turn act pretend react
    respond ready manage expression emotion feeling mood face facial camera viewer side way time moment second
    bit lot hint sense tone manner kind sort sudden once now today already almost nearly out up off over upon
    around along through together apart please want need animate video clip image photo picture well good more
    less most least rather than enough sight thing something anything nothing everything all each every other
    another same first last own old young its itself herself himself deep quite bare full then while slight
    little direction pace speed suddenly oneself both eye head brow lip mouth cheek nose jaw chin forehead tooth
    gaze motion movement gesture slightest whole entire complete total really be always often sometimes usually
    towards toward attempt proceed without before after until during under behind between against beyond inside
    outside near next leave find meet see hear watch set fall break burst lets mr mrs ms dr yes am pm ok okay
    actually literally basically perhaps maybe probably finally shape form natural naturally spontaneous direct
    directly visible
    """
)
GRAMMAR = COMMON | LOOK | TURN | TILT | SHIFT | FADING | GROWING
FOREIGN = word_set(
    """
    el la los las una uno ella él sonríe sonrie luego mira después despues cierra ojos boca cabeza der die das
    und sie er lächelt lachelt dann schaut nach augen kopf mund langsam überrascht le les une elle il sourit
    puis regarde yeux tête bouche avec est lei lui sorride poi guarda occhi testa ela ele sorri depois olha
    olhos het een zij hij glimlacht dan kijkt ogen ja jest ona uśmiecha potem hon han ler sedan ardından
    gülümsüyor ingat con ist mit nicht triste feliz enojado traurig glücklich wütend heureux heureuse fâché kafa
    auf zu ne pas sus
    """
)


def mark(sentence: str) -> str:
    """Times, counts and turns of phrase replaced by marks."""
    text = " " + sentence.lower().replace("’", "'").replace("-", " ") + " "
    for pattern, instead in FIXED:
        text = re.sub(pattern, instead, text)
    for pattern, name in TIMINGS:
        text = re.sub(pattern, partial(_timed, name), text)
    text = FROM_TO.sub(r" \1 then ", text)
    return INTO.sub(" then ", text)


def _timed(name: str, m: re.Match[str]) -> str:
    return f" §{name}={_seconds(m, name):.3f} "


def _seconds(m: re.Match[str], name: str) -> float:
    number, unit = m[1], (m[2] if m.re.groups > 1 else "s")
    value = float(NUMBERS.get(number, 0)) if number in NUMBERS else float(number)
    if name == "times":
        return max(1, round(value))
    scale = 60.0 if unit.startswith("min") else 0.001 if unit.startswith(("ms", "milli")) else 1.0
    return min(value * scale, MOST_SECONDS)
