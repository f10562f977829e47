"""Looking over what a visitor hands in, before a job is made of it: everything a user can cause is said at once."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError, InfinexError, InputError, Note
from infinex.face.tracker import MIN_FACE, Box, Face, shared_finder
from infinex.media.image import is_image, read_image
from infinex.media.video import VideoReader
from infinex.studio import claims
from infinex.studio.cost import Length
from infinex.studio.settings import Settings

PROBES = (0, 6, 15, 30, 60, 120, 240, 480)  # frames of a clip in which a face is looked for
SIDE = 640  # at which a clip is looked over
STILL = 2.6  # seconds that a picture's expression is taken on and held
BELIEVED = 0.5


def friendly(error: InfinexError | str, folder: Path | None = None) -> str:
    """An error's or a note's words without options of the command line and without any path of this machine."""
    text = error.words() if isinstance(error, (InfinexError, Note)) else error
    if folder is not None:
        text = text.replace(str(folder) + "/", "").replace(str(folder), "")
    text = re.sub(r"(?<![\w.])/(?:[^\s/:;,]+/)+", "", text)
    text = " ".join(text.split())
    first = text.split(" ", 1)[0]
    text = text if "." in first else text[:1].upper() + text[1:]  # a file's name stays as it is
    return text + ("" if text.endswith((".", "?", "!", ")")) else ".")


def safe_name(name: str | None, fallback: str) -> str:
    """A visitor's file name, fit for a file of ours: no folders, no odd characters, not too long."""
    text = unicodedata.normalize("NFC", (name or "").replace("\\", "/").rsplit("/", 1)[-1])
    text = re.sub(r"[^\w.\- ]", "_", text).strip(" .")[-80:].lstrip("-. ")
    return text or fallback


class GoneError(Exception):
    """Nobody waits for this any more."""


class TooSlowError(InputError):
    """Work on a file that did not end in time; another try may find the machine idle."""


class Watch:
    """Whether somebody still waits for work on a file; asked between its frames."""

    def __init__(self, seconds: float, late: str = "takes too long to look over here; try a shorter one") -> None:
        """`late` says of the file what is wrong when the `seconds` since `begin` are over."""
        self.gone = threading.Event()
        self._seconds, self._end, self._late = seconds, math.inf, late

    def begin(self) -> None:
        """The time runs from now on."""
        self._end = time.monotonic() + self._seconds

    def __call__(self, path: Path) -> None:
        """Raise GoneError where nobody waits, TooSlowError where it has taken too long."""
        if self.gone.is_set():
            raise GoneError
        if time.monotonic() > self._end:
            raise TooSlowError(f"{path.name} {self._late}")


