"""Words of expression: the lexicon, base forms of words, and what an unknown word comes nearest to."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal

Kind = Literal["expression", "gesture", "degree"]
Understand = Callable[[str], tuple[str, float] | None]  # a clause to (a word of the lexicon, similarity)


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


DROPPED = word_set(
    "a an the her his their my your our its own she he they it i you we is are was were be been being am s "
    "herself himself themselves itself myself yourself that this these those"
)
IRREGULAR = {
    "wept": "weep", "woken": "wake", "spoke": "speak", "spoken": "speak", "said": "say", "told": "tell",
    "thought": "think", "ate": "eat", "eaten": "eat", "bit": "bit", "bitten": "bite", "shook": "shake",
    "shaken": "shake", "shut": "shut", "fell": "fall", "fallen": "fall", "rose": "rise", "risen": "rise",
    "drew": "draw", "drawn": "draw", "threw": "throw", "thrown": "throw", "blew": "blow", "blown": "blow",
    "sang": "sing", "sung": "sing", "held": "hold", "kept": "keep", "lost": "lost", "felt": "feel", "went": "go",
    "gone": "go", "goes": "go", "teeth": "tooth", "eyes": "eye", "brows": "brow", "lips": "lip", "gave": "give",
    "took": "take", "made": "make", "became": "become", "began": "begin", "burst": "burst", "stuck": "stick",
    "hung": "hang", "bent": "bend", "slept": "sleep", "smelt": "smell", "drank": "drink", "drunk": "drunk",
    "stricken": "stricken", "came": "come", "flew": "fly", "ground": "ground", "swallowed": "swallow",
    "does": "do", "did": "do", "has": "have", "had": "have", "dying": "die", "lies": "lie", "lying": "lie",
    "froze": "freeze", "frozen": "freeze", "shone": "shine", "swung": "swing", "spun": "spin", "sunk": "sink",
    "sank": "sink", "sought": "seek", "grew": "grow", "grown": "grow", "broke": "break", "lit": "light",
    "mouthed": "mouthed", "eyed": "eyed", "faced": "faced", "jawed": "jawed", "lipped": "lipped", "browed": "browed",
    "lidded": "lidded", "tears": "tear", "tore": "tear", "saw": "see", "seen": "see", "left": "left", "whilst": "while",
}  # fmt: skip
ENDINGS = (
    ("s", ""), ("es", ""), ("ies", "y"), ("ed", ""), ("ed", "e"), ("ied", "y"), ("ing", ""), ("ing", "e"),
    ("ying", "ie"), ("ly", ""), ("ily", "y"), ("ly", "le"), ("ally", ""), ("ness", ""), ("iness", "y"), ("er", ""),
    ("ier", "y"), ("est", ""), ("iest", "y"), ("ful", ""), ("fully", ""), ("fully", "ful"), ("ingly", ""),
    ("ingly", "e"), ("edly", ""), ("edly", "ed"), ("ish", ""), ("ment", ""), ("y", ""), ("y", "e"), ("less", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What a phrase stands for: levels of channels, a gesture by name, or a factor."""

    kind: Kind
    phrase: str
    levels: Mapping[str, float] = field(default_factory=dict)
    gesture: str = ""
    factor: float = 1.0


@dataclass(frozen=True)
class Lexicon:
    """The data file, its phrases as tuples of base forms."""

    phrases: dict[tuple[str, ...], Meaning]
    parts: dict[tuple[str, ...], str]
    frames: dict[str, dict[tuple[str, ...], Meaning]]
    degrees: dict[tuple[str, ...], Meaning]
    scenes: dict[str, tuple[str, ...]]
    words: frozenset[str]  # every word in any of them
    repeated: tuple[str, ...] = ()  # phrases that stand twice

    @property
    def longest(self) -> int:
        """Words in the longest phrase."""
        return max(map(len, [*self.phrases, *self.degrees]))


def parse_levels(text: str) -> dict[str, float]:
    """ "AU12=.5 nod=-3" to levels of channels."""
    return {name: float(value) for name, value in (item.split("=") for item in text.split())}


def tokens(text: str) -> list[str]:
    """Lower-case words, and marks that part sentences and clauses."""
    text = text.lower().replace("’", "'").replace("‘", "'").replace("—", " , ").replace("–", " , ")
    text = re.sub(r"\b(can)n?'?not\b|\bcan't\b", "can not", text)
    text = re.sub(r"n't\b", " not", text)
    text = re.sub(r"'(s|re|ll|ve|d|m)\b", "", text)
    return re.findall(r"§[a-z]+=[\d.]+|[^\W\d_]+|\d+(?:\.\d+)?|[.,;:!?\n]", text)


