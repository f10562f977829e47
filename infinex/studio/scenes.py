"""Scenes of layers that a visitor writes: their files found, their lengths known, played at any time of a preview."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infinex.drivers.contract import Drive, Driver
from infinex.drivers.layers import Layer, Scene, named, parse_document, read_scene
from infinex.drivers.mixing import Mixer, Times, Track, eased_round, laid_out, reader_at
from infinex.drivers.motion import load_motion
from infinex.drivers.units import parse_timeline, rest_face
from infinex.engine import find_engine
from infinex.errors import InfinexError, InputError
from infinex.jobs.layers import USUAL, open_layer
from infinex.motion import Motion, Move, Rest
from infinex.options import Options
from infinex.studio import claims
from infinex.studio.checks import GoneError, TooSlowError, Verdicts, Watch, look_at_driving, look_at_sound
from infinex.studio.cost import Length
from infinex.studio.growing import Growing, Other, moves_of
from infinex.studio.saying import spoken
from infinex.studio.settings import Settings
from infinex.voices.say import Span, Spoken

ASSET = "asset"
Asset = Callable[[str], Path]  # the file of a performance of the library, by its id
MEMORY = 30_000  # frames of performances that previews keep, 7 kB each


def document_of(data: Any) -> dict[str, Any]:
    """A document as it came, text or JSON. Raises InputError."""
    document = parse_document(data) if isinstance(data, (str, bytes)) else data
    if not isinstance(document, dict) or not isinstance(document.get("layers"), list):
        raise InputError('layers: an object such as {"version": 1, "layers": [{"kind": "performance", ...}]} is wanted')
    return document


def assets_of(document: Any) -> list[str]:
    """The ids of the performances that a document names, whatever else is in it."""
    layers = document.get("layers") if isinstance(document, Mapping) else None
    return [str(x[ASSET]) for x in layers or () if isinstance(x, Mapping) and x.get(ASSET) is not None]


def with_files(
    document: dict[str, Any], asset: Asset, upload: Callable[[str], Path]
) -> tuple[dict[str, Any], list[Path]]:
    """The document with files in place of what the library or an upload holds, named by the number of the layer, and
    those files in the same order. Raises InputError for what is not there."""
    layers: list[Any] = []
    files: list[Path] = []
    for i, item in enumerate(document["layers"]):
        if isinstance(item, Mapping) and (item.get(ASSET) is not None or item.get("file") is not None):
            name = f"layer {i + 1} ({item.get('kind')})"
            given = [k for k in (ASSET, "file", "motion", "say") if item.get(k) is not None]
            if len(given) > 1 or not isinstance(item[given[0]], str):
                raise InputError(f"{name}: it comes from one of {', '.join(given)}")
            try:
                path = asset(item[ASSET]) if given[0] == ASSET else upload(item["file"])
            except InfinexError as error:
                raise named(error, name) from None
            files.append(path)
            item = {k: v for k, v in item.items() if k != ASSET} | {"file": f"{len(files)}-{path.name}"}
        layers.append(item)
    return document | {"layers": layers}, files


def scene_of(document: dict[str, Any]) -> Scene:
    """A document whose files are found, read. Raises InputError; files of a voice are never named by it."""
    scene = read_scene(document)
    for layer, name in zip(scene.layers, scene.names):
        if layer.voice.endswith(".onnx"):
            raise InputError(f"{name}: voice is a language, or a name of those that are installed")
    return scene


def length_of(
    scene: Scene, found: Callable[[str], Path], settings: Settings, verdicts: Verdicts, watch: Watch, engine: str
) -> tuple[Length, list[Times], list[float]]:
    """How long a scene is at which rate, when its layers are there, and their own lengths. Its files are looked over.

    Raises InputError."""
    seconds, rate = [], None
    for layer, name in zip(scene.layers, scene.names):
        try:
            own = _own(layer, found, settings, verdicts, watch)
            if layer.kind == "performance" and layer.file is not None and own.fps:
                rate = rate or own.fps
            seconds.append(own.cut(layer.start, layer.end).seconds if not layer.stands else own.seconds)
        except InfinexError as error:
            raise named(error, name) from None
    times, duration = laid_out(scene.layers, seconds, scene.duration)
    if duration > settings.duration + 1:
        raise InputError(f"layers: the scene lasts {duration:.0f} s; the limit here is {settings.duration:.0f} s")
    return Length(duration, scene.fps or rate or USUAL), times, seconds


def _own(layer: Layer, found: Callable[[str], Path], settings: Settings, verdicts: Verdicts, watch: Watch) -> Length:
    if layer.motion is not None:
        motion = load_motion(_bundled(layer.motion))
        return Length(motion.duration, motion.fps)
    if layer.file is not None:
        path = found(layer.file)
        if layer.kind == "voice":
            return verdicts.of(path, "speech", lambda p: look_at_sound(p, settings, watch))
        return verdicts.of(path, "driving", lambda p: look_at_driving(p, settings, watch))
    if layer.say is not None:
        return Length(spoken(layer.say, layer.voice, layer.voice_speed, layer.voice_pitch).seconds)
    if layer.text is not None:
        from infinex.drivers.text import read_text

        return Length(read_text(layer.text).duration)
    if layer.units is not None:
        return Length(parse_timeline(layer.units)[-1].time + 1 / USUAL)
    assert layer.keyframes is not None
    return Length(layer.keyframes[-1][0] + 1 / USUAL)


def _bundled(name: str) -> str:
    """The name of a bundled performance: a visitor never names a file. Raises InputError."""
    from infinex.drivers.motion import bundled_motions

    if name not in bundled_motions():
        raise InputError(f"no motion called {name[:40]!r}; there are {', '.join(bundled_motions())}")
    return name


def copied(files: list[Path], folder: Path) -> None:
    """Lay the files of a scene into a job's folder under the names that `with_files` gave them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(files):
        shutil.copyfile(path, folder / f"{i + 1}-{path.name}")


