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

from infinex.drivers.blend import Seam, looped, timed
from infinex.drivers.capture import Adjust, one_rest
from infinex.drivers.motion import MotionDriver, load_motion, still_motion, still_move
from infinex.drivers.remarks import Doings
from infinex.drivers.span import WHOLE, Excerpt, check_span
from infinex.drivers.video import VideoDriver
from infinex.drivers.whose import check_driver_face
from infinex.engine import Drive, Engine, Prepared, Shot, Source, Suited, engine_names, load_engine
from infinex.ensemble import Ensemble, parse_cast
from infinex.errors import FaceNotFoundError, InputError, OutputError
from infinex.face.reading import UnitReader
from infinex.face.remarks import Watch
from infinex.face.tracker import Box, Face, FaceTracker, choose, shared_finder
from infinex.media.files import same_file
from infinex.media.image import is_image, read_image, read_rgba
from infinex.media.provenance import Mark, Seal, statement
from infinex.media.sink import check_output, open_sink, supports_alpha, supports_audio
from infinex.media.strip import is_sequence
from infinex.media.video import VideoReader
from infinex.mesh.cutout import CutOut, backdrop, parse_background
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.quiet import QuietMouth
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
    background: str = "keep"  # keep, none (transparent), a colour by name or #rrggbb, or a picture's path
    start: float = 0.0  # seconds: the part of the driver that is used, its sound along with it
    end: float | None = None
    loop: bool = False  # the end runs into the beginning

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
        if parse_background(self.background) != "keep":
            if self.engine != "mesh":
                raise InputError(f"--background goes with --engine mesh: {self.engine} does not tell person and "
                                 "background apart")  # fmt: skip
            if self.panel:
                raise InputError("--panel shows the picture as it is; leave out --background")
        check_span(self.start, self.end)

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
    original, cutout = _read_portrait(path)
    image = _resized(original, size)
    if cutout is not None:
        cutout = _resized_cutout(cutout, image.shape[1], image.shape[0])
    with shared_finder() as finder:
        if box is not None:
            k = image.shape[1] / original.shape[1]
            x, y, w, h = (v * k for v in box)
            if w <= 0 or h <= 0 or x + w < 0 or y + h < 0 or x >= image.shape[1] or y >= image.shape[0]:
                raise InputError(f"--box lies outside {Path(path).name} ({original.shape[1]}x{original.shape[0]})")
            faces = [finder.in_box(image, (x, y, x + w, y + h))]
        else:
            faces = choose(finder.find(image), face, Path(path).name)
    return [Source(image, f, cutout) for f in faces]


def _read_portrait(path: str | Path) -> tuple[RGB, NDArray[np.uint8] | None]:
    """A picture laid on white (H, W, 3), and where it has transparency the picture itself (H, W, 4)."""
    straight, alpha = read_rgba(path)
    if alpha is None:
        return straight, None
    return read_image(path), np.dstack([straight, alpha])


