"""A scene of layers opened as one driver: every layer by the way that opens it alone, their sounds mixed beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
) -> Driver | Cast:
    """A scene of layers, a JSON document or its file, as a driver. `found` says what file a layer means; else paths
    count from the document's folder. `still`: voices and words bring no blinks of their own. Where layers move single
    faces of a group it is a cast, for `animate`.

    Raises InputError, which says of which layer, also for options that only a clip can follow."""
    o = options or Options()
    for name in OF_CLIPS:
        if getattr(o, name) != getattr(Options(), name):
            raise InputError(f"{option(name)} goes with a driver that is a clip; say it in a layer")
    path = Path(document) if isinstance(document, (str, Path)) else None
    scene = document if isinstance(document, Scene) else read_scene(path if path is not None else document)
    found = found or beside(Path() if path is None else path.parent)
    if scene.faces:
        return Cast(scene, o, found, still)
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
    times, duration = _times(opened, scene)
    audio, closing = _sound(opened, times, duration, stack)
    layers, drivers = [e.layer for e in opened], [e.driver for e in opened]
    return LayeredDriver(layers, drivers, times, duration, _rate(opened, scene, o), audio, closing)


def _times(opened: Sequence[Opened], scene: Scene) -> tuple[list[Times], float]:
    times, duration = laid_out([e.layer for e in opened], [e.seconds for e in opened], scene.duration)
    late = next((n for n, t in zip(scene.names, times) if t.begin >= duration - 1e-6), None)
    if late is not None:
        raise InputError(f"{late}: it begins when the scene has ended, after {duration:g} s")
    return times, duration


def _rate(opened: Sequence[Opened], scene: Scene, o: Options) -> float:
    return o.fps or scene.fps or next((float(e.driver.fps) for e in opened if e.driver.filmed), USUAL)


def _sound(
    opened: Sequence[Opened], times: Sequence[Times], duration: float, stack: ExitStack
) -> tuple[Path | None, Callable[[], None] | None]:
    """The sound of all layers in one file, and what removes it."""
    voiced = any(e.layer.kind == "voice" for e in opened)
    heard = [h for e, t in zip(opened, times) if (h := _heard(e, t, voiced)) is not None]
    if not heard:
        return None, None
    folder = TemporaryDirectory(prefix="infinex-layers-")
    stack.callback(folder.cleanup)
    return mix(heard, duration, Path(folder.name) / "layers.wav"), folder.cleanup


class Cast:
    """A scene whose layers move single faces of a group: a driver for each, on one clock and with one sound.

    Layers that name no face move everybody who is animated."""

    def __init__(self, scene: Scene, options: Options, found: Found, still: bool = False) -> None:
        self.scene, self._options, self._found, self._still = scene, options, found, still
        self.name = "layers"

    def open(self, chosen: Sequence[int], count: int) -> dict[int, Driver]:
        """Drivers by the number of the face they move, where the faces `chosen`, of `count`, are to be animated.

        The sound of all is that of the first. Raises InputError; none stays open then."""
        scene, o = self.scene, self._options
        scene.check_faces(count)
        with ExitStack() as stack:
            by_face: dict[int, dict[int, Opened]] = {}
            for face in scene.moved(chosen):
                mine = by_face[face] = {}
                for i, (layer, name) in enumerate(zip(scene.layers, scene.names)):
                    if layer.face in (None, face):
                        over = self._still or any(e.driver.filmed for e in mine.values())
                        mine[i] = open_layer(layer, name, scene, o, self._found, over)
                        stack.callback(mine[i].driver.close)
            first = [next(m[i] for m in by_face.values() if i in m) for i in range(len(scene.layers))]
            times, duration = _times(first, scene)
            audio, closing = _sound(first, times, duration, stack)
            fps = _rate(first, scene, o)
            out: dict[int, Driver] = {}
            for face, mine in by_face.items():
                one = LayeredDriver(
                    [e.layer for e in mine.values()], [e.driver for e in mine.values()], [times[i] for i in mine],
                    duration, fps, None if out else audio, None if out else closing,
                )  # fmt: skip
                out[face] = open_driver(one, o)
            stack.pop_all()
        return out


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


__all__ = ["Cast", "Opened", "beside", "open_layer", "open_layers"]
