"""A scene of layers opened as one driver: every layer by the way that opens it alone, their sounds mixed beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infinex.drivers.contract import Driver
from infinex.drivers.expression import motion_of
from infinex.drivers.layers import Layer, Scene, named, read_scene
from infinex.drivers.mixing import EVER, LayeredDriver, Times, laid_out
from infinex.drivers.motion import MotionDriver
from infinex.drivers.text import open_text
from infinex.errors import InfinexError, InputError, option
from infinex.jobs.open import OF_CLIPS, Said, open_driver, open_said, open_units, open_voice
from infinex.media.mix import Heard, mix
from infinex.media.video import VideoReader
from infinex.options import Options

USUAL = 25.0  # frames a second where nothing says another rate
Found = Callable[[str], Path]  # the file that a layer's `file` means


@dataclass(frozen=True)
class Opened:
    """A layer's driver and its own length in seconds."""

    layer: Layer
    driver: Driver
    seconds: float


def beside(folder: Path) -> Found:
    """Files as a document in `folder` names them: by a path from there."""
    return lambda name: folder / name


def open_layers(
    document: str | Path | Mapping[str, Any] | Scene,
    options: Options | None = None,
    found: Found | None = None,
    still: bool = False,
) -> Driver:
    """A scene of layers, a JSON document or its file, as a driver. `found` says what file a layer means; else paths
    count from the document's folder. `still`: voices and words bring no blinks of their own.

    Raises InputError, which says of which layer, also for options that only a clip can follow."""
    o = options or Options()
    for name in OF_CLIPS:
        if getattr(o, name) != getattr(Options(), name):
            raise InputError(f"{option(name)} goes with a driver that is a clip; say it in a layer")
    path = Path(document) if isinstance(document, (str, Path)) else None
    scene = document if isinstance(document, Scene) else read_scene(path if path is not None else document)
    found = found or beside(Path() if path is None else path.parent)
    with ExitStack() as stack:
        opened: list[Opened] = []
        for layer, name in zip(scene.layers, scene.names):
            opened.append(open_layer(layer, name, scene, o, found, still or any(e.driver.filmed for e in opened)))
            stack.callback(opened[-1].driver.close)
        only = opened[0]
        if len(opened) == 1 and only.layer.plain and scene.duration is None and (o.fps or scene.fps) is None:
            driver: Driver = only.driver  # as if it were named alone
        else:
            driver = _layered(opened, scene, o, stack)
        stack.pop_all()
    return open_driver(driver, o)


def _layered(opened: list[Opened], scene: Scene, o: Options, stack: ExitStack) -> LayeredDriver:
    layers = [e.layer for e in opened]
    filmed = next((float(e.driver.fps) for e in opened if e.driver.filmed), USUAL)
    times, duration = laid_out(layers, [e.seconds for e in opened], scene.duration)
    late = next((n for n, e, t in zip(scene.names, opened, times) if t.begin >= duration - 1e-6), None)
    if late is not None:
        raise InputError(f"{late}: it begins when the scene has ended, after {duration:g} s")
    voiced = any(e.layer.kind == "voice" for e in opened)
    heard = [h for e, t in zip(opened, times) if (h := _heard(e, t, voiced)) is not None]
    audio = None
    closing = None
    if heard:
        folder = TemporaryDirectory(prefix="infinex-layers-")
        stack.callback(folder.cleanup)
        audio = mix(heard, duration, Path(folder.name) / "layers.wav")
        closing = folder.cleanup
    fps = o.fps or scene.fps or filmed
    return LayeredDriver(layers, [e.driver for e in opened], times, duration, fps, audio, closing)


def _heard(e: Opened, t: Times, voiced: bool) -> Heard | None:
    """What is heard of a layer, and when."""
    layer, file = e.layer, e.driver.audio
    wanted = layer.sound if layer.sound is not None else not voiced or layer.kind == "voice"
    if file is None or not wanted or layer.volume == 0 or t.end <= t.begin:
        return None
    start, end = e.driver.span
    once = t.end - t.begin if layer.loop else min(t.end - t.begin, t.own)
    return Heard(file, t.begin, once, start, end, layer.speed, layer.volume, t.fade_in,
                 t.fade_out, t.own if layer.loop and t.own < EVER else None)  # fmt: skip


def open_layer(layer: Layer, name: str, scene: Scene, o: Options, found: Found, over: bool) -> Opened:
    """Open one layer; `over`: below it somebody was filmed, who blinks already. Raises InputError that names it."""
    fps = o.fps or scene.fps or USUAL
    try:
        driver = _driver(layer, fps, o, found, over)
    except InfinexError as error:
        raise named(error, name) from None
    try:
        return Opened(layer, driver, _seconds(driver))
    except BaseException:
        driver.close()
        raise


def _driver(layer: Layer, fps: float, o: Options, found: Found, over: bool) -> Driver:
    part: dict[str, Any] = {"start": layer.start, "end": layer.end}
    still = layer.still or over
    if layer.kind == "performance":
        clip: dict[str, Any] = {"driver_face": layer.driver_face, "reference": layer.reference, "smooth": layer.smooth}
        wanted = layer.motion if layer.motion is not None else _file(found(str(layer.file)))
        return open_driver(wanted, Options(**clip, **part, engine=o.engine, refine=o.refine))
    if layer.kind == "voice":
        rate = Options(fps=fps, **part)
        if layer.say is None:
            return open_voice(_file(found(str(layer.file))), None, rate, still)
        driver: Driver = open_said(layer.say, None, rate, still, layer.voice, layer.voice_speed, layer.voice_pitch)
    elif layer.kind == "words":
        driver = open_text(str(layer.text), fps, still)
    elif layer.units is not None:
        driver = open_units(layer.units, fps)
    else:
        assert layer.keyframes is not None
        keys = [(0.0, layer.keyframes[0][1])] if layer.stands else layer.keyframes
        driver = MotionDriver(motion_of(keys, fps), "keyframes")
    return driver if isinstance(driver, Said) else open_driver(driver, Options(**part))


def _file(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    return path


def _seconds(driver: Driver) -> float:
    """A driver's length; of a clip that does not say it, by counting."""
    if driver.frames is not None:
        return driver.frames / driver.fps
    path = getattr(driver, "path", None)
    if path is None:
        raise InputError(f"{driver.name} does not end; it cannot be a layer")
    start, end = driver.span
    with VideoReader(path, max_side=64, start=start, end=end) as reader:
        return max(1, sum(1 for _ in reader)) / float(reader.info.fps)


__all__ = ["Opened", "beside", "open_layer", "open_layers"]
