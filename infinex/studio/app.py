"""The web application: the API under /v1, and what the page needs besides under /studio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import shutil
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypeVar

from fastapi import APIRouter, Body, FastAPI, File, Form, Query, Request, Response, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from infinex._version import __version__
from infinex.drivers.motion import bundled_motions, load_motion
from infinex.drivers.units import parse_timeline
from infinex.engine import Source
from infinex.errors import InfinexError, InputError
from infinex.face.tracker import LOOKING
from infinex.media.image import png_text, read_image
from infinex.media.provenance import statement
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.motion import DEFAULT_PARTS, PARTS
from infinex.studio import checks
from infinex.studio.checks import friendly, safe_name
from infinex.studio.cost import Length, Work
from infinex.studio.examples import EXAMPLES
from infinex.studio.expression import Expression, read_keyframes
from infinex.studio.gate import SESSION, TOKEN, Gate, Rate, new_session
from infinex.studio.jobs import Job, Queue, QueueFullError
from infinex.studio.library import Library, Portrait
from infinex.studio.offer import Engines, offer, speaks
from infinex.studio.preview import Live, Preview, encode, shrunk
from infinex.studio.settings import Settings
from infinex.studio.studies import Studies
from infinex.studio.studies import router as studies_router
from infinex.studio.worker import MOTION, Task

STATIC = Path(__file__).parent / "static"
Format = Literal["mp4", "webm", "mov", "gif", "apng"]
Result = Literal["mp4", "webm", "mov", "gif", "apng", "motion"]
MEDIA = {
    "mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime", "gif": "image/gif", "apng": "image/apng",
    "motion": "application/zip",
}  # fmt: skip
CLEAR = ("webm", "mov", "gif", "apng")  # formats that can be transparent
T = TypeVar("T")
GONE = "There is no such animation; it may have been removed after its time."
SMALL = 400  # longer side of a GIF or APNG that is made from a video
GIF_RATE = 15.0
HERE = 0.5  # seconds between looks whether a client is still there
IDLE_STEP = 5.0  # seconds between looks whether a socket is still used
RESTED = "The preview was closed, since nothing moved for a while."
SLOW = "takes too long to make in this format; fetch it as it is"
HOST = 8  # visitors' rates that one address may use up, since anybody can call a session their own


class Problem(BaseModel):
    """What went wrong, in one sentence."""

    detail: str


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
    warnings: list[str]


class Animation(BaseModel):
    """The state of one animation."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float = Field(ge=0, le=1)
    position: int = Field(description="place in the queue, 0 once it runs", ge=0)
    seconds_left: Optional[float] = Field(None, description="an estimate, where there is one")  # noqa: UP045
    message: Optional[str] = Field(None, description="why it failed or was cancelled")  # noqa: UP045
    label: str = ""
    result: Optional[Made] = None  # noqa: UP045


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request could not be read"},
    401: {"model": Problem, "description": "The token is missing or wrong"},
    403: {"model": Problem, "description": "Asked from another site, or for another host"},
    422: {"model": Problem, "description": "A file, value or combination that cannot be used; `detail` says which"},
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such animation"}}
BUSY: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The upload is too large"},
    429: {"model": Problem, "description": "Too many requests, or the queue is full; see Retry-After"},
}


class Busy(HTTPException):
    """Come again later."""

    def __init__(self, seconds: float, detail: str) -> None:
        super().__init__(429, detail, {"Retry-After": str(max(1, round(seconds)))})


@dataclass
class Places:
    """How many pages are served at once, and how many may be."""

    most: int
    taken: int = 0


