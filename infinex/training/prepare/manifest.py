"""The manifest of a data set, and what its preparation came to."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinex.errors import InputError
from infinex.media.files import atomic_path
from infinex.training.data import MANIFEST
from infinex.training.prepare.ledger import Ledger
from infinex.training.prepare.options import PrepareOptions
from infinex.training.prepare.people import People, held_out
from infinex.training.prepare.records import MANIFEST_COLUMNS


def named(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Rows with identities: those known, else by clustering in the order of the files."""
    people = People()
    for outcome in ledger.outcomes():
        embeddings = iter(outcome.embeddings)
        for row in outcome.rows:
            if row["status"] == "ok":
                embedding = next(embeddings, [])
                if not row["identity"]:
                    # A clip nobody can tell apart stands for itself.
                    row["identity"] = people(embedding) if embedding else f"clip-{Path(row['clip']).stem}"
            yield row


@dataclass
class PrepareSummary:
    """What a preparation came to."""

    output: str
    files: int
    clips: int
    seconds: float  # of usable film
    identities: int
    train: int  # clips
    test: int
    rejected: dict[str, int]  # by reason
    warnings: list[str]


def write_manifest(dataset: Path, ledger: Ledger, o: PrepareOptions) -> PrepareSummary:
    """Write the manifest; two passes over the ledger, so that only names of people are held."""
    everyone = {row["identity"] for row in named(ledger) if row["status"] == "ok"}
    test = held_out(everyone, o.held_out)
    reasons: Counter[str] = Counter()
    last, count, splits, film = "", 0, Counter[str](), 0.0
    with (
        atomic_path(dataset / MANIFEST) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.DictWriter(file, MANIFEST_COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in named(ledger):
            count += row["file"] != last  # rows of one file follow each other
            last = row["file"]
            if row["status"] == "ok":
                row["split"] = "test" if row["identity"] in test else "train"
                splits[row["split"]] += 1
                film += float(row["seconds"])
            else:
                reasons[re.sub(r"\d[\d.]*", "N", row["reason"].partition(":")[0])] += 1
            table.writerow(row)
    warnings = []
    if len(everyone) == 1 and o.held_out > 0:
        warnings.append("there is one person only: nobody can be held back")
    summary = PrepareSummary(
        str(dataset), count, sum(splits.values()), round(film, 1), len(everyone), splits["train"], splits["test"],
        dict(reasons.most_common()), warnings,
    )  # fmt: skip
    if not summary.clips:
        why = ", ".join(f"{k} {v}" for k, v in reasons.most_common(4))
        raise InputError(f"no usable clip in {count} files: {why}; {dataset / MANIFEST} has a reason for each")
    return summary
