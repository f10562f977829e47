"""What the networks learn from: synthesised phrases with their sounds, and filmed talkers with their mouths."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.shape import lip_gaps
from infinex.media.audio import has_audio, read_audio
from infinex.media.files import atomic_path
from infinex.motion import Motion
from infinex.systems.speech.features import RATE
from infinex.systems.speech.listener import HIDDEN, STEPS, default_listener
from infinex.systems.speech.resting import coefficients_of, point_weights, symmetric
from infinex.systems.speech.runtime import default_model
from infinex.systems.speech.synthetic import roughen, utterances

Array = NDArray[np.float64]
LAGS = range(-10, 11)  # steps by which sound and picture of a clip may be apart
USUAL = 0.045  # IOD: standard deviation of a usual talker's mouth opening
HEARD = 0.25  # correlation with the sound below which a clip shows nobody who speaks it


def opening(face: Array) -> Array:
    """How far the lips are apart in the middle, IOD: (..., 478, 3) to (...)."""
    return lip_gaps(face)[..., 3:6].mean(-1)


def lively(opening: Array) -> float:
    """How far a talker opens the mouth (T,), as a share of what is usual."""
    return max(float(opening.std()), 0.02) / USUAL


@dataclass(frozen=True)
class Talk:
    """A filmed talker: sound in step with tracks of the mouth, 50 a second."""

    name: str
    identity: str
    sound: NDArray[np.float32]  # (N,) at 16 kHz, begins with the first step
    offsets: NDArray[np.float32]  # (T, 478, 3) from the talker's rest, both sides of the face alike
    opening: Array  # (T,)
    lag: int  # steps by which the file's sound was late


def at_steps(values: NDArray[Any], fps: float) -> NDArray[Any]:
    """Frames at `fps` as steps of 20 ms, linearly interpolated."""
    steps = max(1, int(len(values) / fps * STEPS) - 1)
    t = np.minimum(np.arange(steps) * fps / STEPS, len(values) - 1)
    i = np.minimum(t.astype(int), max(len(values) - 2, 0))
    f = (t - i).reshape(-1, *[1] * (values.ndim - 1))
    return values[i] * (1 - f) + values[np.minimum(i + 1, len(values) - 1)] * f


def rows_of(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the listener hears of a whole recording (N,): one row (HIDDEN,) for each of its whole steps."""
    return default_listener()(sound)[: max(1, len(sound) * STEPS // RATE)]


def lag_of(heard: Array, seen: Array) -> tuple[int, float]:
    """By how many steps `heard` is late against `seen`, and their correlation there."""
    best = (0, -1.0)
    n = min(len(heard), len(seen))
    for lag in LAGS:
        a, b = heard[max(0, lag) : n + min(0, lag)], seen[max(0, -lag) : n - max(0, lag)]
        if len(a) > STEPS and a.std() > 0 and b.std() > 0 and (r := float(np.corrcoef(a, b)[0, 1])) > best[1]:
            best = (lag, r)
    return best


def shifted(sound: NDArray[np.float32], steps: int, length: int) -> NDArray[np.float32]:
    """`length` steps of sound from `steps` later on, silence where there is none."""
    k = steps * RATE // STEPS
    sound = np.concatenate([np.zeros(max(0, -k), np.float32), sound[max(0, k) :]])
    n = length * RATE // STEPS
    return np.pad(sound[:n], (0, max(0, n - len(sound))))


def read_talk(name: str, identity: str, clip: Path, motion: Motion) -> Talk | None:
    """A clip and its tracked motion as training material; None where nobody is seen to speak its sound.

    The lag between sound and picture, which broadcast and web video are full of, is found with the network that
    comes with Infinex."""
    offsets = at_steps(motion.offsets.astype(np.float64), motion.fps)
    seen = opening(motion.rest.face + offsets)
    sound = read_audio(clip, RATE)
    model = default_model()
    coefficients, _ = model.run(rows_of(sound))
    lag, r = lag_of(opening(top.mean_face() + model.offsets(coefficients)), seen)
    if r < HEARD:
        return None
    return Talk(name, identity, shifted(sound, lag, len(offsets)), symmetric(offsets).astype(np.float32), seen, lag)


def talks(folder: str | Path, split: str) -> Iterator[Talk]:
    """Talkers of a prepared folder, tracked once and kept under its `.speech`."""
    from infinex.jobs.track import track
    from infinex.training.data import read_clips

    for clip in read_clips(folder, split):
        if not has_audio(clip.path):
            continue
        kept = Path(folder) / ".speech" / f"{clip.name}.motion.npz"
        if not kept.is_file():
            kept.parent.mkdir(exist_ok=True)
            track(clip.path, smooth=0.3)[0].save(kept)
        talk = read_talk(clip.name, clip.identity, clip.path, Motion.load(kept))
        if talk is not None:
            yield talk


class Mouths:
    """Windows of filmed talkers: `rows` (L, HIDDEN), `coefficients` (L, K), `talker` their number."""

    def __init__(
        self, found: list[Talk], shapes: Array, length: int, repeats: int, variants: int, seed: int = 0
    ) -> None:
        if not found:
            raise InputError("nobody in this folder is seen and heard to speak; use clips of talkers with their sound")
        self._length, self._repeats = length, repeats
        names = sorted({t.identity for t in found})
        rng = np.random.default_rng(seed)
        self._talks: list[tuple[list[tuple[NDArray[np.float16], float]], NDArray[np.float32], int]] = []
        for t in found:
            aim = coefficients_of(t.offsets, shapes) / lively(t.opening)
            versions = [(rows_of(t.sound).astype(np.float16), 1.0)]
            for _ in range(variants):
                sound, k = varied(t.sound, rng)
                versions.append((rows_of(sound).astype(np.float16), k))
            self._talks.append((versions, aim.astype(np.float32), names.index(t.identity)))
        self._lengths = np.cumsum([min(len(a), 10 * STEPS) for _, a, _ in self._talks])

    def __len__(self) -> int:
        return max(1, int(self._lengths[-1]) // self._length) * self._repeats

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A window anywhere in a talker drawn by how long they speak."""
        n = self._length
        which = int(np.searchsorted(self._lengths, rng.integers(self._lengths[-1]), side="right"))
        versions, aim, talker = self._talks[which]
        rows, k = versions[rng.integers(len(versions))]
        start = int(rng.integers(max(1, len(rows) - n)))
        part = rows[start : start + n].astype(np.float32)
        part = np.pad(part, ((0, n - len(part)), (0, 0)), mode="edge")
        t = np.clip((start + np.arange(n)) * k, 0, len(aim) - 1)
        i = np.minimum(t.astype(int), len(aim) - 2)
        f = (t - i)[:, None].astype(np.float32)
        wanted = aim[i] * (1 - f) + aim[i + 1] * f
        return {"rows": blurred(part, rng), "coefficients": wanted, "talker": np.int64(talker)}


def varied(sound: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.float32], float]:
    """The same speech at another pace and pitch, in another room and channel, and how much faster it is."""
    k = int(rng.integers(86, 115))
    return roughen(resample_poly(sound, 100, k).astype(np.float32), rng), k / 100


def blurred(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Hidden states as another voice or channel might have them: each number stronger or weaker by a tenth."""
    return rows * (1 + 0.1 * rng.standard_normal(rows.shape[1])).astype(np.float32)  # type: ignore[attr-defined]


class Phrases:
    """Windows of synthesised speech: `rows` (L, HIDDEN) and the `classes` (L,) of its sounds.

    Made once and kept in the folder; the held-back ones are other phrases."""

    def __init__(self, folder: str | Path, split: str, count: int, length: int, foreign: float = 0.0) -> None:
        self._length = length
        path = Path(folder) / ".speech" / f"phrases-{split}-{count}-{round(100 * foreign)}.npz"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows, classes = [np.zeros((0, HIDDEN), np.float16)], [np.zeros(0, np.int8)]
            for sound, kinds in utterances(count, seed=1 if split == "train" else 2, foreign=foreign):
                x = rows_of(sound)
                n = min(len(x), len(kinds))
                rows.append(x[:n].astype(np.float16))
                classes.append(kinds[:n].astype(np.int8))
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, rows=np.concatenate(rows), classes=np.concatenate(classes))
        try:
            with np.load(path, allow_pickle=False) as data:
                self._rows, self._classes = data["rows"], data["classes"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            raise InputError(f"{path} is damaged; delete it, and it is made again") from None
        self._train = split == "train"

    def __len__(self) -> int:
        return len(self._classes) // self._length

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A window anywhere; held-back ones in order."""
        n = self._length
        start = int(rng.integers(len(self._classes) - n)) if self._train else index * n
        rows = self._rows[start : start + n].astype(np.float32)
        classes = self._classes[start : start + n].astype(np.int64)
        return {"rows": blurred(rows, rng) if self._train else rows, "classes": classes}


def principal_shapes(found: list[Talk], count: int) -> Array:
    """The main directions of mouths (K, 478, 3), orthogonal on the weighted mesh; a unit is the usual way from rest.

    Every talker is scaled to the same liveliness first."""
    from scipy.sparse.linalg import eigsh

    weight = point_weights()
    rows = np.concatenate([(t.offsets / lively(t.opening) * weight).reshape(len(t.offsets), -1) for t in found])
    values, vectors = eigsh(rows.T @ rows / len(rows), k=count)
    order = np.argsort(-values)
    usual = float(np.sqrt(values.sum()))
    shapes = vectors[:, order].T.reshape(count, top.POINTS, 3) * usual
    return np.where(weight > 0, shapes / np.maximum(weight, 1e-9), 0)
