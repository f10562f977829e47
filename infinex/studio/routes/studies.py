"""Blind studies of a visitor's finished animations."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from infinex.errors import InputError
from infinex.studio.hall import job_of, studies_of, studio_of, visitor_of

page = APIRouter(include_in_schema=False)


@page.get("/studio/studies")
async def my_studies(request: Request) -> list[dict[str, Any]]:
    return studies_of(request).of(visitor_of(request))


@page.post("/studio/studies")
async def new_study(request: Request, wanted: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    """A blind study of a visitor's finished animations."""
    studio, owner = studio_of(request), visitor_of(request)
    studio.counted(request)
    pairs = wanted.get("pairs")
    if not isinstance(pairs, list) or not 0 < len(pairs) <= 100 or not all(isinstance(p, dict) for p in pairs):
        raise InputError("a study needs between 1 and 100 pairs")
    files = []
    for pair in pairs:
        made = [job_of(request, str(pair.get(side, ""))) for side in ("a", "b")]
        if any(j.state != "done" for j in made):
            raise InputError("only finished animations can be judged")
        names = [str(pair.get(f"name_{side}", side.upper()))[:80] for side in ("a", "b")]
        files.append((made[0].output, made[1].output, names[0], names[1]))
    return {"id": await studio.look(studies_of(request).from_files, owner, files)}
