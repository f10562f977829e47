"""Projects: saved as a visitor works, each save numbered; one file to take along."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from typing import Annotated, Any, Optional

from fastapi import APIRouter, Body, File, Header, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from infinex.errors import InputError
from infinex.studio import checks
from infinex.studio.forms import BUSY, KEPT_OUT, NO_ROOM, PROBLEMS, TYPE, Problem
from infinex.studio.hall import Studio, kept_of, studio_of, visitor_of
from infinex.studio.names import slug
from infinex.studio.projects import Unpacked, checked, write_project
from infinex.studio.repeats import no_other_fields, print_of
from infinex.studio.routes.batches import _Once
from infinex.studio.routes.libraries import NONE, looked_at
from infinex.studio.routes.portraits import added
from infinex.studio.scenes import assets_of
from infinex.studio.shelf import Kept
from infinex.studio.typed import Typed

api = APIRouter(prefix="/v1", tags=["projects"], route_class=Typed)


class Outline(BaseModel):
    """A project in a list."""

    id: str
    name: str
    revision: int
    created: float
    changed: float
    portrait: Optional[str] = None  # noqa: UP045


class Project(Outline):
    """All of it."""

    layers: Optional[dict[str, Any]] = None  # noqa: UP045
    export: dict[str, Any]
    page: dict[str, Any]


def _outline(kept: Kept) -> dict[str, Any]:
    return {"id": kept.id, "name": kept.name, "revision": kept.data["revision"], "created": round(kept.created, 3),
            "changed": round(kept.changed, 3), "portrait": kept.data["portrait"]}  # fmt: skip


def _project(kept: Kept) -> Project:
    return Project(**_outline(kept), **{k: kept.data[k] for k in ("layers", "export", "page")})


def _data(held: dict[str, Any], revision: int) -> dict[str, Any]:
    return {k: v for k, v in held.items() if k != "name"} | {"revision": revision}


@api.get("/projects", response_model=list[Outline], responses=PROBLEMS, summary="The projects of a session")
async def listed(request: Request) -> list[Outline]:
    """The one that was changed last comes first."""
    kept = studio_of(request).shelves["project"].of(visitor_of(request))
    return [Outline(**_outline(k)) for k in sorted(kept, key=lambda k: -k.changed)]


@api.post("/projects", status_code=201, response_model=Project, responses=PROBLEMS | KEPT_OUT | NO_ROOM | TYPE | BUSY,
          summary="Begin a project")  # fmt: skip
async def begin(
    request: Request,
    response: Response,
    new: Annotated[dict[str, Any], Body()],
    idempotency_key: Annotated[
        str | None, Header(description="The same key is answered with the same project", max_length=200)
    ] = None,
) -> Project:
    """`name`, and as far as there are some `portrait`, `layers`, `export` and `page`."""
    studio, owner = studio_of(request), visitor_of(request)
    studio.counted(request)
    held, shelf = checked(new), studio.shelves["project"]
    with studio.repeats.claimed(request, await print_of(request) if idempotency_key else "") as claim:
        kept = shelf.find(claim.name, owner)
        if kept is not None:
            response.headers["Idempotent-Replayed"] = "true"
            return _project(kept)
        claim.name = ""
        studio.place.check(1 << 20)
        kept = shelf.put(shelf.new(owner, held["name"], _data(held, 1)))
        claim.name = kept.id
    return _project(kept)


@api.get("/projects/{id}", response_model=Project, responses=PROBLEMS | NONE, summary="One project")
async def one(request: Request, id: str) -> Project:
    """With the revision that the next save has to name."""
    return _project(kept_of(request, "project", id))


@api.put(
    "/projects/{id}",
    response_model=Project,
    responses={
        **PROBLEMS,
        **NONE,
        **TYPE,
        **NO_ROOM,
        409: {"model": Problem, "description": "Saved by another page since"},
    },
    summary="Save a project",
)
async def save(request: Request, id: str, new: Annotated[dict[str, Any], Body()]) -> Response:
    """All of it, with the `revision` that it was read at; 409 and the `project` as it is where that is an older one."""
    studio, kept = studio_of(request), kept_of(request, "project", id)
    revision = new.pop("revision", None)
    if isinstance(revision, bool) or not isinstance(revision, int):
        raise InputError("revision is the number that the project was read at")
    held = checked(new)
    studio.place.check(1 << 16)
    with kept.lock:
        if revision != kept.data["revision"]:
            words = "This project was saved by another page meanwhile."
            return JSONResponse({"detail": words, "project": _project(kept).model_dump()}, 409)
        before = kept.name, kept.data, kept.changed, kept.used
        kept.name, kept.data = held["name"], _data(held, revision + 1)
        kept.changed = kept.used = time.time()
        try:
            kept.save()
        except BaseException:
            kept.name, kept.data, kept.changed, kept.used = before
            raise
        return JSONResponse(_project(kept).model_dump())


@api.delete("/projects/{id}", status_code=204, responses=PROBLEMS | NONE, summary="Delete a project")
async def remove(request: Request, id: str) -> None:
    """The portrait, performances and results stay."""
    studio_of(request).shelves["project"].drop(kept_of(request, "project", id))


@api.get(
    "/projects/{id}/file",
    response_class=Response,
    responses={**PROBLEMS, **NONE, **NO_ROOM, 200: {"description": "A zip", "content": {"application/zip": {}}}},
    summary="A project as one file",
)
async def exported(request: Request, id: str) -> Response:
    """With its portrait and the performances that its layers name."""
    studio, kept = studio_of(request), kept_of(request, "project", id)
    owner, data = visitor_of(request), {"name": kept.name, **kept.data}
    portrait = None
    if data["portrait"]:
        try:
            found = studio.library.get(data["portrait"], owner)
            portrait = found.source, found.box
        except InputError:
            pass  # it has gone after its time; all else is still there
    assets = {}
    for name in dict.fromkeys(assets_of(data["layers"])):
        try:
            asset = studio.shelves["performance"].get(name, owner)
        except HTTPException:
            continue
        assets[name] = asset.folder / str(asset.data["file"]), asset.name
    files = [a for a, _ in assets.values()] + ([portrait[0]] if portrait else [])
    studio.place.check(sum(f.stat().st_size for f in files) + (1 << 20))
    path = studio.folder / "zips" / f"{secrets.token_hex(8)}.zip"
    path.parent.mkdir(exist_ok=True)
    await studio.make(write_project, path, data, portrait, assets)
    name = f"{slug(kept.name) or 'project'}.infinex.zip"
    return _Once(path, media_type="application/zip", filename=name, headers={"Cache-Control": "private, no-store"})


@api.post("/projects/file", status_code=201, response_model=Project,
          responses=PROBLEMS | KEPT_OUT | BUSY | NO_ROOM | TYPE, summary="Take in a project's file")  # fmt: skip
async def imported(request: Request, file: Annotated[UploadFile, File()]) -> Project:
    """A new project; its portrait and performances are looked over, and join the libraries."""
    studio, owner = studio_of(request), visitor_of(request)
    studio.counted(request)
    await no_other_fields(request, ("file",))
    folder = studio.folder / "incoming" / secrets.token_hex(8)
    try:
        path = await studio.keep_file(file, folder, "project.infinex.zip")
        studio.place.check(2 * path.stat().st_size)
        unpacked = await studio.look(Unpacked, path, folder / "files", studio.settings)
        return await _taken_in(studio, owner, unpacked)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)


async def _taken_in(studio: Studio, owner: str, unpacked: Unpacked) -> Project:
    shelf, made, portrait = studio.shelves["performance"], [], None
    try:
        ids = {}
        for number, (file, name) in unpacked.performances.items():
            kept = shelf.new(owner, name or file.stem, {})
            made.append(kept)
            path = kept.folder / file.name
            await studio.look(shutil.move, file, path)
            watch = checks.Watch(studio.settings.look)
            kept.data = await studio.look(looked_at, studio, path, watch)
            ids[number] = shelf.put(kept).id
        if unpacked.portrait is not None:
            portrait = await added(studio, owner, unpacked.portrait, unpacked.box)
        held = unpacked.renamed(ids) | {"portrait": None if portrait is None else portrait.id}
        projects = studio.shelves["project"]
        return _project(projects.put(projects.new(owner, held["name"], _data(held, 1))))
    except BaseException:
        for kept in made:
            shelf.drop(kept)
        if portrait is not None:
            studio.library.drop(portrait)
        raise