@cache
def lexicon() -> Lexicon:
    """The lexicon that comes with Infinex."""
    text = resources.files("infinex").joinpath("drivers/data/lexicon.txt").read_text(encoding="utf-8")
    rows: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line[1:-1]
            continue
        left, _, right = line.partition(" : ")
        rows.setdefault(section, []).append((left.strip(), right.strip()))
    every = [p for name in ("expressions", "actions", "parts", "frames", "degrees") for _, r in rows[name]
             for p in _split(r)]  # fmt: skip
    alone = {p for p in every if " " not in p}
    words = frozenset(w for p in every for w in tokens(p))
    # "sadly" stands in "smile sadly" alone, and is a form of "sad" nevertheless.
    words = frozenset(w for w in words if w in alone or not any(s in alone for s in stems(w)))

    def key(phrase: str) -> tuple[str, ...]:
        return tuple(base(w, words) for w in tokens(phrase) if w not in DROPPED) or (phrase,)

    phrases: dict[tuple[str, ...], Meaning] = {}
    repeated = []
    for name, kind in (("actions", "gesture"), ("expressions", "expression")):
        for left, right in rows[name]:
            for p in _split(right):
                k = key(p)
                if k in phrases:
                    if phrases[k].phrase == p:
                        repeated.append(p)
                    continue
                levels = parse_levels(left) if kind == "expression" else {}
                phrases[k] = Meaning(kind, p, levels, left if kind == "gesture" else "")  # type: ignore[arg-type]
    frames: dict[str, dict[tuple[str, ...], Meaning]] = {}
    for left, right in rows["frames"]:
        part, _, what = (x.strip() for x in left.partition("|"))
        for p in _split(right):
            meaning = Meaning("expression", p, parse_levels(what)) if "=" in what else Meaning("gesture", p, {}, what)
            k = key(p)
            if k in frames.setdefault(part, {}):
                repeated.append(f"{part} {p}")
            frames[part].setdefault(k, meaning)
    return Lexicon(
        phrases,
        {key(p): left for left, right in rows["parts"] for p in _split(right)},
        frames,
        {key(p): Meaning("degree", p, factor=float(left)) for left, right in rows["degrees"] for p in _split(right)},
        {left: tuple(s.strip() for s in right.split("|")) for left, right in rows["scenes"]},
        words,
        tuple(repeated),
    )


def _split(text: str) -> list[str]:
    return [p.strip() for p in text.split(",") if p.strip()]


def base(word: str, known: Iterable[str]) -> str:
    """The base form of a word: a known one if taking off endings leads to it, else the word itself."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in known and not (word.endswith("s") and word[:-1] in known):
        return word
    for form in stems(word):
        if form in known:
            return form
    return word


def stems(word: str) -> list[str]:
    """What a word may be without its ending."""
    out = []
    for ending, instead in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word[: len(word) - len(ending)] + instead
            out.append(stem)
            if not instead and len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeious":
                out.append(stem[:-1])
    return out


# -- unknown words --------------------------------------------------------------------------------


@cache
def neighbours() -> dict[str, str]:
    """Words outside the lexicon: to each the lexicon's word that is near in meaning."""
    text = resources.files("infinex").joinpath("drivers/data/neighbours.txt").read_text(encoding="utf-8")
    rows = (line.partition(" : ") for line in text.splitlines() if line and not line.startswith("#"))
    return {word: near.strip() for near, _, words in rows for word in _split(words)}


@cache
def english() -> frozenset[str]:
    """Common words of English outside the lexicon: no slips of spelling. From BERT's vocabulary (Apache 2.0)."""
    packed = resources.files("infinex").joinpath("drivers/data/english.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split())


def nearest(word: str, choices: Iterable[str] | None = None) -> tuple[str, str]:
    """What a word that is not in the lexicon comes to: (the lexicon's word, how), or two empty strings.

    By a table of neighbours in meaning, then by spelling: one slip in five letters, two in nine, same
    first letter, and never from a word that is itself good English."""
    table = neighbours()
    for form in [word, *stems(word)]:
        if form in table:
            return table[form], "near in meaning"
    if len(word) < 5 or not english().isdisjoint([word, *stems(word)]):
        return "", ""
    allowed = 2 if len(word) >= 9 else 1
    best, least = "", allowed + 1
    for choice in choices or _single_words():
        if choice[0] == word[0] and abs(len(choice) - len(word)) <= allowed:
            d = slips(word, choice, allowed)
            if d < least:
                best, least = choice, d
    return (best, "taken as a slip of spelling") if best else ("", "")


@cache
def _single_words() -> tuple[str, ...]:
    book = lexicon()
    forms = {k[0] for table in (book.phrases, book.parts) for k in table if len(k) == 1}
    more = {f + e for f in forms for e in ("s", "ed", "ing", "ly")}
    return tuple(sorted(w for w in forms | more if len(w) >= 4))


def slips(a: str, b: str, limit: int) -> int:
    """Edits between two words, a swap of neighbours counting as one (Damerau 1964); `limit` + 1 if more."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            new.append(cost)
        if min(new) > limit:
            return limit + 1
        before, row = row, new
    return row[-1]
