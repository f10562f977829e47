"""Links to single results, for somebody else's phone: who has the link sees the result, and nothing else."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from infinex.studio.forms import MEDIA, MISSING, PROBLEMS, Problem
from infinex.studio.hall import job_of, studio_of
from infinex.studio.typed import Typed

router = APIRouter(route_class=Typed)
EARLY: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "There is no result yet"}}


class Link(BaseModel):
    """Where a result can be seen: a path of this studio."""

    path: str


@router.post("/v1/animations/{id}/share", status_code=201, response_model=Link, responses=PROBLEMS | MISSING | EARLY,
             tags=["animations"], summary="A link to a result")  # fmt: skip
async def share(request: Request, id: str) -> Link:
    """Whoever has it needs no session and no token; it ends with the animation."""
    job = job_of(request, id)
    if job.state != "done":
        raise HTTPException(409, "There is no result to share yet.")
    if not job.shared:
        job.shared = secrets.token_urlsafe(16)
        job.save()
    return Link(path=f"/s/{job.shared}")


@router.get("/s/{secret}", include_in_schema=False)
async def seen(request: Request, secret: str) -> Response:
    job = studio_of(request).queue.by_link(secret)
    if job is None or not job.output.is_file():
        raise HTTPException(404, "There is no such result; it may have been removed after its time.")
    suffix = "png.zip" if job.format == "png" else job.format
    return FileResponse(job.output, media_type=MEDIA[job.format], filename=f"{job.name or 'infinex'}.{suffix}",
                        headers={"Cache-Control": "private, no-store"}, content_disposition_type="inline")  # fmt: skip
