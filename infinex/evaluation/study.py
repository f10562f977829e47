"""Blind preference studies: two videos at a time, in random order and on random sides, judged by several people.

The questions are those of papers on animated portraits: quality of the frames, consistency in time, and, where
there is a text, how well the video matches it. Answers are appended to a CSV file as they come, so that a study
can be broken off and taken up again."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import math
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infinex.errors import InputError, OutputError, option

QUESTIONS = {
    "quality": "Which one has the better pictures?",
    "consistency": "Which one moves more consistently and naturally?",
    "match": "Which one matches the words better?",
}
VIDEOS = (".mp4", ".webm", ".mov", ".m4v", ".gif", ".apng")
ANSWER = ("time", "rater", "pair", "a", "b", "question", "left", "answer")
Z = 1.959964  # of a two-sided 95 % interval


@dataclass(frozen=True)
class Pair:
    """Two videos of the same thing; `name_a` and `name_b` say what made them."""

    name: str
    a: Path
    b: Path
    name_a: str = "A"
    name_b: str = "B"
    text: str | None = None


@dataclass(frozen=True)
class Item:
    """What one rater sees next; nothing in it says which video is which."""

    token: str
    number: int
    pair: Pair = field(repr=False)
    swapped: bool = field(repr=False)

    def video(self, side: str) -> Path:
        """The file on the `left` or `right`."""
        return self.pair.b if (side == "left") == self.swapped else self.pair.a


@dataclass(frozen=True)
class Preference:
    """How often A was preferred to B, with the 95 % interval and the p-value of no preference."""

    a: str
    b: str
    question: str
    answers: int
    preferred_a: int
    share: float
    low: float
    high: float
    p: float


def wilson(count: int, total: int, z: float = Z) -> tuple[float, float]:
    """Interval (low, high) of a share (Wilson 1927); it stays within 0..1, also for few answers."""
    if not total:
        return 0.0, 1.0
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def sign_test(count: int, total: int) -> float:
    """Two-sided exact probability of a count at least this far from half, were there no preference."""
    if not total:
        return 1.0
    far = min(count, total - count)
    return min(1.0, 2 * sum(math.comb(total, k) for k in range(far + 1)) / 2**total)


def pairs_of(folder_a: str | Path, folder_b: str | Path) -> list[Pair]:
    """Videos of two folders that have the same name, as pairs; `NAME.txt` beside one holds its text.

    Raises InputError where there is none."""
    a, b = (_videos(Path(f)) for f in (folder_a, folder_b))
    common = sorted(set(a) & set(b))
    if not common:
        raise InputError(f"no video of {folder_a} has the same name as one of {folder_b}")
    name_a, name_b = _names(Path(folder_a), Path(folder_b))
    return [Pair(n, a[n], b[n], name_a, name_b, _text(a[n]) or _text(b[n])) for n in common]


def _videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in VIDEOS and p.is_file()}


def _names(a: Path, b: Path) -> tuple[str, str]:
    a, b = a.resolve(), b.resolve()
    if a == b:
        raise InputError("a folder cannot be compared with itself")
    return (a.name, b.name) if a.name != b.name else (f"{a.parent.name}/{a.name}", f"{b.parent.name}/{b.name}")


def _text(video: Path) -> str | None:
    file = video.with_suffix(".txt")
    if not file.is_file():
        return None
    return " ".join(file.read_text(encoding="utf-8", errors="replace")[:2000].split()) or None


class Study:
    """Pairs, raters and their answers. Every method may be called from any thread."""

    def __init__(self, pairs: Sequence[Pair], answers: str | Path, title: str = "Which one is better?") -> None:
        """`answers` is the CSV file; one that exists is taken up. Raises InputError or OutputError."""
        if not pairs:
            raise InputError("a study needs at least one pair of videos")
        self.pairs, self.title, self.path = list(pairs), title, Path(answers)
        self._lock = threading.Lock()
        self._rows: list[dict[str, str]] = []
        self._key = hashlib.sha256("\n".join(f"{p.name}|{p.name_a}|{p.name_b}" for p in pairs).encode()).digest()
        if self.path.exists():
            self._read()
        else:
            self._append([dict(zip(ANSWER, ANSWER))])

    def _read(self) -> None:
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if tuple(reader.fieldnames or ()) != ANSWER:
                    raise InputError(f"{self.path.name} is not a file of answers; name another with {option('out')}")
                self._rows = [dict(r) for r in reader if all(r.get(c) for c in ANSWER)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{self.path.name} cannot be read as answers ({error})") from None

    def _append(self, rows: Sequence[Mapping[str, str]]) -> None:
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, ANSWER, lineterminator="\n").writerows(rows)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from None

    @property
    def raters(self) -> list[str]:
        """Who has answered."""
        with self._lock:
            return list(dict.fromkeys(r["rater"] for r in self._rows))

    def _items(self, rater: str) -> list[Item]:
        """The rater's own order and sides; always the same for the same name."""
        chance = random.Random(hmac.digest(self._key, rater.encode(), "sha256"))
        order = list(range(len(self.pairs)))
        chance.shuffle(order)
        # As many on one side as on the other.
        sides = [i % 2 == 0 for i in range(len(order))]
        chance.shuffle(sides)
        out = []
        for number, (index, swapped) in enumerate(zip(order, sides), 1):
            token = hmac.new(self._key, f"{rater}|{index}".encode(), "sha256").hexdigest()[:24]
            out.append(Item(token, number, self.pairs[index], swapped))
        return out

    def next(self, rater: str) -> Item | None:
        """The first pair this rater has not judged; None when all are done. Raises InputError."""
        rater = named(rater)
        with self._lock:
            seen = {(r["pair"], r["a"], r["b"]) for r in self._rows if r["rater"] == rater}
        items = self._items(rater)
        return next((i for i in items if (i.pair.name, i.pair.name_a, i.pair.name_b) not in seen), None)

    def item(self, rater: str, token: str) -> Item:
        """The pair behind a token. Raises InputError for one that is not this rater's."""
        for item in self._items(named(rater)):
            if hmac.compare_digest(item.token.encode(), token.encode()):
                return item
        raise InputError("this pair is not part of the study")

    def answer(self, rater: str, token: str, answers: Mapping[str, str]) -> None:
        """Keep one rater's answers (`left` or `right` by question) to one pair; a second time is ignored.

        Raises InputError where a question is left out."""
        rater = named(rater)
        item = self.item(rater, token)
        pair = item.pair
        rows = []
        for question in questions(pair):
            said = answers.get(question)
            if said not in ("left", "right"):
                raise InputError(f"please answer every question: {QUESTIONS[question]}")
            shown = ("b", "a") if item.swapped else ("a", "b")
            rows.append({
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "rater": rater, "pair": pair.name,
                "a": pair.name_a, "b": pair.name_b, "question": question, "left": shown[0],
                "answer": shown[0] if said == "left" else shown[1],
            })  # fmt: skip
        with self._lock:
            if any(r["rater"] == rater and r["pair"] == pair.name and r["a"] == pair.name_a and r["b"] == pair.name_b
                   for r in self._rows):  # fmt: skip
                return
            self._append(rows)
            self._rows += rows

    def results(self) -> list[Preference]:
        """One row for each two names and question, in the order of the pairs."""
        with self._lock:
            rows = list(self._rows)
        out = []
        for a, b in dict.fromkeys((p.name_a, p.name_b) for p in self.pairs):
            asked = {q for p in self.pairs if (p.name_a, p.name_b) == (a, b) for q in questions(p)}
            for question in (q for q in QUESTIONS if q in asked):
                said = [r["answer"] for r in rows if (r["a"], r["b"], r["question"]) == (a, b, question)]
                n, k = len(said), said.count("a")
                low, high = wilson(k, n)
                out.append(Preference(a, b, question, n, k, k / n if n else 0.5, low, high, sign_test(k, n)))
        return out

    def results_csv(self) -> str:
        """The results as CSV."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["a", "b", "question", "answers", "preferred_a", "share_a", "low_95", "high_95", "p"])
        for r in self.results():
            writer.writerow([_cell(r.a), _cell(r.b), r.question, r.answers, r.preferred_a, f"{r.share:.4f}",
                             f"{r.low:.4f}", f"{r.high:.4f}", f"{r.p:.4g}"])  # fmt: skip
        return out.getvalue()


def _cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def questions(pair: Pair) -> list[str]:
    """What is asked of a pair."""
    return [q for q in QUESTIONS if q != "match" or pair.text]


def named(rater: str) -> str:
    """A rater's name, tidied. Raises InputError for none."""
    name = " ".join("".join(c for c in rater if c.isprintable()).split())[:40].lstrip("=+-@")
    if not name:
        raise InputError("please give a name or initials")
    return name


def table(results: Sequence[Preference]) -> str:
    """The results as lines of text."""
    lines = [f"{'A':20} {'B':20} {'question':12} {'answers':>7} {'A preferred':>12}  95 % interval      p"]
    for r in results:
        share = f"{100 * r.share:.0f} %" if r.answers else "-"
        interval = f"{100 * r.low:3.0f} .. {100 * r.high:3.0f} %" if r.answers else "-"
        lines.append(f"{r.a[:20]:20} {r.b[:20]:20} {r.question:12} {r.answers:7} {share:>12}  {interval:15} {r.p:.3g}")
    return "\n".join(lines)


def as_json(item: Item | None, pairs: int) -> dict[str, Any]:
    """What a page may know of the next pair."""
    if item is None:
        return {"done": True}
    return {"done": False, "token": item.token, "number": item.number, "pairs": pairs, "text": item.pair.text}
