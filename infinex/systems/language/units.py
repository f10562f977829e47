"""Driving by the unit-space generator: sentences to trajectories, one after the other."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.drivers.timeline import LIMITS, TrackDriver
from infinex.errors import InputError
from infinex.nn.sentence import DEFAULT, load_encoder
from infinex.systems.language.model import UnitMotion
from infinex.systems.language.weights import load_units

Array = NDArray[np.float64]
SHIPPED = ("recurrent", "lstm")
LEAD, FADE, TAIL = 0.3, 0.6, 0.3  # seconds before, of letting go, and after
JOINT = re.compile(
    r",?\s*\b(?:and |but )?(?:then|after that|after which|afterwards|finally|followed by|before(?= \w+ing\b))\b", re.I
)
START = 0.08  # seconds in which a trajectory that does not begin quite at rest is faded in
SETTLED, HELD, PAUSE, LEAST = 0.06, 1.15, 0.3, 1.2  # when it rests (share of full intensity), then seconds
FAINT = 0.2  # a sentence that moves nothing further than this was not understood


def generate(
    model: UnitMotion, vectors: NDArray[np.float32], frames: int | None = None, straight: bool = False
) -> NDArray[np.float32]:
    """Trajectories (N, T, C) of sentence vectors (N, E), within full intensity.

    `straight` is the baseline of the paper: on a straight line to the last code's face."""
    with torch.inference_mode():
        made = model(torch.from_numpy(np.asarray(vectors, np.float32)), frames, phase="inference").numpy()
    if straight:
        made = made[:, -1:] * np.linspace(0, 1, made.shape[1], dtype=np.float32)[None, :, None]
    low = np.array([0.0 if c.startswith("AU") else -1.0 for c in model.config.channels], np.float32)
    return np.clip(made, low, 1)


def acted(
    text: str, fps: float = 25.0, model: str = "recurrent", encoder: str | None = None
) -> tuple[dict[str, Array], int, list[str]]:
    """Every channel over time of each sentence acted out by the generator `model`, how many frames, and notes.

    Raises InputError for a text that moves nothing, and what `load_units` and `load_encoder` raise."""
    weights = load_units(None if model in SHIPPED else Path(model), model if model in SHIPPED else "recurrent")
    parts = clauses(text)
    network = weights.model
    made = generate(network, read(network, parts, encoder))
    strength = np.abs(made).max((1, 2))
    if strength.max() < FAINT:
        raise InputError(f'nothing in "{text[:60]}" moves the face; say what it should do')
    tracks, frames = laid_out(made, network.config.channels, network.config.fps, fps)
    return tracks, frames, [f'nothing came of "{p}"' for p, s in zip(parts, strength) if s < FAINT]


def clauses(text: str) -> list[str]:
    """What a text asks for one after another: its sentences, parted where one says "then".

    One embedding hardly tells who frowns and then laughs from who laughs and then frowns; the order is made here."""
    out: list[str] = []
    for sentence in re.split(r"[.!?;\n]+", text):
        for k, part in enumerate(JOINT.split(sentence)):
            part = part.strip(" ,")
            if part:
                finite = k > 0 and re.match(r"(?!his\b|this\b|its\b|is\b)\w+s\b", part)
                out.append(f"she {part}" if finite else part)
    return out


def read(model: UnitMotion, texts: Sequence[str], encoder: str | None = None) -> NDArray[np.float32]:
    """Sentences (N, E) as the generator was trained to take them. Raises InputError for an encoder of another size."""
    vectors = load_encoder(encoder or DEFAULT)(texts, pooling=model.config.pooling)
    if vectors.shape[1] != model.config.sentence:
        raise InputError(
            f"the sentence encoder gives {vectors.shape[1]} numbers, the generator of motion was trained on "
            f"{model.config.sentence}: name the encoder it was trained with"
        )
    return vectors


def open_sentences(
    text: str, fps: float = 25.0, still: bool = False, model: str = "recurrent", encoder: str | None = None
) -> TrackDriver:
    """A driver that acts out each sentence by the generator `model` ("recurrent", "lstm" or a file).

    Raises what `acted` raises."""
    tracks, frames, notes = acted(text, fps, model, encoder)
    driver = TrackDriver(tracks, frames, fps, still, zlib.crc32(text.encode()))
    driver.notes += notes
    return driver


def lasting(made: NDArray[np.float32], rate: float) -> float:
    """Seconds that a sentence's trajectory (T, C) needs: until it rests, and as long as what it ends in is held."""
    away = np.abs(made - made[-1]).max(1) > SETTLED
    last = int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0
    held = HELD if np.abs(made[-1]).max() > FAINT else PAUSE
    return float(min(len(made) / rate, max(last / rate + held, LEAST)))


def laid_out(
    made: NDArray[np.float32], channels: Sequence[str], rate: float, fps: float
) -> tuple[dict[str, Array], int]:
    """Trajectories (N, T, C) at `rate` one after another, each let go while the next begins; and how many frames."""
    seconds = [lasting(part, rate) for part in made]
    times = np.arange(round((LEAD + sum(seconds) + FADE + TAIL) * fps)) / fps
    own = np.arange(made.shape[1]) / rate
    tracks: dict[str, Array] = {}
    begin = LEAD
    for part, length in zip(made, seconds):
        t = times - begin
        begin += length
        gone = np.clip((t - length) / FADE, 0, 1)
        weight = (1 - gone**3 * (10 - 15 * gone + 6 * gone * gone)) * np.clip(t / START, 0, 1)
        for c, name in enumerate(channels):
            value = np.interp(t, own, part[:, c]) * weight * LIMITS.get(name, 1.0)
            tracks[name] = tracks.get(name, np.zeros(len(times))) + value
    lowest = {n: 0.0 if n.startswith("AU") else -LIMITS[n] for n in tracks}
    return {n: np.clip(v, lowest[n], LIMITS.get(n, 1.0)) for n, v in tracks.items()}, len(times)
