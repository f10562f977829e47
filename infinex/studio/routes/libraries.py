"""Performances and expressions that a visitor keeps by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from infinex.drivers.expression import NAMES, TURNS, Expression
from infinex.errors import FaceNotFoundError, InputError
from infinex.media.audio import has_audio
from infinex.media.image import is_image
from infinex.media.video import VideoReader
from infinex.studio import checks
from infinex.studio.forms import BUSY, KEPT_OUT, NO_ROOM, PROBLEMS, TYPE, Problem
from infinex.studio.hall import Studio, job_of, kept_of, studio_of, visitor_of, while_there
from infinex.studio.repeats import no_other_fields
from infinex.studio.shelf import Kept
from infinex.studio.typed import Typed
from infinex.studio.worker import MOTION

api = APIRouter(prefix="/v1", tags=["libraries"], route_class=Typed)
NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such thing"}}
PRIVATE = {"Cache-Control": "private, no-store"}


class Performance(BaseModel):
    """A clip, a picture, a motion or a sound that layers can come from."""

    id: str
    name: str
    created: float
    kind: Literal["clip", "picture", "motion", "sound"]
    seconds: float
    fps: float
    bytes: int
    sound: bool


class Named(BaseModel):
    """A new name."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=80)


def _shown(kept: Kept) -> Performance:
    d = kept.data
    return Performance(id=kept.id, name=kept.name, created=round(kept.created, 3), kind=d["kind"], seconds=d["seconds"],
                       fps=d["fps"], bytes=d["bytes"], sound=d["sound"])  # fmt: skip


def looked_at(studio: Studio, path: Path, watch: checks.Watch) -> dict[str, Any]:
    """What a file of a performance is. Raises InputError."""
    s = studio.settings
    sound = has_audio(path) if path.suffix.lower() != ".npz" and not is_image(path) else False
    if sound:  # a voice, unless there are pictures
        try:
            with VideoReader(path):
                pass
        except InputError:
            length = studio.verdicts.of(path, "speech", lambda p: checks.look_at_sound(p, s, watch))
            return _record(path, "sound", length, True)
    try:
        length = studio.verdicts.of(path, "driving", lambda p: checks.look_at_driving(p, s, watch))
    except FaceNotFoundError:
        if not sound:
            raise
        length = studio.verdicts.of(path, "speech", lambda p: checks.look_at_sound(p, s, watch))
        return _record(path, "sound", length, True)
    kind = "motion" if path.suffix.lower() == ".npz" else "picture" if is_image(path) else "clip"
    return _record(path, kind, length, sound)


def _record(path: Path, kind: str, length: Any, sound: bool) -> dict[str, Any]:
    return {"file": path.name, "kind": kind, "seconds": round(length.seconds, 3), "fps": round(length.fps, 3),
            "bytes": path.stat().st_size, "sound": sound}  # fmt: skip


@api.post("/performances", status_code=201, response_model=Performance,
          responses=PROBLEMS | KEPT_OUT | BUSY | NO_ROOM | TYPE | NONE, summary="Keep a performance")  # fmt: skip
async def add(
    request: Request,
    file: Annotated[Optional[UploadFile], File(description="A clip, a picture, a motion or a sound")] = None,  # noqa: UP045
    animation: Annotated[
        str | None, Form(description="Instead: what a finished animation played", max_length=64)
    ] = None,
    name: Annotated[str, Form(max_length=80)] = "",
) -> Performance:
    """It is looked over once, and can then be named as `asset` of any number of layers."""
    studio, owner = studio_of(request), visitor_of(request)
    studio.counted(request)
    await no_other_fields(request, ("file", "animation", "name"))
    file = file if file is not None and (file.filename or file.size) else None
    if (file is None) == (not animation):
        raise InputError("a file is wanted, or the id of an animation")
    shelf, watch = studio.shelves["performance"], checks.Watch(studio.settings.look)
    kept, early = shelf.new(owner, name, {}), None
    try:
        if file is not None:
            path = await studio.keep_file(file, kept.folder, "performance")
            early = studio.foresee(path)
        else:
            job = job_of(request, str(animation))
            if job.state != "done":
                raise HTTPException(409, "Only a finished animation has a performance.")
            path = kept.folder / "performance.motion.npz"
            studio.place.check((job.folder / MOTION).stat().st_size)
            await studio.look(shutil.copyfile, job.folder / MOTION, path)
            name = name or job.label or job.name
        kept.data = await while_there(request, watch, studio.look(looked_at, studio, path, watch))
        kept.name = " ".join(name.split()) or path.name.removesuffix(".motion.npz").rsplit(".", 1)[0]
        return _shown(shelf.put(kept))
    except BaseException as error:
        if early is not None:
            early.gone.set()
        shutil.rmtree(kept.folder, ignore_errors=True)
        if isinstance(error, checks.GoneError):
            raise HTTPException(400, "The request was broken off.") from None
        raise


