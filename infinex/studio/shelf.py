"""What visitors keep by name - performances, expressions, projects - each a folder with a record, seen by its owner."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from infinex.studio.place import read_record, write_record

RECORD = "record.json"


@dataclass
class Kept:
    """One thing that is kept: `data` is JSON."""

    id: str
    owner: str
    folder: Path
    name: str
    data: dict[str, Any]
    created: float = field(default_factory=time.time)
    changed: float = field(default_factory=time.time)
    used: float = field(default_factory=time.time)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rename(self, name: str) -> None:
        """Another name; an empty one changes nothing."""
        self.name = " ".join(name.split()) or self.name

    def save(self) -> None:
        """Write it down."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_record(self.folder / RECORD, {k: getattr(self, k) for k in FIELDS})


FIELDS = ("id", "owner", "name", "data", "created", "changed", "used")


class Shelf:
    """Things of one kind. What nobody has used for `keep` seconds goes; so does a visitor's oldest beyond `most`."""

    def __init__(self, folder: Path, what: str, keep: float, most: int) -> None:
        """`what` is the kind's name in words. Things of an earlier run are found again."""
        self.folder, self._what, self._keep, self._most = folder, what, keep, most
        self._things: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        found = []
        for one in folder.iterdir():
            data = read_record(one / RECORD)
            if data is None or not all(k in data for k in FIELDS):
                shutil.rmtree(one, ignore_errors=True)  # half-made when a studio was killed
                continue
            found.append(Kept(folder=one, **{k: data[k] for k in FIELDS}))
        for kept in sorted(found, key=lambda k: k.created):
            self._things[kept.id] = kept

    def new(self, owner: str, name: str, data: dict[str, Any]) -> Kept:
        """A thing with a folder, not yet among the others; `put` keeps it."""
        kept = Kept(secrets.token_urlsafe(12), owner, self.folder / secrets.token_hex(8), name, data)
        kept.folder.mkdir(parents=True)
        return kept

    def put(self, kept: Kept) -> Kept:
        """Keep a thing that is whole. Raises HTTPException where its owner has too many."""
        with self._lock:
            if sum(k.owner == kept.owner for k in self._things.values()) >= self._most:
                raise HTTPException(409, f"At most {self._most} {self._what}s are kept; delete one first.")
            kept.save()
            self._things[kept.id] = kept
        return kept

    def get(self, name: str, owner: str | None) -> Kept:
        """A visitor's thing by its id. Raises HTTPException 404."""
        kept = self.find(name, owner)
        if kept is None:
            raise HTTPException(404, f"There is no such {self._what}; it may have been removed after its time.")
        return kept

    def find(self, name: str, owner: str | None) -> Kept | None:
        """A visitor's thing by its id, where there is one."""
        with self._lock:
            kept = self._things.get(name)
            if kept is None or kept.owner != owner:
                return None
            if time.time() - kept.used > 60:
                kept.used = time.time()
                kept.save()
            return kept

    def of(self, owner: str) -> list[Kept]:
        """A visitor's, the newest first."""
        with self._lock:
            return sorted((k for k in self._things.values() if k.owner == owner), key=lambda k: -k.created)

    def drop(self, kept: Kept) -> None:
        """Remove a thing and its files."""
        with self._lock:
            self._things.pop(kept.id, None)
        shutil.rmtree(kept.folder, ignore_errors=True)

    def all(self) -> list[Kept]:
        """Everybody's."""
        with self._lock:
            return list(self._things.values())

    def sweep(self, wanted: Container[str] = ()) -> None:
        """Remove what nobody has used for a while, unless its id is `wanted`."""
        now = time.time()
        with self._lock:
            old = [k for k in self._things.values() if now - k.used > self._keep and k.id not in wanted]
        for kept in old:
            self.drop(kept)
