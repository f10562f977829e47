"""The page's portraits: handed in or taken from the examples, shown, and drawn with an expression."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Optional
from urllib.parse import quote

from fastapi import APIRouter, Body, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from infinex.drivers.expression import Expression
from infinex.errors import InputError
from infinex.face.tracker import LOOKING, Face
from infinex.jobs.source import cropped, shrunk
from infinex.media.image import png_text, write_image
from infinex.media.provenance import statement
from infinex.studio import checks
from infinex.studio.checks import friendly
from infinex.studio.examples import EXAMPLES
from infinex.studio.forms import BUSY, NO_ROOM, PROBLEMS, TYPE, Crop, Problem
from infinex.studio.hall import Studio, portrait_of, studio_of, visitor_of, while_there
from infinex.studio.library import Portrait
from infinex.studio.names import slug
from infinex.studio.preview import Preview, encode
from infinex.studio.repeats import no_other_fields
from infinex.studio.routes.libraries import expression_of
from infinex.studio.typed import Typed

page = APIRouter(include_in_schema=False, route_class=Typed)
api = APIRouter(prefix="/v1", tags=["portraits"], route_class=Typed)
NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such portrait"}}
PICTURE: dict[int | str, dict[str, Any]] = {200: {"description": "The picture", "content": {"image/jpeg": {}}}}
STILL: dict[int | str, dict[str, Any]] = {200: {"description": "The picture", "content": {"image/png": {}}}}


class Outlined(BaseModel):
    """A face: its number from the left, and its outline in shares of width and height."""

    number: int
    outline: list[tuple[float, float]]


class Kept(BaseModel):
    """A portrait of the library."""

    id: str
    name: str
    created: float
    width: int
    height: int
    largest: int
    faces: list[Outlined]
    seconds: Optional[float] = None  # noqa: UP045  # of a clip


@api.post("/portraits", status_code=201, response_model=Kept, responses=PROBLEMS | BUSY | NO_ROOM | TYPE,
          summary="Hand a portrait in, once for all")  # fmt: skip
async def new_portrait(
    request: Request,
    picture: UploadFile,
    box: Annotated[str | None, Form(description="x,y,width,height where none is found", max_length=80)] = None,
    name: Annotated[str, Form(max_length=80)] = "",
) -> dict[str, Any]:
    """It is looked over; name its `id` as `portrait` of any number of animations."""
    await no_other_fields(request, ("picture", "box", "name"))
    return await _handed_in(request, picture, box, name)


@page.post("/studio/portraits")
async def add_portrait(
    request: Request, picture: UploadFile, box: Annotated[str | None, Form(max_length=80)] = None
) -> dict[str, Any]:
    return await _handed_in(request, picture, box)


async def _handed_in(request: Request, picture: UploadFile, box: str | None, name: str = "") -> dict[str, Any]:
    studio = studio_of(request)
    owner = visitor_of(request)
    studio.counted(request)
    folder = studio.library.new_folder()
    try:
        path = await studio.keep_file(picture, folder, "portrait")
        watch = checks.Watch(studio.settings.look)
        added = _add(studio, owner, path, box, " ".join(name.split()), watch)
        return (await while_there(request, watch, added)).as_dict()
    except checks.GoneError:
        shutil.rmtree(folder, ignore_errors=True)
        raise HTTPException(400, "The request was broken off.") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def added(studio: Studio, owner: str, path: Path, box: str | None) -> Portrait:
    """A picture that lies somewhere else, taken into the library. Raises InputError."""
    folder = studio.library.new_folder()
    try:
        return await _add(studio, owner, Path(await studio.look(shutil.move, path, folder / path.name)), box)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@page.post("/studio/examples/{name}")
async def add_example(request: Request, name: str) -> dict[str, Any]:
    studio = studio_of(request)
    owner = visitor_of(request)
    studio.counted(request)
    example = next((e for e in EXAMPLES if e.name == name), None)
    if example is None:
        raise HTTPException(404, "There is no such example.")
    path = studio.library.new_folder() / example.path.name
    shutil.copyfile(example.path, path)
    return (await _add(studio, owner, path, name=example.label)).as_dict()


async def _add(
    studio: Studio, owner: str, path: Path, box: str | None = None, name: str = "", watch: checks.Watch | None = None
) -> Portrait:
    settings = studio.settings
    if box is not None:
        size, faces = await studio.look_at(path, checks.look_in_box, path, box, settings)
        return studio.library.add(owner, path, size, faces, box, name)
    watch = watch or checks.Watch(settings.look)
    size, faces, clip = await studio.look_at(
        path, studio.verdicts.of, path, "source", lambda p: checks.look_at_source(p, settings, watch)
    )
    if clip is None:
        return studio.library.add(owner, path, size, faces, None, name)

    def frame() -> tuple[Path, tuple[int, int], list[Face]]:
        image, found = checks.still_of(path)
        picture = path.with_name(f"{path.stem}.frame.png")
        write_image(picture, image)
        return picture, (image.shape[1], image.shape[0]), found

    picture, size, faces = await studio.look(frame)
    return studio.library.add(owner, picture, size, faces, None, name, path, clip)


def _portrait(request: Request, name: str) -> Portrait:
    """A visitor's portrait. Raises HTTPException 404."""
    try:
        return portrait_of(request, name)
    except InputError as error:
        raise HTTPException(404, friendly(error)) from None


