"""The sockets of the page: sliders to pictures, and a camera's frames to pictures."""

from __future__ import annotations

import contextlib
import struct
import time
from typing import Any

from fastapi import APIRouter, WebSocket

from infinex.drivers.motion import bundled_motions, load_motion
from infinex.errors import InfinexError, InputError
from infinex.face.tracker import LOOKING
from infinex.media.image import read_image
from infinex.studio.checks import friendly
from infinex.drivers.expression import Expression
from infinex.studio.hall import studio_of
from infinex.studio.library import Portrait
from infinex.studio.preview import Live, Preview, encode, shrunk
from infinex.studio.sockets import Latest, close, message_of, visit

page = APIRouter(include_in_schema=False)
IDLE_STEP = 5.0  # seconds between looks whether a socket is still used
RESTED = "The preview was closed, since nothing moved for a while."


@page.websocket("/studio/express")
async def express(socket: WebSocket) -> None:
    """Settings of sliders in, pictures out: a number (uint32, little-endian) and a JPEG."""
    full = "Many people are trying this just now; please come back in a moment."
    await visit(socket, "previews", full, _express)


async def _express(socket: WebSocket, portrait: Portrait, number: int) -> None:
    studio = studio_of(socket)
    preview: Preview = await studio.draw(studio.library.preview, portrait, number)
    h, w = preview.image.shape[:2]
    await socket.send_json({"ready": True, "width": w, "height": h})
    playing: tuple[Any, float, int] | None = None
    with contextlib.closing(Latest(socket, "text")) as latest:
        while not latest.closed:
            text = await latest.get(IDLE_STEP if playing is None else 1 / 24)
            if text is None and latest.idle(studio.settings.idle):
                await close(socket, RESTED)
                return
            try:
                if text is not None:
                    data = message_of(text)
                    seq = int(data.get("seq", 0)) & 0xFFFFFFFF
                    if "play" in data:
                        name = str(data["play"])
                        if name not in bundled_motions():
                            raise InputError(f"no motion called {name[:40]!r}")
                        playing = await studio.draw(load_motion, name), time.monotonic(), seq
                        continue
                    playing = None
                    expression = Expression.read(data)
                    picture = await studio.draw(_drawn, preview, expression)
                elif playing is not None:
                    motion, start, seq = playing
                    picture = await studio.draw(_played, preview, motion, time.monotonic() - start)
                else:
                    continue
            except InfinexError as error:
                await socket.send_json({"error": friendly(error)})
                continue
            except (TypeError, ValueError, OverflowError):
                await socket.send_json({"error": "That setting could not be read."})
                continue
            await socket.send_bytes(struct.pack("<I", seq) + picture)
            portrait.used = time.time()


def _drawn(preview: Preview, expression: Expression) -> bytes:
    with preview.lock:
        return encode(preview.draw(expression))


def _played(preview: Preview, motion: Any, seconds: float) -> bytes:
    with preview.lock:
        return encode(preview.frame(motion, seconds))


@page.websocket("/studio/live")
async def live(socket: WebSocket) -> None:
    """Camera frames in (JPEG), pictures out; text carries choices in and states out."""
    await visit(socket, "lives", "Somebody else is live just now; please come back in a moment.", _live)


async def _live(socket: WebSocket, portrait: Portrait, number: int) -> None:
    studio = studio_of(socket)
    driven: Live
    with contextlib.closing(await studio.draw(_new_live, portrait, number, studio.settings.preview)) as driven:
        await socket.send_json({"ready": True})
        state = ""
        with contextlib.closing(Latest(socket, "bytes")) as latest:
            while not latest.closed:
                frame = await latest.get(IDLE_STEP)
                if frame is None and latest.idle(studio.settings.idle / 10):
                    await close(socket, RESTED)
                    return
                try:
                    while latest.options:
                        driven.options(message_of(latest.options.pop(0)))
                    if frame is None:
                        continue
                    new, picture = await studio.draw(_driven, driven, frame)
                except InfinexError as error:
                    await socket.send_json({"error": friendly(error)})
                    continue
                if new != state:
                    state = new
                    await socket.send_json({"state": state})
                await socket.send_bytes(picture)
                portrait.used = time.time()


def _new_live(portrait: Portrait, number: int, side: int) -> Live:
    source = shrunk(read_image(portrait.path), portrait.faces[number - 1], side)
    with LOOKING:
        return Live(source)


def _driven(driven: Live, frame: bytes) -> tuple[str, bytes]:
    """The picture for one camera frame; empty where there is none yet."""
    state, image = driven.frame(frame)
    return state, b"" if image is None else encode(image, 84)
