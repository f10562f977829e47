"""The shape that D-ID's clients speak: a picture and a script become a talk. A thin layer over animations.

After the public reference of that API (docs.d-id.com, "Talks"): only what this studio can do is taken, else refused."""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
import io
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

from fastapi import APIRouter, Header, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.datastructures import UploadFile as Upload

from infinex.errors import InputError
from infinex.studio import checks, claims
from infinex.studio.calls import fetch
from infinex.studio.forms import BUSY, KEPT_OUT, NO_ROOM, PROBLEMS, TYPE, Problem
from infinex.studio.hall import Studio, job_of, studio_of, visitor_of
from infinex.studio.jobs import Job
from infinex.studio.making import make
from infinex.studio.repeats import no_other_fields, print_of
from infinex.studio.settings import Settings
from infinex.studio.typed import Typed
from infinex.studio.wanted import wanted

api = APIRouter(tags=["talks"], route_class=Typed)
NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such talk"}}
STATUS = {"queued": "created", "running": "started", "done": "done"}
ENDINGS = {
    "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "audio/wav": "wav", "audio/x-wav": "wav",
    "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/mp4": "m4a", "audio/ogg": "ogg",
    "audio/webm": "webm", "audio/flac": "flac",
}  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Provider(_Strict):
    """Who speaks: `voice_id` is a language or a name of `infinex voices`."""

    type: str = Field("", max_length=40)
    voice_id: str = Field("", max_length=64, pattern=r"^[\w.+:-]*$")


class Text(_Strict):
    """What is said."""

    type: Literal["text"]
    input: str = Field(min_length=1, max_length=2000)
    provider: Optional[Provider] = None  # noqa: UP045


class Audio(_Strict):
    """A voice that was recorded."""

    type: Literal["audio"]
    audio_url: str = Field(min_length=1)


class Config(_Strict):
    """How the result is made."""

    result_format: Literal["mp4", "gif", "mov", "webm"] = "mp4"


class NewTalk(_Strict):
    """A picture, and what it says."""

    source_url: str = Field(min_length=1)
    script: Annotated[Union[Text, Audio], Field(discriminator="type")]  # noqa: UP007
    name: str = Field("", max_length=80)
    webhook: Optional[str] = Field(None, max_length=500)  # noqa: UP045
    config: Config = Config()


class Created(BaseModel):
    """What was begun."""

    id: str
    object: str = "talk"
    created_at: str
    created_by: str = ""
    status: str


class Talk(Created):
    """How far a talk is."""

    started_at: Optional[str] = None  # noqa: UP045
    duration: Optional[float] = None  # noqa: UP045
    result_url: Optional[str] = None  # noqa: UP045
    error: Optional[dict[str, str]] = None  # noqa: UP045
    name: str = ""


class Talks(BaseModel):
    """Several."""

    talks: list[Talk]


class Taken(BaseModel):
    """What was handed in."""

    id: str
    url: str


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def _talk(request: Request, job: Job) -> Talk:
    url = str(request.base_url).rstrip("/") + f"/v1/animations/{job.id}/result" if job.state == "done" else None
    status = STATUS.get(job.state, "error")
    error = {"kind": job.state, "description": job.message or ""} if status == "error" else None
    return Talk(id=job.id, created_at=_clock(job.created), status=status, result_url=url, name=job.label, error=error,
                started_at=None if job.started is None else _clock(job.started),
                duration=job.summary.get("duration") if job.state == "done" else None)  # fmt: skip


def _decoded(address: str, what: str) -> tuple[str, bytes]:
    """The ending and the bytes of a data: address. Raises InputError."""
    head, _, body = address.partition(",")
    kind = head[5:].split(";")[0].strip().lower()
    if kind not in ENDINGS or not head.endswith(";base64"):
        raise InputError(f"{what}: a data: address of {', '.join(sorted(ENDINGS))} in base64 is wanted")
    try:
        return ENDINGS[kind], base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{what}: its base64 cannot be read") from None


async def _file(studio: Studio, request: Request, address: str, folder: Path, what: str) -> Upload:
    """The file that an address means, as an upload. Raises InputError."""
    own = address.removeprefix(str(request.base_url).rstrip("/"))
    if own.startswith("/uploads/"):
        path = studio.uploads.get(own.removeprefix("/uploads/"), request.state.session)
        return Upload(path.open("rb"), size=path.stat().st_size, filename=path.name, headers=Headers())
    if address.startswith("data:"):
        ending, data = _decoded(address, what)
        return Upload(io.BytesIO(data), size=len(data), filename=f"{what.split('_')[0]}.{ending}", headers=Headers())
    name = checks.safe_name(address.split("?", 1)[0], what)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    await studio.look(fetch, address, path, studio.settings, what)
    return Upload(path.open("rb"), size=path.stat().st_size, filename=name, headers=Headers())


