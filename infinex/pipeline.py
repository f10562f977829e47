"""From a source and a driver to a file: reading, rendering and encoding overlap, in constant memory."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import Adjust, one_rest
from infinex.drivers.motion import MotionDriver, load_motion, still_motion, still_move
from infinex.drivers.video import VideoDriver
from infinex.drivers.whose import check_driver_face
from infinex.engine import Drive, Engine, Prepared, Source, Suited, engine_names, load_engine
from infinex.ensemble import Ensemble, parse_cast
from infinex.errors import FaceNotFoundError, InputError
from infinex.face.reading import UnitReader
from infinex.face.tracker import Box, Face, FaceFinder, FaceTracker, choose
from infinex.media.files import same_file
from infinex.media.image import is_image, read_image
from infinex.media.provenance import Mark, Seal, statement
from infinex.media.sink import check_output, open_sink, supports_audio
from infinex.media.video import VideoReader
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.warp import WarpShape
from infinex.motion import DEFAULT_PARTS, Motion, Rest, is_whole, part_weights
from infinex.panel import panel_frame, panel_size

RGB = NDArray[np.uint8]
Progress = Callable[[int, int | None], None]
DEPTH = 6  # frames that wait between two stages


@dataclass(frozen=True)
class Options:
    """Choices of one animation; see `infinex animate --help`."""

    engine: str = "mesh"
    face: str = "largest"
    parts: Sequence[str] = DEFAULT_PARTS
    strength: float = 1.0
    absolute: bool = False
    reference: int | None = None
    smooth: float = 0.5
    mouth: Literal["driver", "own"] = "driver"
    wrinkles: Literal["driver", "none"] = "driver"
    box: Box | None = None  # x, y, width, height in the source
    size: int | None = None
    fps: float | None = None
    audio: str = "keep"
    panel: bool = False
    keep_readable: bool = False
    mark: bool = False  # a visible mark in the corner
    sign: tuple[Path, Path] | None = None  # certificate chain and private key, PEM
    weights: str = ""  # of the engine: a name of `infinex weights list` or a file; "": those it comes with
    refine: bool = True  # networks correct what warping cannot show
    driver_face: str = "largest"  # whose performance: largest, moving, a number from the left, or x,y,width,height

    def check(self) -> None:
        """Raise InputError for a choice that does not exist."""
        if self.engine not in engine_names():
            raise InputError(f"unknown engine {self.engine!r}; there are {', '.join(engine_names())}")
        if self.weights and self.engine == "mesh":
            raise InputError("--weights goes with an engine that has some, such as --engine fomm")
        part_weights(self.parts)
        check_driver_face(self.driver_face)
        parse_cast(self.face)
        if not 0 <= self.strength <= 3:
            raise InputError(f"--strength {self.strength}: it goes from 0 to 3")
        if not 0 <= self.smooth <= 1:
            raise InputError(f"--smooth {self.smooth}: it goes from 0 to 1")
        if self.size is not None and not 64 <= self.size <= 8192:
            raise InputError(f"--size {self.size}: it goes from 64 to 8192 pixels")
        if self.fps is not None and not 1 <= self.fps <= 120:
            raise InputError(f"--fps {self.fps}: it goes from 1 to 120")
        if self.mouth not in ("driver", "own"):
            raise InputError(f"--mouth {self.mouth}: it is driver or own")
        if self.wrinkles not in ("driver", "none"):
            raise InputError(f"--wrinkles {self.wrinkles}: it is driver or none")

    @property
    def mesh(self) -> MeshOptions:
        """What concerns the mesh engine."""
        return MeshOptions(self.mouth, self.wrinkles, self.absolute, outline=self.refine, refine=self.refine)


@dataclass
class Summary:
    """What was done."""

    output: str
    frames: int
    seconds: float
    fps: float
    duration: float
    width: int
    height: int
    faces: int
    engine: str
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Driver(Protocol):
    """Whatever says how a portrait should move: a stream of drives at a constant rate."""

    @property
    def fps(self) -> float: ...
    @property
    def frames(self) -> int | None: ...
    @property
    def rest(self) -> Rest: ...
    @property
    def rest_image(self) -> RGB | None: ...
    @property
    def rest_points(self) -> NDArray | None: ...
    @property
    def audio(self) -> Path | None: ...
    @property
    def lost(self) -> list[tuple[float, float]]: ...

    def __iter__(self) -> Iterator[Drive]: ...

    def settle(self, near: Any = None, match: Any = None) -> Driver: ...

    def close(self) -> None: ...


Driving = str | Path | Motion | Driver


def _label(driving: Driving) -> str:
    """What a file's metadata calls the driver."""
    return Path(driving).name if isinstance(driving, (str, Path)) else str(getattr(driving, "name", "motion"))


