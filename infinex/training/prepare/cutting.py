"""Cutting clips around a face, with their sound, and what tells whose face it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.face.tracker import FaceFinder
from infinex.media.audio import iter_audio, write_wav
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.training.data import resized
from infinex.training.prepare.options import PrepareOptions
from infinex.training.prepare.records import Corners


def square_crop(boxes: Sequence[Corners], width: int, height: int, enlarge: float) -> tuple[int, int, int]:
    """x, y and side of the square around the union of `boxes`, enlarged, inside a picture as far as it goes."""
    union = np.array(boxes)
    x0, y0 = union[:, :2].min(0)
    x1, y1 = union[:, 2:].max(0)
    side = min(enlarge * max(x1 - x0, y1 - y0), width, height)
    side = max(2, round(side))
    x = round(np.clip((x0 + x1 - side) / 2, 0, width - side))
    y = round(np.clip((y0 + y1 - side) / 2, 0, height - side))
    return int(x), int(y), int(side)


def pieces(first: int, last: int, longest: int) -> list[tuple[int, int]]:
    count = -(-(last - first) // max(1, longest))
    edges = np.linspace(first, last, count + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def _cut_sound(path: Path, start: float, seconds: float, target: Path) -> None:
    """A stretch of a file's sound as 16-bit WAV, for a clip that does not begin where its file does."""
    rate = 44100

    def stretch() -> Iterator[NDArray[np.float32]]:
        skip, left = round(start * rate), round(seconds * rate)
        for part in iter_audio(path, rate):
            if skip >= len(part):
                skip -= len(part)
                continue
            piece = part[skip : skip + left]
            skip, left = 0, left - len(piece)
            yield piece
            if left <= 0:
                break

    write_wav(target, stretch(), rate)


def write_clips(
    reader: VideoReader, clips: list[tuple[Path, int, int, tuple[int, int, int]]], o: PrepareOptions
) -> list[list[NDArray[np.uint8]]]:
    """Write several clips in one pass; a few frames of each for the embedding."""
    shown: list[list[NDArray[np.uint8]]] = [[] for _ in clips]
    fps = reader.info.fps
    frames = iter(reader)
    frame = next(frames)
    for (target, first, last, (x, y, side)), keep in zip(clips, shown):
        while frame.index < first:
            frame = next(frames)
        with tempfile.TemporaryDirectory() as folder:
            audio: Path | None = None
            if reader.info.has_audio:
                audio = reader.path
                if first > 0 or reader.info.frames is None or last < reader.info.frames - 1:
                    audio = Path(folder) / "sound.wav"
                    _cut_sound(reader.path, first / float(fps), (last - first) / float(fps), audio)
                    audio = audio if audio.stat().st_size > 100 else None
            with open_sink(target, (o.size, o.size), fps, audio, quality=o.quality) as sink:
                wanted = set(np.linspace(first, last - 1, 5).astype(int)[1:-1].tolist())
                while True:
                    part = resized(np.ascontiguousarray(frame.image[y : y + side, x : x + side]), o.size)
                    sink.write(part)
                    if frame.index in wanted:
                        keep.append(part)
                    if frame.index == last - 1:
                        break
                    frame = next(frames)
    return shown


def embedding_of(finder: FaceFinder, images: list[NDArray[np.uint8]]) -> list[float]:
    """Mean identity embedding of a few frames; empty where none can be made."""
    from infinex.face.identity import identity

    found = []
    for image in images:
        boxes = finder.boxes(image)
        points = finder.mesh(image, boxes[0][0]) if boxes else None
        if points is not None:
            found.append(identity(image, points))
    return np.mean(found, axis=0).tolist() if found else []
