"""The API: ask for an animation, follow it, fetch it, remove it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from infinex.studio import checks
from infinex.studio.forms import BUSY, KEPT_OUT, MEDIA, MISSING, NO_ROOM, PROBLEMS, TYPE, Animation, Problem, Result
from infinex.studio.hall import GONE, Busy, Studio, job_of, studio_of, visitor_of, while_there
from infinex.studio.jobs import Job, QueueFullError
from infinex.studio.making import make
from infinex.studio.repeats import no_other_fields, print_of
from infinex.studio.typed import Typed
from infinex.studio.variants import SLOW, thumbnail, variant
from infinex.studio.wanted import wanted

FIELDS = frozenset(wanted.__annotations__) - {"return"}

api = APIRouter(prefix="/v1", tags=["animations"], route_class=Typed)


@api.post(
    "/animations", status_code=202, response_model=Animation, responses=PROBLEMS | KEPT_OUT | BUSY | NO_ROOM | TYPE,
    summary="Ask for an animation",
)  # fmt: skip
async def create(
    request: Request,
    response: Response,
    given: Annotated[dict[str, Any], Depends(wanted)],
    idempotency_key: Annotated[
        str | None, Header(description="The same key is answered with the same animation", max_length=200)
    ] = None,
) -> Animation:
    """Animate a portrait by one driver: `driving`, `motion`, `text`, `units`, `keyframes`, `speech`, `say` or `layers`.

    The files are looked over before this answers; what cannot be used is said here. Then ask
    `GET /v1/animations/{id}` until its state is done, or listen to its `events`, and fetch the result."""
    studio = studio_of(request)
    await no_other_fields(request, FIELDS)
    with studio.repeats.claimed(request, await print_of(request) if idempotency_key else "") as claim:
        job = studio.queue.get(claim.name, request.state.session) if claim.name else None
        if job is not None:
            response.headers["Idempotent-Replayed"] = "true"
            return studio.view(job)
        claim.name = ""
        job = await make(request, given)
        claim.name = job.id
    return studio.view(job)


@api.get("/animations", response_model=list[Animation], responses=PROBLEMS, summary="The animations of a session")
async def listed(request: Request) -> list[Animation]:
    """Newest first; sessions are the page's cookie, or the header `X-Infinex-Session`."""
    studio = studio_of(request)
    return [studio.view(j) for j in studio.queue.of(visitor_of(request))]


@api.get("/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING, summary="How far an animation is")
async def state(request: Request, id: str) -> Animation:
    """State, progress, place in the queue and time left."""
    return studio_of(request).view(job_of(request, id))


@api.delete(
    "/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING, summary="Stop or remove an animation"
)
async def remove(request: Request, id: str) -> Animation:
    """Stop it if it has not ended, at once, and remove its files; an ended one is forgotten."""
    studio, job = studio_of(request), job_of(request, id)
    await asyncio.to_thread(studio.queue.remove, job)  # not behind the files of others
    return studio.view(job)


@api.get(
    "/animations/{id}/result",
    response_class=FileResponse,
    responses={
        **PROBLEMS,
        **MISSING,
        200: {"description": "The file", "content": {m: {} for m in MEDIA.values()}},
        409: {"model": Problem, "description": "There is no result, or not yet"},
    },
    summary="Fetch a finished animation",
)
async def result(
    request: Request,
    id: str,
    format: Annotated[Result | None, Query(description="Another format, or the motion itself")] = None,
) -> Response:
    """The file as it was asked for, or made into another format; `motion` is the performance, .motion.npz."""
    studio, job = studio_of(request), job_of(request, id)
    if job.state in ("queued", "running"):
        raise HTTPException(409, "This animation is still being made.")
    if job.state != "done":
        raise HTTPException(409, job.message or "This animation was not finished.")
    wanted: str = format or job.format
    watch = checks.Watch(studio.settings.job, SLOW)
    try:
        path = await while_there(request, watch, studio.make(variant, job, wanted, watch))
    except checks.GoneError:
        raise HTTPException(400, "The request was broken off.") from None
    if not path.is_file():  # removed in this moment
        raise HTTPException(404, GONE)
    suffix = {"motion": "motion.npz", "png": "png.zip"}.get(wanted, wanted)
    headers = {"Cache-Control": "private, no-store"}
    return FileResponse(path, media_type=MEDIA[wanted], filename=f"{job.name or 'infinex'}.{suffix}", headers=headers,
                        content_disposition_type="inline" if format is None else "attachment")  # fmt: skip


@api.patch(
    "/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING | TYPE, summary="Name an animation"
)
async def rename(request: Request, id: str, label: Annotated[str, Body(embed=True, max_length=80)]) -> Animation:
    """Give it a name of your own."""
    return renamed(studio_of(request), job_of(request, id), label)


def renamed(studio: Studio, job: Job, label: str) -> Animation:
    """A job with another label."""
    job.label = " ".join(label.split())
    job.changes += 1
    if job.folder.exists():
        job.save()
    return studio.view(job)


@api.post(
    "/animations/{id}/again",
    status_code=202,
    response_model=Animation,
    responses={**PROBLEMS, **MISSING, **BUSY, 409: {"model": Problem, "description": "It was not interrupted"}},
    summary="Make an interrupted animation again",
)
async def again(request: Request, id: str) -> Animation:
    """Queue an animation once more that was being made when the studio ended."""
    studio, job = studio_of(request), job_of(request, id)
    try:
        if not await asyncio.to_thread(studio.queue.again, job):
            raise HTTPException(409, "Only what was interrupted can be made again.")
    except QueueFullError:
        raise Busy(10, "Many animations are being made just now; please try again in a moment.") from None
    return studio.view(job)


@api.get(
    "/animations/{id}/thumb",
    response_class=Response,
    responses={
        **PROBLEMS, **MISSING,
        200: {"description": "A small JPEG", "content": {"image/jpeg": {}}},
        409: {"model": Problem, "description": "There is no picture yet"},
    },
    summary="A small picture of a finished animation",
)  # fmt: skip
async def thumb(request: Request, id: str) -> Response:
    """Its middle frame."""
    studio, job = studio_of(request), job_of(request, id)
    if job.state != "done":
        raise HTTPException(409, "There is no picture of it yet.")
    picture = await studio.make(thumbnail, job)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