# -- sources --------------------------------------------------------------------------------------


def _resized(image: RGB, size: int | None) -> RGB:
    if size is None:
        return image
    k = size / max(image.shape[:2])
    inter = cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC
    h, w = (max(2, round(s * k)) for s in image.shape[:2])
    return image if (h, w) == image.shape[:2] else cv2.resize(image, (w, h), interpolation=inter)


def load_source(
    path: str | Path, face: str = "largest", box: Box | None = None, size: int | None = None
) -> list[Source]:
    """The portraits in a picture file, one for each chosen face, all over the same image.

    `box` is x, y, width, height in pixels of the file. Raises InputError or FaceNotFoundError."""
    original = read_image(path)
    image = _resized(original, size)
    finder = FaceFinder()
    try:
        if box is not None:
            k = image.shape[1] / original.shape[1]
            x, y, w, h = (v * k for v in box)
            if w <= 0 or h <= 0 or x + w < 0 or y + h < 0 or x >= image.shape[1] or y >= image.shape[0]:
                raise InputError(f"--box lies outside {Path(path).name} ({original.shape[1]}x{original.shape[0]})")
            faces = [finder.in_box(image, (x, y, x + w, y + h))]
        else:
            faces = choose(finder.find(image), face, Path(path).name)
    finally:
        finder.close()
    return [Source(image, f) for f in faces]


class Stage:
    """One or several faces of one picture, drawn into the same canvas by the mesh engine or another one."""

    def __init__(
        self, sources: list[Source], options: MeshOptions, engine: Engine | None = None, beside: Sequence[Face] = ()
    ) -> None:
        """`beside`: faces of the same picture that stay as they are."""
        self.image = sources[0].image
        self.needs = engine.needs if engine is not None else "motion"
        self.faces: list[Any] = []  # of an engine's own kind
        self._shapes = [_room(s.face, [*(o.face for o in sources if o is not s), *beside]) for s in sources]
        for s, shape in zip(sources, self._shapes):
            face: Prepared = PreparedFace(s, replace(options, shape=shape)) if engine is None else engine.prepare(s)
            self.faces.append(face)
        boxes = np.array([f.box for f in self.faces])
        lo, hi = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        self.box = int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])
        self.canvas = self.image.copy()
        self._sources, self._rehearsals = sources, dict[int, PreparedFace]()
        self.seen: RGB | None = None  # the frame an engine that needs frames was last given

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None, index: int | None = None) -> None:
        """Start a performance on every face, or on one.

        Where the engine needs frames and there are none, the mesh engine renders the portrait itself first."""
        for i, (f, source, shape) in enumerate(zip(self.faces, self._sources, self._shapes)):
            if index is not None and i != index:
                continue
            self._rehearsals.pop(i, None)
            if self.needs == "frames" and (image is None or points is None):
                own = PreparedFace(source, MeshOptions("own", "none", shape=shape))
                own.begin(rest, None, None)
                self._rehearsals[i] = own
                f.begin(rest, source.image, source.face.landmarks)
            else:
                f.begin(rest, image, points)

    def _drive(self, index: int, drive: Drive) -> Drive:
        """What a face is given: the drive, with a frame made for it where it needs one."""
        if index not in self._rehearsals:
            self.seen = drive.image
            return drive
        face = self._rehearsals[index]
        self.seen = self.image.copy()
        target, _ = face.draw(self.seen, replace(drive, image=None, points=None))
        return Drive(drive.move, self.seen, target.points)

    def render(self, drive: Drive | Sequence[Drive]) -> tuple[RGB, list[Any]]:
        """The picture under one drive, or one for each face; the canvas is the same array every time."""
        drives = [drive] * len(self.faces) if isinstance(drive, Drive) else drive
        if len(self.faces) == 1:
            return self.canvas, [self.faces[0].draw(self.canvas, self._drive(0, drives[0]))]
        x0, y0, x1, y1 = self.box
        self.canvas[y0:y1, x0:x1] = self.image[y0:y1, x0:x1]
        own = self.image.copy()
        out = []
        for i, f in enumerate(self.faces):  # each where it differs from the still picture
            a, b, c, d = f.box
            out.append(f.draw(own, self._drive(i, drives[i])))
            changed = (own[b:d, a:c] != self.image[b:d, a:c]).any(-1)
            self.canvas[b:d, a:c][changed] = own[b:d, a:c][changed]
            own[b:d, a:c] = self.image[b:d, a:c]
        return self.canvas, out