class Studio:
    """What the handlers share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="infinex-studio-"))
        self.queue = Queue(settings, self.folder)
        self.library = Library(settings, self.folder)
        self.verdicts = checks.Verdicts()
        self.rate, self.hosts = Rate(settings.rate), Rate(HOST * settings.rate)
        self.engines = Engines()
        self.looking = ThreadPoolExecutor(4, thread_name_prefix="infinex-look")
        self.making = ThreadPoolExecutor(2, thread_name_prefix="infinex-make")  # other formats of results
        self.drawing = ThreadPoolExecutor(max(2, settings.previews), thread_name_prefix="infinex-draw")
        self.visits = {"previews": Places(settings.previews), "lives": Places(settings.lives)}

    def close(self) -> None:
        """Stop all work and remove every file."""
        self.queue.close()
        for pool in (self.looking, self.making):
            pool.shutdown(wait=False, cancel_futures=True)
        self.drawing.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def look(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a check in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.looking, functools.partial(work, *args))

    async def make(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run the making of another format in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.making, functools.partial(work, *args))

    async def draw(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run drawing in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.drawing, functools.partial(work, *args))

    def counted(self, request: Request) -> None:
        """Count a request that costs work. Raises Busy."""
        host = request.client.host if request.client else "?"
        wait = self.rate.wait(request.state.session or host) or self.hosts.wait(host)
        if wait:
            raise Busy(wait, f"That was a lot at once; please wait {wait:.0f} seconds.")

    async def keep_file(self, upload: UploadFile, folder: Path, fallback: str) -> Path:
        """Write an upload under its own, cleaned name. Raises InputError for an empty one."""
        path = folder / safe_name(upload.filename, fallback)
        folder.mkdir(parents=True, exist_ok=True)

        def copy() -> int:
            with path.open("wb") as out:
                shutil.copyfileobj(upload.file, out, 1 << 20)
            return path.stat().st_size

        if not await self.look(copy):
            raise InputError(f"{path.name} is empty")
        return path

    def view(self, job: Job) -> Animation:
        """A job as the API shows it."""
        made = None
        if job.state == "done" and job.summary:
            s = job.summary
            made = Made(
                format=job.format, frames=s["frames"], duration=s["duration"],
                fps=round(s["frames"] / max(1e-6, s["duration"]), 3), width=s["width"], height=s["height"],
                faces=s["faces"], engine=s["engine"], bytes=job.output.stat().st_size if job.output.exists() else 0,
                warnings=[friendly(w, job.folder) for w in s["warnings"]],
            )  # fmt: skip
        left = job.seconds_left
        return Animation(
            id=job.id, state=job.state, progress=round(job.progress, 4), position=self.queue.position(job),
            seconds_left=None if left is None else round(left, 1), message=job.message, label=job.label, result=made,
        )  # fmt: skip


def _studio(request: Request | WebSocket) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


async def _while_there(request: Request, watch: checks.Watch, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, and tell its `watch` as soon as the client has gone."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=HERE)
            if not task.done() and not watch.gone.is_set() and await request.is_disconnected():
                watch.gone.set()
    except BaseException:
        watch.gone.set()
        task.cancel()
        raise
    return await task


def _job(request: Request, name: str) -> Job:
    job = _studio(request).queue.get(name, request.state.session)
    if job is None:
        raise HTTPException(404, GONE)
    return job


# -- the API ------------------------------------------------------------------------------------------

api = APIRouter(prefix="/v1", tags=["animations"])


@api.post(
    "/animations", status_code=202, response_model=Animation, responses=PROBLEMS | BUSY, summary="Ask for an animation"
)
async def create(
    request: Request,
    source: Annotated[Optional[UploadFile], File(description="The portrait: a picture, or a video")] = None,  # noqa: UP045
    portrait: Annotated[
        str | None, Form(description="Instead of `source`: a portrait of the page", max_length=64)
    ] = None,
    driving: Annotated[
        Optional[UploadFile],  # noqa: UP045
        File(description="A driving video, a picture whose expression is taken on, or a .motion.npz file"),
    ] = None,
    motion: Annotated[str | None, Form(description="The name of a bundled performance", max_length=64)] = None,
    text: Annotated[str | None, Form(description="What the face should do, in words", max_length=2000)] = None,
    units: Annotated[str | None, Form(description="Action Units, such as AU12=0.8", max_length=4000)] = None,
    keyframes: Annotated[
        str | None,
        Form(description='JSON: [{"time": 0, "units": {"AU12": 0.8}, "yaw": 10, ...}, ...]', max_length=200_000),
    ] = None,
    speech: Annotated[Optional[UploadFile], File(description="A voice that the portrait should speak")] = None,  # noqa: UP045
    format: Annotated[Format, Form(description="Of the result")] = "mp4",
    engine: Annotated[str, Form(description="What renders", max_length=40)] = "mesh",
    face: Annotated[str, Form(description="largest, all, or a number from the left", max_length=10)] = "largest",
    box: Annotated[
        str | None, Form(description="x,y,width,height of the face in the picture, where none is found", max_length=80)
    ] = None,
    parts: Annotated[str, Form(description="Some of pose,lips,eyes,brows,gaze,scale", max_length=80)] = ",".join(
        DEFAULT_PARTS
    ),
    strength: Annotated[float, Form(ge=0, le=3, allow_inf_nan=False)] = 1.0,
    absolute: Annotated[bool, Form(description="Take the driver's pose as it is, not its change")] = False,
    smooth: Annotated[float, Form(ge=0, le=1, allow_inf_nan=False)] = 0.5,
    mouth: Annotated[Literal["driver", "own"], Form(description="Whose inside of the mouth")] = "driver",
    wrinkles: Annotated[Literal["driver", "none"], Form(description="Whose wrinkles")] = "driver",
    audio: Annotated[Literal["keep", "none"], Form(description="The driver's sound, or none")] = "keep",
    size: Annotated[int | None, Form(description="Longer side of the result in pixels", ge=64, le=8192)] = None,
    fps: Annotated[float | None, Form(ge=1, le=120, allow_inf_nan=False)] = None,
    start: Annotated[float, Form(description="Seconds of the driver left out", ge=0, allow_inf_nan=False)] = 0.0,
    end: Annotated[
        float | None, Form(description="Second of the driver at which to end", gt=0, allow_inf_nan=False)
    ] = None,
    loop: Annotated[bool, Form(description="An end that goes over into the beginning")] = False,
    background: Annotated[
        str, Form(description="Behind a picture that is transparent: keep, none, or a colour", max_length=40)
    ] = "keep",
    driver_face: Annotated[
        str,
        Form(
            description="Whose performance: largest, moving, a number from the left, or x,y,width,height", max_length=80
        ),
    ] = "largest",
    panel: Annotated[bool, Form(description="Source, driving, occlusion map and result side by side")] = False,
    mark: Annotated[bool, Form(description="A small visible mark in the corner")] = False,
    label: Annotated[str, Form(description="A name of your own", max_length=80)] = "",
) -> Animation:
    """Animate a portrait by one driver: `driving`, `motion`, `text`, `units`, `keyframes` or `speech`.

    The files are looked over before this answers; what cannot be used is said here. Then ask
    `GET /v1/animations/{id}` until its state is done, and fetch the result."""
    studio = _studio(request)
    s = studio.settings
    studio.counted(request)
    source, driving, speech = (
        f if f is not None and (f.filename or f.size) else None for f in (source, driving, speech)
    )
    text, units, keyframes, motion = ((v.strip() or None) if v else None for v in (text, units, keyframes, motion))
    drivers = {"driving": driving, "motion": motion, "text": text, "units": units, "keyframes": keyframes,
               "speech": speech}  # fmt: skip
    given = [k for k, v in drivers.items() if v is not None]
    if (source is None) == (portrait is None or not portrait.strip()):
        raise InputError("a portrait is wanted: send a picture as source")
    alone = [k for k in given if k != "speech"]  # a voice may speak over another driver
    if not given or len(alone) > 1:
        raise InputError(
            f"one driver is wanted, of {', '.join(drivers)}" + (f"; there are {len(given)}" if given else "")
        )
    options: dict[str, Any] = {
        "engine": engine, "face": face, "parts": tuple(p.strip() for p in parts.split(",") if p.strip()),
        "strength": strength, "absolute": absolute, "smooth": smooth, "mouth": mouth, "wrinkles": wrinkles,
        "size": size, "fps": fps, "audio": audio, "panel": panel, "mark": mark, "start": start, "end": end,
        "loop": loop, "background": _background(background, format), "driver_face": _whose(driver_face),
    }  # fmt: skip
    if end is not None and end <= start:
        raise InputError(f"end {end:g}: it must come after start {start:g}")
    await studio.look(_check_options, options, studio)
    if motion is not None and motion not in bundled_motions():
        raise InputError(f"no motion called {motion[:40]!r}; there are {', '.join(bundled_motions())}")
    length = await studio.look(_length_of, motion, units, keyframes, text, s)
    if speech is not None and not await studio.look(speaks):
        raise InputError("driving by a voice is not part of this installation")
    watch = checks.Watch(s.look)
    try:
        with studio.queue.reserved():
            job = studio.queue.new(request.state.session)
            try:
                job.format, job.label = format, label
                files = _task(studio, request, job, source, portrait, driving, speech, options, box, length, watch)
                task, work = await _while_there(request, watch, files)
                studio.queue.pace.check(work, format, s)
                job.work = work
                task = {**task, "motion": motion, "text": text, "units": units, "keyframes": keyframes}
                job.task = Task(output=str(job.output), options=options, **task)
            except BaseException:
                studio.queue.discard(job)
                raise
            studio.queue.submit(job)
    except QueueFullError:
        raise Busy(10, "Many animations are being made just now; please try again in a moment.") from None
    except checks.GoneError:
        raise HTTPException(400, "The request was broken off.") from None
    if await request.is_disconnected():  # nobody hears of its id, so nobody could ever stop it
        await asyncio.to_thread(studio.queue.remove, job)
    return studio.view(job)


def _length_of(
    motion: str | None, units: str | None, keyframes: str | None, text: str | None, settings: Settings
) -> Length | None:
    """How long a driver is that comes without a file; None for one with a file. Raises InputError."""
    length = None
    if motion is not None:
        played = load_motion(motion)
        length = Length(played.duration, played.fps)
    elif units is not None:
        length = Length(parse_timeline(units)[-1].time + 0.04)
    elif keyframes is not None:
        frames = read_keyframes(_json(keyframes), settings.duration)
        length = Length(max(checks.STILL, frames[-1][0] + 0.2))
    elif text is not None:
        from infinex.drivers.text import open_text

        driver = open_text(text)
        length = Length(driver.frames / driver.fps)
    if length is not None and length.seconds > settings.duration + 1:
        what = "units" if units is not None else "this text" if text is not None else "this motion"
        raise InputError(f"{what}: it lasts {length.seconds:.0f} s; the limit here is {settings.duration:.0f} s")
    return length


def _background(text: str, format: str) -> str:
    """What lies behind a transparent portrait: keep, none or #rrggbb. Raises InputError; a file is never meant."""
    from PIL import ImageColor

    words = text.strip().lower() or "keep"
    if words == "none" and format not in CLEAR:
        raise InputError(f"background none: {format} has no transparency; ask for {', '.join(CLEAR)}")
    if words in ("keep", "none"):
        return words
    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(words)[:3])
    except ValueError:
        raise InputError("background: keep, none, a colour's name or #rrggbb is wanted") from None


