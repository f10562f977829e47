"""Reading tables of numbers that other programs wrote: CSV and TSV, in pieces, with columns by loosely spelt names."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError

Array = NDArray[np.float64]
MOST_ROWS = 500_000  # over two hours at 60 rows a second
WIDEST = 1 << 16  # characters of a row's cell


@dataclass(frozen=True)
class Table:
    """Columns by plain name (lower case, letters and digits only), each (N,); `texts` of those that are no numbers."""

    path: Path
    columns: Mapping[str, Array]
    texts: Mapping[str, list[str]]
    names: tuple[str, ...]  # as spelt in the file

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), next(iter(self.texts.values()), [])))


def plain(name: str) -> str:
    """A column's name without case, spaces and signs; `_L` and `_R` are Left and Right."""
    text = re.sub(r"[^a-zA-Z0-9_]", "", name.strip())
    text = re.sub(r"(?<=[a-z])_([LR])$", lambda m: {"L": "Left", "R": "Right"}[m[1]], text)
    return text.replace("_", "").lower()


def header(path: Path) -> list[str]:
    """The first row's cells; empty where the file is not text. Raises InputError where there is no such file."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            first = file.readline(1 << 20)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from error
    if "\0" in first:
        return []
    return [c.strip() for c in next(csv.reader([first], delimiter=_delimiter(first)), [])]


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def read_table(path: Path, texts: tuple[str, ...] = ()) -> Table:
    """A whole table; what is not a number is NaN, but for the columns named plainly in `texts`.

    Raises InputError for files that are no table, for rows that are too many, and for twice the same column."""
    names = header(path)
    if len(names) < 2:
        raise InputError(f"{path.name} is not a table: its first line names no columns")
    keys = [plain(n) for n in names]
    twice = {k for k in keys if k and keys.count(k) > 1}
    if twice:
        raise InputError(f"{path.name}: the column {names[keys.index(min(twice))]!r} comes twice")
    csv.field_size_limit(WIDEST)
    words: dict[int, list[str]] = {k: [] for k, n in enumerate(keys) if n in texts}
    blocks: list[Array] = []
    rows: list[list[float]] = []
    count = 0
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=_delimiter(file.readline(1 << 20)))
        try:
            for cells in reader:
                if not any(c.strip() for c in cells):
                    continue
                count += 1
                if count > MOST_ROWS:
                    raise InputError(f"{path.name} has more than {MOST_ROWS:,} rows; cut it into pieces")
                cells += [""] * (len(keys) - len(cells))
                for k, kept in words.items():
                    kept.append(cells[k].strip())
                rows.append([np.nan if k in words else _number(c) for k, c in enumerate(cells[: len(keys)])])
                if len(rows) == 4096:
                    blocks.append(np.array(rows))
                    rows = []
        except csv.Error as error:
            raise InputError(f"{path.name}, row {count + 1}: {error}") from error
    if rows:
        blocks.append(np.array(rows))
    if not count:
        raise InputError(f"{path.name} has a header and no rows")
    values = np.concatenate(blocks)
    return Table(
        path,
        {n: values[:, k] for k, n in enumerate(keys) if n and k not in words},
        {keys[k]: w for k, w in words.items()},
        tuple(names),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