def make_stage(sources: list[Source], o: Options, beside: Sequence[Face] = ()) -> Stage:
    """The stage of an animation, by the engine of its options; faces `beside` stay still."""
    return Stage(sources, o.mesh, None if o.engine == "mesh" else load_engine(o.engine, o, o.weights), beside)


def _room(face: Face, others: list[Face]) -> WarpShape:
    """How far the head may carry its surroundings before it meets the next face."""
    shape = WarpShape()
    if not others:
        return shape
    p = face.landmarks
    unit = float(np.linalg.norm(p[33] - p[263]))
    centre = p[:468, :2].mean(0)
    gap = min(float(np.linalg.norm(o.landmarks[:468, :2].mean(0) - centre)) - o.size / 2 for o in others) / unit
    k = float(np.clip(gap / (2.1 * (shape.head + shape.head_fade)), 0.35, 1.0))
    return replace(shape, head=max(0.45, shape.head * k), head_fade=max(0.2, shape.head_fade * k))


# -- drivers --------------------------------------------------------------------------------------


def resampled(motion: Motion, options: Options) -> Motion:
    """A performance at the rate the options ask for."""
    return motion.resample(options.fps) if options.fps else motion


def open_driver(driving: Driving, options: Options | None = None) -> Driver:
    """The driver for a video, a still picture, a `.motion.npz` file, a bundled motion's name or a Motion.

    A driver that is open already is returned as it is. Call `settle` on it before iterating."""
    o = options or Options()
    if isinstance(driving, Motion):
        return MotionDriver(resampled(driving, o))
    if not isinstance(driving, (str, Path)):
        return driving
    text = str(driving)
    if text.endswith(".npz") or (not Path(text).exists() and not Path(text).suffix):
        return MotionDriver(resampled(load_motion(text), o), Path(text).name)
    if is_image(driving):
        return MotionDriver(still_motion(*_largest(driving), o.fps or 25.0), Path(text).name)
    flow = o.engine == "mesh" and o.refine
    return VideoDriver(driving, o.reference, o.smooth, o.keep_readable, None, o.fps, flow, o.driver_face)


def _largest(picture: str | Path) -> tuple[Face, RGB]:
    """The largest face in a picture file, and the picture. Raises InputError or FaceNotFoundError."""
    finder = FaceFinder()
    try:
        image = read_image(picture)
        faces = finder.find(image)
        if not faces:
            raise FaceNotFoundError(f"no face found in {Path(picture).name}; use a picture that shows a face clearly")
        return choose(faces, "largest", Path(picture).name)[0], image
    finally:
        finder.close()


def begin(stage: Stage, driver: Driver, o: Options, index: int | None = None) -> None:
    """Settle the driver on the portrait, or one face of it, and start its performance."""
    face = stage.faces[index or 0].face
    driver.settle(face.pose, face.face if o.absolute else None)
    if isinstance(driver, Suited):
        driver.suit(face.face)
    # A frame shows the whole performance: what is scaled or left out can only be shown by the portrait itself.
    frames = stage.needs == "motion" or not _changed(o)
    stage.begin(driver.rest, driver.rest_image if frames else None, driver.rest_points if frames else None, index)


def _changed(o: Options) -> bool:
    """Whether less or other than the whole performance is shown."""
    return o.strength != 1 or not is_whole(o.parts)


def staged(stage: Stage, drive: Drive, o: Options, index: int | None = None) -> Drive:
    """A drive that is about to be rendered; the stage, or one face of it, begins anew with its shot."""
    if drive.begins is not None:
        frames = stage.needs == "motion" or not _changed(o)
        shot = drive.begins
        stage.begin(shot.rest, shot.image if frames else None, shot.points if frames else None, index)
    return drive


def adjusted(driver: Driver, o: Options) -> Iterator[Drive]:
    """The driver's stream with strength and parts applied."""
    adjust = Adjust(o.parts, o.strength, o.absolute)
    adjust.begin(driver.rest)
    keep_image = "lips" in o.parts or not _changed(o)
    for drive in driver:
        if drive.begins is not None:
            adjust.begin(drive.begins.rest)
        yield replace(drive, move=adjust(drive.move), image=drive.image if keep_image else None)


