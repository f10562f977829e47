"""Writing results: MP4, MOV, WebM, GIF, APNG or a folder of PNG frames; whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import OutputError
from infinex.media.animation import APNGSink, GIFSink, unseen_cleared
from infinex.media.encode import VideoSink, join
from infinex.media.files import atomic_path
from infinex.media.provenance import Seal, add_metadata, png_with_text
from infinex.media.timecode import Timecode

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
VIDEO = (".mp4", ".mov", ".webm")
ANIMATION = (".gif", ".apng")
SUPPORTED = ".mp4, .mov, .webm, .gif, .apng or a folder for PNG frames"
TRANSPARENT = ".webm, .mov (ProRes 4444), .apng, .gif or a folder for PNG frames"


class Sink(Protocol):
    """Takes the frames of one result."""

    def write(self, frame: Pixels, changed: Box | None = None) -> None:
        """Add a frame (H, W, 3) uint8 RGB, or (H, W, 4) straight RGBA where the sink was opened with `alpha`.

        Outside the box `changed` (x0, y0, x1, y1) it equals the last one."""


def supports_audio(path: str | Path) -> bool:
    """Whether this kind of output can carry sound."""
    return Path(path).suffix.lower() in VIDEO


def supports_alpha(path: str | Path) -> bool:
    """Whether this kind of output can be transparent."""
    suffix = Path(path).suffix.lower()
    return suffix != ".mp4" and suffix in ("", *VIDEO, *ANIMATION)


def check_output(path: str | Path, alpha: bool = False) -> Path:
    """The output path, if its kind is known, can be transparent where `alpha`, and can be written.

    Raises OutputError otherwise."""
    from infinex.media.files import writable_target

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix and suffix not in VIDEO + ANIMATION:
        raise OutputError(f"{path.name}: the output must end in {SUPPORTED}")
    if alpha and not supports_alpha(path):
        raise OutputError(f"{path.name}: {suffix} cannot be transparent; use {TRANSPARENT}")
    writable_target(path, folder=not suffix)
    return path


@contextlib.contextmanager
def open_sink(
    path: str | Path,
    size: tuple[int, int],
    fps: Fraction | float,
    audio: str | Path | None = None,
    metadata: dict[str, str] | None = None,
    quality: int = 17,
    seal: Seal | None = None,
    alpha: bool = False,
    audio_start: float = 0.0,
    audio_end: float | None = None,
    timecode: Timecode | None = None,
) -> Iterator[Sink]:
    """Open an output for frames of `size` (width, height) at `fps`.

    `audio` names a file whose sound is carried over in step with the pictures: from `audio_start` to
    `audio_end` seconds after its zero, then silence, and no longer than the pictures. `quality` is the
    encoder's constant rate factor; `seal` signs the finished file; with `alpha` frames are straight RGBA.
    `timecode` is the first frame's, which videos and PNG frames carry.
    On any exception inside the block nothing is left behind.
    Raises OutputError where the output cannot be written, InputError where `audio` has no sound."""
    path = check_output(path, alpha)
    if seal is not None:
        seal.check(path)
    suffix, words = path.suffix.lower(), metadata or {}
    rate = Fraction(fps).limit_denominator(100000)
    code = None if timecode is None else timecode.at(rate)
    with atomic_path(path, folder=not suffix) as temporary:
        if not suffix:
            yield _FolderSink(temporary, words, alpha, code)
            return
        sink: VideoSink | GIFSink | APNGSink
        if suffix in VIDEO:
            sink = VideoSink(temporary, size, rate, words, quality, alpha, audio, audio_start, audio_end, code)
        elif suffix == ".gif":
            sink = GIFSink(temporary, size, rate, alpha)
        else:
            sink = APNGSink(temporary, size, rate, alpha)
        try:
            yield sink
            sink.finish()
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error
        finally:
            sink.close()
        if words and suffix in ANIMATION:
            add_metadata(temporary, words)
        if seal is not None:
            seal.sign(temporary, path.name, words)


def join_pieces(
    pieces: Sequence[Path], path: Path, fps: Fraction | float, audio: str | Path | None, metadata: dict[str, str],
    seal: Seal | None, audio_start: float = 0.0, audio_end: float | None = None, timecode: Timecode | None = None,
) -> None:  # fmt: skip
    """Make one video of pieces that `open_sink` wrote alike, without encoding them again; see there for the rest."""
    if not pieces:
        raise OutputError("there is no frame to write")
    rate = Fraction(fps).limit_denominator(100000)
    with atomic_path(path) as temporary:
        try:
            code = None if timecode is None else timecode.at(rate)
            join(pieces, temporary, rate, metadata, audio, audio_start, audio_end, code)
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error
        if seal is not None:
            seal.sign(temporary, path.name, metadata)


class _FolderSink:
    def __init__(self, folder: Path, metadata: dict[str, str], alpha: bool, code: Timecode | None) -> None:
        self._folder, self._count, self._metadata, self._alpha, self._code = folder, 0, metadata, alpha, code

    def write(self, frame: Pixels, changed: Box | None = None) -> None:
        self._count += 1
        name = self._folder / f"frame_{self._count:06d}.png"
        turned = cv2.cvtColor(unseen_cleared(frame), cv2.COLOR_RGBA2BGRA if self._alpha else cv2.COLOR_RGB2BGR)
        ok, data = cv2.imencode(".png", turned, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        if not ok:
            raise OSError(f"frame {self._count} could not be encoded")
        code = {} if self._code is None else {"timecode": str(self._code.later(self._count - 1))}
        name.write_bytes(png_with_text(data.tobytes(), self._metadata | code))
