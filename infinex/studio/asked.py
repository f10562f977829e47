"""Looking over what a request for an animation names, before a job is made of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request, WebSocket
from starlette.exceptions import HTTPException

from infinex.drivers.directions import directed
from infinex.drivers.expression import read_keyframes
from infinex.drivers.layers import Scene
from infinex.drivers.motion import load_motion
from infinex.drivers.units import parse_timeline
from infinex.engine import find_engine
from infinex.errors import InputError
from infinex.motion import PARTS
from infinex.studio import checks, scenes
from infinex.studio.cost import Length, Work
from infinex.studio.forms import CLEAR
from infinex.studio.hall import Studio
from infinex.studio.jobs import Job
from infinex.studio.saying import spoken as say
from infinex.studio.settings import Settings
from infinex.studio.worker import CAPTIONS

GREEN = "#00b140"  # of a screen to be keyed; CSS calls a darker one by this name


def length_of(
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


def background_of(text: str, format: str) -> str:
    """What lies behind a transparent portrait: keep, none or #rrggbb. Raises InputError; a file is never meant."""
    from PIL import ImageColor

    words = text.strip().lower() or "keep"
    if words == "none" and format not in CLEAR:
        raise InputError(f"background none: {format} has no transparency; ask for {', '.join(CLEAR)}")
    if words in ("keep", "none"):
        return words
    if words == "green":
        return GREEN
    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(words)[:3])
    except ValueError:
        raise InputError("background: keep, none, a colour's name or #rrggbb is wanted") from None


def whose_of(text: str) -> str:
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


def check_options(options: dict[str, Any], studio: Studio) -> None:
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


@dataclass(frozen=True)
class Script:
    """What a portrait is to say, and how; `driven` is whether something else moves its face."""

    text: str
    voice: str
    speed: float
    pitch: float
    driven: bool

    def speak(self, folder: Path, settings: Settings) -> tuple[dict[str, Any], Length]:
        """Say it into a sound in `folder`, with captions beside the result. Raises InfinexError."""
        # A file is named on the command line alone.
        if self.voice.endswith(".onnx"):
            raise InputError("voice: a language, or a name of those that are installed, is wanted")
        spoken = say(self.text, self.voice, self.speed, self.pitch)
        if spoken.directions and self.driven:
            raise InputError("say: stage directions move the face; leave out the other driver, or them")
        if spoken.seconds > settings.duration:
            raise InputError(f"say: it lasts {spoken.seconds:.0f} s; the limit here is {settings.duration:.0f} s")
        sound = folder / "speech" / "said.wav"
        sound.parent.mkdir()
        spoken.write(sound)
        spoken.write_captions(folder / CAPTIONS)
        asked = tuple((d.start, d.end, d.text) for d in spoken.directions)
        directed(asked, spoken.seconds)  # whether they are understood
        words = " ".join(line.text for line in spoken.lines)
        return {"speech": str(sound), "said": words, "directions": asked}, Length(spoken.seconds)


async def task_of(
    studio: Studio,
    request: Request,
    job: Job,
    given: Mapping[str, Any],
    script: Script | None,
    options: dict[str, Any],
    length: Length | None,
    watch: checks.Watch,
) -> tuple[dict[str, Any], Work]:
    """Keep the files of a job and look them over; `given` are its fields, `length` is that of a driver without a file.

    Raises InputError, GoneError where nobody waits any more."""
    s = studio.settings
    source, portrait, driving, speech, box = (given[k] for k in ("source", "portrait", "driving", "speech", "box"))
    out: dict[str, Any] = {}
    whole: Length | None = None  # of a portrait that is a clip
    count = 1  # faces of the picture
    if source is not None:
        path = await studio.keep_file(source, job.folder / "source", "portrait")
        if box is not None and box.strip():
            size, faces = await studio.look_at(path, checks.look_in_box, path, box, s)
            options["face"], options["box"] = "largest", checks.parse_box(box, size)
        else:
            size, faces, whole = await studio.look_at(
                path, studio.verdicts.of, path, "source", lambda p: checks.look_at_source(p, s, watch)
            )
        if not faces and options["panel"]:
            raise InputError("the panel needs a still picture as portrait")
        if not faces:
            options["face"] = "largest"
        else:
            from infinex.face.tracker import choose

            count = len(faces)
            faces = choose(faces, options["face"], path.name)
        out["source"] = str(path)
    else:
        kept = studio.library.get(portrait or "", request.state.session)
        folder = job.folder / "source"
        folder.mkdir()
        # A copy, so that the portrait may go while the job waits.
        await studio.look(shutil.copyfile, kept.source, folder / kept.source.name)
        out["source"] = str(folder / kept.source.name)
        size, faces = kept.size, kept.faces if options["face"] == "all" else kept.faces[:1]
        count, whole = len(kept.faces), kept.clip
        if kept.box is not None:
            options["face"], options["box"] = "largest", checks.parse_box(kept.box, kept.size)
    if whole is not None:
        check_film(options)
    if driving is not None:
        path = await studio.keep_file(driving, job.folder / "driving", "driving")
        length = await studio.look(studio.verdicts.of, path, "driving", lambda p: checks.look_at_driving(p, s, watch))
        out["driving"] = str(path)
    if speech is not None:
        path = await studio.keep_file(speech, job.folder / "speech", "voice")
        length = await studio.look(studio.verdicts.of, path, "speech", lambda p: checks.look_at_sound(p, s, watch))
        out["speech"] = str(path)
    if script is not None:
        spoken, length = await studio.look(script.speak, job.folder, s)
        out |= spoken
    if given["layers"] is not None:
        document, scene, length = await _scene_of(studio, request, job, given, watch, options["engine"])
        if whole is not None and scene.faces:
            raise InputError("layers that move single faces need a still picture as portrait")
        scene.check_faces(count)
        moved = min(count, len(faces) + len(scene.faces))
        out["layers"] = json.dumps(document)
    else:
        moved = len(faces)
    assert length is not None  # one driver was given
    return out, work_of(options, size, max(1, moved), length, whole)


