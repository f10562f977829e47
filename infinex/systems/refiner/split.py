"""Who is trained on and who is held out."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path


def names_of(manifest: Path | None) -> dict[str, str]:
    """Person shown by each clip's stem, from a CSV with the columns path and identity."""
    if manifest is None:
        return {}
    with manifest.open(newline="", encoding="utf-8") as file:
        return {Path(r["path"]).stem: r["identity"] for r in csv.DictReader(file)}


def held_out(people: Iterable[str]) -> list[str]:
    """Every fifth person in alphabetical order."""
    return sorted(set(people))[2::5]
