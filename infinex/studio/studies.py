"""Blind studies in the page: made from finished animations, or from two folders by `infinex study`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from infinex.errors import InputError
from infinex.evaluation.study import QUESTIONS, Pair, Study, as_json

MEDIA = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".gif": "image/gif",
         ".apng": "image/apng"}  # fmt: skip
PRIVATE = {"Cache-Control": "private, no-store"}


class Studies:
    """Studies by their ids; who knows an id may take part."""

    def __init__(self, folder: Path | None, most: int = 50) -> None:
        self.folder, self._most = folder, most
        self._studies: OrderedDict[str, tuple[str | None, Study, Path | None]] = OrderedDict()

    def add(self, study: Study, owner: str | None = None, folder: Path | None = None) -> str:
        """Keep a study; its id."""
        name = secrets.token_urlsafe(12)
        self._studies[name] = owner, study, folder
        while len(self._studies) > self._most:
            _, (_, _, old) = self._studies.popitem(last=False)
            if old is not None:
                shutil.rmtree(old, ignore_errors=True)
        return name

    def get(self, name: str) -> Study:
        """A study by id. Raises HTTPException 404."""
        if name not in self._studies:
            raise HTTPException(404, "There is no such study; it may have been removed.")
        return self._studies[name][1]

    def of(self, owner: str) -> list[dict[str, Any]]:
        """What a visitor has begun."""
        return [
            {"id": name, "title": study.title, "pairs": len(study.pairs), "raters": len(study.raters)}
            for name, (who, study, _) in reversed(self._studies.items())
            if who == owner
        ]

    def from_files(self, owner: str, pairs: list[tuple[Path, Path, str, str]]) -> str:
        """A study of finished animations, whose files are copied."""
        assert self.folder is not None
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        kept: dict[Path, Path] = {}
        out = []
        for i, (a, b, name_a, name_b) in enumerate(pairs):
            for path in (a, b):
                if path not in kept:
                    kept[path] = folder / f"{len(kept)}{path.suffix}"
                    shutil.copyfile(path, kept[path])
            out.append(Pair(str(i + 1), kept[a], kept[b], name_a, name_b))
        return self.add(Study(out, folder / "answers.csv", "Which one is better?"), owner, folder)


router = APIRouter(include_in_schema=False, prefix="/studio/studies")


def _study(request: Request, name: str) -> Study:
    studies: Studies = request.app.state.studies
    return studies.get(name)


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
    study = _study(request, name)
    return {"raters": len(study.raters), "rows": [asdict(r) for r in await _thread(study.results)]}


@router.get("/{name}/results.csv")
async def results_csv(request: Request, name: str) -> Response:
    text = await _thread(_study(request, name).results_csv)
    headers = PRIVATE | {"Content-Disposition": 'attachment; filename="study-results.csv"'}
    return Response(text, media_type="text/csv", headers=headers)


@router.get("/{name}/answers.csv")
async def answers_csv(request: Request, name: str) -> Response:
    return FileResponse(
        _study(request, name).path, media_type="text/csv", filename="study-answers.csv", headers=PRIVATE
    )


def create_study_app(study: Study, settings: Any) -> tuple[FastAPI, str]:
    """An application that shows one study and nothing else, and the place on its page where that is."""
    from infinex.studio.app import dress, front

    studies = Studies(None)
    name = studies.add(study)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(title="Infinex study", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.studies = studies
    app.include_router(front)

    @app.get("/studio/offer")
    async def only() -> dict[str, str]:
        return {"only": name}

    app.include_router(router)
    dress(app, settings)
    return app, f"study/{name}"
