"""The last step of training, in closed form: the linear map beside the heads, and where mouths are while they speak.

    python -m infinex.systems.speech.fit PREPARED RUN2/weights.safetensors FITTED

PREPARED is the folder the heads were trained on; talkers whose clips have no sound teach the resting place too. Writes
FITTED/weights.safetensors and FITTED/shapes.npz, and says how the closed-form parts do on each talker left out of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.media.files import atomic_path
from infinex.motion import Motion
from infinex.systems.speech.data import Talk, at_steps, lively, opening, rows_of, talks, varied
from infinex.systems.speech.listener import STEPS
from infinex.systems.speech.model import DIRECT, SpeechNet
from infinex.systems.speech.resting import LIPS, Resting, coefficients_of, fit_resting
from infinex.systems.speech.runtime import default_shapes
from infinex.systems.speech.weights import read, save

Array = NDArray[np.float64]
SHARE = 0.7  # of the linear map in the result
DIMENSIONS = 48  # that the linear map reads of a step
STIFF = 1.0  # its ridge, times the mean variance of what it reads
OTHERS = 5  # other frames of a talker that serve as a rest too
SPEAKS = 0.015  # IOD: mean way from rest below which a clip without sound shows nobody who speaks
MOST = 10 * STEPS  # steps of one talker that count
LIVELY = 1.2  # times the likeliest motion: as lively as leaves the distance of left-out talkers within 0.005


@dataclass(frozen=True)
class Rests:
    """One talker's faces at rest (N, 478, 3), the mean displacements (N, 478, 3) from each, and the usual way."""

    name: str
    identity: str
    faces: Array
    means: Array
    way: float