def _resized_cutout(cutout: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A cut-out (H, W, 4) at another size: colours count as much as they show."""
    if cutout.shape[:2] == (height, width):
        return cutout
    inter = cv2.INTER_AREA if width < cutout.shape[1] else cv2.INTER_CUBIC
    alpha = cutout[..., 3:].astype(np.float32) / 255
    laid = cv2.resize(np.dstack([cutout[..., :3] * alpha, alpha]), (width, height), interpolation=inter)
    alpha = np.clip(laid[..., 3:], 0, 1)
    out = np.dstack([laid[..., :3] / np.maximum(alpha, 1 / 512), alpha * 255])
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


class Stage:
    """One or several faces of one picture, drawn into the same canvas by the mesh engine or another one."""

    def __init__(
        self,
        sources: list[Source],
        options: MeshOptions,
        engine: Engine | None = None,
        beside: Sequence[Face] = (),
        background: str = "keep",
    ) -> None:
        """`beside`: faces of the same picture that stay as they are. `background` as in `Options`; keep is the
        picture's own, of a cut-out white."""
        behind = parse_background(background)
        self.transparent = behind == "none"  # frames are (H, W, 4)
        cut = behind != "keep"
        self.image = sources[0].image
        self.needs = engine.needs if engine is not None else "motion"
        self.faces: list[Any] = []  # of an engine's own kind
        self._shapes = [_room(s.face, [*(o.face for o in sources if o is not s), *beside]) for s in sources]
        for s, shape in zip(sources, self._shapes):
            own = replace(options, shape=shape)
            face: Prepared = PreparedFace(s, own, cut) if engine is None else engine.prepare(s)
            self.faces.append(face)
        boxes = np.array([f.box for f in self.faces])
        lo, hi = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        self.box = int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])
        self.canvas = self.image.copy()
        self._sources, self._rehearsals = sources, dict[int, PreparedFace]()
        self.seen: RGB | None = None  # the frame an engine that needs frames was last given
        self._cut: CutOut | None = None
        if cut:
            h, w = self.image.shape[:2]
            laid = None if isinstance(behind, str) else backdrop(behind, w, h)
            self._cut = CutOut(self.image, self.faces, sources[0].cutout, laid)

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
        """The picture under one drive, or one for each face; the array is the same every time.

        (H, W, 3), or (H, W, 4) where it is `transparent`."""
        canvas, drawn = self._drawn([drive] * len(self.faces) if isinstance(drive, Drive) else list(drive))
        return (canvas if self._cut is None else self._cut.compose(canvas, drawn)), drawn

    def _drawn(self, drives: list[Drive]) -> tuple[RGB, list[Any]]:
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


def make_stage(sources: list[Source], o: Options, beside: Sequence[Face] = (), background: str | None = None) -> Stage:
    """The stage of an animation, by the engine of its options; faces `beside` stay still, `background` in place of
    theirs."""
    engine = None if o.engine == "mesh" else load_engine(o.engine, o, o.weights)
    return Stage(sources, o.mesh, engine, beside, o.background if background is None else background)


def _background(o: Options, source: Source, out: Path) -> str:
    """What stands behind the person in an output: a cut-out stays one where the output can hold it.

    Not so in GIF, whose pixels are there or not, unless it is asked for."""
    if o.background != "keep" or source.cutout is None or o.engine != "mesh" or o.panel:
        return o.background
    return "none" if supports_alpha(out) and out.suffix.lower() != ".gif" else "keep"


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
    if (o.start or o.end is not None) and not _is_clip(driving):
        if not isinstance(driving, (str, Path, Motion)) and hasattr(driving, "span"):
            return driving  # it knows of its part already
        return Excerpt(open_driver(driving, replace(o, start=0.0, end=None)), o.start, o.end)
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
    return VideoDriver(
        driving, o.reference, o.smooth, o.keep_readable, None, o.fps, flow, o.driver_face, o.start, o.end
    )


def _is_clip(driving: Driving) -> bool:
    """Whether a driver is named that is opened as a video: a file, or a folder or pattern of pictures."""
    if not isinstance(driving, (str, Path)) or str(driving).endswith(".npz"):
        return False
    path = Path(driving)
    return (path.exists() or bool(path.suffix)) and not (path.is_file() and is_image(path))


def _largest(picture: str | Path) -> tuple[Face, RGB]:
    """The largest face in a picture file, and the picture. Raises InputError or FaceNotFoundError."""
    image = read_image(picture)
    with shared_finder() as finder:
        faces = finder.find(image)
    if not faces:
        raise FaceNotFoundError(f"no face found in {Path(picture).name}; use a picture that shows a face clearly")
    return choose(faces, "largest", Path(picture).name)[0], image


def begin(stage: Stage, driver: Driver, o: Options, index: int | None = None) -> None:
    """Settle the driver on the portrait, or one face of it, and start its performance."""
    face = stage.faces[index or 0].face
    driver.settle(face.pose, face.face if o.absolute else None)
    if isinstance(driver, Suited):
        driver.suit(face.face)
    begin_shot(stage, Shot(driver.rest, driver.rest_image, driver.rest_points), o, index)