def captions_of(scene: Scene) -> Spoken | None:
    """What a scene's voices say, when it is heard in it; None where none says a text."""
    lines: list[Span] = []
    first: Spoken | None = None
    for layer in scene.layers:
        if layer.say is None or layer.loop:
            continue
        said = spoken(layer.say, layer.voice, layer.voice_speed, layer.voice_pitch)
        first = first or said
        last = said.seconds if layer.end is None else layer.end
        if layer.length is not None:
            last = min(last, layer.start + layer.length * layer.speed)
        for line in said.lines:
            a, b = max(line.start, layer.start), min(line.end, last)
            if b > a:
                at = [layer.at + (t - layer.start) / layer.speed for t in (a, b)]
                lines.append(Span(at[0], at[1], line.text))
    return None if first is None else replace(first, lines=tuple(sorted(lines, key=lambda s: s.start)))


# -- previews -------------------------------------------------------------------------------------


@dataclass
class Part:
    """What one face does in a scene."""

    rest: Rest
    tracks: list[Track]
    mixer: Mixer


@dataclass
class Playable:
    """A scene in memory, which can be seen at any time."""

    parts: dict[int, Part]  # by the number of the face
    duration: float
    fps: float
    times: list[Times]
    seconds: list[float]

    def at(self, seconds: float) -> dict[int, tuple[Rest, Drive]]:
        """What it shows at a time, held to its length: of every face the rest and the drive."""
        time = min(max(0.0, seconds), max(0.0, self.duration - 1 / self.fps))
        return {n: (p.rest, Drive(p.mixer.mixed(p.tracks, time)[0])) for n, p in self.parts.items()}

    def as_dict(self) -> dict[str, Any]:
        """For the page."""
        layers = [
            {"from": round(t.begin, 3), "to": round(t.end, 3), "seconds": round(s, 3)}
            for t, s in zip(self.times, self.seconds)
        ]
        return {"duration": round(self.duration, 3), "fps": self.fps, "layers": layers}


