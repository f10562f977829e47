"""The folder of a training run: its tables, its checkpoints, and what it says of itself."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from infinex.errors import InputError, OutputError, WeightsError
from infinex.media.files import atomic_path

FORMAT = "infinex-run-1"
KEPT = 2  # checkpoints
Say = Callable[[str], None]


class Table:
    """A CSV file that grows by rows; on a full disk rows wait in memory until there is room again."""

    def __init__(self, path: Path, until: int) -> None:
        """Rows of steps after `until` are dropped: they will be made again."""
        self.path = path
        self.columns: list[str] = []
        self._waiting = ""
        if not path.is_file():
            return
        kept = []
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            self.columns = next(rows, [])
            for row in rows:  # a kill may have cut the last one
                if len(row) == len(self.columns) and row[0].isdigit() and int(row[0]) <= until:
                    kept.append(row)
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([self.columns, *kept] if self.columns else [])

    def add(self, row: dict[str, Any]) -> bool:
        """Append a row; whether it reached the disk."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if not self.columns:
            self.columns = list(row)
            writer.writerow(self.columns)
        writer.writerow([row.get(c, "") for c in self.columns])
        self._waiting += out.getvalue()
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(self._waiting)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)
            return False
        self._waiting = ""
        return True


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of this trainer. Raises WeightsError for a damaged file, one of something else, or code."""
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(w in str(error) for w in ("GLOBAL", "Unsupported class", "unrecognized function")):
            raise WeightsError(f"{path} holds code and is refused: checkpoints are data only") from None
        raise WeightsError(f"{path} is damaged or no checkpoint") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        state = "truncated" if path.is_file() and not zipfile.is_zipfile(path) else "damaged or no checkpoint"
        raise WeightsError(f"{path} is {state}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise WeightsError(f"{path} is no checkpoint of a training run")
    return data


class Checkpoints:
    """The states of a run, newest last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """By step."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, state: dict[str, Any]) -> Path:
        """Write one whole, and drop those before the last `KEPT`. Raises OutputError."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"step-{state['step']:09d}.pt"
        buffer = io.BytesIO()  # so that a full disk is an OSError and nothing else
        torch.save(state, buffer)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def newest(self, say: Say) -> dict[str, Any] | None:
        """The last one that can be read; a damaged one is passed over with a word. None where there is none."""
        failure: WeightsError | None = None
        for path in reversed(self.paths()):
            try:
                return read_checkpoint(path)
            except WeightsError as error:
                say(str(error))
                failure = error
        if failure is not None:
            raise failure
        return None


def earlier(run: Path, recipe: str) -> dict[str, Any]:
    """What `recipe.json` says of a run. Raises InputError where it is none, or one of another recipe."""
    described = run / "recipe.json"
    if not described.is_file():
        raise InputError(f"{run} holds no run to resume")
    try:
        before = json.loads(described.read_text(encoding="utf-8"))
        if before["format"] != FORMAT:
            raise ValueError
        list(before["set"]), str(before["data"])
    except (ValueError, KeyError, TypeError, OSError):
        raise InputError(f"{described} is damaged or of another version") from None
    if before["recipe"] != recipe:
        raise InputError(f"{run} is a run of {before['recipe']}, not of {recipe}")
    return before