@api.get("/performances", response_model=list[Performance], responses=PROBLEMS, summary="The performances kept")
async def listed(request: Request) -> list[Performance]:
    """Newest first."""
    return [_shown(k) for k in studio_of(request).shelves["performance"].of(visitor_of(request))]


@api.get("/performances/{id}", response_model=Performance, responses=PROBLEMS | NONE, summary="One performance")
async def one(request: Request, id: str) -> Performance:
    """What it is."""
    return _shown(kept_of(request, "performance", id))


@api.patch("/performances/{id}", response_model=Performance, responses=PROBLEMS | NONE | TYPE,
           summary="Name a performance")  # fmt: skip
async def rename(request: Request, id: str, new: Named) -> Performance:
    """Give it another name."""
    kept = kept_of(request, "performance", id)
    kept.rename(new.name)
    kept.save()
    return _shown(kept)


@api.delete("/performances/{id}", status_code=204, responses=PROBLEMS | NONE, summary="Delete a performance")
async def remove(request: Request, id: str) -> None:
    """Its file goes, too."""
    studio_of(request).shelves["performance"].drop(kept_of(request, "performance", id))


@api.get(
    "/performances/{id}/file",
    response_class=FileResponse,
    responses={**PROBLEMS, **NONE, 200: {"description": "The file", "content": {"application/octet-stream": {}}}},
    summary="The file of a performance",
)
async def file_of(request: Request, id: str) -> Response:
    """As it was handed in."""
    kept = kept_of(request, "performance", id)
    path = kept.folder / str(kept.data["file"])
    if not path.is_file():
        raise HTTPException(404, "This file is not here any more.")
    return FileResponse(path, filename=path.name, headers=PRIVATE, content_disposition_type="inline")


# -- expressions ----------------------------------------------------------------------------------


class KeptExpression(BaseModel):
    """A setting of the sliders."""

    id: str
    name: str
    created: float
    expression: dict[str, Any]


class NewExpression(Named):
    """A setting of the sliders, and its name."""

    expression: dict[str, Any] = Field(description='{"units": {"AU12": 0.8}, "yaw": 10, ...}')


class ChangedExpression(BaseModel):
    """What is to change of it."""

    model_config = ConfigDict(extra="forbid")
    name: Optional[str] = Field(None, min_length=1, max_length=80)  # noqa: UP045
    expression: Optional[dict[str, Any]] = None  # noqa: UP045


def expression_of(data: dict[str, Any]) -> dict[str, Any]:
    """A setting as it is kept: what is at rest is left out. Raises InputError."""
    unknown = next((k for k in data if k not in ("units", *TURNS)), None)
    if unknown is not None:
        raise InputError(f"an expression has no {unknown[:40]!r}; it has units, {', '.join(TURNS)}")
    read = Expression.read(data)
    turns = {k: getattr(read, k) for k in TURNS if getattr(read, k)}
    return {"units": {k: read.units[k] for k in NAMES if read.units.get(k)}, **turns}


def _expression(kept: Kept) -> KeptExpression:
    return KeptExpression(id=kept.id, name=kept.name, created=round(kept.created, 3), expression=kept.data)


@api.post("/expressions", status_code=201, response_model=KeptExpression,
          responses=PROBLEMS | KEPT_OUT | NO_ROOM | TYPE | BUSY, summary="Keep an expression")  # fmt: skip
async def add_expression(request: Request, new: NewExpression) -> KeptExpression:
    """It can be laid over anything later."""
    studio, owner = studio_of(request), visitor_of(request)
    studio.counted(request)
    studio.place.check(4096)
    shelf = studio.shelves["expression"]
    kept = shelf.new(owner, " ".join(new.name.split()), expression_of(new.expression))
    return _expression(shelf.put(kept))


@api.get("/expressions", response_model=list[KeptExpression], responses=PROBLEMS, summary="The expressions kept")
async def expressions(request: Request) -> list[KeptExpression]:
    """Newest first."""
    return [_expression(k) for k in studio_of(request).shelves["expression"].of(visitor_of(request))]


@api.patch("/expressions/{id}", response_model=KeptExpression, responses=PROBLEMS | NONE | TYPE,
           summary="Change an expression")  # fmt: skip
async def change_expression(request: Request, id: str, new: ChangedExpression) -> KeptExpression:
    """Its name, or what it is."""
    kept = kept_of(request, "expression", id)
    if new.expression is not None:
        kept.data = expression_of(new.expression)
    if new.name is not None:
        kept.rename(new.name)
    kept.save()
    return _expression(kept)


@api.delete("/expressions/{id}", status_code=204, responses=PROBLEMS | NONE, summary="Delete an expression")
async def remove_expression(request: Request, id: str) -> None:
    """It goes from the library; what was made with it stays."""
    studio_of(request).shelves["expression"].drop(kept_of(request, "expression", id))
