"""Clips with a flash and a click at known times, and the offset between both in any file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

FPS, SIZE = 25, (64, 48)
RATES = {"opus": 48000, "libopus": 48000}


def clicks(rate: int, seconds: float, at: list[float], channels: int = 2) -> NDArray[np.float32]:
    """(channels, N): faint noise, and bursts of 20 ms that begin at the times `at`."""
    n = round(rate * seconds)
    t = np.arange(n) / rate
    out = 0.002 * np.random.default_rng(0).standard_normal(n)
    for time in at:
        out += np.where((t >= time) & (t < time + 0.02), 0.7 * np.sin(2 * np.pi * 1500 * (t - time)), 0)
    return np.tile(out.astype(np.float32), (channels, 1))


def write(
    path: Path,
    codec: str = "aac",
    seconds: float = 2.4,
    flash: float = 1.2,
    click: float = 1.2,
    sound_from: float = 0.0,
    pictures_from: float = 0.0,
    gap: tuple[float, float] | None = None,
    rate: int = 0,
    channels: int = 2,
    video: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A clip that flashes and clicks, both times on one clock; sound and pictures begin where told.

    Packets of sound in `gap` are left out. Without `video` it is a sound file."""
    rate = rate or RATES.get(codec, 44100)
    with av.open(str(path), "w", container_options=options or {}) as out:
        pictures: Any = None
        if video:
            pictures = out.add_stream(video, rate=FPS)
            pictures.width, pictures.height = SIZE
            pictures.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            pictures.options = {"preset": "ultrafast"} if video == "libx264" else {}
        sound: Any = out.add_stream(codec, rate=rate, layout="mono" if channels == 1 else "stereo")
        packets = []
        if pictures is not None:
            for i in range(round(pictures_from * FPS), round(seconds * FPS)):
                lit = 255 if round(flash * FPS) <= i < round(flash * FPS) + 2 else 30
                frame = av.VideoFrame.from_ndarray(np.full((SIZE[1], SIZE[0], 3), lit, np.uint8), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, FPS)
                packets += pictures.encode(frame)
            packets += pictures.encode()
        samples = clicks(rate, seconds, [click], channels)
        first = round(sound_from * rate)
        size = sound.codec_context.frame_size or 1024
        for at in range(first, samples.shape[1], size):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, at : at + size]), "fltp", "mono" if channels == 1 else "stereo"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            packets += sound.encode(frame)
        packets += sound.encode()
        for packet in sorted(packets, key=lambda p: float((p.dts if p.dts is not None else p.pts) * p.time_base)):
            if packet.stream is sound and gap and gap[0] <= float(packet.pts * packet.time_base) < gap[1]:
                continue
            out.mux(packet)
    return path


def _frames(path: Path, kind: str) -> Iterator[tuple[float, Any]]:
    with av.open(str(path)) as container:
        for frame in container.decode(**{kind: 0}):
            yield float(frame.pts * frame.time_base), frame


def first_picture(path: Path) -> float:
    """Time stamp of the first picture that is shown."""
    return next(_frames(path, "video"))[0]


def flash_time(path: Path) -> float:
    """Time stamp of the first bright picture."""
    return next(t for t, f in _frames(path, "video") if f.to_ndarray(format="gray").mean() > 140)


def sound_track(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and loudness of every sample, by the stamps of the file alone."""
    times, levels = [], []
    for time, frame in _frames(path, "audio"):
        raw = frame.to_ndarray()
        samples = raw.astype(np.float64)
        if raw.dtype == np.uint8:
            samples = samples / 128 - 1
        elif raw.dtype.kind == "i":
            samples /= -float(np.iinfo(raw.dtype).min)
        samples = samples if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels)).T
        levels.append(np.abs(samples).max(0))
        times.append(time + np.arange(len(levels[-1])) / frame.sample_rate)
    return np.concatenate(times), np.concatenate(levels)


def click_time(path: Path) -> float:
    """Time at which the first burst begins."""
    times, levels = sound_track(path)
    return float(times[np.argmax(levels > 0.25)])


def offset(path: Path) -> float:
    """Seconds by which the click comes after the flash."""
    return click_time(path) - flash_time(path)
