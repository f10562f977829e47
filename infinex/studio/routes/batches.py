"""Many portraits by one performance: one request, one zip."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from fastapi import APIRouter, Depends, File, Form, Header, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from infinex.errors import InfinexError, InputError
from infinex.studio.forms import BUSY, KEPT_OUT, NO_ROOM, PROBLEMS, TYPE, Animation, Problem
from infinex.studio.hall import Studio, studio_of
from infinex.studio.jobs import Job
from infinex.studio.making import make, place_in
from infinex.studio.names import slug
from infinex.studio.repeats import no_other_fields, print_of
from infinex.studio.routes.animations import FIELDS
from infinex.studio.typed import Typed
from infinex.studio.wanted import wanted

api = APIRouter(prefix="/v1", tags=["batches"], route_class=Typed)
MOST = 100  # portraits of one batch


class Batch(BaseModel):
    """Animations that were asked for together."""

    id: str
    label: str
    created: float
    state: Literal["queued", "running", "done", "failed"]
    progress: float
    animations: list[Animation]


NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such batch"}}


@api.post("/batches", status_code=202, response_model=Batch, responses=PROBLEMS | KEPT_OUT | BUSY | NO_ROOM | TYPE,
          summary="Animate many portraits by one performance")  # fmt: skip
async def create(
    request: Request,
    response: Response,
    given: Annotated[dict[str, Any], Depends(wanted)],
    portraits: Annotated[str, Form(description="Ids of portraits, with commas between them", max_length=8000)] = "",
    sources: Annotated[Optional[list[UploadFile]], File(description="Pictures")] = None,  # noqa: UP045
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Batch:
    """As `POST /v1/animations`, for every one of `portraits` and `sources`. If one cannot be used, none is made."""
    studio = studio_of(request)
    await no_other_fields(request, FIELDS | {"portraits", "sources"})
    if given["source"] is not None or given["portrait"]:
        raise InputError("a batch has portraits or sources in place of portrait and source")
    named = [p.strip() for p in portraits.split(",") if p.strip()]
    sent = [f for f in sources or () if f.filename or f.size]
    if not 0 < len(named) + len(sent) <= MOST:
        raise InputError(f"between 1 and {MOST} portraits are wanted")
    with studio.repeats.claimed(request, await print_of(request) if idempotency_key else "") as claim:
        if claim.name and (jobs := studio.queue.all_of(claim.name, request.state.session)):
            response.headers["Idempotent-Replayed"] = "true"
            return _view(studio, claim.name, jobs)
        claim.name = ""
        name, jobs = secrets.token_urlsafe(16), []
        try:
            each: list[dict[str, Any]] = [*({"portrait": p} for p in named), *({"source": f} for f in sent)]
            with place_in(studio):  # one, however many they are
                for one in each:
                    for upload in (given["driving"], given["speech"], *(given["files"] or ())):
                        if upload is not None:
                            await upload.seek(0)
                    try:
                        jobs.append(await make(request, given | one, name))
                    except InfinexError as error:
                        which = one["portrait"] if "portrait" in one else one["source"].filename
                        raise InputError(f"portrait {len(jobs) + 1} ({str(which)[:40]}): {error.args[0]}") from None
        except BaseException:
            for job in jobs:
                await asyncio.to_thread(studio.queue.remove, job)
            raise
        claim.name = name
    return _view(studio, name, jobs)


def _view(studio: Studio, name: str, jobs: list[Job]) -> Batch:
    views = [studio.view(j) for j in jobs]
    states = {v.state for v in views}
    state: Any = "done" if "done" in states else "failed"
    if states & {"queued", "running"}:
        state = "queued" if states == {"queued"} else "running"
    ended = sum(1.0 if v.state not in ("queued", "running") else v.progress for v in views)
    return Batch(id=name, label=jobs[0].label, created=round(jobs[0].created, 3), state=state,
                 progress=round(ended / len(views), 4), animations=views)  # fmt: skip


def _jobs(request: Request, name: str) -> list[Job]:
    jobs = studio_of(request).queue.all_of(name, request.state.session)
    if not jobs:
        raise HTTPException(404, "There is no such batch; it may have been removed after its time.")
    return jobs


@api.get("/batches/{id}", response_model=Batch, responses=PROBLEMS | NONE, summary="How far a batch is")
async def state(request: Request, id: str) -> Batch:
    """Its animations and their progress together."""
    return _view(studio_of(request), id, _jobs(request, id))


@api.delete("/batches/{id}", status_code=204, responses=PROBLEMS | NONE, summary="Stop and remove a batch")
async def remove(request: Request, id: str) -> None:
    """Stop what is being made, and remove all of its files."""
    studio = studio_of(request)
    for job in _jobs(request, id):
        await asyncio.to_thread(studio.queue.remove, job)


@api.get(
    "/batches/{id}/result",
    response_class=FileResponse,
    responses={
        **PROBLEMS, **NONE, **NO_ROOM,
        200: {"description": "A zip", "content": {"application/zip": {}}},
        409: {"model": Problem, "description": "Not all of it is made yet, or nothing is"},
    },
    summary="Fetch a batch as one zip",
)  # fmt: skip
async def result(request: Request, id: str) -> Response:
    """The results that were made, by names that say what is inside."""
    studio, jobs = studio_of(request), _jobs(request, id)
    if any(j.state in ("queued", "running") for j in jobs):
        raise HTTPException(409, "Some of this batch is still being made.")
    done = [j for j in jobs if j.state == "done" and j.output.exists()]
    if not done:
        raise HTTPException(409, "Nothing of this batch was made.")
    studio.place.check(sum(j.output.stat().st_size for j in done))
    path = studio.folder / "zips" / f"{secrets.token_hex(8)}.zip"
    await studio.make(_zip, path, done)
    name = f"{slug(jobs[0].label) or 'infinex-batch'}.zip"
    return _Once(path, media_type="application/zip", filename=name, headers={"Cache-Control": "private, no-store"})


class _Once(FileResponse):
    """A file that goes when it was sent, or could not be."""

    async def __call__(self, *words: Any) -> None:
        try:
            await super().__call__(*words)
        finally:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()


def _zip(path: Path, jobs: list[Job]) -> None:
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.iterdir():  # of a studio that was killed
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 3600:
                old.unlink()
    taken: set[str] = set()
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for job in jobs:
                suffix = "png.zip" if job.format == "png" else job.format
                name, n = f"{job.name}.{suffix}", 2
                while name in taken:
                    name, n = f"{job.name}-{n}.{suffix}", n + 1
                taken.add(name)
                archive.write(job.output, name)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