def rests_of(name: str, identity: str, motion: Motion, rng: np.random.Generator) -> Rests:
    """The tracked rest, as often again frames with lips about as far apart, and where the mouth is on the average."""
    offsets = motion.offsets.astype(np.float64)
    apart = np.abs(opening(motion.rest.face + offsets) - opening(motion.rest.face))
    alike = np.argsort(apart)[: max(OTHERS, len(apart) // 3)]
    start = np.concatenate([np.zeros((OTHERS, *offsets.shape[1:])), offsets[rng.choice(alike, OTHERS)]])
    way = float(np.linalg.norm(offsets[:, LIPS, :2], axis=-1).mean())
    return Rests(name, identity, motion.rest.face + start, offsets.mean(0) - start, way)


def resting_of(found: list[Rests], shapes: Array) -> Resting:
    """Where mouths are while they speak; talkers count by how little they move: distances are shares of that."""
    faces = [f for r in found for f in r.faces]
    means = [m for r in found for m in r.means]
    return fit_resting(faces, means, [1 / max(r.way, 0.02) for r in found for _ in r.faces], shapes)


def stacked(heard: Array) -> Array:
    """Features (T, F) with those of the steps around, (T, DIRECT * F)."""
    around = np.pad(heard, ((DIRECT // 2, DIRECT // 2), (0, 0)), mode="edge")
    return np.concatenate([around[k : k + len(heard)] for k in range(DIRECT)], 1)


@torch.no_grad()
def heard_by(network: SpeechNet, rows: NDArray[np.float32]) -> tuple[Array, Array]:
    """What the heads and the linear map read (T, F), and what the heads make of it (T, K)."""
    heard, _ = network.encode(torch.from_numpy(rows.astype(np.float32))[None])
    made = torch.stack([head(heard) for head in network.heads]).mean(0)
    return heard[0].T.numpy().astype(np.float64), made[0].numpy().astype(np.float64)


@dataclass(frozen=True)
class Sums:
    """What least squares needs of one talker."""

    square: Array
    cross: Array
    left: Array  # mean of what is read
    heads: Array  # mean of what the heads make


def sums_of(network: SpeechNet, talk: Talk, shapes: Array, variants: int, rng: np.random.Generator) -> Sums:
    """Of one talker's own sound and roughened variants of other pace; sound and mouth measured from their means."""
    aim = coefficients_of(talk.offsets, shapes) / lively(talk.opening)
    square, cross, left, heads = 0.0, 0.0, 0.0, 0.0
    for sound, k in [(talk.sound, 1.0), *(varied(talk.sound, rng) for _ in range(variants))]:
        heard, made = heard_by(network, rows_of(sound))
        t = np.arange(len(heard)) * k
        inside = t < len(aim) - 1
        x = stacked(heard)[inside]
        y = np.stack([np.interp(t[inside], np.arange(len(aim)), a) for a in aim.T], 1)
        x0 = x.mean(0)
        weight = min(len(aim), MOST) / len(x) / (variants + 1)
        square = square + weight * (x - x0).T @ (x - x0)
        cross = cross + weight * (x - x0).T @ (y - y.mean(0))
        left, heads = left + x0 / (variants + 1), heads + made[inside].mean(0) / (variants + 1)
    return Sums(np.asarray(square), np.asarray(cross), np.asarray(left), np.asarray(heads))


def solve(sums: list[Sums]) -> Array:
    """The ridge regression (DIRECT * F, K), on the DIMENSIONS main directions of what is read in one step."""
    square, cross = np.sum([s.square for s in sums], 0), np.sum([s.cross for s in sums], 0)
    size = len(square) // DIRECT
    middle = slice(DIRECT // 2 * size, (DIRECT // 2 + 1) * size)
    main = np.kron(np.eye(DIRECT), np.linalg.eigh(square[middle, middle])[1][:, -DIMENSIONS:])
    square = main.T @ square @ main
    ridge = STIFF * np.trace(square) / len(square) * np.eye(len(square))
    return np.asarray(main @ np.linalg.solve(square + ridge, main.T @ cross))


def with_direct(network: SpeechNet, sums: list[Sums], share: float = SHARE) -> SpeechNet:
    """The network with its linear map, LIVELY, and a bias that makes the mean over all talkers nothing."""
    map_ = solve(sums)
    config = replace(network.config, direct=share)
    out = SpeechNet(config)
    out.load_state_dict(network.state_dict(), strict=False)
    left, heads = np.mean([s.left for s in sums], 0), np.mean([s.heads for s in sums], 0)
    kernel = map_.reshape(DIRECT, -1, map_.shape[1]).transpose(2, 1, 0)
    bias = -(left @ map_) - (1 - share) / share * heads
    with torch.no_grad():
        out.direct.weight.copy_(LIVELY * torch.from_numpy(kernel.copy()))
        out.direct.bias[:] = LIVELY * torch.from_numpy(bias)  # type: ignore[index]
        for head in out.heads:
            head.shape.weight *= LIVELY  # type: ignore[operator, union-attr]
            head.shape.bias *= LIVELY  # type: ignore[operator, union-attr]
    return out.eval()


def left_out(
    network: SpeechNet, found: list[Talk], truths: dict[str, Array], sums: list[Sums], rests: list[Rests],
    shapes: Array,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Say how linear map and resting place do on each talker they were fitted without; `truths` are displacements."""
    figures = []
    for talk in found:
        map_ = solve([s for s, t in zip(sums, found) if t.identity != talk.identity])
        place = resting_of([r for r in rests if r.identity != talk.identity], shapes)
        face = next(r for r in rests if r.name == talk.name).faces[0]
        heard, _ = heard_by(network, rows_of(talk.sound))
        made = stacked(heard[: len(talk.offsets)]) @ map_
        made = LIVELY * np.tensordot(made - made.mean(0), shapes, 1)
        truth = truths[talk.name][: len(made)]
        apart = np.linalg.norm((made + place(face) - truth)[:, LIPS, :2], axis=-1).mean()
        share = apart / np.linalg.norm(truth[:, LIPS, :2], axis=-1).mean()
        opened = opening(top.mean_face() + made)
        r = float(np.corrcoef(opened, talk.opening[: len(made)])[0, 1])
        figures.append((share, r, opened.std() / talk.opening.std()))
        tell("{:24} distance {:.2f} correlation {:.2f} amplitude {:.2f}".format(talk.name, *figures[-1]))
    share, r, _ = np.mean(figures, 0)
    amplitude = float(np.median([f[2] for f in figures]))
    tell(f"{'each left out':24} distance {share:.3f} correlation {r:.3f} amplitude {amplitude:.2f} (median)")


def fit(
    folder: str | Path, weights: str | Path, out: str | Path, variants: int = 8, tell: Callable[[str], None] = print
) -> None:
    """Fit and write. Raises InputError where nobody in the folder speaks."""
    from infinex.media.audio import has_audio
    from infinex.training.data import read_clips

    state, config = read(weights)
    network = SpeechNet(replace(config, direct=0.0))
    network.load_state_dict(state, strict=False)
    network.eval()
    shapes = default_shapes()
    found = list(talks(folder, "train"))
    if not found:
        raise InputError("nobody in this folder is seen and heard to speak; use clips of talkers with their sound")
    rng = np.random.default_rng(0)
    sums = [sums_of(network, t, shapes, variants, rng) for t in found]
    rests, truths = [], {}
    for clip in read_clips(folder, "train"):
        kept = Path(folder) / ".speech" / f"{clip.name}.motion.npz"
        if has_audio(clip.path) and clip.name not in [t.name for t in found]:
            continue  # somebody else speaks
        if not kept.is_file():
            from infinex.jobs.track import track

            track(clip.path, smooth=0.3)[0].save(kept)
        motion = Motion.load(kept)
        one = rests_of(clip.name, clip.identity, motion, rng)
        if has_audio(clip.path):
            truths[clip.name] = at_steps(motion.offsets, motion.fps)
        if one.way > SPEAKS or has_audio(clip.path):
            rests.append(one)
    left_out(network, found, truths, sums, rests, shapes, tell)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    whole = with_direct(network, sums)
    save(out / "weights.safetensors", whole.state_dict(), whole.config)
    place = resting_of(rests, shapes)
    tell(f"{len(found)} talkers heard, {len(rests)} seen; lips lose {place.even:.0%} of their crookedness")
    with atomic_path(out / "shapes.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, shapes=shapes.astype(np.float16), usual=place.usual.astype(np.float32),
            back=place.back.astype(np.float32), even=np.float32(place.even),
        )  # fmt: skip


if __name__ == "__main__":
    fit(sys.argv[1], sys.argv[2], sys.argv[3])