@api.post("/talks", status_code=201, response_model=Created, responses=PROBLEMS | KEPT_OUT | BUSY | NO_ROOM | TYPE,
          summary="A picture says something")  # fmt: skip
async def create(
    request: Request, response: Response, talk: NewTalk,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Created:  # fmt: skip
    """`source_url` is a data: address or that of `POST /images`; others are fetched where the studio's owner allows."""
    studio = studio_of(request)
    folder = studio.folder / "incoming" / secrets.token_hex(8)
    with studio.repeats.claimed(request, await print_of(request) if idempotency_key else "") as claim:
        job = studio.queue.get(claim.name, request.state.session) if claim.name else None
        if job is None:
            claim.name = ""
            opened: list[Upload] = []
            try:
                opened.append(await _file(studio, request, talk.source_url, folder, "source_url"))
                fields: dict[str, Any] = dict(USUAL)
                fields |= {"source": opened[0], "format": talk.config.result_format,
                           "label": " ".join(talk.name.split()), "callback": talk.webhook}  # fmt: skip
                if isinstance(talk.script, Text):
                    provider = talk.script.provider or Provider(type="", voice_id="")
                    fields |= {"say": talk.script.input, "voice": provider.voice_id}
                else:
                    opened.append(await _file(studio, request, talk.script.audio_url, folder, "audio_url"))
                    fields["speech"] = opened[1]
                job = await make(request, fields)
            finally:
                for upload in opened:
                    await upload.close()
                shutil.rmtree(folder, ignore_errors=True)
            claim.name = job.id
        else:
            response.headers["Idempotent-Replayed"] = "true"
    return Created(id=job.id, created_at=_clock(job.created), status=STATUS.get(job.state, "error"))


@api.get("/talks", response_model=Talks, responses=PROBLEMS, summary="The talks of a session")
async def listed(request: Request) -> Talks:
    """Newest first."""
    jobs = studio_of(request).queue.of(visitor_of(request))
    return Talks(talks=[_talk(request, j) for j in jobs if j.kind in ("say", "speech")])


@api.get("/talks/{id}", response_model=Talk, responses=PROBLEMS | NONE, summary="How far a talk is")
async def state(request: Request, id: str) -> Talk:
    """`created`, `started`, `done` with a `result_url`, or `error`."""
    return _talk(request, job_of(request, id))


@api.delete("/talks/{id}", response_model=Talk, responses=PROBLEMS | NONE, summary="Stop or remove a talk")
async def remove(request: Request, id: str) -> Talk:
    """Its files go."""
    job = job_of(request, id)
    shown = _talk(request, job)
    await asyncio.to_thread(studio_of(request).queue.remove, job)
    return shown


def _check_picture(path: Path, settings: Settings) -> None:
    if claims.check_picture(path, settings) is None:
        raise InputError(f"{path.name} is not a picture that can be read")


async def _taken(request: Request, upload: UploadFile, kind: str, check: Callable[[Path, Settings], None]) -> Taken:
    studio = studio_of(request)
    studio.counted(request)
    if not (upload.filename or upload.size):
        raise InputError(f"{kind}: a file is wanted")
    name = secrets.token_urlsafe(16)
    try:
        path = await studio.keep_file(upload, studio.uploads.folder / name, kind)
        await studio.look(check, path, studio.settings)
    except BaseException:
        shutil.rmtree(studio.uploads.folder / name, ignore_errors=True)
        raise
    studio.uploads.add(name, request.state.session, path)
    return Taken(id=name, url=str(request.base_url).rstrip("/") + f"/uploads/{name}")


@api.post("/images", status_code=201, response_model=Taken, responses=PROBLEMS | BUSY | NO_ROOM | TYPE,
          summary="Hand a picture in for talks")  # fmt: skip
async def image(request: Request, image: UploadFile) -> Taken:
    """Name its `url` as `source_url`; it stays for as long as results do."""
    await no_other_fields(request, ("image",))
    return await _taken(request, image, "image", _check_picture)


@api.post("/audios", status_code=201, response_model=Taken, responses=PROBLEMS | BUSY | NO_ROOM | TYPE,
          summary="Hand a voice in for talks")  # fmt: skip
async def audio(request: Request, audio: UploadFile) -> Taken:
    """Name its `url` as `audio_url`."""
    await no_other_fields(request, ("audio",))
    return await _taken(request, audio, "audio", claims.check_sound)


def _usual() -> dict[str, Any]:
    """The fields of an animation as they are when nobody names them."""
    return {k: p.default for k, p in inspect.signature(wanted).parameters.items()}


USUAL = _usual()