def begin_shot(stage: Stage, shot: Shot, o: Options, index: int | None = None) -> None:
    """Start a stretch that is measured from a rest of its own."""
    # A frame shows the whole performance: what is scaled, left out or blended can only be shown by the portrait itself.
    frames = stage.needs == "motion" or not (_changed(o) or o.loop)
    stage.begin(shot.rest, shot.image if frames else None, shot.points if frames else None, index)


def _changed(o: Options) -> bool:
    """Whether less or other than the whole performance is shown."""
    return o.strength != 1 or not is_whole(o.parts)


def staged(stage: Stage, drive: Drive, o: Options, index: int | None = None) -> Drive:
    """A drive that is about to be rendered; the stage, or one face of it, begins anew with its shot."""
    if drive.begins is not None:
        begin_shot(stage, drive.begins, o, index)
    return drive


def adjusted(driver: Driver, o: Options, doings: Doings | None = None) -> Iterator[Drive]:
    """The driver's stream with strength, parts and loop applied; `doings` sees it as it was."""
    drives = _one_shot(driver) if o.loop else iter(driver)
    stream = _adjusted(drives if doings is None else doings(drives), driver.rest, o)
    yield from looped(stream, float(driver.fps)) if o.loop else stream


def _one_shot(driver: Driver) -> Iterator[Drive]:
    """A film as if it had no cuts, so that its end can meet its beginning; pictures of later shots are left out."""
    shots = 0

    def counted() -> Iterator[Drive]:
        nonlocal shots
        for drive in driver:
            shots += drive.begins is not None
            yield drive

    for drive in one_rest(counted(), driver.rest):
        yield replace(drive, image=None, points=None) if shots else drive


def _adjusted(drives: Iterator[Drive], rest: Rest, o: Options) -> Iterator[Drive]:
    adjust = Adjust(o.parts, o.strength, o.absolute)
    adjust.begin(rest)
    keep_image = "lips" in o.parts or not _changed(o)
    for drive in drives:
        if drive.begins is not None:
            adjust.begin(drive.begins.rest)
        yield replace(drive, move=adjust(drive.move), image=drive.image if keep_image else None)


def rendered(stage: Stage, drive: Drive, o: Options) -> tuple[RGB, list[Any]]:
    """The picture under one drive. At the seam of a loop, what two frames of the performer tell is cross-faded."""
    canvas, drawn = stage.render(staged(stage, drive, o))
    if not isinstance(drive, Seam) or drive.first is None or (drive.image is None and drive.first.image is None):
        return canvas, drawn
    x0, y0, x1, y1 = stage.box
    before = canvas[y0:y1, x0:x1].copy()
    canvas, drawn = stage.render(Drive(drive.move, drive.first.image, drive.first.points))
    part = canvas[y0:y1, x0:x1]
    part[:] = cv2.addWeighted(before, 1 - drive.weight, part, drive.weight, 0)
    return canvas, drawn


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
    if o.background == "none" and not supports_alpha(out):
        raise OutputError(
            f"{out.name} cannot be transparent; use .webm, .apng, .mov, .gif or a folder, or name a colour"
        )
    audio = _check_audio(o.audio, out)
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
            stage = make_stage(sources, o, background=_background(o, sources[0], out))
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
        watch = Watch([f.face for f in stage.faces], [s.face.box for s in sources], stage.image)
        doings = Doings(driver, o.parts, not is_whole(o.parts))

        def frames() -> Iterator[tuple[RGB, Any]]:
            ahead = _Ahead(adjusted(driver, o, doings))
            try:
                for drive in ahead:
                    canvas, drawn = rendered(stage, drive, o)
                    watch.see(canvas)
                    yield (panel_frame(stage, drive, canvas, drawn), None) if o.panel else (canvas, stage.box)
            finally:
                ahead.close()

        words = provenance(source, name, o)
        span = _span(driver) if audio is None else WHOLE
        count = _write(
            frames(),
            out,
            size,
            driver.fps,
            sound,
            words,
            progress,
            driver.frames,
            o.mark,
            seal,
            stage.transparent,
            span,
        )
    finally:
        driver.close()
    summary = _summary(out, count, driver, size, len(sources), o, started)
    summary.warnings += doings.remarks()
    summary.warnings += watch.remarks(driver.motion.peaks() if isinstance(driver, MotionDriver) else None)
    return summary


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
    stage = make_stage(chosen, o, beside, _background(o, sources[0], out))
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
        count = _write(
            frames(), out, (w, h), players.fps, sound, words, progress, players.frames, o.mark, seal, stage.transparent,
            _span(players) if audio is None else WHOLE,
        )  # fmt: skip
    finally:
        players.close()
    return _summary(out, count, players, (w, h), len(chosen), o, started)


