"""Who may speak to a studio, and how much at once: hosts, origins, the token, sessions, sizes, rates."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import ipaddress
import json
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

from infinex.studio.settings import Settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
SESSION, TOKEN = "infinex_session", "infinex_token"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' ws: wss:; "
    "style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(self)"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


JSON = 32 << 20  # bytes of a request that is JSON
TOO_LARGE = "That is too large; at most {} MB can be sent at once."
ASKING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Infinex studio</title>
<h1>Infinex studio</h1>
<form action="/" method="get">
<p><label for="token">This studio asks for its token. It stands in the address that the studio printed when it was
started.</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open the studio</button></p>
</form>
</html>
"""


class Rate:
    """At most so many events a minute for each client."""

    def __init__(self, limit: int, clients: int = 4096) -> None:
        self._limit, self._clients = limit, clients
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Count an event; seconds to wait where there were too many, else 0."""
        now = time.monotonic()
        events = self._events.setdefault(client, deque())
        self._events.move_to_end(client)
        while len(self._events) > self._clients:
            self._events.popitem(last=False)
        while events and now - events[0] > 60:
            events.popleft()
        if len(events) >= self._limit:
            return 60 - (now - events[0])
        events.append(now)
        return 0.0


def new_session() -> str:
    """A name for a visitor that nobody guesses."""
    return secrets.token_urlsafe(24)


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _cookies(scope: Scope) -> dict[str, str]:
    try:
        return {k: v.value for k, v in SimpleCookie(_header(scope, b"cookie") or "").items()}
    except CookieError:
        return {}


def _basic(words: str) -> list[str]:
    """Name and password of Basic authorization: clients of other services send a key as either."""
    with contextlib.suppress(ValueError):
        return base64.b64decode(words.strip(), validate=True).decode("utf-8").split(":", 1)
    return []


def own_name(host: str) -> bool:
    """Whether a Host header can only mean this machine: an address, or a name without dots.

    A page of somebody else can point a name of its own at 127.0.0.1; that name has dots."""
    name = urlsplit(f"//{host}").hostname or ""
    if "." not in name and ":" not in name:
        return bool(re.fullmatch(r"[\w-]+", name))
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return name.endswith(".localhost")


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        cookies = _cookies(scope)
        session = cookies.get(SESSION, "")
        session = _header(scope, b"x-infinex-session") or session
        scope.setdefault("state", {})["session"] = session if re.fullmatch(r"[\w-]{20,80}", session) else None
        linked = scope.get("method") in ("GET", "HEAD") and scope.get("path", "").startswith("/s/")
        refused = self._refused(scope, cookies, linked)
        if refused is not None:
            await _refuse(scope, receive, send, *refused)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        bare = scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS")
        await self._app(scope, self._limited(receive, bare, self._most(scope)), _with_headers(send))

    def _refused(self, scope: Scope, cookies: dict[str, str], linked: bool) -> tuple[int, str] | None:
        """Status and words where a request is not let in; a link to one result asks for no token."""
        host = _header(scope, b"host") or ""
        if self._settings.loopback and not own_name(host):
            return 403, "This studio answers only on this machine's own names; start it with --host to change that."
        origin = _header(scope, b"origin")
        unsafe = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD", "OPTIONS")
        if unsafe and origin is not None and urlsplit(origin).netloc != host:
            return 403, "Requests from pages of other sites are not answered."
        token = self._settings.token
        if token is not None and not linked:
            words = _header(scope, b"authorization") or ""
            query = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
            given = [words[7:].strip()] if words.lower().startswith("bearer ") else [query or cookies.get(TOKEN, "")]
            if words.lower().startswith("basic "):
                given = _basic(words[6:])
            if not any(hmac.compare_digest(g.encode(), token.encode()) for g in given):
                return 401, "This studio asks for its token: open the address it printed, or send it as Bearer."
        length, most = _header(scope, b"content-length"), self._most(scope)
        if scope["type"] == "http" and length is not None and length.isdigit() and int(length) > most:
            return 413, TOO_LARGE.format(most >> 20)
        return None

    def _most(self, scope: Scope) -> int:
        """Bytes that a body may have: JSON lies in memory, forms do not."""
        kind = _header(scope, b"content-type") or ""
        return min(JSON, self._settings.upload) if "json" in kind.lower() else self._settings.upload

    def _limited(self, receive: Receive, whole: bool, most: int) -> Receive:
        """`receive` with an end to large bodies and to those that do not come; `whole`: there is none to wait for."""
        seen, begun = 0, time.monotonic()

        async def counted() -> dict[str, Any]:
            nonlocal seen, whole
            if whole:  # what comes now is only that the client has gone, and that may take as long as it likes
                message = await receive()
            else:
                try:
                    left = begun + self._settings.body - time.monotonic()
                    message = await asyncio.wait_for(receive(), max(0.01, min(self._settings.stall, left)))
                except asyncio.TimeoutError:
                    raise HTTPException(408, "Nothing more came of this request, so it was given up.") from None
                whole = not message.get("more_body", False)
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > most:
                    raise HTTPException(413, TOO_LARGE.format(most >> 20))
            return message

        return counted


def _with_headers(send: Send) -> Send:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            known = {k.lower() for k, _ in message["headers"]}
            message = dict(message)
            message["headers"] = [*message["headers"], *((k, v) for k, v in HEADERS if k not in known)]
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4000 + status % 1000, "reason": detail[:120]})
        return
    body, kind = json.dumps({"detail": detail}).encode(), b"application/json"
    if status == 401 and scope["method"] == "GET" and "text/html" in (_header(scope, b"accept") or ""):
        body, kind = ASKING.encode(), b"text/html; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
