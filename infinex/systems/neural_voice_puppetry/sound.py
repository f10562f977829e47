"""Sound as the voice network hears it: rows at the rate of the video, and windows of them around each frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.span import excerpt
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.media.audio import has_audio, iter_audio
from infinex.systems.neural_voice_puppetry.model import NOW, ROWS, STEPS
from infinex.systems.speech.data import at_steps, lag_of, opening, rows_of, shifted
from infinex.systems.speech.features import RATE
from infinex.systems.speech.listener import STEPS as STEPS_A_SECOND
from infinex.systems.speech.listener import default_listener
from infinex.systems.speech.runtime import default_model

Rows = NDArray[np.float32]


def samples_of(sound: Path, span: tuple[float, float | None]) -> NDArray[np.float32]:
    """A span of a recording (N,) at 16 kHz. Raises InputError where there is no sound."""
    if not has_audio(sound):
        raise InputError(f"{sound.name} has no sound: this system is moved by a voice, and learns one from a clip")
    return np.concatenate(list(excerpt(iter_audio(sound, RATE), RATE, span, sound.name)))


def late(samples: NDArray[np.float32], points: NDArray, fps: float) -> tuple[int, float]:
    """By how many steps of 20 ms the sound (N,) of a film is late against its lips, whose tracked `points` (T, 478, 3)
    are given, and how well it fits them there: web video is full of lags, and of sound that nobody in it speaks."""
    face = top.mean_face()
    seen = opening(np.stack([fit_pose(face, p).to_head(p) for p in np.asarray(points, np.float64)]))
    model = default_model()
    said = opening(face + model.offsets(model.run(rows_of(samples))[0]))
    return lag_of(said, at_steps(seen, fps))


def in_step(samples: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    """Sound (N,) as early as that."""
    return shifted(samples, lag, len(samples) * STEPS_A_SECOND // RATE)


def mouths_in(samples: NDArray[np.float32], fps: float, frames: int | None = None) -> Rows:
    """What the network of `--speech` makes of samples (N,) at 16 kHz: its coefficients of a mouth, (frames, 6)."""
    made = default_model().run(rows_of(samples))[0]
    count = frames if frames is not None else max(1, round(len(samples) / RATE * fps))
    at = np.arange(count) / fps * STEPS_A_SECOND
    return np.stack([np.interp(at, np.arange(len(made)), c) for c in made.T], 1).astype(np.float32)


def rows_in(samples: NDArray[np.float32], fps: float, frames: int | None = None) -> Rows:
    """What the listener makes of samples (N,) at 16 kHz, one row (288,) for each of `frames`, or for all there are."""
    heard = default_listener()(samples)
    count = frames if frames is not None else max(1, round(len(samples) / RATE * fps))
    # The mean of what falls into a frame: rows come twice as often as usual frames.
    edges = np.clip((np.arange(count + 1) - 0.5) * STEPS_A_SECOND / fps, 0, len(heard) - 1e-3)
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
