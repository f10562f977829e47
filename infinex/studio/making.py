"""From the fields of a request to a job: everything a user can cause is said before one is made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from infinex.drivers.motion import bundled_motions
from infinex.errors import InputError
from infinex.studio import checks
from infinex.studio.asked import Script, background_of, check_options, length_of, task_of, whose_of
from infinex.studio.calls import check_callback
from infinex.studio.hall import Busy, Studio, studio_of, while_there
from infinex.studio.jobs import Job, QueueFullError
from infinex.studio.names import name_of
from infinex.studio.offer import speaks
from infinex.studio.worker import Task

VOICES = ("speech", "say")
DRIVERS = ("driving", "motion", "text", "units", "keyframes", "layers", *VOICES)


def _driver(given: Mapping[str, Any]) -> list[str]:
    """The drivers that are named: one, or one and a voice over it. Raises InputError."""
    named = [k for k in DRIVERS if given[k] is not None]
    alone = [k for k in named if k not in VOICES]
    mixed = "layers" in alone and len(named) > 1
    if not named or len(alone) > 1 or len(named) - len(alone) > 1 or mixed:
        raise InputError(
            f"one driver is wanted, of {', '.join(DRIVERS)}" + (f"; there are {len(named)}" if named else "")
        )
    if given["files"] and "layers" not in named:
        raise InputError("files go with layers")
    return named


def options_of(g: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an animation. Raises InputError."""
    options: dict[str, Any] = {
        k: g[k]
        for k in ("engine", "face", "strength", "absolute", "smooth", "mouth", "wrinkles", "neutral", "open_eyes",
                  "crop", "proportions", "size", "fps", "audio", "panel", "mark", "start", "end", "loop")
    }  # fmt: skip
    options["parts"] = tuple(p.strip() for p in g["parts"].split(",") if p.strip())
    options["background"] = background_of(g["background"], g["format"])
    options["driver_face"] = whose_of(g["driver_face"])
    if g["end"] is not None and g["end"] <= g["start"]:
        raise InputError(f"end {g['end']:g}: it must come after start {g['start']:g}")
    return options


@contextlib.contextmanager
def place_in(studio: Studio) -> Iterator[None]:
    """Hold a place of the queue while what is to be made is looked over. Raises Busy."""
    try:
        with studio.queue.reserved():
            yield
    except QueueFullError:
        raise Busy(10, "Many animations are being made just now; please try again in a moment.") from None


async def make(request: Request, fields: Mapping[str, Any], batch: str | None = None) -> Job:
    """Look over what a request asks for and queue it. Raises InputError, HTTPException and its kin."""
    studio = studio_of(request)
    s = studio.settings
    studio.counted(request)
    g = dict(fields)
    for k in ("source", "driving", "speech"):
        f = g[k]
        g[k] = f if f is not None and (f.filename or f.size) else None
    g["files"] = [f for f in g["files"] or () if f.filename or f.size]
    for k in ("text", "units", "keyframes", "motion", "say", "layers", "portrait", "callback"):
        g[k] = (g[k].strip() or None) if g[k] else None
    if (g["source"] is None) == (g["portrait"] is None):
        raise InputError("a portrait is wanted: send a picture as source")
    named = _driver(g)
    options = options_of(g)
    await studio.look(check_options, options, studio)
    check_callback(g["callback"], s)
    motion = g["motion"]
    if motion is not None and motion not in bundled_motions():
        raise InputError(f"no motion called {motion[:40]!r}; there are {', '.join(bundled_motions())}")
    length = await studio.look(length_of, motion, g["units"], g["keyframes"], g["text"], s)
    if any(k in VOICES for k in named) and not await studio.look(speaks):
        raise InputError("driving by a voice is not part of this installation")
    script = None
    if g["say"] is not None:
        script = Script(g["say"], g["voice"], g["voice_speed"], g["voice_pitch"], len(named) > 1)
    watch = checks.Watch(s.look)
    try:
        with contextlib.nullcontext() if batch else place_in(studio):  # a batch has its place already
            job = studio.queue.new(request.state.session)
            try:
                job.format, job.label, job.batch, job.callback = g["format"], g["label"], batch, g["callback"]
                job.kind, job.portrait, job.clear = named[0], g["portrait"], options["background"] == "none"
                files = task_of(studio, request, job, g, script, options, length, watch)
                task, work = await while_there(request, watch, files)
                studio.queue.pace.check(work, g["format"], s)
                job.work = work
                task = {**task, "motion": motion, "text": g["text"], "units": g["units"], "keyframes": g["keyframes"]}
                job.task = Task(output=str(job.output), options=options, **task)
                job.name = name_of(g, studio.library.name(g["portrait"]), options, batch is not None)
                studio.queue.submit(job)
            except BaseException:
                studio.queue.discard(job)
                raise
    except checks.GoneError:
        raise HTTPException(400, "The request was broken off.") from None
    if await request.is_disconnected():  # nobody hears of its id, so nobody could ever stop it
        await asyncio.to_thread(studio.queue.remove, job)
    return job