def _span(driver: Any) -> tuple[float, float | None]:
    """Which part of the driver's sound belongs to it, seconds."""
    return getattr(driver, "span", WHOLE)


def render(sources: Source | Sequence[Source], driving: Driving, options: Options | None = None) -> Iterator[RGB]:
    """Frames (H, W, 3) uint8 of the portrait under a driver, one by one; each is a new array.

    With the background "none" they are (H, W, 4), their colours not premultiplied."""
    o = options or Options()
    o.check()
    stage = make_stage([sources] if isinstance(sources, Source) else list(sources), o)
    driver = open_driver(driving, o)
    try:
        begin(stage, driver, o)
        for drive in adjusted(driver, o):
            yield rendered(stage, drive, o)[0].copy()
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
    alpha: bool = False,
    span: tuple[float, float | None] = WHOLE,
) -> int:
    """Encode frames in a thread of its own; each is copied where it changed, so the canvas can go on.

    `span` is the part of the sound that goes with them, seconds."""
    count = 0
    mark = Mark(*size) if marked else None
    part: dict[str, Any] = {"audio_start": span[0], "audio_end": span[1]} if sound and span != WHOLE else {}
    with open_sink(out, size, fps, sound, metadata, seal=seal, alpha=alpha, **part) as sink:
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


def _check_audio(audio: str, out: Path | None) -> Path | None:
    """The file that `--audio` names, None for keep and none. Raises InputError where it cannot be heard in `out`."""
    from infinex.media.audio import has_audio

    if audio in ("keep", "none"):
        return None
    path = Path(audio)
    if not path.is_file() or not has_audio(path):
        raise InputError(f"--audio {audio}: keep, none or a file with sound")
    if out is None or not supports_audio(out):
        where = "a live view without -o" if out is None else f"{out.name}"
        raise InputError(f"{where} cannot carry the sound of --audio {audio}; write an .mp4 or .webm, or leave it out")
    return path


