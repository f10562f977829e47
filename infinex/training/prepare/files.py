"""The files of a folder as jobs, plain or laid out like VoxCeleb."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from infinex.errors import InfinexError, InputError
from infinex.media.video import VideoReader
from infinex.training.prepare.records import MANIFEST_COLUMNS, Corners, Job, Outcome, Refused


def clip_name(relative: str) -> str:
    """A file's path as a name for its clips, different for different paths."""
    stem = relative[:-4] if relative.lower().endswith(".mp4") else relative
    name = re.sub(r"[^A-Za-z0-9._-]", "_", stem.replace("/", "--"))
    if name != stem.replace("/", "--") or "--" in stem or name.startswith("."):
        name = f"{name.lstrip('.')}-{hashlib.sha1(relative.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
    return name[-180:]


def walk(folder: Path) -> Iterator[Path]:
    """Files below a folder in a fixed order, without hidden ones."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def plain_jobs(videos: Path, known: Callable[[str], str]) -> Iterator[Job]:
    """One job per file of a folder."""
    for path in walk(videos):
        relative = path.relative_to(videos).as_posix()
        yield Job(relative, str(path), clip_name(relative), known(relative), None)


def read_annotation(path: Path) -> tuple[str, str, tuple[float, float], list[Corners], bool]:
    """VoxCeleb's text file of one utterance: identity, video, seconds from and to, boxes, and whether they are
    fractions of the picture (VoxCeleb2) or pixels (VoxCeleb1). Frames count from 0 at 25 a second.

    Raises Refused where it is none."""
    head: dict[str, str] = {}
    frames: list[int] = []
    boxes: list[Corners] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if ":" in line:
                key, _, value = line.partition(":")
                head[key.strip().lower()] = value.strip()
            elif re.match(r"\s*\d+\s", line):
                number, x, y, w, h = (float(v) for v in line.split()[:5])
                frames.append(int(number))
                boxes.append((x, y, x + w, y + h))
        if not frames:
            raise ValueError
        identity, reference = head["identity"], head["reference"]
    except (ValueError, KeyError, OSError):
        raise Refused("an annotation that cannot be read") from None
    fractions = max(max(b) for b in boxes) <= 2.0
    return identity, reference, (frames[0] / 25, (frames[-1] + 1) / 25), boxes, fractions


def voxceleb_jobs(folder: Path) -> Iterator[Job | Outcome]:
    """The jobs of a VoxCeleb folder: utterances below id*/ as they are, and those that .txt files mark in videos
    named by their reference."""
    videos: dict[str, Path] = {}
    texts = []
    for path in walk(folder):
        relative = path.relative_to(folder).as_posix()
        identity = next((p for p in relative.split("/") if re.fullmatch(r"id\d{4,}", p)), "")
        if path.suffix == ".txt":
            texts.append((relative, path))
        elif identity:
            yield Job(relative, str(path), clip_name(relative), identity, None)
        else:
            videos[path.stem] = path
    for relative, path in texts:
        try:
            identity, reference, (start, end), boxes, fractions = read_annotation(path)
            video = videos.get(reference)
            if video is None:
                raise Refused(f"the video {reference} is missing")
            union = np.array(boxes)
            box = (*union[:, :2].min(0).tolist(), *union[:, 2:].max(0).tolist())
            if not fractions:
                with VideoReader(video) as reader:
                    w, h = reader.info.width, reader.info.height
                box = (box[0] / w, box[1] / h, box[2] / w, box[3] / h)
            yield Job(relative, str(video), clip_name(relative), identity, (start, end, box))
        except (Refused, InfinexError) as reason:
            blank = dict.fromkeys(MANIFEST_COLUMNS, "")
            yield Outcome(relative, [blank | {"file": relative, "status": "rejected", "reason": str(reason)}])
