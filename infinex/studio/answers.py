"""Errors as JSON: one sentence each, with no path of this machine."""

from __future__ import annotations

import logging
import re
import secrets

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from infinex.errors import InfinexError
from infinex.studio.checks import friendly
from infinex.studio.hall import Studio
from infinex.studio.place import is_full

FULL = "There is no room for this here: the disk, or what the studio may keep on it, is full. Delete some of your work."
BARE = {404: "There is nothing at this address.", 405: "This cannot be asked of this address."}
log = logging.getLogger("infinex.studio")


async def problem(request: Request, error: Exception) -> JSONResponse:
    if is_full(error):
        return JSONResponse({"detail": FULL}, 507)
    if isinstance(error, InfinexError):
        studio: Studio | None = getattr(request.app.state, "studio", None)
        return JSONResponse({"detail": friendly(error, None if studio is None else studio.folder)}, 422)
    if isinstance(error, RequestValidationError):
        return JSONResponse({"detail": _in_words(error)}, 422)
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(request)))
        words = BARE.get(error.status_code, "") if str(error.detail) in ("Not Found", "Method Not Allowed") else ""
        return JSONResponse({"detail": words or str(error.detail)}, error.status_code, headers=headers)
    name = secrets.token_hex(4)
    log.error("error %s at %s %s", name, request.method, request.url.path, exc_info=error)
    words = "Something went wrong here, not with your request. The studio's log says what."
    return JSONResponse({"detail": words, "id": name}, 500)


def _methods(request: Request) -> set[str]:
    """What may be asked of a path, over all the routes it has."""
    out: set[str] = set()
    paths = request.app.openapi().get("paths", {})
    if request.url.path in paths:  # not what a path with a name in its place would take
        return {method.upper() for method in paths[request.url.path]}
    for path, operations in paths.items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), request.url.path):
            out |= {method.upper() for method in operations}
    for route in request.app.routes:
        found = getattr(route, "path_regex", None)
        if found is not None and found.match(request.url.path):
            out |= set(getattr(route, "methods", None) or ())
    return out


def _in_words(error: RequestValidationError) -> str:
    """The first complaint about a request's form, as a sentence."""
    first = error.errors()[0]
    name = str(first.get("loc", ("", "request"))[-1])[:40]
    return f"{name}: {first.get('msg', 'cannot be used')}."
