"""Routes that say so where a request's body is of another type than they take."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.params import Form
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Typed(APIRoute):
    """A route whose JSON or form is looked at only where the request says that it is one: else 415."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with that looked at before it."""
        handle = super().get_route_handler()
        field = self.body_field
        wanted = None if field is None else FORMS if isinstance(field.field_info, Form) else ("application/json",)

        async def checked(request: Request) -> Response:
            if wanted is not None:
                given = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
                body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
                if (
                    given not in wanted
                    and (given or body)
                    and not (wanted[0] == "application/json" and given.endswith("+json"))
                ):
                    raise HTTPException(415, f"This wants a body of the type {wanted[0]}.")
            return await handle(request)

        return checked