@api.get("/portraits", response_model=list[Kept], responses=PROBLEMS, summary="The portraits of a session")
async def listed(request: Request) -> list[dict[str, Any]]:
    """Newest first."""
    return [p.as_dict() for p in studio_of(request).library.of(visitor_of(request))]


@api.get("/portraits/{name}", response_model=Kept, responses=PROBLEMS | NONE, summary="One portrait")
async def one(request: Request, name: str) -> dict[str, Any]:
    """Its size, and the faces in it."""
    return _portrait(request, name).as_dict()


@api.patch("/portraits/{name}", response_model=Kept, responses=PROBLEMS | NONE | TYPE, summary="Name a portrait")
async def rename(
    request: Request, name: str, new: Annotated[str, Body(embed=True, alias="name", max_length=80)]
) -> Any:
    """Results are called by it."""
    portrait = _portrait(request, name)
    portrait.name = " ".join(new.split()) or portrait.name
    portrait.save()
    return portrait.as_dict()


@api.delete("/portraits/{name}", status_code=204, responses=PROBLEMS | NONE, summary="Delete a portrait")
async def remove(request: Request, name: str) -> None:
    """What was made of it stays."""
    studio_of(request).library.drop(_portrait(request, name))


@page.get("/studio/portraits/{name}")
async def portrait_again(request: Request, name: str) -> dict[str, Any]:
    return portrait_of(request, name).as_dict()


@api.get("/portraits/{name}/image", response_class=Response, responses={**PROBLEMS, **NONE, **PICTURE},
         summary="A portrait's picture")  # fmt: skip
@page.get("/studio/portraits/{name}/image")
async def portrait_image(request: Request, name: str, side: Annotated[int, Query(ge=64, le=2048)] = 1280) -> Response:
    """Its longer side has at most `side` pixels."""
    studio, portrait = studio_of(request), _portrait(request, name)

    def make() -> bytes:
        return encode(shrunk(studio.library.sources(portrait, (1,)), side)[0].image, 92)

    return Response(await studio.draw(make), media_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


@api.post("/portraits/{name}/still", response_class=Response, responses={**PROBLEMS, **NONE, **STILL, **BUSY, **TYPE},
          summary="A portrait with an expression")  # fmt: skip
@page.post("/studio/portraits/{name}/still")
async def still(
    request: Request,
    name: str,
    expression: Annotated[dict[str, Any], Body()],
    face: Annotated[int, Query(ge=1)] = 1,
    crop: Crop = "keep",
) -> Response:
    """The portrait with an expression, at its own size, as PNG."""
    studio, portrait = studio_of(request), _portrait(request, name)
    studio.counted(request)
    wanted = Expression.read(expression_of(expression))
    studio.library.face(portrait, face)

    def make() -> bytes:
        import io

        from PIL import Image

        sources = studio.library.sources(portrait, (face,))
        if crop != "keep":
            sources = cropped(sources, crop)
        with LOOKING:
            full = Preview({1: sources[0]})
        drawn = full.draw(wanted)
        out = io.BytesIO()
        words = statement("a portrait with another expression, not a photograph", portrait.path.name, "sliders", "mesh")
        Image.fromarray(drawn).save(out, "PNG", pnginfo=png_text(words), compress_level=4)
        return out.getvalue()

    data = await studio.draw(make)
    name = f"{slug(portrait.name) or 'infinex'}-portrait.png"
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}", "Cache-Control": "no-store"}
    return Response(data, media_type="image/png", headers=headers)
