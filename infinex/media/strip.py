"""Pictures one after another as a video: folders and numbered files, and animations that only Pillow reads whole."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from infinex.errors import InputError, option
from infinex.media.container import MAX_SIDE, open_container
from infinex.media.image import read_image

KEEP = f"; {option('keep_readable')} uses what can be read"  # advice where a clip breaks off
RATE = 25.0  # pictures a second of a sequence, unless asked otherwise
# What a folder's pictures end in; whatever else lies there is no part of the sequence.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".jp2", ".avif", ".heic",
            ".heif", ".jxl")  # fmt: skip
NUMBER = re.compile(r"%(0?)(\d*)d")


class Strip:
    """Pictures and for how many seconds each of them stands."""

    def __init__(self, name: str, lengths: list[float], fixed: bool) -> None:
        """`fixed`: the lengths follow from the rate that was asked for."""
        self.name, self.lengths, self.fixed = name, lengths, fixed

    def pictures(self, first: int, keep_readable: bool) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Numbers and pictures from `first` on, (H, W, 3 or 4) uint8; InputError where one is damaged."""
        raise NotImplementedError


class Folder(Strip):
    """Files, one for each frame."""

    def __init__(self, name: str, files: list[Path], rate: float) -> None:
        super().__init__(name, [1 / rate] * len(files), True)
        self.files = files

    def pictures(self, first: int, keep_readable: bool) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """As `read_image` gives them. With `keep_readable` those that cannot be read are left out."""
        for i in range(first, len(self.files)):
            try:
                image = read_image(self.files[i])
            except InputError:
                if not keep_readable:
                    raise
                continue
            if max(image.shape[:2]) > MAX_SIDE:
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise InputError(f"{self.files[i].name} is {size}; the limit is {MAX_SIDE} a side")
            yield i, image


class Animation(Strip):
    """An animated WebP or AVIF through Pillow, with its transparency."""

    def __init__(self, path: Path, kind: str, lengths: list[float]) -> None:
        super().__init__(path.name, lengths, False)
        self._path, self._kind = path, kind

    def pictures(self, first: int, keep_readable: bool) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(H, W, 4) each. With `keep_readable` it ends where it is damaged."""
        i = first
        try:
            with Image.open(self._path, formats=[self._kind]) as image:
                if max(image.size) > MAX_SIDE:
                    size = f"{image.width}x{image.height}"
                    raise InputError(f"{self.name} is {size}; the limit is {MAX_SIDE} a side")
                for i in range(first, len(self.lengths)):
                    image.seek(i)
                    yield i, np.asarray(image.convert("RGBA"))
        except InputError:
            raise
        except Exception:  # Pillow reports damage in every way there is
            if not keep_readable:
                time = sum(self.lengths[:i])
                raise InputError(f"{self.name} breaks off at {time:.1f} s (damaged data)", advice=KEEP) from None


def is_sequence(path: str | Path) -> bool:
    """Whether a path means several pictures: a folder, or a pattern such as frames_%04d.png or frame_*.png."""
    path = Path(path)
    try:
        if path.is_dir():
            return True
        return not path.exists() and bool(NUMBER.search(path.name) or set(path.name) & set("*?"))
    except OSError:
        return False


def open_strip(path: Path, rate: float | None) -> Strip | None:
    """The strip of pictures that a path means, shown at `rate`; None where it is left to FFmpeg.

    Raises InputError for a folder or pattern without pictures."""
    if is_sequence(path):
        return Folder(path.name or str(path), _files(path), rate or RATE)
    lengths = _webp_lengths(path)
    if lengths is not None:
        return Animation(path, "WEBP", lengths)
    lengths = _avif_lengths(path)
    return None if lengths is None else Animation(path, "AVIF", lengths)


def _files(path: Path) -> list[Path]:
    """The pictures of a folder or pattern, in the order of the numbers in their names."""
    try:
        if path.is_dir():
            found = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]
            what = "has no pictures"
        else:
            number = NUMBER.search(path.name)
            if number:
                digits = r"\d" + (f"{{{number[2]},}}" if number[2] else "+")
                want = re.compile(
                    re.escape(path.name[: number.start()]) + digits + re.escape(path.name[number.end() :])
                )
                found = [p for p in path.parent.iterdir() if want.fullmatch(p.name)]
            else:
                found = list(path.parent.glob(path.name))
            what = "matches no file"
        found = [p for p in found if not p.name.startswith(".") and p.is_file() and p.stat().st_size]
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not found:
        raise InputError(f"{path} {what}; name a video, a folder of pictures or a pattern such as frames_%04d.png")
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], path.name


def _webp_lengths(path: Path) -> list[float] | None:
    """Seconds each frame of an animated WebP stands; None for any other file."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WEBP":
            return None
        durations: list[float] = []
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"ANMF":
                milliseconds = int.from_bytes(file.read(16)[12:15], "little")
                # Browsers show frames of no length for a tenth of a second.
                durations.append(min(milliseconds, 60000) / 1000 if milliseconds > 10 else 0.1)
                file.seek(-16, 1)
            file.seek(size + size % 2, 1)
        return durations if len(durations) > 1 else None


def _avif_lengths(path: Path) -> list[float] | None:
    """Seconds each frame of an animated AVIF with transparency stands, whose opacity is a stream of its own.

    None for any other file: FFmpeg reads opaque ones frame by frame, and of any depth."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] != b"ftyp" or b"avis" not in head or not features.check("avif"):
        return None
    with contextlib.suppress(av.error.FFmpegError, OSError, ValueError), open_container(path) as container:
        moving: list[Any] = [s for s in container.streams.video if s.frames > 1]
        if len(moving) < 2:
            return None
        base = float(moving[0].time_base)
        spans = [(p.duration or 0) * base for p in container.demux(moving[0]) if p.size]
        return [s if s > 0 else 0.1 for s in spans] if len(spans) > 1 else None
    return None
