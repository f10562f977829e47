"""What is done already, on disk, so that a run that was killed goes on from there."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infinex.errors import InputError, OutputError
from infinex.training.prepare.records import Job, Outcome


class Ledger:
    """What is done, on disk; every outcome is one transaction."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path)
            self._db.execute("create table if not exists done (key text primary key, stamp text, outcome text)")
            self._db.execute("create table if not exists about (name text primary key, value text)")
            self._db.commit()
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} is damaged ({error}); remove it to begin again") from None

    def settings(self, value: dict[str, Any]) -> None:
        """Remember the choices that shape clips. Raises InputError where the folder was begun with others."""
        text = json.dumps(value, sort_keys=True)
        row = self._db.execute("select value from about where name = 'settings'").fetchone()
        if row and row[0] != text:
            before = json.loads(row[0])
            what = next(k for k in value if before.get(k) != value[k])
            raise InputError(f"this folder was begun with {what} {before.get(what)}: finish so, or name another folder")
        with self._db:
            self._db.execute("insert or ignore into about values ('settings', ?)", (text,))

    def has(self, key: str, stamp: str) -> bool:
        """Whether this state of a file was examined."""
        row = self._db.execute("select stamp from done where key = ?", (key,)).fetchone()
        return row is not None and row[0] == stamp

    def add(self, outcome: Outcome, stamp: str) -> None:
        """Remember an outcome. Raises OutputError where it cannot be written."""
        try:
            with self._db:
                values = (outcome.key, stamp, json.dumps(asdict(outcome)))
                self._db.execute("insert or replace into done values (?, ?, ?)", values)
        except sqlite3.OperationalError as error:
            raise OutputError(f"the outcome cannot be written: {error}") from None

    def outcomes(self) -> Iterator[Outcome]:
        """All of them, by key."""
        for (text,) in self._db.execute("select outcome from done order by key"):
            yield Outcome(**json.loads(text))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def stamp_of(job: Job) -> str:
    with contextlib.suppress(OSError):
        state = Path(job.path).stat()
        return f"{state.st_size} {state.st_mtime_ns}"
    return "missing"
