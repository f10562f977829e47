"""Scenes looked over before anything is made of them, and words said for somebody to hear."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from infinex.errors import InputError
from infinex.studio import checks, scenes
from infinex.studio.asked import asset_of
from infinex.studio.forms import BUSY, PROBLEMS, TYPE
from infinex.studio.hall import studio_of
from infinex.studio.offer import speaks
from infinex.studio.saying import spoken
from infinex.studio.typed import Typed

api = APIRouter(prefix="/v1", tags=["layers"], route_class=Typed)
SOUND: dict[int | str, dict[str, Any]] = {200: {"description": "A sound", "content": {"audio/wav": {}}}}


class When(BaseModel):
    """When a layer is there, and its own length; seconds."""

    model_config = ConfigDict(populate_by_name=True)
    begin: float = Field(alias="from")
    to: float
    seconds: float


class Laid(BaseModel):
    """How a scene lies in time."""

    duration: float
    fps: float
    layers: list[When]


class Words(BaseModel):
    """What is to be said, and how."""

    model_config = ConfigDict(extra="forbid")
    say: str = Field(min_length=1, max_length=2000)
    voice: str = Field("", pattern=r"^[\w.+:-]*$", max_length=64)
    voice_speed: float = Field(1.0, ge=0.5, le=2, strict=True)  # true is no number
    voice_pitch: float = Field(0.0, ge=-12, le=12, strict=True)


@api.post("/layers", response_model=Laid, response_model_by_alias=True, responses=PROBLEMS | BUSY | TYPE,
          summary="Look a scene of layers over")  # fmt: skip
async def check(request: Request, layers: Annotated[dict[str, Any], Body(embed=True)]) -> Any:
    """What of it cannot be used is said; else when its layers are there. Files are named as `asset`."""
    studio = studio_of(request)
    studio.counted(request)
    document, files = scenes.with_files(scenes.document_of(layers), asset_of(studio, request), _none)
    scene = scenes.scene_of(document)
    paths = {f"{i + 1}-{f.name}": f for i, f in enumerate(files)}
    watch = checks.Watch(studio.settings.look)
    length, times, seconds = await studio.look(
        scenes.length_of, scene, paths.__getitem__, studio.settings, studio.verdicts, watch, "mesh"
    )
    laid = [{"from": round(t.begin, 3), "to": round(t.end, 3), "seconds": round(s, 3)} for t, s in zip(times, seconds)]
    return {"duration": round(length.seconds, 3), "fps": length.fps, "layers": laid}


def _none(name: str) -> Path:
    raise InputError("files are sent with an animation; here name an asset")


@api.post("/speech", response_class=Response, responses={**PROBLEMS, **BUSY, **TYPE, **SOUND}, summary="Say a text")
async def speech(request: Request, words: Words) -> Response:
    """As a layer of kind voice says it: WAV."""
    studio = studio_of(request)
    studio.counted(request)
    if words.voice.endswith(".onnx"):
        raise InputError("voice: a language, or a name of those that are installed, is wanted")
    if not await studio.look(speaks):
        raise InputError("driving by a voice is not part of this installation")

    def said() -> bytes:
        sound = spoken(words.say, words.voice, words.voice_speed, words.voice_pitch)
        with TemporaryDirectory() as folder:
            return sound.write(Path(folder) / "said.wav").read_bytes()

    return Response(await studio.look(said), media_type="audio/wav", headers={"Cache-Control": "private, no-store"})