def _is_video(path: str | Path) -> bool:
    """Whether a source is a clip or pictures that make one; anything else is left to the picture reader."""
    if is_sequence(path):
        return True
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
    """Video to video: the source's own head motion stays, the driver's expression is laid on it.

    The source keeps its frame rate; the driver is asked where its face is at each of its frames."""
    parts = [p for p in o.parts if p not in ("pose", "scale")]
    if o.panel:
        raise InputError("--panel needs a still picture as source")
    if o.loop:
        raise InputError("--loop needs a still picture as source: a filmed head does not end where it began")
    if o.engine != "mesh":
        raise InputError(f"--engine {o.engine} needs a still picture as source")
    if o.background != "keep":
        raise InputError("--background needs a still picture as source")
    if not parts:
        raise InputError("the head of a source video keeps its own pose; name other --parts than pose")
    if o.absolute:
        raise InputError("--absolute needs a still picture as source: the head of a source video keeps its own pose")
    driver = open_driver(driving, replace(o, fps=None)).settle()
    reader = VideoReader(source, o.keep_readable, o.size, fps=o.fps)
    info = reader.info
    fps = float(info.fps)
    lasts = None if driver.frames is None else driver.frames / driver.fps
    total = info.frames if lasts is None else min(info.frames or 1 << 40, round(lasts * fps))
    lost = [0]
    cut = [False]  # whether the driver had more to say
    doings = Doings(driver, parts, not is_whole(o.parts))
    mouth = QuietMouth.of(reader) if getattr(driver, "new_voice", False) and "lips" in parts else None
    if mouth is not None and isinstance(driver, Suited):
        driver.suit(mouth.face)

    def frames() -> Iterator[tuple[RGB, Any]]:
        adjust = Adjust(parts, o.strength)
        adjust.begin(driver.rest)
        shot = Shot(driver.rest, driver.rest_image, driver.rest_points)
        ahead = _Ahead(doings(iter(driver)))
        face: Face | None = None
        at = timed(iter(ahead))
        try:
            with FaceTracker() as tracker:
                tracked = ((frame, tracker(frame.image)) for frame in reader)
                said = ((f, s, 0.0) for f, s in tracked) if mouth is None else mouth.smiles(tracked, fps)
                for frame, seen, smile in said:
                    drive = at(frame.time)
                    if drive is None or frame.time >= drive.move.time + 1 / driver.fps - 1e-6:
                        break  # the driver has ended
                    if drive.begins is not None:
                        shot = drive.begins
                        adjust.begin(shot.rest)
                    move = adjust(drive.move)
                    if seen is None:
                        lost[0] += 1
                        yield frame.image, None
                        continue
                    face = seen
                    prepared = PreparedFace(Source(frame.image, face), replace(o.mesh, layers="flat"))
                    prepared.begin(shot.rest, shot.image, shot.points)
                    if mouth is not None:
                        prepared.quiet_mouth(mouth(prepared.face, smile), mouth.tone)
                    canvas = frame.image.copy()
                    prepared.draw(canvas, replace(drive, move=move))
                    yield canvas, None
                else:
                    cut[0] = lasts is not None and lasts > (frame.index + 1) / fps + 0.5
            if face is None:
                raise FaceNotFoundError(f"no face found in {source.name}")
        finally:
            ahead.close()

    sound = (audio or driver.audio or (source if info.has_audio else None)) if o.audio != "none" else None
    span = _span(driver) if audio is None and driver.audio is not None else WHOLE
    try:
        name = _label(driving)
        count = _write(
            frames(), out, (info.width, info.height), fps, sound if supports_audio(out) else None,
            provenance(source, name, o), progress, total, o.mark, seal, span=span,
        )  # fmt: skip
    finally:
        driver.close()
        reader.close()
    summary = _summary(out, count, driver, (info.width, info.height), 1, o, started)
    summary.duration = round(count / fps, 3)
    if lost[0]:
        summary.warnings.append(f"no face in {lost[0]} frames of {source.name}; they were left as they are")
    if cut[0] and lasts is not None:
        summary.warnings.append(f"{source.name} ended after {count / fps:.1f} s; the driver lasts {lasts:.1f} s")
    summary.warnings += doings.remarks()
    return summary


def track(
    video: str | Path,
    keep_readable: bool = False,
    smooth: float = 0.5,
    progress: Progress | None = None,
    start: float = 0.0,
    end: float | None = None,
    face: str = "largest",
    notes: list[str] | None = None,
) -> tuple[Motion, list[tuple[float, float]]]:
    """Capture the performance in a video: its motion with Action Units, and where the face was lost.

    Of a still picture the one moment it shows, measured from the average face. `start`, `end`: seconds of the video.
    `face`: whose, where a video shows several; `notes` is given words about that and about cuts, across which all is
    told from the first shot's rest."""
    from infinex.drivers.units import told_apart, with_units

    if is_image(video):
        if (start, end) != WHOLE:
            raise InputError(f"{Path(video).name} is a still picture, of which --start and --end name no part")
        move, units = still_move(*_largest(video))
        return told_apart(Motion.collect([move], Rest.neutral(), 25.0), units[None]), []
    driver = VideoDriver(video, smooth=smooth, keep_readable=keep_readable, face=face, start=start, end=end).settle()
    try:
        moves = []
        assert driver.rest_image is not None  # it is settled
        reader = UnitReader(driver.rest_image, driver.rest_points, driver.rest.face)
        for drive in one_rest(driver, driver.rest):
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
