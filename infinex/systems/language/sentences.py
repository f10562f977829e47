"""Sentences about a face in many wordings, each beside a plain one that the grammar understands.

What is said and what the grammar is asked need not be the same: "a video of a man shaking his head" is paired with
"shakes his head". Words are split by the letters of a phrase: what a test sentence calls an expression, what it has a
part of the face do or where it lets the eyes go, stands in no training sentence.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from infinex.drivers.gestures import GESTURES
from infinex.drivers.words import Meaning, lexicon, neighbours, word_set

# Subject, possessive, object.
PEOPLE = (
    ("she", "her", "her"), ("he", "his", "him"), ("she", "her", "her"), ("he", "his", "him"),
    ("the woman", "her", "the woman"), ("the man", "his", "the man"), ("the person", "their", "the person"),
    ("the girl", "her", "the girl"), ("the boy", "his", "the boy"), ("the old man", "his", "the old man"),
    ("the old woman", "her", "the old woman"), ("the child", "its", "the child"), ("a lady", "her", "a lady"),
    ("the young man", "his", "the young man"), ("my brother", "his", "my brother"), ("Anna", "her", "Anna"),
    ("grandpa", "his", "grandpa"), ("someone", "their", "someone"), ("the actor", "his", "the actor"),
)  # fmt: skip
FRAMES = (
    "{s} {vp}", "{s} {vp}", "{s} {vp}", "{s} {vp}", "{s} {vp}", "{s} {vp}", "{s} {vp}.", "{S} {vp}.", "{S} {vp}.",
    "{S} {vp}!",
    "{s} starts to {base}", "{s} begins to {base}", "{s} is {ing}", "{s} is {ing}", "{S} starts {ing}.", "{ing}",
    "{base}",
    "{Base}!", "please {base}", "make {o} {base}", "let {o} {base}", "a video of {o} {ing}", "a clip of {o} {ing}",
    "watch {o} {base}", "we see {o} {ing}", "you see how {s} {vp}", "in this video {s} {vp}", "suppose that {s} {vp}",
    "I want {o} to {base}", "animate {o} so that {s} {vp}", "{s} {vp} at us", "{s} {vp} in front of the camera",
    "the picture shows {o} {ing}", "now {s} {vp}", "all at once {s} {vp}",
)  # fmt: skip
JOINTS = (
    ("{a}, then {vp}", "{x}, then {y}"), ("{a}, then {vp}", "{x}, then {y}"), ("{a} and then {vp}", "{x}, then {y}"),
    ("{a}. Then {s} {vp}.", "{x}, then {y}"), ("{a} before {ing}", "{x}, then {y}"),
    ("first {a}, then {vp}", "{x}, then {y}"),
    ("{a}, after that {s} {vp}", "{x}, then {y}"), ("{a}, and afterwards {vp}", "{x}, then {y}"),
    ("{a} and finally {vp}", "{x}, then {y}"), ("after {ingx}, {s} {vp}", "{x}, then {y}"),
    ("{a} and {vp}", "{x} and {y}"), ("{a} and {vp}", "{x} and {y}"), ("{a} while {ing}", "{x} while {y}"),
    ("{a} as {s} {vp}", "{x} while {y}"), ("{a}, {ing}", "{x} while {y}"),
)  # fmt: skip
BEFORE_ADJECTIVE = ("slightly", "very", "a little", "extremely", "a bit", "really", "rather", "quite", "somewhat",
                    "deeply", "totally", "so", "mildly", "incredibly", "barely")  # fmt: skip
BEFORE_VERB = (
    "slightly",
    "gently",
    "softly",
    "faintly",
    "strongly",
    "barely",
    "vigorously",
    "wildly",
    "really",
    "subtly",
)
AFTER_VERB = ("slightly", "a little", "broadly", "softly", "widely", "gently", "vigorously", "faintly", "heavily",
              "a lot", "a bit", "strongly", "very much", "hard")  # fmt: skip
PACE = ("slowly", "quickly", "suddenly", "gradually", "rapidly", "briefly")
COUNTS = ("twice", "two times", "twice", "three times", "once", "a few times", "thrice", "several times", "four times",
          "again and again", "a couple of times")  # fmt: skip
# What is asked for most is trained on most.
CORE = frozenset(
    w.replace("_", " ")
    for w in word_set(
        """
        afraid angry asleep big_smile blink bored calm chuckle confused cry disgusted embarrassed frown furious gasp
        giggle grin happy kiss laugh nod pout roll_eyes sad scared shake shake_head shocked shout shrug sigh sing
        skeptical smile smirk sneeze surprised talk thoughtful tired whisper wink worried yawn
        """
    )
)
VERBS = word_set(
    """
    smile grin beam frown pout sulk smirk glare glower scowl snarl growl hiss sneer jeer mock cringe wince grimace
    flinch squirm panic fret worry grieve mourn reminisce rejoice exult cheer fume seethe rage glow flirt tease jest
    plead beg implore beseech apologise apologize sympathise sympathize threaten ponder think muse brood ruminate
    contemplate daydream meditate hesitate concentrate focus squint peer scrutinise scrutinize inspect examine study
    read marvel wonder gape doze sleep nap snooze slumber faint pray suffer ache strain struggle blush scheme plot
    dote adore love hate loathe abhor despair brighten recall remember consider calculate reflect judge suspect
    distrust mistrust disapprove approve pity regret resent envy scare frighten terrify greet welcome yearn twinkle
    exert contort see stare look turn bare clench grit smell taste bite suck lift screw scrunch wrinkle make pull
    squint drift pass nod feel lose fly blow show say bear break come ask listen try apprehend curl crack
    """
)
NOUNS = word_set(
    """
    joy glee bliss mirth pleasure rapture triumph victory fear terror horror dread fright panic alarm anger fury
    rage wrath ire malice hate scorn disdain contempt derision mockery disgust revulsion nausea grief sorrow misery
    gloom anguish despair shame guilt remorse regret pity pride hope love awe wonder shock surprise doubt thought
    pain agony torment torture boredom apathy calm peace relief envy jealousy curiosity interest irony sarcasm
    hysteria delight euphoria ecstasy warmth gratitude defiance menace phobia nightmare trepidation stress distress
    concern empathy compassion sympathy nostalgia laughter zen charm headache toothache migraine prayer disbelief
    disagreement mischief worry unease effort dismay defeat distaste aversion annoyance exasperation mistrust
    despair attention tension insecurity courage
    """
)
HEADS = word_set(
    """
    smile grin look face stare eye eyes mood spirit expression frown curl pout glance lip
    """
)
NOUN_ENDINGS = ("ness", "ment", "tion", "sion", "ity", "ance", "ence", "iety", "ship", "ism", "hood")
NOT_ADVERBS = word_set(
    """
    friendly lonely sly surly melancholy jolly ugly grisly
    """
)
LOOKING = ("looks", "glances", "gazes", "peers", "peeks", "stares", "is looking")
PLACES = (
    "up", "down", "to the left", "to the right", "left", "right", "upwards", "downwards", "up and to the left",
    "up and to the right", "down and to the left", "down and to the right", "away", "to the side", "at the ceiling",
    "at the sky", "at the floor", "at the ground", "at the feet", "over the shoulder", "aside", "sideways", "skyward",
    "at the stars", "out of the window", "at the phone",
)  # fmt: skip
TILTS = ("to the left", "to the right", "to the side", "back", "forward", "sideways")
SIDED = frozenset({"brow", "inner_brow", "outer_brow", "eye", "upper_lid", "lower_lid"})
PLAIN = {"brow": ("eyebrow", "brow"), "inner_brow": ("inner eyebrow",), "outer_brow": ("outer eyebrow",),
         "eye": ("eye",), "upper_lid": ("upper lid",), "lower_lid": ("lower lid",)}  # fmt: skip
STATES = word_set(
    """
    up down wide closed shut heavy open upward downward upturned downturned ajar agape apart crooked slack parted
    big large slit out back
    """
)
NOTHING = (
    "the weather is fine today", "a photograph of a house", "the train arrives at noon", "there are three apples",
    "two plus two is four", "the car is parked outside", "a portrait of a person", "the meeting is on Monday",
    "this is a picture", "the book has many pages", "the city is large", "an invoice for the month of May",
    "her hair is brown", "he wears a hat", "the wall behind him is white", "the shop opens at nine",
)  # fmt: skip
UNMOVED = ("keeps a blank face", "stays expressionless", "shows no expression", "does not move", "has a neutral face",
           "remains deadpan", "keeps a straight face", "shows no emotion", "sits still")  # fmt: skip


def held_out(phrase: str) -> bool:
    """Whether a phrase is kept from training and choosing: one in seven, by its letters."""
    return split_of(phrase) == "test"


def split_of(phrase: str) -> str:
    """ "test", "val" or "train", by the letters of a phrase."""
    return {0: "test", 1: "val"}.get(zlib.crc32(phrase.encode()) % 7, "train")


def third(verb: str) -> str:
    """A verb phrase in the third person: "shake head" is "shakes head"."""
    if verb in ("look", "do") or not verb:
        return verb + ("es" if verb == "do" else "s" if verb else "")
    first, _, rest = verb.partition(" ")
    if first in ("is", "are") or first.endswith("not"):
        return verb
    if first.endswith("y") and first[-2:-1] not in tuple("aeiou"):
        first = first[:-1] + "ies"
    else:
        first += "es" if first.endswith(("s", "sh", "ch", "x", "o", "z")) else "s"
    return f"{first} {rest}".strip()


def ing(verb: str) -> str:
    """A verb phrase in its form of duration: "shake head" is "shaking head"."""
    first, _, rest = verb.partition(" ")
    if first.endswith("ie"):
        first = first[:-2] + "ying"
    elif first.endswith("e") and not first.endswith(("ee", "oe")) and len(first) > 2:
        first = first[:-1] + "ing"
    elif re.fullmatch(r"[^aeiou]*[aeiou][bdgklmnprt]", first) and not first.endswith("ek"):
        first += first[-1] + "ing"
    else:
        first += "ing"
    return f"{first} {rest}".strip()


@dataclass(frozen=True)
class Said:
    """One thing to say: as a predicate, in its base form and in that of duration, and what the grammar is asked.

    `free` are whole wordings of their own; `key` is what the split goes by."""

    vp: str
    base: str
    ing: str
    source: str
    key: str
    free: tuple[str, ...] = field(default=())


def kind_of(phrase: str, meaning: Meaning) -> str:
    """What a phrase of the lexicon is in a sentence: verb, noun, adverb, "look" (a big smile) or adjective."""
    words = phrase.split()
    if len(words) > 1 and words[-1] in HEADS and words[0] not in VERBS:
        return "look"
    if meaning.kind == "gesture" or words[0] in VERBS:
        return "verb"
    if len(words) > 1:
        return "adjective"
    if phrase.endswith("ly") and phrase not in NOT_ADVERBS:
        return "adverb"
    if phrase in NOUNS or phrase.endswith(NOUN_ENDINGS):
        return "noun"
    return "adjective"


@cache
def vocabulary(split: str) -> tuple[tuple[str, Meaning, str], ...]:
    """(phrase, meaning, the lexicon's own word for it) of a split, words that are near in meaning included."""
    book = lexicon()
    own = {m.phrase: m for m in book.phrases.values() if m.gesture != "neutral"}
    found = [(m.phrase, m, m.phrase) for m in own.values() if split_of(m.phrase) == split]
    for word, near in neighbours().items():
        # A neighbour may not give away the word that it is near to.
        if near in own and word not in own and split_of(word) == split == split_of(near):
            found.append((word, own[near], near))
    return tuple(sorted(found, key=lambda row: row[0]))


@cache
def movements(split: str) -> tuple[tuple[str, str, str, Meaning], ...]:
    """(part, its name, what it does, meaning) of a split."""
    book = lexicon()
    names: dict[str, list[str]] = {}
    for words, part in book.parts.items():
        names.setdefault(part, []).append(" ".join(words))
    out = []
    for part, frames in book.frames.items():
        for meaning in frames.values():
            if meaning.gesture in ("tilt", "turn", "look", "neutral", "open_eyes", "close_mouth"):
                continue
            if split_of(f"{part} {meaning.phrase}") == split:
                out += [(part, name, meaning.phrase, meaning) for name in sorted(names[part])[:3]]
    return tuple(out)


@cache
def scenes(split: str) -> tuple[tuple[str, str], ...]:
    """(situation, the expression that it calls for) of a split."""
    return tuple((text, word) for word, texts in lexicon().scenes.items() for text in texts if split_of(text) == split)


def pick(rng: np.random.Generator, choices: tuple) -> object:  # type: ignore[type-arg]
    """One of some choices."""
    return choices[int(rng.integers(len(choices)))]


def expression(split: str, possessive: str, rng: np.random.Generator) -> Said:
    """Something of the lexicon's expressions and gestures."""
    words = vocabulary(split)
    phrase, meaning, own = words[int(rng.integers(len(words)))]
    # Gestures are few and expressions many: as often again from among the gestures.
    chance = rng.random()
    if chance < 0.2 and split == "train":
        core = tuple(w for w in words if w[0] in CORE)
        phrase, meaning, own = core[int(rng.integers(len(core)))]
    elif meaning.kind == "expression" and chance < 0.4:
        gestures = tuple(w for w in words if w[1].kind == "gesture")
        phrase, meaning, own = gestures[int(rng.integers(len(gestures)))]
    kind = kind_of(phrase, meaning)
    if kind == "verb":
        return _verb(phrase, meaning, own, possessive, rng)
    degree = str(pick(rng, BEFORE_ADJECTIVE)) if rng.random() < 0.3 else ""
    asked = f"{degree} {own}".strip()
    if kind == "adjective":
        said = f"{degree} {phrase}".strip()
        verb = str(pick(rng, ("is", "looks", "seems", "becomes", "feels", "gets", "appears", "is suddenly")))
        base = {"is": "be", "is suddenly": "be"}.get(verb, verb[:-1])
        during = "being" if base == "be" else ing(base)
        return Said(f"{verb} {said}", f"{base} {said}", f"{during} {said}", asked, phrase,
                    (said, f"a {said} face", f"the expression turns {said}", f"a {said} look", f"the face is {said}",
                     f"a {said} expression on {possessive} face"))  # fmt: skip
    if kind == "adverb":
        verb = str(pick(rng, ("look", "stare", "act", "react", "gaze", "respond")))
        return Said(f"{third(verb)} {phrase}", f"{verb} {phrase}", f"{ing(verb)} {phrase}", own, phrase, (phrase,))
    if kind == "noun":
        verb = str(pick(rng, ("show", "express", "feel", "react with", "be filled with", "be overcome by", "radiate")))
        now = third(verb) if not verb.startswith("be ") else "is" + verb[2:]
        during = ing(verb) if not verb.startswith("be ") else "being" + verb[2:]
        return Said(f"{now} {phrase}", f"{verb} {phrase}", f"{during} {phrase}", own, phrase,
                    (phrase, f"an expression of {phrase}", f"a face of {phrase}", f"{phrase} on {possessive} face",
                     f"a look of {phrase}", f"a face full of {phrase}"))  # fmt: skip
    verb = str(pick(rng, ("give", "have", "show", "put on", "make")))
    now = "has" if verb == "have" else third(verb)
    return Said(f"{now} a {phrase}", f"{verb} a {phrase}", f"{ing(verb)} a {phrase}", own, phrase,
                (f"a {phrase}", f"with a {phrase}", phrase, f"a {phrase} on {possessive} face"))  # fmt: skip


def _verb(phrase: str, meaning: Meaning, own: str, possessive: str, rng: np.random.Generator) -> Said:
    words = phrase
    for part in ("head", "lip", "eye", "tooth", "nose", "eyebrow", "brow", "shoulder", "mouth", "eyelid", "eyelash"):
        plural = {"head": "head", "nose": "nose", "mouth": "mouth", "tooth": "teeth"}.get(part, part + "s")
        words = re.sub(rf"(?<=\w ){part}$", f"{possessive} {plural}", words)
    pre = post = tail = ""
    chance = rng.random()
    gesture = GESTURES.get(meaning.gesture)
    if gesture is not None and chance < (0.4 if gesture.countable else 0.08):
        tail = str(pick(rng, COUNTS))
    elif chance < 0.55:
        pre, post = (str(pick(rng, BEFORE_VERB)), "") if rng.random() < 0.4 else ("", str(pick(rng, AFTER_VERB)))
    elif chance < 0.68:
        pre = str(pick(rng, PACE))
    side = ""
    if meaning.gesture == "wink" and rng.random() < 0.6:
        side = f"with {possessive} {pick(rng, ('left', 'right'))} eye"

    def put(verb: str, subject: str) -> str:
        return " ".join(w for w in (pre, verb, subject, side, post, tail) if w)

    return Said(put(third(words), ""), put(words, ""), put(ing(words), ""), put(own, ""), phrase)


def movement(split: str, possessive: str, rng: np.random.Generator) -> Said:
    """A part of the face and what it does."""
    rows = movements(split)
    part, name, verb, _ = rows[int(rng.integers(len(rows)))]
    side = ""
    if part in SIDED and rng.random() < 0.45:
        side, name = str(pick(rng, ("left ", "right ", "left ", "right ", "one "))), str(pick(rng, PLAIN[part]))
    many = not side and part in (
        "brow",
        "eye",
        "lip",
        "cheek",
        "corner",
        "inner_brow",
        "outer_brow",
        "tooth",
        "nostril",
    )
    thing = name
    if many:
        head, _, rest = name.partition(" of ")
        head = "teeth" if head == "tooth" else head if head.endswith("s") else head + "s"
        thing = f"{head} of the {rest}" if rest else head
    elif " of " in name:
        thing = name.replace(" of ", " of the ")
    whose = "" if side == "one " else possessive + " "
    pace = str(pick(rng, PACE)) + " " if rng.random() < 0.12 else ""
    degree = str(pick(rng, (" slightly", " a little", " a bit", " a lot", " very far"))) if rng.random() < 0.15 else ""
    first, _, rest = verb.partition(" ")
    rest = f" {rest}" if rest else ""
    if first in STATES:
        said = f"{whose}{side}{thing} {'are' if many else 'is'} {verb}"
        has = f"{whose}{side}{thing} {verb}"
        return Said(f"has {has}", f"have {has}", f"having {has}", said, f"{part} {verb}", (said, has))
    what = f"{whose}{side}{thing}{rest}{degree}"
    again = f"{whose}{side}{thing} {verb if many else third(verb)}{degree}"
    return Said(f"{pace}{third(first)} {what}", f"{pace}{first} {what}", f"{pace}{ing(first)} {what}",
                f"{pace}{first} {what}", f"{part} {verb}", (again, again))  # fmt: skip


def direction(split: str, possessive: str, rng: np.random.Generator) -> Said:
    """A look, a turn or a tilt somewhere."""
    while True:
        chance = rng.random()
        place = str(pick(rng, PLACES))
        if chance < 0.45:
            now = str(pick(rng, LOOKING))
        elif chance < 0.6:
            now = str(pick(rng, (f"moves {possessive} eyes", f"turns {possessive} eyes", f"shifts {possessive} gaze")))
        elif chance < 0.85:
            now = str(
                pick(
                    rng, (f"turns {possessive} head", f"turns {possessive} face", "turns", f"rotates {possessive} head")
                )
            )
        else:
            now, place = str(pick(rng, (f"tilts {possessive} head", f"leans {possessive} head"))), str(pick(rng, TILTS))
        # Single words for a way stand in every split; only their combinations are held back.
        key = f"{now.split()[0]} {now.split()[-1]} {place}"
        if split_of(key) != split:
            continue
        if now == "turns" and place in ("up", "down"):
            continue
        for part in ("foot", "feet", "shoulder", "phone"):
            place = place.replace(f"the {part}", f"{possessive} {part}")
        pace = str(pick(rng, (*PACE, "slightly", ""))) if rng.random() < 0.2 else ""
        base = "be looking" if now == "is looking" else " ".join([now.split()[0][:-1], *now.split()[1:]])
        if now.startswith("glances"):
            base = "glance" + now[7:]
        during = now[3:] if now == "is looking" else ing(base)
        lead = f"{pace} " if pace else ""
        return Said(
            f"{lead}{now} {place}", f"{lead}{base} {place}", f"{lead}{during} {place}", f"{lead}{now} {place}", key
        )


def something(split: str, possessive: str, rng: np.random.Generator) -> Said:
    """One thing to say."""
    chance = rng.random()
    if chance < 0.66:
        return expression(split, possessive, rng)
    return movement(split, possessive, rng) if chance < 0.84 else direction(split, possessive, rng)


def sentence(split: str, rng: np.random.Generator, two: float = 0.25) -> tuple[str, str, str]:
    """(text, what the grammar is asked or "" for a face that does not move, key); `two`: share with two clauses."""
    chance = rng.random()
    subject, possessive, other = PEOPLE[int(rng.integers(len(PEOPLE)))]
    if chance < 0.012:
        return (str(pick(rng, NOTHING)), "", "nothing") if rng.random() < 0.5 else (
            f"{subject} {pick(rng, UNMOVED)}", "", "nothing")  # fmt: skip
    if chance < 0.035 and scenes(split):
        rows = scenes(split)
        text, word = rows[int(rng.integers(len(rows)))]
        return text, word, text
    a = something(split, possessive, rng)
    if rng.random() < two:
        b = something(split, possessive, rng)
        said, asked = JOINTS[int(rng.integers(len(JOINTS)))]
        text = said.format(a=f"{subject} {a.vp}", s=subject, vp=b.vp, ing=b.ing, ingx=a.ing)
        return text, asked.format(x=a.source, y=b.source), f"{a.key} | {b.key}"
    if a.free and rng.random() < 0.3:
        return str(pick(rng, a.free)), a.source, a.key
    form = FRAMES[int(rng.integers(len(FRAMES)))]
    text = form.format(s=subject, S=subject[:1].upper() + subject[1:], o=other, vp=a.vp, base=a.base, ing=a.ing,
                       Base=a.base[:1].upper() + a.base[1:])  # fmt: skip
    return text, a.source, a.key
