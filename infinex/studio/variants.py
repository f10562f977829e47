"""A finished animation in another format, made when it is first asked for."""

from __future__ import annotations

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2

from infinex.errors import InputError
from infinex.media.image import RGB, on_white, read_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.studio import checks
from infinex.studio.jobs import Job
from infinex.studio.preview import encode
from infinex.studio.worker import CAPTIONS, MOTION, pack_frames

SMALL = 400  # longer side of a GIF or APNG that is made from a video
GIF_RATE = 15.0
THUMB = 160  # longer side of the picture that stands for it
SLOW = "takes too long to make in this format; fetch it as it is"


def variant(job: Job, wanted: str, watch: checks.Watch) -> Path:
    """A finished job in another format, made when it is first asked for.

    Raises GoneError where nobody waits for it any more, InputError where it takes too long."""
    if wanted == "motion":
        return job.folder / MOTION
    if wanted == "vtt":
        return job.folder / CAPTIONS
    if wanted == job.format:
        return job.output
    path = job.folder / ("result.png.zip" if wanted == "png" else f"result.{wanted}")
    watch.begin()
    with job.lock:
        if path.exists():
            return path
        watch(job.output)
        if job.clear:
            raise InputError(
                f"a transparent result is not made into another format; ask for {wanted} with the animation"
            )
        if job.format == "png":
            raise InputError("PNG frames are not made into another format; ask for that with the animation")
        from infinex.media.provenance import inspect

        small = wanted in ("gif", "apng")
        words = {k: v for k, v in inspect(job.output).metadata.items() if k in ("comment", "description")}
        with VideoReader(job.output, max_side=SMALL if small else None) as reader:
            rate = float(reader.info.fps)
            skip = max(1, round(rate / GIF_RATE)) if small else 1
            sound = job.output if reader.info.has_audio and not small else None
            target = job.folder / "frames" if wanted == "png" else path
            with open_sink(target, (reader.info.width, reader.info.height), rate / skip, sound, words) as sink:
                for frame in reader:
                    watch(job.output)
                    if frame.index % skip == 0:
                        sink.write(frame.image)
            if wanted == "png":
                pack_frames(target, path)
    return path


def _first_frame(path: Path) -> RGB:
    """(H, W, 3) uint8 of zipped PNG frames or of a transparent video, on white."""
    if path.suffix == ".zip":
        with TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            return read_image(archive.extract(archive.namelist()[0], folder))
    with av.open(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context.name == "vp9":  # FFmpeg's own decoder leaves what is transparent out
            context = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            for frame in context.decode(packet):
                pixels = frame.to_ndarray(format="rgba")
                return on_white(pixels[..., :3], pixels[..., 3])
    raise InputError(f"{path.name} shows nothing")


def _small(image: RGB) -> RGB:
    k = THUMB / max(image.shape[:2])
    return image if k >= 1 else cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)


def thumbnail(job: Job) -> bytes:
    """A finished job's middle frame, the first of one that is transparent, as a small JPEG, made when it is first
    asked for."""
    path = job.folder / "thumb.jpg"
    with job.lock:
        if not path.exists():
            if job.format == "png" or job.clear:
                path.write_bytes(encode(_small(_first_frame(job.output))))
                return path.read_bytes()
            with VideoReader(job.output, max_side=THUMB) as reader:
                middle = job.summary["duration"] / 2
                frame = next(iter(reader.sample([middle])), None) or next(iter(reader))
            path.write_bytes(encode(frame.image))
        return path.read_bytes()
