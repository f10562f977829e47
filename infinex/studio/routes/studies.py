"""Blind studies in the page: begun with a visitor's finished animations, judged by whoever knows an id."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from infinex.errors import InputError
from infinex.evaluation.study import QUESTIONS, Study, as_json
from infinex.studio.hall import job_of, studies_of, studio_of, visitor_of

MEDIA = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".gif": "image/gif",
         ".apng": "image/apng"}  # fmt: skip
HOME = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "testclient")  # clients on the server's own machine
PRIVATE = {"Cache-Control": "private, no-store"}

router = APIRouter(include_in_schema=False, prefix="/studio/studies")
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


def _study(request: Request, name: str) -> Study:
    return studies_of(request).get(name)


def _results(request: Request, name: str) -> Study:
    """A study whose results its owner asks for: raters, their names and what they said are nobody else's."""
    owner = studies_of(request).owner(name)
    at_home = request.client is not None and request.client.host in HOME
    if (owner is None and not at_home) or (owner is not None and owner != request.state.session):
        raise HTTPException(403, "The results of a study are shown to whoever began it, and to nobody else.")
    return _study(request, name)


async def _thread(work: Any, *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)


@router.get("/{name}")
async def about(request: Request, name: str) -> dict[str, Any]:
    study = _study(request, name)
    return {
        "id": name, "title": study.title, "pairs": len(study.pairs), "raters": len(study.raters),
        "questions": [{"key": k, "words": w} for k, w in QUESTIONS.items()],
    }  # fmt: skip


@router.get("/{name}/next")
async def following(request: Request, name: str, rater: Annotated[str, Query(max_length=200)]) -> dict[str, Any]:
    study = _study(request, name)
    return as_json(await _thread(study.next, rater), len(study.pairs))


@router.get("/{name}/video/{token}/{side}")
async def video(
    request: Request, name: str, token: str, side: str, rater: Annotated[str, Query(max_length=200)]
) -> Response:
    if side not in ("left", "right"):
        raise HTTPException(404, "There is no such side.")
    path = (await _thread(_study(request, name).item, rater, token)).video(side)
    if not path.is_file():
        raise InputError("this video is not there any more")
    return FileResponse(path, media_type=MEDIA.get(path.suffix.lower(), "video/mp4"), headers=PRIVATE)


@router.post("/{name}/answers")
async def answer(request: Request, name: str, said: Annotated[dict[str, Any], Body()]) -> dict[str, bool]:
    answers = said.get("answers")
    if not isinstance(answers, dict):
        raise InputError("answers are missing")
    rater, token = str(said.get("rater", "")), str(said.get("token", ""))
    await _thread(_study(request, name).answer, rater, token, {str(k): str(v) for k, v in answers.items()})
    return {"kept": True}


@router.get("/{name}/results")
async def results(request: Request, name: str) -> dict[str, Any]:
    study = _results(request, name)
    return {"raters": len(study.raters), "rows": [asdict(r) for r in await _thread(study.results)]}


@router.get("/{name}/results.csv")
async def results_csv(request: Request, name: str) -> Response:
    text = await _thread(_results(request, name).results_csv)
    headers = PRIVATE | {"Content-Disposition": 'attachment; filename="study-results.csv"'}
    return Response(text, media_type="text/csv", headers=headers)


@router.get("/{name}/answers.csv")
async def answers_csv(request: Request, name: str) -> Response:
    return FileResponse(
        _results(request, name).path, media_type="text/csv", filename="study-answers.csv", headers=PRIVATE
    )
