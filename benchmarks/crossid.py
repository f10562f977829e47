"""How much of a performer's identity is left in the motion code of CrossID-GAN, against chance: that is its claim.

python benchmarks/crossid.py RUN [OTHER_RUN ...] --data DATASET [--split test] [--looks 60] [--json]

A fresh classifier, a linear one, learns to tell people by the codes of the first half of every clip's frames, and is
asked about the second half, less a gap of a tenth; everybody counts alike. Beside the codes stand the landmarks that go
into the encoder, brought to one place and size, and the same made frontal. What tells people apart includes how they
hold their heads in that clip, which a code of motion must keep: one that reaches chance has lost motion too. `motion`
says whether it has: the share of how landmarks vary within clips that a linear map finds in the codes. Runs of the
recipe and of its ablation without the adversary (`crossid-gan-small-no-adversary`) belong side by side. 95 % intervals
by bootstrap over people."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.face.drawn import in_convention
from infinex.face.pose import fit_pose
from infinex.face.topology import mean_face
from infinex.systems.crossid_gan.recipe import motion_picture
from infinex.systems.crossid_gan.weights import LAYOUT
from infinex.systems.registry import resolve
from infinex.training.tracked import TrackedClips

Array = NDArray[np.float64]
GAP = 0.1  # share of a clip between what is learned from and what is asked about
RIDGE = 0.3  # of the mean variance, in both linear maps


def codes_of(run: str, clips: TrackedClips) -> list[Array]:
    """The motion codes (T, code) of every clip."""
    weights = LAYOUT.read(resolve(run, "crossid-gan"))
    encoder = LAYOUT.network(weights, "motion")
    out = []
    for clip in range(len(clips.clips)):
        scale = weights.config.size / clips.size
        drawn = [motion_picture(p * scale, weights.config.size, weights.config.lines)[0] for p in clips.landmarks(clip)]
        with torch.inference_mode():
            out.append(encoder(torch.from_numpy(np.stack(drawn))).double().numpy())
    return out


def shapes_of(clips: TrackedClips, frontal: bool) -> list[Array]:
    """68 landmarks (T, 136) of every clip in head units, turned as they are seen or to the front."""
    out = []
    for clip in range(len(clips.clips)):
        rows = []
        for points in clips.landmarks(clip):
            pose = fit_pose(mean_face(), points)
            face = pose.to_head(points)
            rows.append(in_convention(face if frontal else face @ pose.rotation.T, 68)[:, :2].ravel())
        out.append(np.stack(rows))
    return out


def solved(x: Array, y: Array) -> Array:
    """Weights (F, K) of a linear map from rows `x` (N, F) to `y` (N, K), both around 0."""
    gram = x.T @ x / len(x)
    return np.asarray(np.linalg.solve(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ y / len(x)))


def told_apart(rows: list[Array], who: list[str]) -> dict[str, float]:
    """For everybody the share of the second half of their frames that is given their name."""
    people = sorted(set(who))
    first = [r[: int(len(r) * (0.5 - GAP / 2))] for r in rows]
    second = [r[int(len(r) * (0.5 + GAP / 2)) :] for r in rows]
    x, mark = (
        np.concatenate(first),
        np.concatenate([[people.index(w)] * len(f) for f, w in zip(first, who)]).astype(int),
    )
    mean, spread = x.mean(0), x.std(0) + 1e-9
    # Everybody counts alike, however many frames there are.
    count = np.bincount(mark, minlength=len(people))
    share = np.sqrt(len(mark) / len(people) / count[mark])[:, None]
    wanted = np.eye(len(people))[mark] - 1 / len(people)
    map_ = solved((x - mean) / spread * share, wanted * share)
    right: dict[str, list[bool]] = {}
    for rows_, w in zip(second, who):
        found = ((rows_ - mean) / spread @ map_).argmax(1)
        right.setdefault(w, []).extend((found == people.index(w)).tolist())
    return {w: float(np.mean(r)) for w, r in right.items()}


def motion_kept(rows: list[Array], shapes: list[Array]) -> float:
    """Share of the variance of landmarks within clips that a linear map of the codes explains, learned from the first
    half of the frames, measured on the second."""
    x, y = ([r - r.mean(0) for r in side] for side in (rows, shapes))
    x1, y1 = (np.concatenate([r[: len(r) // 2] for r in side]) for side in (x, y))
    x2, y2 = (np.concatenate([r[len(r) // 2 :] for r in side]) for side in (x, y))
    spread = x1.std(0) + 1e-9
    off = y2 - (x2 / spread) @ solved(x1 / spread, y1)
    return float(1 - (off**2).sum() / (y2**2).sum())


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval."""
    each = np.array(values)
    drawn = np.random.default_rng(0).choice(each, (2000, len(each))).mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(each.mean()), float(low), float(high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--looks", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    config = LAYOUT.read(resolve(a.runs[0], "crossid-gan")).config
    clips = TrackedClips(a.data, a.split, config.size, a.looks)
    who = [c.identity for c in clips.clips]
    seen = shapes_of(clips, frontal=False)
    kinds = {"landmarks": seen, "frontal": shapes_of(clips, frontal=True)}
    kinds |= {run: codes_of(run, clips) for run in a.runs}
    found = {}
    for name, rows in kinds.items():
        apart = told_apart(rows, who)
        found[name] = {"accuracy": interval(list(apart.values())), "motion": motion_kept(rows, seen)}
    chance = 1 / len(set(who))
    if a.json:
        print(json.dumps({"people": len(set(who)), "chance": chance, "found": found}))
        return
    print(f"{len(set(who))} people, {len(who)} clips of the split {a.split}; chance {chance:.3f}")
    for name, row in found.items():
        mean, low, high = row["accuracy"]
        print(f"{name:40} told apart {mean:.3f} [{low:.2f}, {high:.2f}]  motion kept {row['motion']:.3f}")


if __name__ == "__main__":
    main()
