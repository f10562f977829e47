"""An application that shows one study and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from infinex.evaluation.study import Study
from infinex.studio.front import dress, front
from infinex.studio.routes.studies import router
from infinex.studio.studies import Studies


def create_study_app(study: Study, settings: Any) -> tuple[FastAPI, str]:
    """An application that shows one study and nothing else, and the place on its page where that is."""
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
