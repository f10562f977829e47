"""The web application: the API under /v1, and what the page needs besides under /studio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from infinex._version import __version__
from infinex.studio.front import dress, front
from infinex.studio.hall import Studio
from infinex.studio.routes import (
    animations,
    batches,
    events,
    libraries,
    page,
    portraits,
    preview,
    projects,
    scenes,
    shared,
    studies,
    talks,
)
from infinex.studio.settings import Settings
from infinex.studio.studies import Studies


async def _sweep(studio: Studio) -> None:
    while True:
        await asyncio.sleep(min(30.0, max(0.5, studio.settings.keep / 4)))
        await asyncio.to_thread(studio.sweep)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Its queue and files live as long as its lifespan."""
    settings = settings or Settings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        studio = app.state.studio = Studio(settings)
        app.state.studies = Studies(studio.folder / "studies")
        sweeping = asyncio.create_task(_sweep(studio))
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.get_running_loop().run_in_executor(None, studio.close)

    app = FastAPI(
        title="Infinex studio",
        version=__version__,
        description="Animate still portraits. Where the studio has a token, send it as `Authorization: Bearer`.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0"},
    )
    for routes in (animations, events, batches, portraits, libraries, scenes, projects, talks):
        app.include_router(routes.api)
    app.include_router(shared.router)
    app.include_router(front)
    for part in (page, portraits, studies, preview):
        app.include_router(part.page)
    app.include_router(studies.router)
    dress(app, settings)
    return app


__all__ = ["create_app"]
