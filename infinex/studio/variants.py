"""A finished animation in another format, made when it is first asked for."""

from __future__ import annotations

from pathlib import Path

from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.studio import checks
from infinex.studio.jobs import Job
from infinex.studio.worker import CAPTIONS, MOTION

SMALL = 400  # longer side of a GIF or APNG that is made from a video
GIF_RATE = 15.0
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
    path = job.folder / f"result.{wanted}"
    watch.begin()
    with job.lock:
        if path.exists():
            return path
        watch(job.output)
        from infinex.media.provenance import inspect

        small = wanted in ("gif", "apng")
        words = {k: v for k, v in inspect(job.output).metadata.items() if k in ("comment", "description")}
        with VideoReader(job.output, max_side=SMALL if small else None) as reader:
            rate = float(reader.info.fps)
            skip = max(1, round(rate / GIF_RATE)) if small else 1
            sound = job.output if reader.info.has_audio and not small else None
            with open_sink(path, (reader.info.width, reader.info.height), rate / skip, sound, words) as sink:
                for frame in reader:
                    watch(job.output)
                    if frame.index % skip == 0:
                        sink.write(frame.image)
    return path
