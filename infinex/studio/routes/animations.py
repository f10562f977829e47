"""The API: ask for an animation, follow it, fetch it, remove it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, Optional

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from infinex.drivers.motion import bundled_motions
from infinex.engine import Proportions
from infinex.errors import InputError
from infinex.motion import DEFAULT_PARTS
from infinex.studio import checks
from infinex.studio.asked import Script, background_of, check_options, length_of, task_of, whose_of
from infinex.studio.forms import BUSY, MEDIA, MISSING, PROBLEMS, Animation, Format, Problem, Result
from infinex.studio.hall import GONE, Busy, job_of, studio_of, while_there
from infinex.studio.jobs import QueueFullError
from infinex.studio.offer import speaks
from infinex.studio.variants import SLOW, variant
from infinex.studio.worker import Task

VOICES = ("speech", "say")

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
    say: Annotated[
        str | None, Form(description='What the portrait says: "[smiles] Good morning, class."', max_length=2000)
    ] = None,
    voice: Annotated[
        str,
        Form(description="Of `say`: a language, or a name of `infinex voices`", pattern=r"^[\w.+:-]*$", max_length=64),
    ] = "",
    voice_speed: Annotated[float, Form(ge=0.5, le=2, allow_inf_nan=False)] = 1.0,
    voice_pitch: Annotated[float, Form(description="Semitones", ge=-12, le=12, allow_inf_nan=False)] = 0.0,
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
    mouth: Annotated[
        Literal["auto", "driver", "own"],
        Form(description="Whose inside of the mouth; auto: the driver's, where both are the same person"),
    ] = "auto",
    wrinkles: Annotated[Literal["driver", "none"], Form(description="Whose wrinkles")] = "driver",
    neutral: Annotated[bool, Form(description="The portrait's own expression is taken off first")] = False,
    open_eyes: Annotated[bool, Form(description="Closed eyes are drawn open first")] = False,
    proportions: Annotated[
        Proportions, Form(description="How motion fits a face of other proportions; auto: as the engine does by itself")
    ] = "auto",
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
    """Animate a portrait by one driver: `driving`, `motion`, `text`, `units`, `keyframes`, `speech` or `say`.

    The files are looked over before this answers; what cannot be used is said here. Then ask
    `GET /v1/animations/{id}` until its state is done, and fetch the result."""
    studio = studio_of(request)
    s = studio.settings
    studio.counted(request)
    source, driving, speech = (
        f if f is not None and (f.filename or f.size) else None for f in (source, driving, speech)
    )
    text, units, keyframes, motion, say = (
        (v.strip() or None) if v else None for v in (text, units, keyframes, motion, say)
    )
    drivers = {"driving": driving, "motion": motion, "text": text, "units": units, "keyframes": keyframes,
               "speech": speech, "say": say}  # fmt: skip
    given = [k for k, v in drivers.items() if v is not None]
    if (source is None) == (portrait is None or not portrait.strip()):
        raise InputError("a portrait is wanted: send a picture as source")
    alone = [k for k in given if k not in VOICES]  # a voice may speak over another driver
    if not given or len(alone) > 1 or len(given) - len(alone) > 1:
        raise InputError(
            f"one driver is wanted, of {', '.join(drivers)}" + (f"; there are {len(given)}" if given else "")
        )
    options: dict[str, Any] = {
        "engine": engine, "face": face, "parts": tuple(p.strip() for p in parts.split(",") if p.strip()),
        "strength": strength, "absolute": absolute, "smooth": smooth, "mouth": mouth, "wrinkles": wrinkles,
        "neutral": neutral, "open_eyes": open_eyes, "proportions": proportions,
        "size": size, "fps": fps, "audio": audio, "panel": panel, "mark": mark, "start": start, "end": end,
        "loop": loop, "background": background_of(background, format), "driver_face": whose_of(driver_face),
    }  # fmt: skip
    if end is not None and end <= start:
        raise InputError(f"end {end:g}: it must come after start {start:g}")
    await studio.look(check_options, options, studio)
    if motion is not None and motion not in bundled_motions():
        raise InputError(f"no motion called {motion[:40]!r}; there are {', '.join(bundled_motions())}")
    length = await studio.look(length_of, motion, units, keyframes, text, s)
    if (speech is not None or say is not None) and not await studio.look(speaks):
        raise InputError("driving by a voice is not part of this installation")
    script = None if say is None else Script(say, voice, voice_speed, voice_pitch, bool(alone))
    watch = checks.Watch(s.look)
    try:
        with studio.queue.reserved():
            job = studio.queue.new(request.state.session)
            try:
                job.format, job.label = format, label
                files = task_of(
                    studio, request, job, source, portrait, driving, speech, script, options, box, length, watch
                )
                task, work = await while_there(request, watch, files)
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


@api.get("/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING, summary="How far an animation is")
async def state(request: Request, id: str) -> Animation:
    """State, progress, place in the queue and time left."""
    return studio_of(request).view(job_of(request, id))


@api.delete(
    "/animations/{id}", response_model=Animation, responses=PROBLEMS | MISSING, summary="Stop or remove an animation"
)
async def remove(request: Request, id: str) -> Animation:
    """Stop it if it has not ended, at once, and remove its files; an ended one is forgotten."""
    studio, job = studio_of(request), job_of(request, id)
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
    studio, job = studio_of(request), job_of(request, id)
    if job.state in ("queued", "running"):
        raise HTTPException(409, "This animation is still being made.")
    if job.state != "done":
        raise HTTPException(409, job.message or "This animation was not finished.")
    wanted: str = format or job.format
    watch = checks.Watch(studio.settings.job, SLOW)
    try:
        path = await while_there(request, watch, studio.make(variant, job, wanted, watch))
    except checks.GoneError:
        raise HTTPException(400, "The request was broken off.") from None
    if not path.is_file():  # removed in this moment
        raise HTTPException(404, GONE)
    suffix = "motion.npz" if wanted == "motion" else wanted
    headers = {"Cache-Control": "private, no-store"}
    return FileResponse(path, media_type=MEDIA[wanted], filename=f"infinex-{job.id[:6]}.{suffix}", headers=headers,
                        content_disposition_type="inline" if format is None else "attachment")  # fmt: skip
