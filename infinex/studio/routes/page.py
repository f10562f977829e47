"""What the page asks at its start: what the studio offers, and its visitor's animations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from infinex.studio.forms import Animation
from infinex.studio.hall import studio_of, visitor_of
from infinex.studio.offer import offer

page = APIRouter(include_in_schema=False)


@page.get("/studio/offer")
async def what(request: Request) -> dict[str, Any]:
    studio = studio_of(request)
    visitor_of(request)
    found: dict[str, Any] = await studio.look(offer, studio.settings, studio.engines)
    return found


@page.get("/studio/jobs")
async def jobs(request: Request) -> list[Animation]:
    studio = studio_of(request)
    return [studio.view(j) for j in studio.queue.of(visitor_of(request))]
