"""Five measures of THEval that a CPU can take: head motion, lips, brows and lids, lip sync, lips in silence.

After Quignon, Chopin, Wang and Dantcheva, "THEval", CVPR 2026 Findings: each is a number of a video by itself; a system
is scored by how near its mean over all videos comes to that of the real ones, 1 - |its - theirs| / theirs. What differs
from the authors' own: the head's pose and the landmarks are read by this project's tracker, not by FaceXFormer and
MediaPipe, and who speaks when is told by loudness, not by a network. Their three measures of picture quality need
networks of people's judgement and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from infinex.face import topology as top
from infinex.face.pose import fit_pose

Array = NDArray[np.float64]
KEYS = ("head", "lips", "brows", "sync", "silent")
TITLES = {
    "head": "head motion", "lips": "lips", "brows": "brows and lids", "sync": "lip sync", "silent": "silent lips",
}  # fmt: skip
PUBLISHED = {
    "head": 0.755,
    "lips": 0.991,
    "brows": 0.9997,
    "sync": 0.998,
    "silent": 0.932,
}  # LivePortrait, as published
BLOCK = 0.05  # seconds over which loudness is taken
PAUSE = 0.3  # seconds from which on a silence counts
SPEECH = 0.35  # of the way from the floor to the peak of loudness in dB, from which on somebody speaks
LEAST = 0.1  # share of the frames with speech below which lip sync says nothing
MIDDLE = slice(1, -1)  # lip points without the corners


@dataclass(frozen=True)
class Glimpse:
    """What is kept of one frame."""

    pose: Array  # (5,) pitch, yaw and roll in degrees, centre of the face in pixels
    lips: Array  # (780,) distances between all lip points, in IOD
    brows: Array  # (2,) from brow to eye, right and left, in distances between the eyes
    opening: float  # of the lips, in IOD


def glimpse(points: Array) -> Glimpse:
    """What landmarks (478, 3) in pixels tell."""
    yaw, pitch, roll = fit_pose(top.mean_face(), points).angles
    p = points[:, :2]
    centre = (p[: top.SURFACE].min(0) + p[: top.SURFACE].max(0)) / 2
    iod = max(float(np.linalg.norm(p[33] - p[263])), 1e-6)
    lips = pdist(p[top.LIPS_OUTER + top.LIPS_INNER]) / iod
    right, left = p[top.RIGHT_EYE].mean(0), p[top.LEFT_EYE].mean(0)
    apart = max(float(np.linalg.norm(right - left)), 1e-6)
    brows = [np.linalg.norm(p[b].mean(0) - e) / apart for b, e in ((top.RIGHT_BROW, right), (top.LEFT_BROW, left))]
    gaps = np.abs(p[top.LIPS_INNER_UPPER[MIDDLE], 1] - p[top.LIPS_INNER_LOWER[MIDDLE], 1])
    return Glimpse(np.array([pitch, yaw, roll, *centre]), lips, np.array(brows), float(gaps.mean() / iod))


def head(poses: Array) -> float:
    """Liveliness of a head from (T, 5): its spread of angles times how unsteadily they change, and where it goes.

    The root of the mean deviation of the three angles times the mean variance of their steps, plus the mean variance of
    the face's place in pixels."""
    if len(poses) < 3:
        return float("nan")
    steps = np.diff(poses[:, :3], axis=0).var(0).mean()
    return float(np.sqrt(poses[:, :3].std(0).mean() * steps + poses[:, 3:].var(0).mean()))


def lips(shapes: Array) -> float:
    """Variety of a mouth's shapes (T, D): the mean variance of the distances between its points."""
    return float(shapes.var(0).mean()) if len(shapes) > 1 else float("nan")


def brows(heights: Array) -> float:
    """How much brows and lids stir, from (T, 2): the mean step of the distance between brow and eye."""
    return float(np.abs(np.diff(heights, axis=0)).mean()) if len(heights) > 1 else float("nan")


def loudness(sound: NDArray, rate: int) -> Array:
    """Root mean square of every `BLOCK` of a mono sound (N,), (B,)."""
    size = int(BLOCK * rate)
    blocks = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    return np.sqrt((blocks**2).mean(1))


def speaking(loud: Array, frames: int, fps: float) -> NDArray[np.bool_]:
    """In which of so many frames somebody speaks: where it is louder than a share of the way from floor to peak."""
    if not len(loud):
        return np.zeros(frames, bool)
    level = 20 * np.log10(loud + 1e-5)
    floor, peak = np.percentile(level, [10, 95])
    at = np.minimum((np.arange(frames) / fps / BLOCK).astype(int), len(level) - 1)
    return np.asarray((level > floor + SPEECH * (peak - floor)) & (level > -55))[at]


def silences(spoken: NDArray[np.bool_], fps: float) -> NDArray[np.bool_]:
    """Frames (T,) of silences that last at least `PAUSE`."""
    out = np.zeros(len(spoken), bool)
    start = 0
    for i in range(1, len(spoken) + 1):
        if i == len(spoken) or spoken[i] != spoken[start]:
            if not spoken[start] and i - start >= PAUSE * fps:
                out[start:i] = True
            start = i
    return out


def sync(opening: Array, loud: Array, spoken: NDArray[np.bool_], fps: float) -> float:
    """How far opening (T,) and loudness differ while somebody speaks, each from its least to its most there."""
    if spoken.mean() < LEAST or spoken.sum() < 2:
        return float("nan")
    at = (np.arange(len(opening)) / fps) / BLOCK - 0.5
    volume = np.interp(at, np.arange(len(loud)), loud)[spoken]
    mouth = opening[spoken]
    a, b = ((x - x.min()) / max(float(np.ptp(x)), 1e-8) for x in (mouth, volume))
    return float(np.abs(a - b).mean())


def silent(opening: Array, quiet: NDArray[np.bool_]) -> float:
    """How far lips stray from their mean opening in silence: the median of it."""
    found = opening[quiet]
    return float(np.median(np.abs(found - found.mean()))) if len(found) > 1 else float("nan")


def measures(seen: Sequence[Glimpse], sound: NDArray | None, rate: int, fps: float) -> dict[str, float]:
    """The five measures of one video; those of sound are NaN without any."""
    opening = np.array([g.opening for g in seen])
    out = {
        "head": head(np.stack([g.pose for g in seen])), "lips": lips(np.stack([g.lips for g in seen])),
        "brows": brows(np.stack([g.brows for g in seen])), "sync": float("nan"), "silent": float("nan"),
    }  # fmt: skip
    if sound is not None and len(sound) > rate * BLOCK:
        loud = loudness(sound, rate)
        spoken = speaking(loud, len(seen), fps)
        out |= {"sync": sync(opening, loud, spoken, fps), "silent": silent(opening, silences(spoken, fps))}
    return out


def scores(results: Sequence[Mapping[str, float]], truths: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How near the means over videos come to those of the real ones, by key: 1 is as real, and it may fall below 0."""
    out = {}
    for key in KEYS:
        pairs = np.array([(r[key], t[key]) for r, t in zip(results, truths)])
        pairs = pairs[np.isfinite(pairs).all(1)]
        if len(pairs) and pairs[:, 1].mean() > 0:
            mine, theirs = pairs.mean(0)
            out[key] = float(1 - abs(mine - theirs) / theirs)
    return out