def _whose(text: str) -> str:
    """Which face of the driver performs. Raises InputError."""
    words = text.replace(" ", "").lower() or "largest"
    if not re.fullmatch(r"largest|moving|[1-9]\d?|\d{1,5}(\.\d{1,3})?(,\d{1,5}(\.\d{1,3})?){3}", words):
        raise InputError("driver_face: largest, moving, a number from the left or x,y,width,height is wanted")
    return words


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("keyframes is not JSON that can be read") from None


def _check_options(options: dict[str, Any], studio: Studio) -> None:
    from infinex.pipeline import Options

    settings = studio.settings
    if not studio.engines.known(options["engine"]):
        there = ", ".join(e["name"] for e in studio.engines)
        raise InputError(f"there is no engine {options['engine']!r} here; there are {there}")
    if not options["parts"]:
        raise InputError(f"nothing would move: name some of {', '.join(PARTS)} as parts")
    if options["size"] is not None and options["size"] > settings.side:
        raise InputError(f"size {options['size']}: the limit here is {settings.side} pixels")
    Options(**options).check()


async def _task(
    studio: Studio,
    request: Request,
    job: Job,
    source: UploadFile | None,
    portrait: str | None,
    driving: UploadFile | None,
    speech: UploadFile | None,
    options: dict[str, Any],
    box: str | None,
    length: Length | None,
    watch: checks.Watch,
) -> tuple[dict[str, Any], Work]:
    """Keep the files of a job and look them over; `length` is that of a driver without a file.

    Raises InputError, GoneError where nobody waits any more."""
    s = studio.settings
    out: dict[str, Any] = {}
    whole: Length | None = None  # of a portrait that is a clip
    if source is not None:
        path = await studio.keep_file(source, job.folder / "source", "portrait")
        if box is not None and box.strip():
            size, faces = await studio.look(checks.look_in_box, path, box, s)
            options["face"], options["box"] = "largest", checks.parse_box(box, size)
        else:
            size, faces, whole = await studio.look(
                studio.verdicts.of, path, "source", lambda p: checks.look_at_source(p, s, watch)
            )
        if not faces and options["panel"]:
            raise InputError("the panel needs a still picture as portrait")
        if not faces:
            options["face"] = "largest"
        else:
            from infinex.face.tracker import choose

            faces = choose(faces, options["face"], path.name)
        out["source"] = str(path)
    else:
        kept = studio.library.get(portrait or "", request.state.session)
        folder = job.folder / "source"
        folder.mkdir()
        # A copy, so that the portrait may go while the job waits.
        await studio.look(shutil.copyfile, kept.path, folder / kept.path.name)
        out["source"] = str(folder / kept.path.name)
        size, faces = kept.size, kept.faces if options["face"] == "all" else kept.faces[:1]
        if kept.box is not None:
            options["face"], options["box"] = "largest", checks.parse_box(kept.box, kept.size)
    if driving is not None:
        path = await studio.keep_file(driving, job.folder / "driving", "driving")
        length = await studio.look(studio.verdicts.of, path, "driving", lambda p: checks.look_at_driving(p, s, watch))
        out["driving"] = str(path)
    if speech is not None:
        path = await studio.keep_file(speech, job.folder / "speech", "voice")
        length = await studio.look(studio.verdicts.of, path, "speech", lambda p: checks.look_at_sound(p, s, watch))
        out["speech"] = str(path)
    assert length is not None  # one driver was given
    return out, _work(options, size, max(1, len(faces)), length, whole)


