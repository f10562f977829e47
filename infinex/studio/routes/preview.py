"""The sockets of the page: sliders to pictures, and a camera's frames to pictures."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, WebSocket

from infinex.drivers.expression import Expression
from infinex.drivers.motion import bundled_motions, load_motion
from infinex.errors import InfinexError, InputError
from infinex.face.tracker import LOOKING
from infinex.jobs.source import shrunk
from infinex.studio.asked import asset_of
from infinex.studio.checks import GoneError, Watch, friendly
from infinex.studio.hall import studio_of
from infinex.studio.library import Library, Portrait
from infinex.studio.preview import Live, Preview, encode
from infinex.studio.scenes import Playable, document_of, playable, scene_of, with_files
from infinex.studio.sockets import Latest, close, message_of, visit

page = APIRouter(include_in_schema=False)
IDLE_STEP = 5.0  # seconds between looks whether a socket is still used
QUICK = 0.25  # seconds within which the next change of a slider comes while it is moved
BUSY = 1.0  # the same at most, where pictures take long
WORKING = 0.4  # seconds after which a page is told that a scene takes a while
RESTED = "The preview was closed, since nothing moved for a while."


@page.websocket("/studio/express")
async def express(socket: WebSocket) -> None:
    """Settings of sliders in, pictures out: a number (uint32, little-endian) and a JPEG."""
    full = "Many people are trying this just now; please come back in a moment."
    await visit(socket, "previews", full, _express)


async def _express(socket: WebSocket, portrait: Portrait, number: int, side: int) -> None:
    watch = Watch(studio_of(socket).settings.look)  # of the clips that this page has had read
    try:
        await _shown(socket, portrait, number, side, watch)
    finally:
        watch.gone.set()


async def _shown(socket: WebSocket, portrait: Portrait, number: int, side: int, watch: Watch) -> None:
    studio = studio_of(socket)
    alone: Preview = await studio.draw(studio.library.preview, portrait, (number,), side)
    group = alone  # the faces that the scene moves
    h, w = alone.image.shape[:2]
    await socket.send_json({"ready": True, "width": w, "height": h})
    playing: tuple[Any, float, int] | None = None
    scene: Playable | None = None
    running = 0.0  # seconds of the scene at which it began to run
    # While a slider moves, pictures come without what the networks add; the last one follows whole.
    owed: tuple[int, Callable[[bool], bytes]] | None = None
    asked, quickly = 0.0, QUICK  # when the last picture was there, and within which time the next is in haste
    with contextlib.closing(Latest(socket, "text")) as latest:
        while not latest.closed:
            text = await latest.get(1 / 24 if playing else IDLE_STEP if owed is None else quickly)
            if text is None and latest.idle(studio.settings.idle):
                await close(socket, RESTED)
                return
            show: Callable[[bool], bytes]
            try:
                if text is not None:
                    data = message_of(text)
                    seq = int(data.get("seq", 0)) & 0xFFFFFFFF
                    owed = None
                    if "play" in data:
                        name = str(data["play"])
                        if name not in bundled_motions():
                            raise InputError(f"no motion called {name[:40]!r}")
                        playing = await studio.draw(load_motion, name), time.monotonic(), seq
                        continue
                    playing = None
                    if "layers" in data:
                        everyone = data.get("everyone", False) is True
                        chosen = range(1, len(portrait.faces) + 1) if everyone else (number,)
                        scene = await _opened(socket, data["layers"], latest, watch, chosen, len(portrait.faces))
                        numbers = tuple(scene.parts)
                        if numbers != group.numbers:
                            same = numbers == alone.numbers
                            group = (
                                alone if same else await studio.draw(studio.library.preview, portrait, numbers, side)
                            )
                        await socket.send_json({"scene": {"seq": seq, **scene.as_dict()}})
                        continue
                    if "at" in data or "run" in data:
                        if scene is None:
                            raise InputError("a scene is wanted first: send its layers")
                        running = float(data["at"] if "at" in data else data["run"])
                        if not math.isfinite(running):
                            raise InputError("a time in seconds is wanted")
                        if "run" in data:
                            playing = scene, time.monotonic(), seq
                            continue
                        show = functools.partial(_seen, group, scene, running)
                    else:
                        show = functools.partial(_drawn, alone, Expression.read(data))
                    begun = time.monotonic()
                    quick = begun - asked < quickly
                    picture = await studio.draw(show, not quick)
                    asked = time.monotonic()
                    quickly = min(BUSY, max(QUICK, 2 * (asked - begun)))
                    owed = (seq, show) if quick else None
                elif playing is not None:
                    motion, start, seq = playing
                    seconds = time.monotonic() - start
                    if isinstance(motion, Playable):
                        if running + seconds >= motion.duration:
                            playing = None
                            await socket.send_json({"ended": seq})
                            owed = seq, functools.partial(_seen, group, motion, motion.duration)
                            continue
                        picture = await studio.draw(_seen, group, motion, running + seconds, False)
                    else:
                        picture = await studio.draw(_played, alone, motion, seconds)
                elif owed is not None:
                    seq, show = owed
                    owed = None
                    picture = await studio.draw(show, True)
                else:
                    continue
            except InfinexError as error:
                await socket.send_json({"error": friendly(error)})
                continue
            except GoneError:
                return
            except (TypeError, ValueError, OverflowError):
                await socket.send_json({"error": "That setting could not be read."})
                continue
            await socket.send_bytes(struct.pack("<I", seq) + picture)
            portrait.used = time.time()


async def _opened(
    socket: WebSocket, data: Any, latest: Latest, watch: Watch, chosen: Sequence[int], count: int
) -> Playable:
    """The scene that a page sends. Raises InputError; files come from the library alone."""
    studio = studio_of(socket)
    document, files = with_files(document_of(data), asset_of(studio, socket), _no_uploads)
    scene = scene_of(document)
    paths = {f"{i + 1}-{f.name}": f for i, f in enumerate(files)}
    longest = studio.settings.duration
    work = asyncio.ensure_future(
        studio.look(playable, scene, paths, studio.performances, longest, watch, chosen, count)
    )
    try:
        done, _ = await asyncio.wait({work}, timeout=WORKING)
        if not done:
            await socket.send_json({"working": "What this comes from is read for the first time."})
        while not done:
            done, _ = await asyncio.wait({work}, timeout=WORKING)
            if latest.closed:
                watch.gone.set()
    except BaseException:
        watch.gone.set()
        raise
    return await work


def _no_uploads(name: str) -> Path:
    raise InputError("a preview plays what is in the library: name an asset")


def _seen(preview: Preview, scene: Playable, seconds: float, fine: bool) -> bytes:
    acting = scene.at(seconds)  # may wait for a clip that is being read, and nobody else for that
    with preview.lock:
        return encode(preview.play(acting, fine))


def _drawn(preview: Preview, expression: Expression, fine: bool) -> bytes:
    with preview.lock:
        return encode(preview.draw(expression, fine))


def _played(preview: Preview, motion: Any, seconds: float) -> bytes:
    with preview.lock:
        return encode(preview.frame(motion, seconds))


@page.websocket("/studio/live")
async def live(socket: WebSocket) -> None:
    """Camera frames in (JPEG), pictures out; text carries choices in and states out."""
    await visit(socket, "lives", "Somebody else is live just now; please come back in a moment.", _live)


async def _live(socket: WebSocket, portrait: Portrait, number: int, side: int) -> None:
    studio = studio_of(socket)
    driven: Live
    with contextlib.closing(await studio.draw(_new_live, studio.library, portrait, number, side)) as driven:
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


def _new_live(library: Library, portrait: Portrait, number: int, side: int) -> Live:
    source = shrunk(library.sources(portrait, (number,)), side)[0]
    with LOOKING:
        return Live(source)


def _driven(driven: Live, frame: bytes) -> tuple[str, bytes]:
    """The picture for one camera frame; empty where there is none yet."""
    state, image = driven.frame(frame)
    return state, b"" if image is None else encode(image, 84)
