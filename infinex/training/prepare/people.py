"""Who is who: identities that are known beforehand, groups by embedding, and who is held back."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from infinex.errors import InputError, MissingDependencyError, option
from infinex.training.prepare.files import walk
from infinex.training.prepare.options import PrepareOptions

SAME_PERSON = 0.50  # distance of embeddings; the network was trained for 0.6 on single photographs


def read_identities(path: Path) -> Callable[[str], str]:
    """Identities of a CSV file with the columns path and identity; paths match from their ends."""
    table: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                table[row["path"].strip().replace("\\", "/")] = row["identity"].strip()
    except (KeyError, AttributeError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: a CSV file with the columns path and identity is wanted") from None
    names: dict[str, str | None] = {}
    for key, identity in table.items():
        name = key.rpartition("/")[2]
        names[name] = identity if names.get(name, identity) == identity else None  # None: two people's files

    def known(relative: str) -> str:
        identity = table.get(relative) or names.get(relative.rpartition("/")[2])
        return identity or ""

    return known


class People:
    """Groups embeddings by person, one centre each: a clip joins the nearest centre within `SAME_PERSON`."""

    def __init__(self) -> None:
        self._centres = np.zeros((0, 128))
        self._counts: list[int] = []

    def __call__(self, embedding: list[float]) -> str:
        e = np.array(embedding)
        if len(self._counts):
            distance = np.linalg.norm(self._centres[: len(self._counts)] - e, axis=1)
            best = int(distance.argmin())
            if distance[best] < SAME_PERSON:
                n = self._counts[best]
                self._centres[best] = (self._centres[best] * n + e) / (n + 1)
                self._counts[best] = n + 1
                return f"person-{best:05d}"
        if len(self._counts) == len(self._centres):
            self._centres = np.vstack([self._centres, np.zeros((max(64, len(self._centres)), len(e)))])
        self._centres[len(self._counts)] = e
        self._counts.append(1)
        return f"person-{len(self._counts) - 1:05d}"


def held_out(identities: set[str], share: float) -> set[str]:
    """Who is in the test split: those whose names hash lowest, so that it does not depend on the order of files."""
    ordered = sorted(identities, key=lambda i: hashlib.sha1(i.encode("utf-8", "surrogateescape")).hexdigest())
    count = round(share * len(ordered))
    if share > 0 and len(ordered) > 1:
        count = min(max(1, count), len(ordered) - 1)
    return set(ordered[:count])


def known_identities(videos: Path, o: PrepareOptions) -> tuple[Callable[[str], str], bool]:
    """How a file's identity is known beforehand, and whether embeddings are needed for the others."""
    if o.layout == "voxceleb":
        return (lambda relative: ""), False
    folders = any(e.is_dir() and not e.name.startswith(".") for e in os.scandir(videos))
    kind = o.identities
    if kind == "auto":
        kind = "folder" if folders else "cluster"
    if kind == "folder":
        return (lambda relative: relative.partition("/")[0] if "/" in relative else Path(relative).stem), False
    known = (lambda relative: "") if kind == "cluster" else read_identities(Path(o.identities))
    if kind != "cluster":
        unknown = next((p for p in walk(videos) if not known(p.relative_to(videos).as_posix())), None)
        if unknown is None:
            return known, False
    from infinex.face.identity import identity_network

    try:
        identity_network()
    except MissingDependencyError:
        raise MissingDependencyError(
            "telling people apart needs: pip install face_recognition_models dlib-bin "
            f"(or name them: {option('identities')} folder, or a CSV file that has every file)"
        ) from None
    return known, True
