"""Train the landmark transformer on tracked clips: infinex/face/data/landmark_transformer.npz.

python tools/teach_landmarks.py DATA -o infinex/face/data/landmark_transformer.npz [--keep FOLDER]

DATA has `MANIFEST.csv` (columns path, kind, identity) and the clips it names. Clips of `kind` synthetic are left out,
and every fifth person, whom benchmarks/landmark_transformer.py measures. How strongly the regression is held back is
chosen by leaving out some of the training people, one after another. Tracks are kept in a folder where one is named."""

from __future__ import annotations

import argparse
import csv
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.landmark_transformer import LandmarkTransformer, learn, moments
from infinex.face.morphable.bases import own_model
from infinex.face.pose import fit_pose
from infinex.face.topology import mean_face
from infinex.face.tracker import FaceTracker
from infinex.media.video import VideoReader

Array = NDArray[np.float64]
EVERY = 3  # of how many frames one is looked at
COUNTS = 12, 12, 8  # directions of mouth, eyes and the rest
SHARES, NOISES = (0.5, 0.8), (0.012, 0.03)  # what is tried
LEAST = 12  # frames from which on a person's mean face says who they are


def people(data: Path) -> dict[str, list[Path]]:
    """Clips of real people by their names."""
    out: dict[str, list[Path]] = {}
    with (data / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "real" and row["path"].startswith("clips/"):
                out.setdefault(row["identity"], []).append(data / row["path"])
    return out


def held_back(names: list[str]) -> list[str]:
    """Every fifth name in the order of the alphabet."""
    return sorted(names)[2::5]


def tracked(clip: Path, keep: Path | None) -> Array:
    """Faces (T, 478, 3) of a clip in head coordinates: rotation, place and size are gone."""
    kept = keep / f"{clip.stem}.npy" if keep else None
    if kept is not None and kept.is_file():
        return np.asarray(np.load(kept, allow_pickle=False), np.float64)
    faces = []
    with VideoReader(clip, keep_readable=True) as reader, FaceTracker() as tracker:
        for frame in reader:
            if frame.index % EVERY == 0 and (face := tracker(frame.image)) is not None:
                points = np.asarray(face.landmarks, np.float64)
                faces.append(fit_pose(mean_face(), points).to_head(points))
    out = np.stack(faces) if faces else np.zeros((0, 478, 3))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, out.astype(np.float32))
    return out


def tracks(data: Path, keep: Path | None) -> dict[str, Array]:
    """Faces (T, 478, 3) of every person of whom there are enough."""
    out = {}
    for name, clips in people(data).items():
        faces = np.concatenate([tracked(c, keep) for c in clips])
        if len(faces) >= LEAST:
            out[name] = faces
    return out


def more_people(count: int = 50) -> Array:
    """How others differ from the mean face, (N, 478, 3) in IOD: the identities of the face model that comes along.

    The model has no irises; these move as the rims of their eyes do. What turns, moves or resizes the whole head is
    taken out, as it is of tracked faces."""
    mean = top.mean_face()
    model = np.zeros((count, top.POINTS, 3))
    model[:, : top.SURFACE] = np.asarray(own_model().identity[:count, : top.SURFACE], np.float64) * [1, -1, -1]
    for ring, iris in ((top.RIGHT_EYE, top.RIGHT_IRIS), (top.LEFT_EYE, top.LEFT_IRIS)):
        model[:, iris] = model[:, ring].mean(1, keepdims=True)
    rows = model * np.sqrt(count)  # each is one standard deviation
    small = 1e-3  # where taking the pose out is as good as linear
    posed = [fit_pose(mean, mean + small * r).to_head(mean + small * r) - mean for r in rows]
    return np.stack(posed) / small


def error(model: LandmarkTransformer, faces: Array) -> float:
    """Share of what a person does, away from their mean face, that is not found in single frames (T, 478, 3)."""
    does = faces - faces.mean(0)
    found = model.expression(faces)
    found = found - found.mean(0)
    return float(np.sum((does - found) ** 2) / np.sum(does**2))


def bias(model: LandmarkTransformer, faces: Array) -> float:
    """Share of how a person's mean face differs from everybody's that is taken for an expression."""
    who = faces.mean(0) - model.mean
    return float(np.sum(model.expression(faces.mean(0)) ** 2) / np.sum(who**2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--keep", type=Path)
    a = parser.parse_args()
    found = tracks(a.data, a.keep)
    away = held_back(list(found))
    people_in = [f for n, f in found.items() if n not in away]
    more = more_people()
    print(len(people_in), "people teach;", "held back:", ", ".join(away))
    tried: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for k in range(0, len(people_in), 6):
        seen = moments([f for i, f in enumerate(people_in) if i != k])
        for choice in product(SHARES, NOISES):
            model = learn(seen, COUNTS, more, *choice)
            tried.setdefault(choice, []).append((error(model, people_in[k]), bias(model, people_in[k])))
    for choice, off in tried.items():
        print(*choice, "not found {:.3f}, identity taken for expression {:.3f}".format(*np.mean(off, 0)))
    best = min(tried, key=lambda c: float(np.mean(tried[c], 0).sum()))
    print("chosen:", *best)
    model = learn(moments(people_in), COUNTS, more, *best)
    print("held back:", np.round(np.mean([(error(model, found[n]), bias(model, found[n])) for n in away], 0), 3))
    if a.out:
        np.savez_compressed(a.out, **{k: getattr(model, k).astype(np.float16) for k in ("mean", "basis", "reader")})