def check_film(options: Mapping[str, Any]) -> None:
    """Raise InputError for what a clip as portrait cannot be; an engine that knows one person only looks at it."""
    system = find_engine(options["engine"]).system
    if system.knows:
        return
    usual = {"background": "keep", "crop": "keep", "panel": False, "loop": False, "absolute": False, "open_eyes": False}
    for name, value in usual.items():
        if options[name] != value:
            raise InputError(f"{name}: this needs a still picture as portrait; a clip keeps its own")
    if not system.films:
        raise InputError(f"the engine {options['engine']} needs a still picture as portrait")


async def _scene_of(
    studio: Studio, request: Request, job: Job, given: Mapping[str, Any], watch: checks.Watch, engine: str
) -> tuple[dict[str, Any], Scene, Length]:
    """A scene of layers, as it came and read, with its files in the job's folder, and how long it is.

    Raises InputError."""
    uploads: dict[str, Path] = {}
    for i, upload in enumerate(given["files"]):
        name = (upload.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        uploads[name] = await studio.keep_file(upload, job.folder / "sent" / str(i), "file")
    document, files = scenes.with_files(
        scenes.document_of(given["layers"]), asset_of(studio, request), lambda name: _sent(uploads, name)
    )
    scene = scenes.scene_of(document)
    kept = job.folder / "files"
    studio.place.check(sum(f.stat().st_size for f in files))
    await studio.look(scenes.copied, files, kept)
    shutil.rmtree(job.folder / "sent", ignore_errors=True)
    length, _, _ = await studio.look(
        scenes.length_of, scene, lambda name: kept / name, studio.settings, studio.verdicts, watch, engine
    )
    captions = await studio.look(scenes.captions_of, scene)
    if captions is not None:
        captions.write_captions(job.folder / CAPTIONS)
    return document, scene, length


def asset_of(studio: Studio, request: Request | WebSocket) -> scenes.Asset:
    """The file of a visitor's performance by its id."""
    shelf, owner = studio.shelves["performance"], request.state.session

    def found(name: str) -> Path:
        try:
            kept = shelf.get(str(name), owner)
        except HTTPException as error:
            raise InputError(str(error.detail)) from None
        return kept.folder / str(kept.data["file"])

    return found


def _sent(uploads: dict[str, Path], name: str) -> Path:
    if name not in uploads:
        raise InputError(f"file {name[:60]!r} was not sent along; send it in the field files")
    return uploads[name]


def work_of(options: dict[str, Any], size: tuple[int, int], faces: int, driver: Length, clip: Length | None) -> Work:
    """What a job has to draw. Raises InputError where `start` and `end` leave nothing of the driver."""
    part = driver.cut(options["start"], options["end"])
    if clip is not None:
        part = Length(min(part.seconds, clip.seconds), part.fps)
    k = 1.0 if options["size"] is None else options["size"] / max(size)
    width, height = (max(2, round(side * k)) for side in size)
    wide = 4 * width if options["panel"] else width
    return Work(options["engine"], part.frames(options["fps"]), wide, height, faces, clip is not None)
