"""Sound as the voice network hears it: rows at the rate of the video, and windows of them around each frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.span import excerpt
from infinex.errors import InputError
from infinex.media.audio import has_audio, iter_audio
from infinex.systems.neural_voice_puppetry.model import NOW, ROWS, STEPS
from infinex.systems.speech.features import RATE
from infinex.systems.speech.listener import STEPS as ROWS_A_SECOND
from infinex.systems.speech.listener import default_listener

Rows = NDArray[np.float32]


def rows_at(sound: Path, span: tuple[float, float | None], fps: float, frames: int | None = None) -> Rows:
    """What the listener makes of a recording, one row (288,) for each of `frames`, or for all there are.

    Raises InputError where there is no sound."""
    if not has_audio(sound):
        raise InputError(f"{sound.name} has no sound: this system is moved by a voice, and learns one from a clip")
    samples = np.concatenate(list(excerpt(iter_audio(sound, RATE), RATE, span, sound.name)))
    heard = default_listener()(samples)
    count = frames if frames is not None else max(1, round(len(samples) / RATE * fps))
    # The mean of what falls into a frame: rows come twice as often as usual frames.
    edges = np.clip((np.arange(count + 1) - 0.5) * ROWS_A_SECOND / fps, 0, len(heard) - 1e-3)
    sums = np.concatenate([np.zeros((1, heard.shape[1])), np.cumsum(heard.astype(np.float64), 0)])

    def until(at: NDArray) -> NDArray:
        whole = at.astype(int)
        return np.asarray(sums[whole] + (at - whole)[:, None] * heard[np.minimum(whole, len(heard) - 1)])

    width = np.maximum(np.diff(edges), 1e-6)[:, None]
    out = np.diff(until(edges), axis=0) / width
    last = np.diff(edges) < 1e-6
    out[last] = heard[-1]
    return np.asarray(out, np.float32)


def read_rows(path: str | Path, features: int) -> Rows:
    """Rows (T, features) made elsewhere, at the rate of the video, of a `.npy`. Raises InputError."""
    path = Path(path)
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        raise InputError(f"{path}: a .npy of rows of sound (frames, {features}) is wanted") from None
    if rows.ndim != 2 or rows.shape[1] != features or not len(rows) or not np.isfinite(rows).all():
        raise InputError(f"{path}: rows of sound (frames, {features}) are wanted, not {rows.shape}")
    return np.asarray(rows, np.float32)


def windows(rows: Rows, frames: NDArray[np.integer]) -> Rows:
    """Eight windows of sixteen rows (n, 8, 16, features) around frames (n,): from three frames before to four after,
    each centred; beyond the ends the last row goes on."""
    steps = np.arange(STEPS) - NOW
    inside = np.arange(ROWS) - ROWS // 2
    # As published, the frames of windows stay inside first.
    middle = np.clip(np.asarray(frames)[:, None] + steps, 0, len(rows) - 1)
    at = np.clip(middle[..., None] + inside, 0, len(rows) - 1)
    return np.asarray(rows[at])
