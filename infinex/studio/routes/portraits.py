"""The page's portraits: handed in or taken from the examples, shown, and drawn with an expression."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Form, Query, Request, Response, UploadFile
from starlette.exceptions import HTTPException

from infinex.engine import Source
from infinex.face.tracker import LOOKING
from infinex.media.image import png_text, read_image
from infinex.media.provenance import statement
from infinex.studio import checks
from infinex.studio.examples import EXAMPLES
from infinex.drivers.expression import Expression
from infinex.studio.hall import Studio, portrait_of, studio_of, visitor_of
from infinex.studio.preview import Preview, encode, shrunk

page = APIRouter(include_in_schema=False)


@page.post("/studio/portraits")
async def add_portrait(
    request: Request, picture: UploadFile, box: Annotated[str | None, Form(max_length=80)] = None
) -> dict[str, Any]:
    studio = studio_of(request)
    owner = visitor_of(request)
    studio.counted(request)
    folder = studio.library.new_folder()
    try:
        path = await studio.keep_file(picture, folder, "portrait")
        return await _add(studio, owner, path, box)
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
    return await _add(studio, owner, path)


async def _add(studio: Studio, owner: str, path: Path, box: str | None = None) -> dict[str, Any]:
    settings = studio.settings
    if box is not None:
        size, faces = await studio.look(checks.look_in_box, path, box, settings)
        return studio.library.add(owner, path, size, faces, box).as_dict()
    size, faces = await studio.look(studio.verdicts.of, path, "faces", lambda p: checks.look_for_faces(p, settings))
    return studio.library.add(owner, path, size, faces).as_dict()


@page.get("/studio/portraits/{name}")
async def portrait_again(request: Request, name: str) -> dict[str, Any]:
    return portrait_of(request, name).as_dict()


@page.get("/studio/portraits/{name}/image")
async def portrait_image(request: Request, name: str, side: Annotated[int, Query(ge=64, le=2048)] = 1280) -> Response:
    studio, portrait = studio_of(request), portrait_of(request, name)

    def make() -> bytes:
        image = read_image(portrait.path)
        return encode(shrunk(image, portrait.faces[0], side).image, 92)

    return Response(await studio.draw(make), media_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


@page.post("/studio/portraits/{name}/still")
async def still(
    request: Request, name: str, expression: Annotated[dict[str, Any], Body()], face: Annotated[int, Query(ge=1)] = 1
) -> Response:
    """The portrait with an expression, at its own size, as PNG."""
    studio, portrait = studio_of(request), portrait_of(request, name)
    studio.counted(request)
    wanted = Expression.read(expression)
    chosen = studio.library.face(portrait, face)

    def make() -> bytes:
        import io

        from PIL import Image

        image = read_image(portrait.path)
        with LOOKING:
            full = Preview(Source(image, chosen))
        drawn = full.draw(wanted)
        out = io.BytesIO()
        words = statement("a portrait with another expression, not a photograph", portrait.path.name, "sliders", "mesh")
        Image.fromarray(drawn).save(out, "PNG", pnginfo=png_text(words), compress_level=4)
        return out.getvalue()

    data = await studio.draw(make)
    headers = {"Content-Disposition": 'attachment; filename="infinex-portrait.png"', "Cache-Control": "no-store"}
    return Response(data, media_type="image/png", headers=headers)
