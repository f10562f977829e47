"""A page's socket: its place among the visits, its first words, and the newest of its messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import WebSocket
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from infinex.errors import InfinexError, InputError
from infinex.studio.checks import friendly
from infinex.studio.hall import portrait_of, studio_of
from infinex.studio.library import Portrait


class Latest:
    """The newest message of a socket; older ones nobody had time for are dropped."""

    def __init__(self, socket: WebSocket, wanted: Literal["text", "bytes"]) -> None:
        self._socket, self._wanted = socket, wanted
        self._new = asyncio.Event()
        self._item: Any = None
        self._heard = time.monotonic()
        self.options: list[str] = []
        self.closed = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                self._heard = time.monotonic()
                if message.get(self._wanted) is not None:
                    self._item = message[self._wanted]
                    self._new.set()
                elif message.get("text") is not None and len(self.options) < 16:
                    self.options.append(message["text"])
        except (WebSocketDisconnect, RuntimeError):
            pass
        self.closed = True
        self._new.set()

    def idle(self, seconds: float) -> bool:
        """Whether nothing was said for so long."""
        return time.monotonic() - self._heard > seconds

    async def get(self, timeout: float | None = None) -> Any:
        """Wait for the newest message; None after the time or at the end."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._new.wait(), timeout)
        self._new.clear()
        item, self._item = self._item, None
        return item

    def close(self) -> None:
        """Stop listening."""
        self._task.cancel()


def message_of(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("that is not JSON") from None
    if not isinstance(data, dict):
        raise InputError("an object is wanted")
    return data


async def visit(
    socket: WebSocket,
    kind: Literal["previews", "lives"],
    full: str,
    serve: Callable[[WebSocket, Portrait, int, int], Awaitable[None]],
) -> None:
    """Take a page's socket and serve it the portrait, the face and the size it names, while places of this kind last.

    A page that comes when none is left is told `full`; one that goes away ends the visit without an error."""
    begun = await _begin(socket)
    if begun is None:
        return
    places = studio_of(socket).visits[kind]
    if places.taken >= places.most:
        await close(socket, full)
        return
    places.taken += 1
    try:
        await serve(socket, *begun)
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        places.taken -= 1


async def _begin(socket: WebSocket) -> tuple[Portrait, int, int] | None:
    """Take a page's socket and the portrait it names first."""
    studio = studio_of(socket)
    await socket.accept()
    try:
        hello = message_of(await asyncio.wait_for(socket.receive_text(), 20))
        portrait = portrait_of(socket, str(hello.get("portrait", "")))
        number = hello.get("face", 1)
        if not isinstance(number, int):
            raise InputError("face is a number")
        studio.library.face(portrait, number)
        side = hello.get("side", studio.settings.preview)
        if isinstance(side, bool) or not isinstance(side, int) or side < 64:
            raise InputError("side is a number of pixels, from 64")
        return portrait, number, min(side, studio.settings.sharpest)
    except (InfinexError, HTTPException) as error:
        text = friendly(error) if isinstance(error, InfinexError) else str(error.detail)
        await close(socket, text)
    except (WebSocketDisconnect, asyncio.TimeoutError, KeyError, RuntimeError):
        await close(socket, "That is no way to begin.")
    return None


async def close(socket: WebSocket, text: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({"error": text})
        await socket.close(4000)
