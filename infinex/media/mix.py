"""Several sounds laid over each other in time, each with a speed (at its own pitch), a volume and fades."""

from __future__ import annotations

import contextlib
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from infinex.media.audio import decoded, open_sound

RATE = 48000
Stereo = NDArray[np.float32]  # (2, N) in -1..1


@dataclass(frozen=True)
class Heard:
    """A part of a file's sound in a mix; times in seconds, `at`, `lasts`, `period` and fades on the mix's clock."""

    path: Path
    at: float
    lasts: float  # how long it is heard
    start: float = 0.0  # of the file
    end: float | None = None
    speed: float = 1.0
    volume: float = 1.0
    fade_in: float = 0.0
    fade_out: float = 0.0
    period: float | None = None  # after which it begins again; None: once


def mix(sounds: Sequence[Heard], seconds: float, path: Path) -> Path:
    """Write `seconds` of the sounds together as 16-bit stereo WAV, in constant memory; gives the path back.

    Raises InputError for a file without sound."""
    streams = [_Faded(s) for s in sounds]
    left = round(seconds * RATE)
    try:
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            while left > 0:
                n = min(left, RATE)
                left -= n
                total = np.zeros((2, n), np.float32)
                for stream in streams:
                    stream.add(total)
                # Beyond full scale a soft knee is less harsh than clipping; below it nothing changes.
                loud = np.abs(total) > 0.9
                total[loud] = np.sign(total[loud]) * (0.9 + 0.1 * np.tanh((np.abs(total[loud]) - 0.9) / 0.1))
                file.writeframes((total.T * 32767).astype("<i2").tobytes())
    finally:
        for stream in streams:
            stream.close()
    return path


class _Faded:
    """One sound, added block by block where it is due."""

    def __init__(self, heard: Heard) -> None:
        self._heard, self._at = heard, 0
        self._parts: Iterator[Stereo] = _cycles(heard)
        self._waiting: Stereo = np.zeros((2, 0), np.float32)

    def add(self, total: Stereo) -> None:
        """Add the next block to `total`, in place."""
        h, n = self._heard, total.shape[1]
        first, last = round(h.at * RATE), round((h.at + h.lasts) * RATE)
        a, b = max(self._at, first), min(self._at + n, last)
        if a < b:
            part = self._take(b - a)
            t = (np.arange(a, a + part.shape[1]) - first) / RATE
            gain = np.full(len(t), h.volume)
            if h.fade_in > 0:
                gain *= np.clip(t / h.fade_in, 0, 1)
            if h.fade_out > 0:
                gain *= np.clip((h.lasts - t) / h.fade_out, 0, 1)
            total[:, a - self._at : a - self._at + part.shape[1]] += part * gain.astype(np.float32)
        self._at += n

    def _take(self, n: int) -> Stereo:
        parts, have = [self._waiting], self._waiting.shape[1]
        while have < n:
            part = next(self._parts, None)
            if part is None:
                break
            parts.append(part)
            have += part.shape[1]
        whole = np.concatenate(parts, 1)
        self._waiting = whole[:, n:]
        return whole[:, :n]

    def close(self) -> None:
        """Close the file."""
        self._parts.close()  # type: ignore[attr-defined]


def _cycles(heard: Heard) -> Iterator[Stereo]:
    """The sound once, or round and round, each time exactly as long as its period."""
    while True:
        left = None if heard.period is None else max(1, round(heard.period * RATE))
        container, stream = open_sound(heard.path)
        with container:
            for part in _tempo(decoded(container, stream, RATE, 2, heard.start, heard.end), heard.speed):
                if left is None:
                    yield part
                    continue
                yield part[:, :left]
                left -= part.shape[1]
                if left <= 0:
                    break
        if left is None:
            return
        if left > 0:
            yield np.zeros((2, left), np.float32)


def _tempo(parts: Iterator[Stereo], speed: float) -> Iterator[Stereo]:
    """The same sound faster or slower, at its own pitch (WSOLA, FFmpeg's atempo)."""
    if speed == 1:
        yield from parts
        return
    graph = av.filter.Graph()
    source: Any = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo")
    last: Any = source
    while abs(speed - 1) > 1e-9:  # one filter keeps its quality between a half and two
        step = min(2.0, max(0.5, speed))
        speed /= step
        tempo = graph.add("atempo", f"{step:.6f}")
        last.link_to(tempo)
        last = tempo
    planar = graph.add("aformat", f"sample_fmts=fltp:channel_layouts=stereo:sample_rates={RATE}")
    last.link_to(planar)
    sink = graph.add("abuffersink")
    planar.link_to(sink)
    graph.configure()
    at = 0
    for part in parts:
        for i in range(0, part.shape[1], 4096):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part[:, i : i + 4096]), "fltp", "stereo")
            frame.sample_rate, frame.pts = RATE, at
            at += frame.samples
            source.push(frame)
            yield from _pulled(graph)
    source.push(None)
    yield from _pulled(graph)


def _pulled(graph: Any) -> Iterator[Stereo]:
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield np.asarray(graph.pull().to_ndarray(), np.float32)
