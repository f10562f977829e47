"""Sound laid beside pictures that are encoded already; these are copied."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from infinex.errors import OutputError

BLOCK = 4096  # samples read at once


def join_sound(pictures: Path, sound: Path, out: Path) -> None:
    """Write the pictures of `pictures` (.mp4, .mov or .webm) and the 16-bit mono WAV file `sound` into `out`, of the
    same kind. Both begin together, and the sound ends with the pictures. Raises OutputError where it cannot be done."""
    try:
        _join(pictures, sound, out)
    except av.error.FFmpegError as error:
        raise OutputError(f"{out.name} cannot be written: {error.strerror or error}") from error


def _join(pictures: Path, sound: Path, out: Path) -> None:
    webm = out.suffix.lower() == ".webm"
    kind = {".webm": "webm", ".mov": "mov"}.get(out.suffix.lower(), "mp4")
    options = {} if webm else {"movflags": "+faststart+use_metadata_tags"}
    with (
        av.open(str(pictures)) as source,
        wave.open(str(sound), "rb") as heard,
        av.open(str(out), "w", format=kind, container_options=options) as target,
    ):
        target.metadata.update({k: v for k, v in source.metadata.items() if k not in ("encoder", "major_brand")})
        shown: Any = source.streams.video[0]
        copy: Any = target.add_stream_from_template(shown)
        copy.time_base = shown.time_base
        rate = heard.getframerate()
        spoken: Any = target.add_stream("libopus" if webm else "aac", rate=rate)
        context = spoken.codec_context
        context.layout = "mono"
        resampler = av.AudioResampler(format=context.format, layout="mono", rate=rate, frame_size=context.frame_size)
        done, end = 0, 0.0

        def until(time: float) -> None:
            nonlocal done
            while done < round(time * rate):
                data = np.frombuffer(heard.readframes(min(BLOCK, round(time * rate) - done)), "<i2")
                if not len(data):
                    return
                frame = av.AudioFrame.from_ndarray(data[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
                done += len(data)
                for part in resampler.resample(frame):
                    target.mux(spoken.encode(part))

        for packet in source.demux(shown):
            if packet.dts is None:
                continue
            end = max(end, float((packet.pts + (packet.duration or 0)) * shown.time_base))
            until(end)
            packet.stream = copy
            target.mux(packet)
        for part in resampler.resample(None):
            target.mux(spoken.encode(part))
        target.mux(spoken.encode(None))
