"""Requests that are sent twice: the same Idempotency-Key is answered with what was made of the first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

KEY = "idempotency-key"


class Claim:
    """What became of a key; `name` is set by whoever makes something of the request."""

    def __init__(self, print_: str, name: str = "", when: float | None = None) -> None:
        self.print, self.name, self.time = print_, name, time.time() if when is None else when


class Repeats:
    """The keys of a while, by visitor and address; a line of `path` for each, so that they outlast a restart."""

    def __init__(self, keep: float, path: Path, most: int = 10_000) -> None:
        self._keep, self._most, self._path = keep, most, path
        self._known: OrderedDict[tuple[str, str, str], Claim] = OrderedDict()
        self._lock = threading.Lock()
        if path.exists():
            for line in path.read_text("utf-8", "replace").splitlines()[-most:]:
                with contextlib.suppress(ValueError, TypeError):  # half a line, of a studio that was killed
                    who, where, key, print_, name, when = json.loads(line)
                    if time.time() - float(when) < keep:
                        self._known[str(who), str(where), str(key)] = Claim(str(print_), str(name), float(when))
            path.unlink()
            for place, claim in self._known.items():
                self._write(place, claim)

    def _write(self, place: tuple[str, str, str], claim: Claim) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([*place, claim.print, claim.name, claim.time]) + "\n")

    @contextmanager
    def claimed(self, request: Request, print_: str) -> Iterator[Claim]:
        """The claim of a request's key: with a `name` where it was answered before. Where the block raises, the key is
        free again. Raises HTTPException for a key that belongs to another request, or whose request still comes."""
        key = request.headers.get(KEY)
        if key is None:
            yield Claim(print_)
            return
        if not 0 < len(key) <= 200:
            raise HTTPException(422, "Idempotency-Key: between 1 and 200 characters are wanted.")
        who = request.state.session or (request.client.host if request.client else "?")
        place = who, request.url.path, key
        with self._lock:
            now = time.time()
            while self._known and (
                len(self._known) > self._most or now - next(iter(self._known.values())).time > self._keep
            ):
                self._known.popitem(last=False)
            claim = self._known.get(place)
            if claim is not None:
                if claim.print != print_:
                    raise HTTPException(422, "This Idempotency-Key was sent with another request.")
                if not claim.name:
                    raise HTTPException(409, "The first request with this Idempotency-Key has not been answered yet.")
            else:
                claim = self._known[place] = Claim(print_)
        before = claim.name
        try:
            yield claim
        except BaseException:
            if not claim.name:
                self.forget(claim)
            raise
        if claim.name != before:
            with self._lock, contextlib.suppress(OSError):  # of a full disk: known until the studio ends
                self._write(place, claim)

    def forget(self, claim: Claim) -> None:
        """Free a key, since what was made of it is not there any more."""
        with self._lock:
            for place in [p for p, c in self._known.items() if c is claim]:
                self._known.pop(place)


async def print_of(request: Request) -> str:
    """A digest of what a request asks for: its fields, and of its files names and contents."""
    digest = hashlib.sha256()
    if "json" in request.headers.get("content-type", ""):
        digest.update(await request.body())
        return digest.hexdigest()
    form = await request.form()
    for name, value in sorted(form.multi_items(), key=lambda i: (i[0], str(getattr(i[1], "filename", i[1])))):
        digest.update(f"\0{name}\0".encode())
        if isinstance(value, UploadFile):
            digest.update(f"{value.filename}\0{value.size}\0".encode())
            while block := await value.read(1 << 20):
                digest.update(block)
            await value.seek(0)
        else:
            digest.update(str(value).encode())
    return digest.hexdigest()


async def no_other_fields(request: Request, known: Any) -> None:
    """Raise HTTPException for a form that names what nobody knows: a misspelt choice would be left out silently."""
    form = await request.form()
    unknown = next((n for n in form if n not in known), None)
    if unknown is not None:
        raise HTTPException(422, f"{str(unknown)[:40]}: there is no such field here.")
