"""Looking over what a visitor hands in, before a job is made of it: everything a user can cause is said at once."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import unicodedata
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infinex.errors import FaceNotFoundError, InfinexError, InputError
from infinex.face.tracker import MIN_FACE, Box, Face, FaceFinder
from infinex.media.image import is_image, read_image
from infinex.media.video import VideoReader
from infinex.studio.settings import Settings

PROBES = (0, 6, 15, 30, 60, 120, 240, 480)  # frames of a clip in which a face is looked for
SIDE = 640  # at which a clip is looked over
MAX_UNPACKED = 256 << 20  # bytes of a motion file, unpacked
BELIEVED = 0.5
LOOKING = threading.Lock()  # the face networks serve one thread at a time

# What messages of the command line call things, and what a page does.
WORDS = (
    (re.compile(r"; --keep-readable uses what can be read"), ""),
    (re.compile(r", or mark it with --box x,y,width,height"), ""),
    (re.compile(r" \(to 2 with --allow-exaggeration\)"), ""),
    (re.compile(r"--box lies"), "the box lies"),
    (re.compile(r"the given --box"), "the given box"),
    (re.compile(r"--face (\S+): "), r"face \1: "),
    (re.compile(r"--([a-z]+) (\S+): "), r"\1 \2: "),
    (re.compile(r"--([a-z-]+)"), r"\1"),
)


def friendly(error: InfinexError | str, folder: Path | None = None) -> str:
    """An error's words without options of the command line and without any path of this machine."""
    text = str(error)
    if folder is not None:
        text = text.replace(str(folder) + "/", "").replace(str(folder), "")
    text = re.sub(r"(?<![\w.])/(?:[^\s/:;,]+/)+", "", text)
    for pattern, words in WORDS:
        text = pattern.sub(words, text)
    text = " ".join(text.split())
    first = text.split(" ", 1)[0]
    text = text if "." in first else text[:1].upper() + text[1:]  # a file's name stays as it is
    return text + ("" if text.endswith((".", "?", "!", ")")) else ".")


def safe_name(name: str | None, fallback: str) -> str:
    """A visitor's file name, fit for a file of ours: no folders, no odd characters, not too long."""
    text = unicodedata.normalize("NFC", (name or "").replace("\\", "/").rsplit("/", 1)[-1])
    text = re.sub(r"[^\w.\- ]", "_", text).strip(" .")[-80:].lstrip("-. ")
    return text or fallback


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
            except InputError as error:
                # Another visitor's name for the same file is nobody's business.
                result = type(error)(str(error).replace(path.name, "\0"))
            with self._lock:
                self._known[key] = result
                while len(self._known) > self._size:
                    self._known.popitem(last=False)
        if isinstance(result, InputError):
            raise type(result)(str(result).replace("\0", path.name))
        return result


def _picture(path: Path, settings: Settings) -> Any:
    """A picture that is not too large. Raises InputError."""
    try:
        with Image.open(path) as image:
            w, h = image.size
    except Exception:  # not a picture: `read_image` finds the words
        w, h = 0, 0
    if w * h > settings.pixels:
        raise InputError(f"{path.name} has {w * h / 1e6:.0f} megapixels; the limit here is {settings.pixels / 1e6:.0f}")
    return read_image(path)


def look_for_faces(path: Path, settings: Settings) -> tuple[tuple[int, int], list[Face]]:
    """Size (width, height) of a picture and the faces in it, largest first. Raises InputError."""
    image = _picture(path, settings)
    with LOOKING:
        finder = FaceFinder()
        try:
            faces = finder.find(image)
        finally:
            finder.close()
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
    with LOOKING:
        finder = FaceFinder()
        try:
            return size, [finder.in_box(image, (x, y, x + w, y + h))]
        finally:
            finder.close()


def look_through(path: Path, settings: Settings) -> float:
    """Read a clip to its end and look for a face; its duration in seconds. Raises InputError."""
    found = False
    end = 0.0
    with VideoReader(path, max_side=SIDE) as reader:
        info = reader.info
        if max(info.width, info.height) >= SIDE:
            _check_size(path, settings)
        if info.duration and info.duration > settings.duration + 1:
            raise InputError(f"{path.name} lasts {info.duration:.0f} s; the limit here is {settings.duration:.0f} s")
        for frame in reader:
            end = frame.time + 1 / float(info.fps)
            if end > settings.duration + 1:
                raise InputError(f"{path.name} lasts longer than {settings.duration:.0f} s, the limit here")
            if not found and (frame.index in PROBES or (frame.index and frame.index % 500 == 0)):
                found = _shows_face(frame.image)
    if not found:
        raise FaceNotFoundError(f"no face found in {path.name}; use a clip that shows a face clearly")
    return end


def _check_size(path: Path, settings: Settings) -> None:
    with VideoReader(path) as reader:
        w, h = reader.info.width, reader.info.height
    if max(w, h) > settings.side:
        raise InputError(f"{path.name} is {w}x{h}; the limit here is {settings.side} a side")


def _shows_face(image: Any) -> bool:
    """Whether a frame shows a face. Others wait for this only, not for the reading of a whole clip."""
    with LOOKING:
        finder = FaceFinder()
        try:
            for box, score in finder.boxes(image)[:3]:
                if score < BELIEVED:
                    continue
                points = finder.mesh(image, box)
                if points is not None and finder.believed(image, points) >= BELIEVED:
                    return True
        finally:
            finder.close()
    return False


def look_at_motion(path: Path, settings: Settings) -> float:
    """Check a motion file; its duration in seconds. Raises InputError."""
    from infinex.motion import Motion

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > MAX_UNPACKED:
                raise InputError(f"{path.name} is too large, unpacked")
    except (zipfile.BadZipFile, OSError, ValueError):
        raise InputError(f"{path.name} is not a readable .motion.npz file") from None
    motion = Motion.load(path)
    if motion.duration > settings.duration + 1:
        raise InputError(f"{path.name} lasts {motion.duration:.0f} s; the limit here is {settings.duration:.0f} s")
    if not np.isfinite(motion.offsets).all():
        raise InputError(f"{path.name} is damaged")
    return motion.duration


def look_at_driving(path: Path, settings: Settings) -> float:
    """Check a driver of any kind; its duration in seconds, 0 for a picture. Raises InputError."""
    if path.suffix.lower() == ".npz":
        return look_at_motion(path, settings)
    if is_image(path):
        look_for_faces(path, settings)
        return 0.0
    return look_through(path, settings)


def look_at_source(path: Path, settings: Settings) -> list[Face]:
    """Check a portrait: its faces, largest first; a clip as source has none listed. Raises InputError."""
    if is_image(path) or not _moves(path):
        return look_for_faces(path, settings)[1]
    look_through(path, settings)
    return []


def _moves(path: Path) -> bool:
    """Whether a source that is no still picture should be read as a clip."""
    if path.suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"):
        return True
    try:
        with VideoReader(path) as reader:
            return (reader.info.frames or 2) > 1
    except InputError:
        return False


def look_at_sound(path: Path, settings: Settings) -> float:
    """Check a voice; its duration in seconds. Raises InputError."""
    from infinex.media.audio import iter_audio

    samples = 0
    for part in iter_audio(path, 16000):
        samples += len(part)
        if samples > (settings.duration + 1) * 16000:
            raise InputError(f"{path.name} lasts longer than {settings.duration:.0f} s, the limit here")
    if samples < 1600:
        raise InputError(f"{path.name} is shorter than a tenth of a second")
    return samples / 16000
