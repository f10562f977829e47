"""How exactly `infinex fit` finds what is known: clips of the exact face, drawn here under known parameters.

python benchmarks/fit.py FACE_MODEL [--clips 4] [--frames 40] [--seed 0] [--with-model] [--json]

Head rotation (median and worst clip, degrees), correlation of expression weights with the truth, light direction
(degrees), overlap of the face's silhouette, and frames a second after the first. `--with-model` fits with the exact
face's own bases instead of ours. No clip, identity, skin or light of it was seen by what is measured."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from exact import ExactFace
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.bases import brought, face_model, own_model
from infinex.face.morphable.files import read_model
from infinex.face.morphable.light import direction
from infinex.face.morphable.model import Camera, MorphableFace, euler
from infinex.face.morphable.places import Places
from infinex.face.morphable.rest import found_person
from infinex.face.morphable.solve import FLIP, Frame, Solver
from infinex.face.morphable.surface import rasterise
from infinex.face.pose import fit_pose, similarity
from infinex.face.tracker import FaceTracker

RATE = 10.0  # frames a second of the clips

# What faces do together, with the most that is drawn of each. A quarter of acts are of one side alone.
ACTS: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.7},
    {"mouthSmile_L": 0.9, "mouthSmile_R": 0.9, "cheekSquint_L": 0.5, "cheekSquint_R": 0.5},
    {"mouthFrown_L": 0.8, "mouthFrown_R": 0.8}, {"mouthPucker": 0.8}, {"mouthFunnel": 0.7, "jawOpen": 0.2},
    {"browInnerUp_L": 0.9, "browInnerUp_R": 0.9, "browOuterUp_L": 0.8, "browOuterUp_R": 0.8},
    {"browDown_L": 0.9, "browDown_R": 0.9}, {"eyeBlink_L": 1.0, "eyeBlink_R": 1.0},
    {"noseSneer_L": 0.7, "noseSneer_R": 0.7, "mouthUpperUp_L": 0.5, "mouthUpperUp_R": 0.5},
    {"mouthLeft": 0.7}, {"mouthRight": 0.7}, {"jawLeft": 0.7}, {"jawRight": 0.7},
    {"cheekPuff_L": 0.8, "cheekPuff_R": 0.8}, {"mouthStretch_L": 0.7, "mouthStretch_R": 0.7},
    {"mouthLowerDown_L": 0.7, "mouthLowerDown_R": 0.7, "jawOpen": 0.2}, {"eyeWide_L": 0.8, "eyeWide_R": 0.8},
)  # fmt: skip
LONE = 0.4  # how often an act that has two sides is done by one


def swing(random: np.random.Generator, frames: int, scale: float) -> NDArray:
    """A smooth course (frames,) about 0."""
    t = np.arange(frames) / RATE
    return scale * sum(random.normal() * np.sin(2 * np.pi * (f * t + random.random())) for f in (0.25, 0.55, 0.9)) / 1.7


def performance(exact: ExactFace, random: np.random.Generator, frames: int) -> NDArray:
    """Weights (frames, 57): four acts that come and go, each of one side at times."""
    out = np.zeros((frames, len(exact.names)))
    for k in random.choice(len(ACTS), 4, replace=False):
        course = np.clip(0.15 + swing(random, frames, 0.8), 0, 1)
        still = random.choice(["_L", "_R"]) if random.random() < LONE else ""
        for name, most in ACTS[k].items():
            if still and name.endswith(still):
                continue
            at = exact.names.index(name)
            out[:, at] = np.maximum(out[:, at], most * course)
    return out


def drawn(exact: ExactFace, places: Places, face: MorphableFace, seed: int, frames: int, size: int) -> dict[str, Any]:
    """One clip: its pictures, their tracked points, and what is true of them."""
    random = np.random.default_rng(seed)
    identity, colour = random.normal(0, 0.8, 100), exact.paint(random)
    weights = performance(exact, random, frames)
    angles = np.radians(np.stack([swing(random, frames, 8), swing(random, frames, 16), swing(random, frames, 6)], 1))
    far = np.exp(random.normal(0, 0.25))
    where = np.stack([swing(random, frames, 1.5), swing(random, frames, 1.5), far * (swing(random, frames, 3) - 85)], 1)
    camera = Camera(size * far * random.uniform(2.6, 3.4), (size / 2 - 0.5, size / 2 - 0.5))
    light = np.array([random.uniform(-0.8, 0.8), random.uniform(-0.1, 0.7), 0.7])
    light /= np.linalg.norm(light)
    ambient = random.uniform(0.25, 0.5)
    behind = np.kron(random.uniform(0.1, 0.9, (8, 8, 3)), np.ones((size // 4, size // 4, 1)))
    neutral = exact.shape(identity, np.zeros(len(exact.names)))
    head = fit_rigid(places.of(neutral), face.mean)
    tracker, images, marks, truth = FaceTracker(), [], [], []
    tracking = 0.0
    for t in range(frames):
        shape = exact.shape(identity, weights[t])
        R = euler(angles[t])
        image, _ = exact.render(shape, colour, R, where[t], camera, (size, size), light, ambient, behind)
        started = cpu()
        found = tracker(image)
        tracking += cpu() - started
        if found is None:
            continue
        images.append(image)
        marks.append(found.landmarks)
        turned = places.of(shape) @ R.T + where[t]
        ids, _ = rasterise(camera.project(turned * FLIP), -turned[:, 2], mesh.triangles(), (size, size), both=True)
        truth.append((R @ head.T, weights[t], ids >= 0))
    return {
        "images": images, "marks": marks, "truth": truth, "light": light, "tracking": tracking / frames, "size": size,
    }  # fmt: skip


def measured(exact: ExactFace, face: MorphableFace, clip: dict[str, Any]) -> dict[str, float]:
    """Fit a clip and compare."""
    images, marks, truth, light, size = (clip[k] for k in ("images", "marks", "truth", "light", "size"))
    keys = np.linspace(0, len(images) - 1, 6).astype(int).tolist()
    frames = [Frame(image, points) for image, points in zip(images, marks)]
    who, rest = found_person(face, frames, marks, keys)
    mean, face, solver = face.mean, rest.face(face), Solver(rest.expected(face))
    turns, meshes, found_weights, lights, overlaps, values = [], [], [], [], [], []
    state, spent, wall = None, 0.0, 0.0
    own_head = fit_rigid(face.shape(who.identity, np.zeros(0)), mean).T
    for image, points, (R, _, mask) in zip(images, marks, truth):
        started, at = cpu(), time.perf_counter()
        frame = Frame(image, points)
        if state is None:
            state, value = solver.again(frame, points, who)
            started, at = cpu(), time.perf_counter()
        state, value = solver.follow(frame, who, state)
        spent, wall = spent + cpu() - started, wall + time.perf_counter() - at
        turns.append(angle(state.rotation @ own_head, R))
        rough = fit_pose(top.mean_face(), points)
        meshes.append(angle(FLIP[:, None] * rough.rotation * FLIP, R))
        found_weights.append(state.expression)
        lights.append(np.degrees(np.arccos(np.clip(direction(state.light) @ light, -1, 1))))
        look = solver.look(who, state)
        own = Camera(who.focal, (size / 2 - 0.5, size / 2 - 0.5))
        ids, _ = rasterise(own.project(look.camera * FLIP), -look.camera[:, 2], face.triangles, (size, size), both=True)
        overlaps.append(((ids >= 0) & mask).sum() / ((ids >= 0) | mask).sum())
        values.append(value)
    wanted = np.stack([t[1] for t in truth])[:, [exact.names.index(n) for n in face.names]]
    n = len(images)
    return {
        "frames": n, "rotation": float(np.mean(turns)), "rotation of the mesh alone": float(np.mean(meshes)),
        "expression": float(np.corrcoef(np.ravel(found_weights), wanted.ravel())[0, 1]),
        "light": float(np.mean(lights)),
        "silhouette": float(np.mean(overlaps)), "colour": float(np.mean(values)),
        "fit frames/s of CPU": n / spent, "with tracking": n / (spent + clip["tracking"] * n),
        "wall frames/s": n / wall,
    }  # fmt: skip


def fit_rigid(points: NDArray, mean: NDArray) -> NDArray:
    """Rotation (3, 3) of the mean face against the drawn head at rest, by their rigid points."""
    return similarity(mean[top.RIGID], points[top.RIGID]).rotation.T


def angle(a: NDArray, b: NDArray) -> float:
    """Degrees between two rotations."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1))))


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    return sum(os.times()[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("face_model", type=Path)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--with-model", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    exact = ExactFace(args.face_model)
    _, places = brought(read_model(args.face_model), exact.paint(np.random.default_rng(20)))
    face = face_model(args.face_model) if args.with_model else own_model()
    rows = []
    for k in range(args.clips):
        rows.append(measured(exact, face, drawn(exact, places, face, args.seed + k, args.frames, args.size)))
        if not args.json:
            print("  ".join(f"{n} {v:.3g}" for n, v in rows[-1].items()), flush=True)
    mean = {n: float(np.mean([r[n] for r in rows])) for n in rows[0]}
    print(
        json.dumps({"clips": rows, "mean": mean})
        if args.json
        else "mean: " + "  ".join(f"{n} {v:.3g}" for n, v in mean.items())
    )


if __name__ == "__main__":
    main()
