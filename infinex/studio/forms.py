"""What the API answers: its models, its formats and the problems it describes."""

from __future__ import annotations

from typing import Any, Literal, Optional

from pydantic import BaseModel, Field

Format = Literal["mp4", "webm", "mov", "gif", "apng", "png"]
Result = Literal["mp4", "webm", "mov", "gif", "apng", "png", "motion", "vtt"]
Crop = Literal["keep", "1:1", "9:16", "16:9"]
MEDIA = {
    "mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime", "gif": "image/gif", "apng": "image/apng",
    "png": "application/zip", "motion": "application/zip", "vtt": "text/vtt",
}  # fmt: skip
CLEAR = ("webm", "mov", "gif", "apng", "png")  # formats that can be transparent


class Problem(BaseModel):
    """What went wrong, in one sentence."""

    detail: str
    id: Optional[str] = Field(None, description="of an error of the studio's own, as its log names it")  # noqa: UP045


class Made(BaseModel):
    """What a finished animation is."""

    format: str
    frames: int
    duration: float = Field(description="seconds")
    fps: float
    width: int
    height: int
    faces: int
    engine: str
    bytes: int
    captions: bool = Field(description="whether there are captions, format `vtt`")
    warnings: list[str]


class Animation(BaseModel):
    """The state of one animation."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    progress: float = Field(ge=0, le=1)
    position: int = Field(description="place in the queue, 0 once it runs", ge=0)
    seconds_left: Optional[float] = Field(None, description="an estimate, where there is one")  # noqa: UP045
    message: Optional[str] = Field(None, description="why it failed or was cancelled")  # noqa: UP045
    label: str = ""
    created: float = Field(description="seconds since 1970")
    kind: str = Field("", description="what drives it: layers, motion, ...")
    name: str = Field("", description="says what is inside, fit for a file's name")
    portrait: Optional[str] = Field(None, description="the portrait of the library that it shows")  # noqa: UP045
    batch: Optional[str] = None  # noqa: UP045
    result: Optional[Made] = None  # noqa: UP045


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request could not be read"},
    401: {"model": Problem, "description": "The token is missing or wrong"},
    403: {"model": Problem, "description": "Asked from another site, or for another host"},
    422: {"model": Problem, "description": "A file, value or combination that cannot be used; `detail` says which"},
}
NO_ROOM: dict[int | str, dict[str, Any]] = {507: {"model": Problem, "description": "The disk is full"}}
TYPE: dict[int | str, dict[str, Any]] = {415: {"model": Problem, "description": "Another content type is wanted"}}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such animation"}}
KEPT_OUT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "Too many are kept, or this key's first request has no answer yet"}
}
BUSY: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The upload is too large"},
    429: {"model": Problem, "description": "Too many requests, or the queue is full; see Retry-After"},
}