def _work(options: dict[str, Any], size: tuple[int, int], faces: int, driver: Length, clip: Length | None) -> Work:
    """What a job has to draw. Raises InputError where `start` and `end` leave nothing of the driver."""
    part = driver.cut(options["start"], options["end"])
    if clip is not None:
        part = Length(min(part.seconds, clip.seconds), part.fps)
    k = 1.0 if options["size"] is None else options["size"] / max(size)
    width, height = (max(2, round(side * k)) for side in size)
    wide = 4 * width if options["panel"] else width
    return Work(options["engine"], part.frames(options["fps"]), wide, height, faces, clip is not None)


@api.get("/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING, summary="How far an animation is")
async def state(request: Request, id: str) -> Animation:
    """State, progress, place in the queue and time left."""
    return _studio(request).view(_job(request, id))


@api.delete(
    "/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING, summary="Stop or remove an animation"
)
async def remove(request: Request, id: str) -> Animation:
    """Stop it if it has not ended, at once, and remove its files; an ended one is forgotten."""
    studio, job = _studio(request), _job(request, id)
    await asyncio.to_thread(studio.queue.remove, job)  # not behind the files of others
    return studio.view(job)


@api.get(
    "/animations/{id}/result",
    response_class=FileResponse,
    responses={
        **PROBLEMS,
        **MISSING,
        200: {"description": "The file", "content": {m: {} for m in MEDIA.values()}},
        409: {"model": Problem, "description": "There is no result, or not yet"},
    },
    summary="Fetch a finished animation",
)
async def result(
    request: Request,
    id: str,
    format: Annotated[Result | None, Query(description="Another format, or the motion itself")] = None,
) -> Response:
    """The file as it was asked for, or made into another format; `motion` is the performance, .motion.npz."""
    studio, job = _studio(request), _job(request, id)
    if job.state in ("queued", "running"):
        raise HTTPException(409, "This animation is still being made.")
    if job.state != "done":
        raise HTTPException(409, job.message or "This animation was not finished.")
    wanted: str = format or job.format
    watch = checks.Watch(studio.settings.job, SLOW)
    try:
        path = await _while_there(request, watch, studio.make(_variant, job, wanted, watch))
    except checks.GoneError:
        raise HTTPException(400, "The request was broken off.") from None
    if not path.is_file():  # removed in this moment
        raise HTTPException(404, GONE)
    suffix = "motion.npz" if wanted == "motion" else wanted
    headers = {"Cache-Control": "private, no-store"}
    return FileResponse(path, media_type=MEDIA[wanted], filename=f"infinex-{job.id[:6]}.{suffix}", headers=headers,
                        content_disposition_type="inline" if format is None else "attachment")  # fmt: skip


def _variant(job: Job, wanted: str, watch: checks.Watch) -> Path:
    """A finished job in another format, made when it is first asked for.

    Raises GoneError where nobody waits for it any more, InputError where it takes too long."""
    if wanted == "motion":
        return job.folder / MOTION
    if wanted == job.format:
        return job.output
    path = job.folder / f"result.{wanted}"
    watch.begin()
    with job.lock:
        if path.exists():
            return path
        watch(job.output)
        from infinex.media.provenance import inspect

        small = wanted in ("gif", "apng")
        words = {k: v for k, v in inspect(job.output).metadata.items() if k in ("comment", "description")}
        with VideoReader(job.output, max_side=SMALL if small else None) as reader:
            rate = float(reader.info.fps)
            skip = max(1, round(rate / GIF_RATE)) if small else 1
            sound = job.output if reader.info.has_audio and not small else None
            with open_sink(path, (reader.info.width, reader.info.height), rate / skip, sound, words) as sink:
                for frame in reader:
                    watch(job.output)
                    if frame.index % skip == 0:
                        sink.write(frame.image)
    return path


# -- what the page needs besides ----------------------------------------------------------------------

page = APIRouter(include_in_schema=False)
front = APIRouter(include_in_schema=False)


@front.get("/")
async def index(request: Request, token: str | None = None) -> Response:
    secure = request.url.scheme == "https"
    response: Response
    if token is not None:  # out of the address bar, into a cookie
        response = RedirectResponse("/", 303)
        response.set_cookie(TOKEN, token, httponly=True, samesite="strict", secure=secure)
    else:
        response = FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})
    if request.state.session is None:
        response.set_cookie(SESSION, new_session(), httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
    return response


def _visitor(request: Request | WebSocket) -> str:
    session: str | None = request.state.session
    if session is None:
        raise HTTPException(403, "Open the studio's page first; this is one of its own requests.")
    return session


@page.get("/studio/offer")
async def what(request: Request) -> dict[str, Any]:
    studio = _studio(request)
    _visitor(request)
    found: dict[str, Any] = await studio.look(offer, studio.settings, studio.engines)
    return found


@page.get("/studio/jobs")
async def jobs(request: Request) -> list[Animation]:
    studio = _studio(request)
    return [studio.view(j) for j in studio.queue.of(_visitor(request))]


@page.post("/studio/portraits")
async def add_portrait(
    request: Request, picture: UploadFile, box: Annotated[str | None, Form(max_length=80)] = None
) -> dict[str, Any]:
    studio = _studio(request)
    owner = _visitor(request)
    studio.counted(request)
    folder = studio.library.new_folder()
    try:
        path = await studio.keep_file(picture, folder, "portrait")
        return await _add(studio, owner, path, box)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@page.post("/studio/examples/{name}")
async def add_example(request: Request, name: str) -> dict[str, Any]:
    studio = _studio(request)
    owner = _visitor(request)
    studio.counted(request)
    example = next((e for e in EXAMPLES if e.name == name), None)
    if example is None:
        raise HTTPException(404, "There is no such example.")
    path = studio.library.new_folder() / example.path.name
    shutil.copyfile(example.path, path)
    return await _add(studio, owner, path)


async def _add(studio: Studio, owner: str, path: Path, box: str | None = None) -> dict[str, Any]:
    settings = studio.settings
    if box is not None:
        size, faces = await studio.look(checks.look_in_box, path, box, settings)
        return studio.library.add(owner, path, size, faces, box).as_dict()
    size, faces = await studio.look(studio.verdicts.of, path, "faces", lambda p: checks.look_for_faces(p, settings))
    return studio.library.add(owner, path, size, faces).as_dict()


def _portrait(request: Request | WebSocket, name: str) -> Portrait:
    return _studio(request).library.get(name, _visitor(request))


@page.get("/studio/portraits/{name}")
async def portrait_again(request: Request, name: str) -> dict[str, Any]:
    return _portrait(request, name).as_dict()


@page.get("/studio/portraits/{name}/image")
async def portrait_image(request: Request, name: str, side: Annotated[int, Query(ge=64, le=2048)] = 1280) -> Response:
    studio, portrait = _studio(request), _portrait(request, name)

    def make() -> bytes:
        image = read_image(portrait.path)
        return encode(shrunk(image, portrait.faces[0], side).image, 92)

    return Response(await studio.draw(make), media_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


@page.post("/studio/portraits/{name}/still")
async def still(
    request: Request, name: str, expression: Annotated[dict[str, Any], Body()], face: Annotated[int, Query(ge=1)] = 1
) -> Response:
    """The portrait with an expression, at its own size, as PNG."""
    studio, portrait = _studio(request), _portrait(request, name)
    studio.counted(request)
    wanted = Expression.read(expression)
    chosen = studio.library.face(portrait, face)

    def make() -> bytes:
        import io

        from PIL import Image

        image = read_image(portrait.path)
        with LOOKING:
            full = Preview(Source(image, chosen))
        drawn = full.draw(wanted)
        out = io.BytesIO()
        words = statement("a portrait with another expression, not a photograph", portrait.path.name, "sliders", "mesh")
        Image.fromarray(drawn).save(out, "PNG", pnginfo=png_text(words), compress_level=4)
        return out.getvalue()

    data = await studio.draw(make)
    headers = {"Content-Disposition": 'attachment; filename="infinex-portrait.png"', "Cache-Control": "no-store"}
    return Response(data, media_type="image/png", headers=headers)


@page.get("/studio/studies")
async def my_studies(request: Request) -> list[dict[str, Any]]:
    return _studies(request).of(_visitor(request))


@page.post("/studio/studies")
async def new_study(request: Request, wanted: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    """A blind study of a visitor's finished animations."""
    studio, owner = _studio(request), _visitor(request)
    studio.counted(request)
    pairs = wanted.get("pairs")
    if not isinstance(pairs, list) or not 0 < len(pairs) <= 100 or not all(isinstance(p, dict) for p in pairs):
        raise InputError("a study needs between 1 and 100 pairs")
    files = []
    for pair in pairs:
        made = [_job(request, str(pair.get(side, ""))) for side in ("a", "b")]
        if any(j.state != "done" for j in made):
            raise InputError("only finished animations can be judged")
        names = [str(pair.get(f"name_{side}", side.upper()))[:80] for side in ("a", "b")]
        files.append((made[0].output, made[1].output, names[0], names[1]))
    return {"id": await studio.look(_studies(request).from_files, owner, files)}


def _studies(request: Request) -> Studies:
    studies: Studies = request.app.state.studies
    return studies


# -- sockets ------------------------------------------------------------------------------------------


class _Latest:
    """The newest message of a socket; older ones nobody had time for are dropped."""

    def __init__(self, socket: WebSocket, wanted: Literal["text", "bytes"]) -> None:
        self._socket, self._wanted = socket, wanted
        self._new = asyncio.Event()
        self._item: Any = None
        self._heard = time.monotonic()
        self.options: list[str] = []
        self.closed = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                self._heard = time.monotonic()
                if message.get(self._wanted) is not None:
                    self._item = message[self._wanted]
                    self._new.set()
                elif message.get("text") is not None and len(self.options) < 16:
                    self.options.append(message["text"])
        except (WebSocketDisconnect, RuntimeError):
            pass
        self.closed = True
        self._new.set()

    def idle(self, seconds: float) -> bool:
        """Whether nothing was said for so long."""
        return time.monotonic() - self._heard > seconds

    async def get(self, timeout: float | None = None) -> Any:
        """Wait for the newest message; None after the time or at the end."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._new.wait(), timeout)
        self._new.clear()
        item, self._item = self._item, None
        return item

    def close(self) -> None:
        """Stop listening."""
        self._task.cancel()


def _message(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("that is not JSON") from None
    if not isinstance(data, dict):
        raise InputError("an object is wanted")
    return data


async def _visit(
    socket: WebSocket,
    kind: Literal["previews", "lives"],
    full: str,
    serve: Callable[[WebSocket, Portrait, int], Awaitable[None]],
) -> None:
    """Take a page's socket and serve it the portrait and the face it names, while places of this kind last.

    A page that comes when none is left is told `full`; one that goes away ends the visit without an error."""
    begun = await _begin(socket)
    if begun is None:
        return
    places = _studio(socket).visits[kind]
    if places.taken >= places.most:
        await _close(socket, full)
        return
    places.taken += 1
    try:
        await serve(socket, *begun)
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        places.taken -= 1


async def _begin(socket: WebSocket) -> tuple[Portrait, int] | None:
    """Take a page's socket and the portrait it names first."""
    studio = _studio(socket)
    await socket.accept()
    try:
        hello = _message(await asyncio.wait_for(socket.receive_text(), 20))
        portrait = _portrait(socket, str(hello.get("portrait", "")))
        number = hello.get("face", 1)
        if not isinstance(number, int):
            raise InputError("face is a number")
        studio.library.face(portrait, number)
        return portrait, number
    except (InfinexError, HTTPException) as error:
        text = friendly(error) if isinstance(error, InfinexError) else str(error.detail)
        await _close(socket, text)
    except (WebSocketDisconnect, asyncio.TimeoutError, KeyError, RuntimeError):
        await _close(socket, "That is no way to begin.")
    return None


async def _close(socket: WebSocket, text: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({"error": text})
        await socket.close(4000)


@page.websocket("/studio/express")
async def express(socket: WebSocket) -> None:
    """Settings of sliders in, pictures out: a number (uint32, little-endian) and a JPEG."""
    full = "Many people are trying this just now; please come back in a moment."
    await _visit(socket, "previews", full, _express)


async def _express(socket: WebSocket, portrait: Portrait, number: int) -> None:
    studio = _studio(socket)
    preview: Preview = await studio.draw(studio.library.preview, portrait, number)
    h, w = preview.image.shape[:2]
    await socket.send_json({"ready": True, "width": w, "height": h})
    playing: tuple[Any, float, int] | None = None
    with contextlib.closing(_Latest(socket, "text")) as latest:
        while not latest.closed:
            text = await latest.get(IDLE_STEP if playing is None else 1 / 24)
            if text is None and latest.idle(studio.settings.idle):
                await _close(socket, RESTED)
                return
            try:
                if text is not None:
                    data = _message(text)
                    seq = int(data.get("seq", 0)) & 0xFFFFFFFF
                    if "play" in data:
                        name = str(data["play"])
                        if name not in bundled_motions():
                            raise InputError(f"no motion called {name[:40]!r}")
                        playing = await studio.draw(load_motion, name), time.monotonic(), seq
                        continue
                    playing = None
                    expression = Expression.read(data)
                    picture = await studio.draw(_drawn, preview, expression)
                elif playing is not None:
                    motion, start, seq = playing
                    picture = await studio.draw(_played, preview, motion, time.monotonic() - start)
                else:
                    continue
            except InfinexError as error:
                await socket.send_json({"error": friendly(error)})
                continue
            except (TypeError, ValueError, OverflowError):
                await socket.send_json({"error": "That setting could not be read."})
                continue
            await socket.send_bytes(struct.pack("<I", seq) + picture)
            portrait.used = time.time()


def _drawn(preview: Preview, expression: Expression) -> bytes:
    with preview.lock:
        return encode(preview.draw(expression))


def _played(preview: Preview, motion: Any, seconds: float) -> bytes:
    with preview.lock:
        return encode(preview.frame(motion, seconds))


@page.websocket("/studio/live")
async def live(socket: WebSocket) -> None:
    """Camera frames in (JPEG), pictures out; text carries choices in and states out."""
    await _visit(socket, "lives", "Somebody else is live just now; please come back in a moment.", _live)


async def _live(socket: WebSocket, portrait: Portrait, number: int) -> None:
    studio = _studio(socket)
    driven: Live
    with contextlib.closing(await studio.draw(_new_live, portrait, number, studio.settings.preview)) as driven:
        await socket.send_json({"ready": True})
        state = ""
        with contextlib.closing(_Latest(socket, "bytes")) as latest:
            while not latest.closed:
                frame = await latest.get(IDLE_STEP)
                if frame is None and latest.idle(studio.settings.idle / 10):
                    await _close(socket, RESTED)
                    return
                try:
                    while latest.options:
                        driven.options(_message(latest.options.pop(0)))
                    if frame is None:
                        continue
                    new, picture = await studio.draw(_driven, driven, frame)
                except InfinexError as error:
                    await socket.send_json({"error": friendly(error)})
                    continue
                if new != state:
                    state = new
                    await socket.send_json({"state": state})
                await socket.send_bytes(picture)
                portrait.used = time.time()


def _new_live(portrait: Portrait, number: int, side: int) -> Live:
    source = shrunk(read_image(portrait.path), portrait.faces[number - 1], side)
    with LOOKING:
        return Live(source)


def _driven(driven: Live, frame: bytes) -> tuple[str, bytes]:
    """The picture for one camera frame; empty where there is none yet."""
    state, image = driven.frame(frame)
    return state, b"" if image is None else encode(image, 84)


# -- putting it together ------------------------------------------------------------------------------


async def _problem(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, InfinexError):
        studio: Studio | None = getattr(request.app.state, "studio", None)
        return JSONResponse({"detail": friendly(error, None if studio is None else studio.folder)}, 422)
    if isinstance(error, RequestValidationError):
        return JSONResponse({"detail": _in_words(error)}, 422)
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(request)))
        return JSONResponse({"detail": str(error.detail)}, error.status_code, headers=headers)
    return JSONResponse({"detail": "Something went wrong here."}, 500)


def _methods(request: Request) -> set[str]:
    """What may be asked of a path, over all the routes it has."""
    out: set[str] = set()
    for path, operations in request.app.openapi().get("paths", {}).items():
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


async def _sweep(studio: Studio) -> None:
    while True:
        await asyncio.sleep(min(30.0, max(0.5, studio.settings.keep / 4)))
        studio.library.sweep()


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
    app.include_router(api)
    app.include_router(front)
    app.include_router(page)
    app.include_router(studies_router)
    dress(app, settings)
    return app


def dress(app: FastAPI, settings: Settings) -> None:
    """Static files, errors in words and the gate."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind in (InfinexError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _problem)
    app.add_middleware(Gate, settings=settings)


__all__ = ["create_app"]