# -- the job --------------------------------------------------------------------------------------


class _Ahead:
    """Runs an iterator in a thread, a few items ahead of its consumer."""

    _END = object()

    def __init__(self, items: Iterator[Any], depth: int = DEPTH) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def _put(self, item: Any) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _run(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((self._END, None))
        except BaseException as error:  # handed to the consumer, which raises it
            self._put((self._END, error))

    def __iter__(self) -> Iterator[Any]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is self._END:
                return
            yield item

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(timeout=10)


class _Behind:
    """Runs a function in a thread on items given to it, in order."""

    def __init__(self, work: Callable[[Any], None], depth: int = DEPTH) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._work(item)
                except BaseException as error:  # raised to the producer at its next item
                    self._error = error

    def put(self, item: Any) -> None:
        """Queue an item; raises what the work raised."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def finish(self) -> None:
        """Wait until all is done; raises what the work raised."""
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread whatever happened."""
        if self._thread.is_alive():
            self._error = self._error or RuntimeError("stopped")
            self._queue.put(None)
            self._thread.join(timeout=30)


def provenance(source: str | Path, driving: str, options: Options) -> dict[str, str]:
    """Metadata that says how a file was made."""
    what = "an animated still portrait, not a recording"
    return statement(what, Path(source).name, driving, options.engine)


def _seal(o: Options, out: Path) -> Seal | None:
    """What signs the result, checked before any work."""
    if o.sign is None:
        return None
    seal = Seal(*o.sign)
    seal.check(out)
    return seal


def animate(
    source: str | Path,
    driving: Driving,
    output: str | Path,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Animate the portrait in `source` by `driving` and write `output`.

    `source` is a picture, or a video whose own head motion stays. `progress(done, total)` is called after
    every frame. Raises an InfinexError for whatever the user can mend; nothing is left half-written."""
    o = options or Options()
    o.check()
    out = check_output(output)
    for path in (source, driving):
        if isinstance(path, (str, Path)) and same_file(path, out):
            raise InputError(f"the output {out} would overwrite an input")
    audio = _check_audio(o.audio)
    seal = _seal(o, out)
    started = time.perf_counter()
    cast = parse_cast(o.face)
    if cast is not None:
        return _animate_cast(source, driving, cast, out, o, audio, progress, started, seal)
    if _is_video(source):
        return _animate_video(Path(source), driving, out, o, audio, progress, started, seal)
    with ThreadPoolExecutor(1) as pool:  # the driver is looked over while the portrait is prepared
        looking = pool.submit(open_driver, driving, o)
        try:
            sources = load_source(source, o.face, o.box, o.size)
            stage = make_stage(sources, o)
        except BaseException:
            with contextlib.suppress(Exception):
                looking.result().close()
            raise
        driver = looking.result()
    try:
        begin(stage, driver, o)
        name = _label(driving)
        h, w = stage.image.shape[:2]
        size = panel_size(w, h) if o.panel else (w, h)
        sound = audio if audio is not None else driver.audio
        sound = sound if o.audio != "none" and supports_audio(out) else None

        def frames() -> Iterator[tuple[RGB, Any]]:
            ahead = _Ahead(adjusted(driver, o))
            try:
                for drive in ahead:
                    canvas, drawn = stage.render(staged(stage, drive, o))
                    yield (panel_frame(stage, drive, canvas, drawn), None) if o.panel else (canvas, stage.box)
            finally:
                ahead.close()

        words = provenance(source, name, o)
        count = _write(frames(), out, size, driver.fps, sound, words, progress, driver.frames, o.mark, seal)
    finally:
        driver.close()
    return _summary(out, count, driver, size, len(sources), o, started)


def _animate_cast(
    source: str | Path,
    driving: Driving,
    cast: dict[int, str],
    out: Path,
    o: Options,
    audio: Path | None,
    progress: Progress | None,
    started: float,
    seal: Seal | None = None,
) -> Summary:
    """Each face by its own driver; faces without one stay still."""
    if driving not in ("", None):
        raise InputError(f"--face {o.face} names the drivers already; leave out the other one")
    if o.panel:
        raise InputError("--panel shows one driver; it does not go with --face 1=a.mp4")
    if _is_video(source):
        raise InputError("--face 1=a.mp4 needs a still picture as source")
    for name in cast.values():
        if same_file(name, out):
            raise InputError(f"the output {out} would overwrite an input")
    sources = load_source(source, "all", None, o.size)
    if max(cast) > len(sources):
        name, count = Path(source).name, len(sources)
        raise InputError(f"--face {max(cast)}=...: {name} has {count} face(s), numbered from the left")
    chosen = [sources[n - 1] for n in sorted(cast)]
    beside = [s.face for n, s in enumerate(sources, 1) if n not in cast]
    stage = make_stage(chosen, o, beside)
    players = Ensemble.open([cast[n] for n in sorted(cast)], o)
    try:
        players.begin(stage)
        h, w = stage.image.shape[:2]
        sound = (audio or players.audio) if o.audio != "none" and supports_audio(out) else None

        def frames() -> Iterator[tuple[RGB, Any]]:
            ahead = _Ahead(iter(players))
            try:
                for drives in ahead:
                    drives = [staged(stage, d, o, i) for i, d in enumerate(drives)]
                    yield stage.render(drives)[0], stage.box
            finally:
                ahead.close()

        words = provenance(source, players.name, o)
        count = _write(frames(), out, (w, h), players.fps, sound, words, progress, players.frames, o.mark, seal)
    finally:
        players.close()
    return _summary(out, count, players, (w, h), len(chosen), o, started)


def render(sources: Source | Sequence[Source], driving: Driving, options: Options | None = None) -> Iterator[RGB]:
    """Frames (H, W, 3) uint8 of the portrait under a driver, one by one; each is a new array."""
    o = options or Options()
    o.check()
    stage = make_stage([sources] if isinstance(sources, Source) else list(sources), o)
    driver = open_driver(driving, o)
    try:
        begin(stage, driver, o)
        for drive in adjusted(driver, o):
            yield stage.render(staged(stage, drive, o))[0].copy()
    finally:
        driver.close()


def _write(
    frames: Iterator[tuple[RGB, Any]],
    out: Path,
    size: tuple[int, int],
    fps: float,
    sound: Path | None,
    metadata: dict[str, str],
    progress: Progress | None,
    total: int | None,
    marked: bool = False,
    seal: Seal | None = None,
) -> int:
    """Encode frames in a thread of its own; each is copied where it changed, so the canvas can go on."""
    count = 0
    mark = Mark(*size) if marked else None
    with open_sink(out, size, fps, sound, metadata, seal=seal) as sink:
        spare: queue.Queue[RGB] = queue.Queue()
        buffers = 0

        def work(item: tuple[RGB, Any]) -> None:
            picture, box = item
            sink.write(picture, box)
            spare.put(picture)

        behind = _Behind(work)
        try:
            for picture, box in frames:
                if buffers < DEPTH + 2:
                    copy = picture.copy()
                    buffers += 1
                else:
                    copy = _recycle(spare, behind)
                    if box is None:
                        copy[:] = picture
                    else:
                        x0, y0, x1, y1 = box
                        copy[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
                if mark is not None:
                    x0, y0, x1, y1 = mark.box
                    copy[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
                    mark.draw(copy)
                behind.put((copy, box))
                count += 1
                if progress:
                    progress(count, total)
            behind.finish()
        finally:
            behind.close()
    return count


def _recycle(spare: queue.Queue[RGB], behind: _Behind) -> RGB:
    while True:
        try:
            return spare.get(timeout=0.2)
        except queue.Empty:
            if behind._error is not None:
                raise behind._error from None


def _summary(
    out: Path, count: int, driver: Driver | Ensemble, size: tuple[int, int], faces: int, o: Options, started: float
) -> Summary:
    seconds = time.perf_counter() - started
    warnings = [f"no face from {a:.1f} s to {b:.1f} s of the driver; the last pose was held" for a, b in driver.lost]
    warnings = [*getattr(driver, "warnings", []), *warnings]
    return Summary(
        str(out), count, round(seconds, 3), round(count / seconds, 2), round(count / driver.fps, 3),
        size[0], size[1], faces, o.engine, warnings,
    )  # fmt: skip


def _check_audio(audio: str) -> Path | None:
    from infinex.media.audio import has_audio

    if audio in ("keep", "none"):
        return None
    path = Path(audio)
    if not path.is_file() or not has_audio(path):
        raise InputError(f"--audio {audio}: keep, none or a file with sound")
    return path


def _is_video(path: str | Path) -> bool:
    """Whether a source is a clip; anything else is left to the picture reader and its messages."""
    if not Path(path).is_file() or is_image(path):
        return False
    try:
        with VideoReader(path) as reader:
            return (reader.info.frames or 2) > 1 and Path(path).suffix.lower() not in (
                ".gif",
                ".webp",
                ".apng",
                ".png",
            )
    except InputError:
        return Path(path).suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def _animate_video(
    source: Path,
    driving: Driving,
    out: Path,
    o: Options,
    audio: Path | None,
    progress: Progress | None,
    started: float,
    seal: Seal | None = None,
) -> Summary:
    """Video to video: the source's own head motion stays, the driver's expression is laid on it."""
    parts = [p for p in o.parts if p != "pose"]
    if o.panel:
        raise InputError("--panel needs a still picture as source")
    if o.engine != "mesh":
        raise InputError(f"--engine {o.engine} needs a still picture as source")
    driver = open_driver(driving, o).settle()
    reader = VideoReader(source, o.keep_readable, o.size, fps=driver.fps)
    info = reader.info
    total = min(info.frames or 1 << 40, driver.frames or 1 << 40)
    lost = [0]

    def frames() -> Iterator[tuple[RGB, Any]]:
        adjust = Adjust(parts, o.strength, o.absolute)
        adjust.begin(driver.rest)
        rest, rest_image, rest_points = driver.rest, driver.rest_image, driver.rest_points
        ahead = _Ahead(iter(driver))
        face: Face | None = None
        try:
            with FaceTracker() as tracker:
                for frame, drive in zip(reader, ahead):
                    if drive.begins is not None:
                        rest, rest_image, rest_points = drive.begins.rest, drive.begins.image, drive.begins.points
                        adjust.begin(rest)
                    move = adjust(drive.move)
                    seen = tracker(frame.image)
                    if seen is None:
                        lost[0] += 1
                        yield frame.image, None
                        continue
                    face = seen
                    prepared = PreparedFace(Source(frame.image, face), replace(o.mesh, layers="flat"))
                    prepared.begin(rest, rest_image, rest_points)
                    canvas = frame.image.copy()
                    prepared.draw(canvas, replace(drive, move=move))
                    yield canvas, None
            if face is None:
                raise FaceNotFoundError(f"no face found in {source.name}")
        finally:
            ahead.close()

    sound = (audio or driver.audio or (source if info.has_audio else None)) if o.audio != "none" else None
    try:
        name = _label(driving)
        count = _write(
            frames(), out, (info.width, info.height), driver.fps,
            sound if supports_audio(out) else None, provenance(source, name, o), progress, total, o.mark, seal,
        )  # fmt: skip
    finally:
        driver.close()
        reader.close()
    summary = _summary(out, count, driver, (info.width, info.height), 1, o, started)
    if lost[0]:
        summary.warnings.append(f"no face in {lost[0]} frames of {source.name}; they were left as they are")
    return summary


def track(
    video: str | Path,
    keep_readable: bool = False,
    smooth: float = 0.5,
    progress: Progress | None = None,
    face: str = "largest",
    notes: list[str] | None = None,
) -> tuple[Motion, list[tuple[float, float]]]:
    """Capture the performance in a video: its motion with Action Units, and where the face was lost.

    Of a still picture the one moment it shows, measured from the average face. `face`: whose, where a video shows
    several; `notes` is given words about that and about cuts, across which all is told from the first shot's rest."""
    from infinex.drivers.units import told_apart, with_units

    if is_image(video):
        move, units = still_move(*_largest(video))
        return told_apart(Motion.collect([move], Rest.neutral(), 25.0), units[None]), []
    driver = VideoDriver(video, smooth=smooth, keep_readable=keep_readable, face=face).settle()
    try:
        moves = []
        assert driver.rest_image is not None  # it is settled
        reader = UnitReader(driver.rest_image, driver.rest_points, driver.rest.face)
        for drive in one_rest(driver):
            moves.append(replace(drive.move, offsets=drive.move.offsets.astype(np.float32)))
            reader.add(drive.image, drive.points, drive.move.offsets)
            if progress:
                progress(len(moves), driver.frames)
    finally:
        driver.close()
    motion = Motion.collect(moves, driver.rest, driver.fps)
    if notes is not None:
        notes.extend(driver.warnings)
    return with_units(motion, reader.units()), driver.lost
