"""Requests that are sent twice: the same Idempotency-Key is answered with what was made of the first."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

KEY = "idempotency-key"


class Claim:
    """What became of a key; `name` is set by whoever makes something of the request."""

    def __init__(self, print_: str) -> None:
        self.print, self.name, self.time = print_, "", time.time()


class Repeats:
    """The keys of a while, by visitor and address."""

    def __init__(self, keep: float, most: int = 10_000) -> None:
        self._keep, self._most = keep, most
        self._known: OrderedDict[tuple[str, str, str], Claim] = OrderedDict()
        self._lock = threading.Lock()

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
        try:
            yield claim
        except BaseException:
            if not claim.name:
                self.forget(claim)
            raise

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
