"""The fields of a request for an animation: the same for one portrait and for many."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

from fastapi import File, Form, UploadFile

from infinex.engine import Proportions
from infinex.motion import DEFAULT_PARTS
from infinex.studio.forms import Crop, Format


def wanted(
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
    layers: Annotated[
        str | None,
        Form(description="A scene of layers, JSON, as `infinex animate --layers` takes it", max_length=262_144),
    ] = None,
    files: Annotated[
        Optional[list[UploadFile]],  # noqa: UP045
        File(description="Files that layers name by their file names"),
    ] = None,
    crop: Annotated[Crop, Form(description="The largest part of this shape around the face")] = "keep",
    callback: Annotated[
        str | None,
        Form(description="An address that is told of the end, where the studio's owner allows it", max_length=500),
    ] = None,
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
        str,
        Form(description="Behind the person: keep, none (transparent), green (for keying), or a colour", max_length=40),
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
) -> dict[str, Any]:
    """What was asked for, by name."""
    return dict(locals())
