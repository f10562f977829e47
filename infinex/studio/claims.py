"""What a visitor's file says of itself, read before anything of it is decoded: headers may lie, and pictures of a few
kilobytes may want gigabytes."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from infinex.errors import InputError
from infinex.media.audio import open_sound
from infinex.media.image import header_size
from infinex.media.video import open_container, picture_stream, sound_stream
from infinex.studio.settings import Settings

ARRAYS = 64  # members of a motion file
KINDS = "fbiuU"  # of their values: no objects, no records
ARRAY_BYTES = 256 << 20  # of all of them, unpacked
CHANNELS = 32
SOUND_RATES = 2000, 384_000  # Hz; a rate of 1 Hz makes an hour of silence of four kilobytes


def check_picture(path: Path, settings: Settings) -> tuple[int, int] | None:
    """Width and height of a picture by its header; None where it has none. Raises InputError for too many pixels."""
    size = header_size(path)
    if size is not None and size[0] * size[1] > settings.pixels:
        raise InputError(
            f"{path.name} has {size[0] * size[1] / 1e6:.0f} megapixels; the limit here is {settings.pixels / 1e6:.0f}"
        )
    return size


def check_video(path: Path, settings: Settings) -> None:
    """Raise InputError for a clip whose pictures, sound or length are beyond the limits, by what it says of itself.

    What is no video is left to the reader and its words."""
    size = header_size(path)  # of an animated picture
    try:
        with open_container(path) as container:
            pictures, sound = picture_stream(container), sound_stream(container)
            if pictures is not None:
                shape = float(pictures.sample_aspect_ratio or 1)
                size = round(pictures.codec_context.width * max(1.0, shape)), pictures.codec_context.height
                check_frames(path, pictures.frames or 0, settings)
                if pictures.duration and pictures.time_base:
                    check_seconds(path, float(pictures.duration * pictures.time_base), settings)
            if sound is not None:
                _check_sound(path, sound)
    except (av.error.FFmpegError, OSError, ValueError):
        pass
    if size is not None and max(size) > settings.side:
        raise InputError(f"{path.name} is {size[0]}x{size[1]}; the limit here is {settings.side} a side")


def check_frames(path: Path, frames: int, settings: Settings) -> None:
    """Raise InputError for a clip of too many frames, however short they are."""
    if frames > settings.most_frames:
        raise InputError(
            f"{path.name} has {frames} frames; the limit here is {settings.most_frames}: shorten it, or save it at "
            "a lower frame rate"
        )


def check_seconds(path: Path, seconds: float, settings: Settings) -> None:
    """Raise InputError for what lasts too long."""
    if not seconds <= settings.duration + 1:
        raise InputError(f"{path.name} lasts {seconds:.0f} s; the limit here is {settings.duration:.0f} s")


def check_sound(path: Path, settings: Settings) -> None:
    """Raise InputError for a voice that cannot be one, by what its file says of itself."""
    container, stream = open_sound(path)
    with container:
        _check_sound(path, stream)
        if stream.duration and stream.time_base:
            check_seconds(path, float(stream.duration * stream.time_base), settings)


def _check_sound(path: Path, stream: Any) -> None:
    context = stream.codec_context
    rate, channels = int(context.sample_rate or 0), int(getattr(context, "channels", 0) or 0)
    if rate and not SOUND_RATES[0] <= rate <= SOUND_RATES[1]:
        raise InputError(f"{path.name}: its sound has {rate} samples a second; save it at 48000")
    if channels > CHANNELS:
        raise InputError(f"{path.name}: its sound has {channels} channels; save it in stereo")


def check_motion(path: Path, settings: Settings) -> None:
    """Raise InputError for a motion file whose arrays are not what the archive says, or too many frames long."""
    damaged = InputError(f"{path.name} is not a readable .motion.npz file")
    frames: int | None = None
    rate: float | None = None
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > ARRAYS or sum(m.file_size for m in members) > ARRAY_BYTES:
                raise InputError(f"{path.name} is too large, unpacked")
            for member in members:
                with archive.open(member) as file:
                    shape, dtype, head = _array(file)
                    if dtype.kind not in KINDS or math.prod(shape) * dtype.itemsize + head != member.file_size:
                        raise damaged
                    name = member.filename.removesuffix(".npy")
                    if name == "scale" and len(shape) == 1:
                        frames = shape[0]
                    elif name in ("fps", "format") and shape != ():
                        raise damaged
                    elif name == "fps" and dtype.kind in "fiu":
                        rate = float(np.frombuffer(file.read(dtype.itemsize), dtype)[0])
    except InputError:
        raise
    except Exception:  # archives can be damaged in every way there is
        raise damaged from None
    if frames is not None and rate is not None and rate > 0:
        check_seconds(path, frames / rate, settings)
    if frames is not None:
        check_frames(path, frames, settings)


def _array(file: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and type of an array, and the bytes of its header."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(shape), dtype, int(file.tell())