class Performances:
    """What layers come from, read once and kept in memory for as long as there is room."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Motion | Growing] = OrderedDict()
        self._making: dict[str, Future[Motion | Growing]] = {}
        self._begins: dict[str, tuple[str, float]] = {}  # of which clip each is a part, and from what second on
        self._lock = threading.Lock()

    def of(
        self, layer: Layer, name: str, scene: Scene, path: Path | None, over: bool, watch: Watch
    ) -> Motion | Growing:
        """A layer's performance, from its own beginning to its own end; a clip's may still be read.

        Raises InputError, GoneError."""
        key = _key(layer, path) + str(over and layer.kind in ("voice", "words"))
        if layer.loop:
            once = self.of(replace(layer, loop=False), name, scene, path, over, watch)
            return self._kept(
                key + "loop", lambda: eased_round(once.whole(watch) if isinstance(once, Growing) else once), watch
            )
        return self._kept(key, lambda: self._read(layer, name, scene, path, over, watch, key), watch)

    def foresee(self, path: Path, settings: Settings, watch: Watch) -> None:
        """Read a clip while it is still looked over, as a layer shows it of which nothing else is said; for as long as
        `watch` waits, or somebody who asked for it. What is wrong with it is told whoever asks."""
        scene = read_scene({"layers": [{"kind": "performance", "file": path.name}]})
        with contextlib.suppress(Exception):
            claims.check_video(path, settings)
            self.of(scene.layers[0], scene.names[0], scene, path, False, watch)

    def _kept(self, key: str, make: Callable[[], Motion | Growing], watch: Watch) -> Motion | Growing:
        while True:
            mine: Future[Motion | Growing] | None = None
            with self._lock:
                motion, other = self._known.get(key), self._making.get(key)
                if motion is not None:
                    self._known.move_to_end(key)
                elif other is None:
                    mine = self._making[key] = Future()
            if mine is not None:
                return self._made(key, make, watch, mine)
            try:
                if motion is None:
                    assert other is not None
                    motion = other.result()
                if isinstance(motion, Growing):
                    motion.join(watch)
                return motion
            except (GoneError, TooSlowError):
                if watch.gone.is_set():  # else it is somebody else who went, or began too early
                    raise

    def _made(
        self, key: str, make: Callable[[], Motion | Growing], watch: Watch, mine: Future[Motion | Growing]
    ) -> Motion | Growing:
        try:
            motion = make()
            if isinstance(motion, Growing):
                motion.join(watch)
        except BaseException as error:
            with self._lock:
                del self._making[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._known[key] = motion
            while len(self._known) > 1 and sum(map(len, self._known.values())) > MEMORY:
                self._known.popitem(last=False)
        if isinstance(motion, Growing):
            motion.start()
        mine.set_result(motion)
        return motion

    def _other(self, key: str, layer: Layer, path: Path | None, fps: float) -> Other | None:
        """The longest part of the same clip that is known, and which frame of it the layer begins at."""
        clip = _key(replace(layer, start=0.0, end=None), path)
        with self._lock:
            self._begins = {k: v for k, v in self._begins.items() if k in self._known}
            parts = [(self._known[k], start) for k, (of, start) in self._begins.items() if of == clip]
            self._begins[key] = clip, layer.start
        if not parts:
            return None
        motion, start = max(parts, key=lambda p: len(p[0]))
        return motion, round(layer.start * fps) - round(start * fps)

    def _forget(self, key: str) -> None:
        with self._lock:
            self._known.pop(key, None)

    def _read(
        self, layer: Layer, name: str, scene: Scene, path: Path | None, over: bool, watch: Watch, key: str
    ) -> Motion | Growing:
        options = Options(refine=find_engine("mesh").system.measures)
        opened = open_layer(layer, name, scene, options, lambda _: path or Path(), over)
        growing = False
        try:
            opened.driver.settle()
            if opened.driver.filmed and opened.driver.frames is not None:
                growing = True
                other = self._other(key, layer, path, float(opened.driver.fps))
                where = path or Path(name)
                return Growing(opened.driver, opened.driver.frames, where, lambda: self._forget(key), other)
            moves = _watched(opened.driver, watch, path or Path(name))
            return Motion.collect(moves, opened.driver.rest, float(opened.driver.fps))
        finally:
            if not growing:
                opened.driver.close()


def _key(layer: Layer, path: Path | None) -> str:
    """What a layer's performance depends on, and when it shows does not."""
    own = ("kind", "motion", "say", "text", "units", "keyframes", "start", "end", "still", "voice", "voice_speed",
           "voice_pitch", "driver_face", "reference", "smooth")  # fmt: skip
    text = json.dumps([str(getattr(layer, k)) for k in own] + [str(path), "" if path is None else path.stat().st_size])
    return hashlib.sha256(text.encode()).hexdigest()


def _watched(driver: Driver, watch: Watch, path: Path) -> Iterator[Move]:
    for move in moves_of(driver):
        watch(path)
        yield move


def playable(
    scene: Scene,
    paths: Mapping[str, Path],
    performances: Performances,
    longest: float,
    watch: Watch,
    chosen: Sequence[int] = (1,),
    count: int = 1,
) -> Playable:
    """A scene made ready to be seen at any time, where the faces `chosen`, of `count`, are to be animated.

    Raises InputError, and GoneError where nobody waits for it."""
    watch.begin()
    scene.check_faces(count)
    motions: dict[int, dict[int, Motion | Growing]] = {}
    for face in scene.moved(chosen):
        mine = motions[face] = {}
        filmed = False
        for i, (layer, name) in enumerate(zip(scene.layers, scene.names)):
            if layer.face not in (None, face):
                continue
            path = None if layer.file is None else paths[layer.file]
            if layer.motion is not None:
                try:
                    _bundled(layer.motion)
                except InfinexError as error:
                    raise named(error, name) from None
            mine[i] = performances.of(layer, name, scene, path, filmed, watch)
            filmed = filmed or (layer.kind == "performance" and layer.file is not None)
    every = [next(m[i] for m in motions.values() if i in m) for i in range(len(scene.layers))]
    seconds = [m.duration for m in every]
    times, duration = laid_out(scene.layers, seconds, scene.duration)
    if duration > longest + 1:
        raise InputError(f"layers: the scene lasts {duration:.0f} s; the limit here is {longest:.0f} s")
    parts = {}
    for face, mine in motions.items():
        rest = next((m.rest for i, m in mine.items() if scene.layers[i].kind == "performance"), rest_face())
        tracks = [Track(scene.layers[i], times[i], m.rest, reader_at(m)) for i, m in mine.items()]
        parts[face] = Part(rest, tracks, Mixer(rest))
    fps = scene.fps or next((m.fps for m, e in zip(every, scene.layers) if e.file is not None), USUAL)
    return Playable(parts, duration, fps, times, seconds)
