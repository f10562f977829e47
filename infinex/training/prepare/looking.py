"""Looking a file over: whether it can be read and used, its shots, and the faces in them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InfinexError
from infinex.face.tracker import FaceFinder
from infinex.media.video import VideoReader, open_container, picture_stream
from infinex.training.prepare.records import Refused, Stretch

IDENTICAL = 0.02  # mean squared error, grey levels of 0..255, below which two frames are the same picture
IDENTICAL_SHARE = 0.6  # of a file's frames that repeat the one before: it is corrupt
CUT_CHANGE, CUT_COLOURS = 14.0, 0.85  # mean grey change and histogram overlap at a cut between shots
LOOKS = 4.0  # per second, for faces
SECOND = 0.45  # size of another face, of the main one's, that counts


def verdict(path: Path) -> None:
    """Protection, FFprobe's exit code where the program is here, and what PyAV's demuxing says. Raises Refused."""
    if path.stat().st_size == 0:
        raise Refused("empty")
    if _has_protection(path):  # before FFprobe, which may call such a file corrupt
        raise Refused("encrypted")
    program = shutil.which("ffprobe")
    if program:
        command = [program, "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", f"file:{path}"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, stdin=subprocess.DEVNULL, text=True)
        except subprocess.TimeoutExpired:
            raise Refused("corrupt: ffprobe does not come to an end") from None
        if done.returncode:
            raise Refused("corrupt: ffprobe cannot read it")
    try:
        with contextlib.closing(open_container(path)) as container:
            stream = picture_stream(container)
            if stream is None:
                kinds = {s.type for s in container.streams}
                raise Refused("no pictures, only sound" if kinds == {"audio"} else "no pictures that can be decoded")
            tags = {str(getattr(s.codec_context, "codec_tag", "")) for s in container.streams if s.codec_context}
            if tags & {"encv", "enca", "drmi", "drms"}:
                raise Refused("encrypted")
    except (av.error.FFmpegError, OSError, ValueError):
        raise Refused("corrupt: not a video that can be read") from None


def _has_protection(path: Path) -> bool:
    """Whether an MP4's sample entries say that its samples are encrypted (boxes encv, sinf and schm)."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
        file.seek(max(0, path.stat().st_size - (1 << 20)))
        tail = file.read(1 << 20)
    return any(b"encv" in part and b"schm" in part for part in (head, tail))


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = cv2.calcHist([image], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel()
    return counts / max(1.0, float(counts.sum()))


def scan(path: Path, finder: FaceFinder | None) -> tuple[list[Stretch], VideoReader, int]:
    """Shots of a file and the faces in them; the reader, and the number of frames. Raises Refused.

    Without a finder there is no looking for faces."""
    try:
        reader = VideoReader(path)
    except InfinexError as error:
        raise Refused(_plain(error, path)) from None
    every = max(1, round(float(reader.info.fps) / LOOKS))
    shots = [Stretch(0, 0)]
    before: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None = None
    same = count = 0
    brightest = 0.0
    try:
        for frame in reader:
            small = cv2.resize(frame.image, (64, 64), interpolation=cv2.INTER_AREA)
            # Repeated frames are looked for at full resolution, cuts in a thumbnail.
            grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
            brightest = max(brightest, float(small.max()))
            colours = _histogram(small)
            thumb = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA)
            if before is not None:
                same += float(np.square(grey - before[0]).mean()) < IDENTICAL
                change = float(np.abs(thumb - before[1]).mean())
                if change > CUT_CHANGE and float(np.minimum(colours, before[2]).sum()) < CUT_COLOURS:
                    shots.append(Stretch(count, count))
            before = grey, thumb, colours
            shot = shots[-1]
            if finder is not None and (count - shot.first) % every == 0:
                _look(finder, frame.image, shot)
            count += 1
            shot.last = count
    except InfinexError as error:
        raise Refused(_plain(error, path)) from None
    if count > 1 and same >= IDENTICAL_SHARE * (count - 1):
        raise Refused(f"corrupt: {same} of {count - 1} successive frames are identical")
    if brightest < 16:
        raise Refused("black")
    return shots, reader, count


def _plain(error: Exception, path: Path) -> str:
    """An error's text as a reason, without the file's name."""
    text = str(error).removeprefix(path.name).removeprefix(str(path)).strip(" :")
    text = text.split(";")[0]
    return text if text.startswith(("empty", "no ")) else f"corrupt: {text}"


def _look(finder: FaceFinder, image: NDArray[np.uint8], shot: Stretch) -> None:
    shot.looks += 1
    found = [b for b, score in finder.boxes(image) if score >= 0.5]
    if not found:
        return
    found.sort(key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))
    points = finder.mesh(image, found[0])
    if points is None:
        return
    lo, hi = points[:468, :2].min(0), points[:468, :2].max(0)
    shot.boxes.append((float(lo[0]), float(lo[1]), float(hi[0]), float(hi[1])))
    sizes = [b[2] - b[0] for b in found]
    shot.crowded += len(sizes) > 1 and max(sizes[1:]) > SECOND * sizes[0]