class Verdicts:
    """Remembers what was found in the last files, by content, so that the same file is looked over once."""

    def __init__(self, size: int = 256) -> None:
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._size = size
        self._lock = threading.Lock()

    def of(self, path: Path, kind: str, look: Callable[[Path], Any]) -> Any:
        """What `look` returns or raises for this content."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        key = kind + digest.hexdigest()
        key += path.suffix.lower()
        with self._lock:
            known, result = key in self._known, self._known.get(key)
        if not known:  # two at once may both look
            try:
                result = look(path)
            except TooSlowError:  # says more of the machine than of the file
                raise
            except InputError as error:
                # Another visitor's name for the same file is nobody's business.
                result = error.replaced(path.name, "\0")
            with self._lock:
                self._known[key] = result
                while len(self._known) > self._size:
                    self._known.popitem(last=False)
        if isinstance(result, InputError):
            raise result.replaced("\0", path.name)
        return result


def _picture(path: Path, settings: Settings) -> Any:
    """A picture that is not too large. Raises InputError."""
    claims.check_picture(path, settings)
    return read_image(path)


def look_for_faces(path: Path, settings: Settings) -> tuple[tuple[int, int], list[Face]]:
    """Size (width, height) of a picture and the faces in it, largest first. Raises InputError."""
    image = _picture(path, settings)
    with shared_finder() as finder:
        faces = finder.find(image)
    if not faces:
        raise FaceNotFoundError(f"no face found in {path.name}; use a picture that shows a face clearly")
    faces = [f for f in faces if f.size >= MIN_FACE]
    if not faces:
        raise FaceNotFoundError(f"the face in {path.name} is too small; at least {MIN_FACE:.0f} pixels are needed")
    return (image.shape[1], image.shape[0]), faces


def parse_box(text: str, size: tuple[int, int]) -> Box:
    """`x,y,width,height` in pixels of a picture of `size` (width, height), checked. Raises InputError."""
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise InputError("box: four numbers x,y,width,height are wanted") from None
    if not all(math.isfinite(v) for v in (x, y, w, h)) or w < 16 or h < 16:
        raise InputError("box: it must be at least 16 pixels wide and high")
    if x < -w / 2 or y < -h / 2 or x + w / 2 > size[0] or y + h / 2 > size[1]:
        raise InputError("box: it lies outside the picture")
    return x, y, w, h


def look_in_box(path: Path, box: str, settings: Settings) -> tuple[tuple[int, int], list[Face]]:
    """Size of a picture and the face that somebody marked in it. Raises InputError."""
    image = _picture(path, settings)
    size = image.shape[1], image.shape[0]
    x, y, w, h = parse_box(box, size)
    with shared_finder() as finder:
        return size, [finder.in_box(image, (x, y, x + w, y + h))]


def look_through(path: Path, settings: Settings, watch: Watch) -> Length:
    """Read a clip to its end and look for a face; how long it is. Raises InputError."""
    found = False
    end = 0.0
    watch.begin()
    claims.check_video(path, settings)
    with VideoReader(path, max_side=SIDE) as reader:
        info = reader.info
        if info.duration:
            claims.check_seconds(path, info.duration, settings)
        claims.check_frames(path, info.frames or 0, settings)
        for frame in reader:
            watch(path)
            end = frame.time + 1 / float(info.fps)
            if end > settings.duration + 1:
                raise InputError(f"{path.name} lasts longer than {settings.duration:.0f} s, the limit here")
            claims.check_frames(path, frame.index + 1, settings)
            if not found and (frame.index in PROBES or (frame.index and frame.index % 500 == 0)):
                found = _shows_face(frame.image)
    if not found:
        raise FaceNotFoundError(f"no face found in {path.name}; use a clip that shows a face clearly")
    return Length(end, float(info.fps))


def _shows_face(image: Any) -> bool:
    """Whether a frame shows a face. Others wait for this only, not for the reading of a whole clip."""
    with shared_finder() as finder:
        for box, score in finder.boxes(image)[:3]:
            if score < BELIEVED:
                continue
            points = finder.mesh(image, box)
            if points is not None and finder.believed(image, points) >= BELIEVED:
                return True
    return False


def look_at_motion(path: Path, settings: Settings) -> Length:
    """Check a motion file; how long it is. Raises InputError."""
    from infinex.motion import Motion

    claims.check_motion(path, settings)
    motion = Motion.load(path)
    claims.check_seconds(path, motion.duration, settings)
    if not np.isfinite(motion.offsets).all():
        raise InputError(f"{path.name} is damaged")
    return Length(motion.duration, motion.fps)


def look_at_driving(path: Path, settings: Settings, watch: Watch) -> Length:
    """Check a driver of any kind; how long it is. Raises InputError."""
    watch(path)
    if path.suffix.lower() == ".npz":
        return look_at_motion(path, settings)
    if is_image(path):
        look_for_faces(path, settings)
        return Length(STILL)
    return look_through(path, settings, watch)


def look_at_source(path: Path, settings: Settings, watch: Watch) -> tuple[tuple[int, int], list[Face], Length | None]:
    """Check a portrait: its size (width, height), its faces, largest first, and no length; of a clip no faces are
    listed, and how long it is. Raises InputError."""
    watch(path)
    if is_image(path) or not _moves(path, settings):
        return *look_for_faces(path, settings), None
    length = look_through(path, settings, watch)
    with VideoReader(path) as reader:
        return (reader.info.width, reader.info.height), [], length


def still_of(path: Path) -> tuple[NDArray[np.uint8], list[Face]]:
    """A frame of a clip that was looked through, and the largest face in it, by which the portrait is known.

    Raises InputError where no frame that is looked at shows a face large enough."""
    best: tuple[NDArray[np.uint8], Face] | None = None
    with VideoReader(path) as reader:
        for frame in reader:
            if frame.index not in PROBES and (not frame.index or frame.index % 500):
                continue
            image = frame.image
            with shared_finder() as finder:
                faces = [f for f in finder.find(image) if f.size >= MIN_FACE]
            if faces and (best is None or faces[0].size > 1.2 * best[1].size):
                best = image.copy(), faces[0]
            if best is not None and frame.index >= PROBES[3]:
                break
    if best is None:
        raise FaceNotFoundError(f"no face found in {path.name}; use a clip that shows a face clearly")
    return best[0], [best[1]]


def _moves(path: Path, settings: Settings) -> bool:
    """Whether a source that is no still picture should be read as a clip."""
    claims.check_video(path, settings)
    if path.suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"):
        return True
    try:
        with VideoReader(path) as reader:
            return (reader.info.frames or 2) > 1
    except InputError:
        return False


def look_at_sound(path: Path, settings: Settings, watch: Watch) -> Length:
    """Check a voice; how long it is. Raises InputError."""
    from infinex.media.audio import iter_audio

    watch.begin()
    claims.check_sound(path, settings)
    samples = 0
    for part in iter_audio(path, 16000):
        watch(path)
        samples += len(part)
        if samples > (settings.duration + 1) * 16000:
            raise InputError(f"{path.name} lasts longer than {settings.duration:.0f} s, the limit here")
    if samples < 1600:
        raise InputError(f"{path.name} is shorter than a tenth of a second")
    return Length(samples / 16000)
