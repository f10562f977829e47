"""Progress as a stream of server-sent events: of one animation, or of all that a session has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from infinex.studio.forms import MISSING, PROBLEMS
from infinex.studio.hall import Studio, job_of, studio_of, visitor_of
from infinex.studio.jobs import ENDED, Job

api = APIRouter(prefix="/v1", tags=["animations"])
STEP = 0.25  # seconds between looks
BEAT = 15.0  # seconds after which something is sent, so that nobody takes the stream for dead
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A stream of events", "content": {"text/event-stream": {}}}
}


def _told(studio: Studio, job: Job) -> str:
    return f"event: state\ndata: {studio.view(job).model_dump_json()}\n\n"


async def _follow(request: Request, studio: Studio, job: Job) -> AsyncIterator[str]:
    seen, beat = None, time.monotonic()
    while True:
        now = job.changes, job.state, studio.queue.position(job)
        job.seen = time.monotonic()
        if now != seen:
            seen, beat = now, time.monotonic()
            yield _told(studio, job)
        elif time.monotonic() - beat > BEAT:
            beat = time.monotonic()
            yield ": \n\n"
        if now[1] in ENDED or studio.closing.is_set() or await request.is_disconnected():
            return
        await asyncio.sleep(STEP)


async def _follow_all(request: Request, studio: Studio, owner: str) -> AsyncIterator[str]:
    seen: dict[str, tuple[object, ...]] = {}
    beat = time.monotonic()
    yield ": \n\n"
    while not (studio.closing.is_set() or await request.is_disconnected()):
        jobs = {job.id: job for job in studio.queue.of(owner)}
        out = [f'event: gone\ndata: {{"id": "{name}"}}\n\n' for name in seen if name not in jobs]
        seen = {name: state for name, state in seen.items() if name in jobs}
        for name, job in reversed(jobs.items()):
            now = job.changes, job.state, studio.queue.position(job)
            if seen.get(name) != now:
                seen[name] = now
                out.append(_told(studio, job))
        if not out and time.monotonic() - beat > BEAT:
            out = [": \n\n"]
        if out:
            beat = time.monotonic()
            yield "".join(out)
        await asyncio.sleep(STEP)


@api.get("/animations/{id}/events", response_class=StreamingResponse, responses=PROBLEMS | MISSING | STREAM,
         summary="Follow an animation")  # fmt: skip
async def events(request: Request, id: str) -> StreamingResponse:
    """`state` with the animation at every change, first at once; the stream ends with it."""
    studio, job = studio_of(request), job_of(request, id)
    return StreamingResponse(_follow(request, studio, job), media_type="text/event-stream", headers=HEADERS)


@api.get("/events", response_class=StreamingResponse, responses=PROBLEMS | STREAM, summary="Follow all animations")
async def all_events(request: Request) -> StreamingResponse:
    """`state` of each animation of the session at every change, `gone` where one is forgotten."""
    studio, owner = studio_of(request), visitor_of(request)
    return StreamingResponse(_follow_all(request, studio, owner), media_type="text/event-stream", headers=HEADERS)
