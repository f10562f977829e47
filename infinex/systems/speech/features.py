"""How loud a recording is: log-mel energies, streamed in constant memory, and their level in the long run.

NumPy and SciPy only: the driver runs without PyTorch. One row a hop of 10 ms; row k is centred on k * 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
RATE = 16000  # samples a second
HOP = 160
WINDOW = 400
FFT = 512
BANDS = 40
LOWEST, HIGHEST = 80.0, 7600.0  # Hz
FLOOR = 1e-7  # power below which a band counts as silent


def _mel(hertz: float) -> float:
    return 1127.0 * float(np.log1p(hertz / 700.0))


@cache
def filters() -> Array:
    """Triangular mel filters of unit area, (257, BANDS)."""
    edges = 700.0 * np.expm1(np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2) / 1127.0)
    f = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (f[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - f[:, None]) / (edges[2:] - edges[1:-1])
    weight = np.clip(np.minimum(rise, fall), 0, None)
    return (weight / np.maximum(weight.sum(0), 1e-9)).astype(np.float32)


def log_mel(samples: Array) -> Array:
    """Log mel power (T, BANDS) of windows of 25 ms every 10 ms inside `samples` (N,), -1..1 at 16 kHz."""
    if len(samples) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    frames = frames - frames.mean(1, keepdims=True)
    frames = frames[:, 1:] - 0.95 * frames[:, :-1]  # the tilt of voices taken out
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW - 1).astype(np.float32), FFT)) ** 2 / WINDOW
    return np.log(power.astype(np.float32) @ filters() + FLOOR)


def stream_log_mel(chunks: Iterable[Array]) -> Iterator[Array]:
    """Log-mel rows in blocks (n, BANDS) of a stream of samples, any chunk sizes; row k is centred on k * 10 ms."""
    waiting = np.zeros(WINDOW // 2, np.float32)  # so that the first window is centred on the first sample
    for chunk in chunks:
        waiting = np.concatenate([waiting, chunk])
        rows = (len(waiting) - WINDOW) // HOP + 1
        if rows >= 50:
            yield log_mel(waiting[: (rows - 1) * HOP + WINDOW])
            waiting = waiting[rows * HOP :]
    waiting = np.concatenate([waiting, np.zeros(WINDOW // 2, np.float32)])
    block = log_mel(waiting)
    if len(block):
        yield block


@dataclass(frozen=True)
class Level:
    """Loudness of a recording in the long run, in nats: `loud` where somebody speaks, `floor` where nobody does."""

    loud: float
    floor: float

    @property
    def speaks(self) -> float:
        """Loudness above which somebody speaks."""
        return max(self.loud - 3.0, self.floor + 0.25 * (self.loud - self.floor))


def loudness(rows: Array) -> Array:
    """Log of the mean power between 300 and 4000 Hz of log-mel rows (..., BANDS), (...)."""
    return np.log(np.exp(rows[..., 5:29]).mean(-1))


def measure(blocks: Iterable[Array]) -> Level:
    """The level of a recording in one pass over its log-mel rows: a histogram of loudness."""
    edges = np.linspace(-17, 8, 101)
    count = np.zeros(102)
    for rows in blocks:
        np.add.at(count, np.digitize(loudness(rows), edges), 1)
    share = np.cumsum(count) / max(count.sum(), 1)
    centre = np.concatenate([[edges[0]], (edges[1:] + edges[:-1]) / 2, [edges[-1]]])
    return Level(float(centre[np.searchsorted(share, 0.95)]), float(centre[np.searchsorted(share, 0.05)]))
