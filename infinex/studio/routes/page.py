"""What the page asks at its start: what the studio offers, and its visitor's animations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from starlette.exceptions import HTTPException

from infinex.studio.forms import Animation
from infinex.studio.hall import GONE, Studio, studio_of, visitor_of
from infinex.studio.jobs import Job
from infinex.studio.offer import offer
from infinex.studio.routes.animations import renamed
from infinex.studio.routes.studies import HOME
from infinex.studio.typed import Typed
from infinex.studio.variants import thumbnail

page = APIRouter(include_in_schema=False, route_class=Typed)


@page.get("/studio/offer")
async def what(request: Request) -> dict[str, Any]:
    studio = studio_of(request)
    visitor_of(request)
    found: dict[str, Any] = await studio.look(offer, studio.settings, studio.engines)
    at_home = request.client is not None and request.client.host in HOME
    return found | {"here": studio.here, "join": studio.settings.address if at_home else None}


@page.get("/studio/alive")
async def alive(request: Request) -> dict[str, str]:
    return {"here": studio_of(request).here}


@page.get("/studio/jobs")
async def jobs(request: Request) -> list[Animation]:
    studio = studio_of(request)
    return [studio.view(j) for j in studio.queue.of(visitor_of(request))]


def _own(studio: Studio, request: Request, id: str) -> Job:
    """A visitor's own job. Raises HTTPException where there is none."""
    job = studio.queue.get(id, visitor_of(request))
    if job is None:
        raise HTTPException(404, GONE)
    return job


@page.patch("/studio/jobs/{id}")
async def rename(request: Request, id: str, label: Annotated[str, Body(embed=True, max_length=80)]) -> Animation:
    studio = studio_of(request)
    return renamed(studio, _own(studio, request, id), label)


@page.get("/studio/jobs/{id}/thumb")
async def thumb(request: Request, id: str) -> Response:
    studio = studio_of(request)
    job = _own(studio, request, id)
    if job.state != "done":
        raise HTTPException(409, "There is no picture of it yet.")
    picture = await studio.make(thumbnail, job)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
