"""The front page, and what every application that shows it wears: static files, errors in words, the gate."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from infinex.errors import InfinexError
from infinex.studio.answers import problem
from infinex.studio.gate import SESSION, TOKEN, Gate, new_session
from infinex.studio.place import NoRoomError
from infinex.studio.settings import Settings

STATIC = Path(__file__).parent / "static"

front = APIRouter(include_in_schema=False)


@front.get("/")
async def index(request: Request, token: str | None = None) -> Response:
    secure = request.url.scheme == "https"
    response: Response
    if token is not None:  # out of the address bar, into a cookie
        response = RedirectResponse("/", 303)
        response.set_cookie(TOKEN, token, httponly=True, samesite="lax", secure=secure)
    else:
        response = FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})
    if request.state.session is None:
        response.set_cookie(SESSION, new_session(), httponly=True, samesite="lax", secure=secure, max_age=30 * 86400)
    return response


def dress(app: FastAPI, settings: Settings) -> None:
    """Static files, errors in words and the gate."""
    app.mount("/static", GZipMiddleware(StaticFiles(directory=STATIC), minimum_size=500), name="static")
    for kind in (InfinexError, RequestValidationError, HTTPException, NoRoomError, OSError, Exception):
        app.add_exception_handler(kind, problem)
    app.add_middleware(Gate, settings=settings)
