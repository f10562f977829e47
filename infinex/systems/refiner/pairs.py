"""Training pairs for the refiner: the mesh engine's frame of a person, and the true one.

    python -m infinex.systems.refiner.pairs CLIPS_DIR OUT_DIR [--stills STILLS_DIR] [--manifest MANIFEST.csv]

Each clip is driven by itself from several of its own frames, leak-free. Stills of open mouths are closed by the
mesh engine first; the closed picture is then opened again, and the photograph is the truth. OUT_DIR gets one `.npz`
per clip and part (int8 planes, uint8 truth, and the optical flow between frame and truth), named by the person
shown; a finished one is not made again. People are held out by name: every fifth in alphabetical order
(`split.json`).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.drivers.capture import Capture, choose_rest
from infinex.engine import Drive, Source
from infinex.face.identity import identity
from infinex.face.interior import interior
from infinex.face.outline import Outline
from infinex.face.pose import fit_pose
from infinex.face.register import Registration
from infinex.face.tracker import Face, FaceFinder, FaceTracker
from infinex.media.files import atomic_path
from infinex.media.image import read_image
from infinex.media.video import VideoReader
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.refiner import Look
from infinex.systems.refiner.split import held_out, names_of

SCALE = 63.0  # of planes stored as int8: -2..2
SOURCES, TARGETS = 6, 20  # frames of a clip that serve as source, and targets for each
NEAR = 0.3  # share of the targets drawn at random; the others differ most in mouth, eyes or pose
UNTOLD = 0.4  # share of the mouths whose interior is unknown, as without a camera
SAME_PERSON = 0.58  # distance of two embeddings
OPTIONS = MeshOptions("own", "none", True, refine=False)
FLOW = 16.0  # steps of the flow that are stored for each window pixel, as int8

Image = NDArray[np.uint8]
Samples = dict[str, list[tuple[NDArray, ...]]]


def _sample(look: Look, truth: Image) -> tuple[NDArray, ...]:
    planes = np.clip(np.round(look.planes * SCALE), -127, 127).astype(np.int8)
    wanted = np.clip(np.round(look.window.cut(truth)), 0, 255).astype(np.uint8).transpose(2, 0, 1)
    frame = np.clip((look.planes[:3] + 1) * 127.5, 0, 255)
    flow, sure = flow_between(wanted.transpose(1, 2, 0), frame.transpose(1, 2, 0))
    flow = np.clip(np.round(flow * FLOW), -127, 127).astype(np.int8)
    support, sure = (np.round(x * 255).astype(np.uint8) for x in (look.support, sure))  # type: ignore[assignment]
    return planes, wanted, support, flow, sure


def flow_between(truth: NDArray, frame: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where `frame` (S, S, 3) shows what `truth` shows at each pixel: (2, S, S) pixels off, and how sure that is, 0..1.

    Sure is what is found again on the way back (Kroeger et al., ECCV 2016, both ways), at twice the size."""
    a, b = (cv2.resize(cv2.cvtColor(x.astype(np.uint8), cv2.COLOR_RGB2GRAY), None, fx=2, fy=2) for x in (truth, frame))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = dis.calc(a, b, None), dis.calc(b, a, None)
    y, x = np.mgrid[0 : a.shape[0], 0 : a.shape[1]].astype(np.float32)
    again = cv2.remap(back, x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    sure = np.exp(-((np.linalg.norm(there + again, axis=-1) / 1.5) ** 2)).astype(np.float32)
    small = (a.shape[1] // 2, a.shape[0] // 2)
    there, sure = (cv2.resize(z, small, interpolation=cv2.INTER_AREA) for z in (there, sure))
    return there.transpose(2, 0, 1) / 2, sure


def _collect(samples: Samples, looks: dict[str, Look], truth: Image) -> None:
    for name, look in looks.items():
        if look.support.max() > 0.1:
            samples[name.split("-")[0]].append(_sample(look, truth))


def clip_pairs(frames: list[Image], points: list[NDArray], rng: np.random.Generator) -> Samples:
    """Pairs from one clip: frames (H, W, 3) and their landmarks (478, 3)."""
    samples: Samples = defaultdict(list)
    start, _ = choose_rest(points)
    capture = Capture(start, fit_pose(start.face, points[0]).scale, 25.0)
    states = np.stack([capture.state(p) for p in points])
    lips = states[:, 9:].reshape(len(points), -1, 3)[:, [13, 14], 1]
    gap = lips[:, 1] - lips[:, 0]
    # Sources from shut to open mouths, targets over the whole range.
    order = np.argsort(gap)
    for i in order[np.linspace(0, len(order) - 1, SOURCES).astype(int)]:
        face = PreparedFace(Source(frames[i], Face(points[i])), OPTIONS)
        rest, _ = choose_rest([points[i]], reference=0)
        face.begin(rest, None, None)
        pose = fit_pose(rest.face, points[i])
        mine, around = Capture(rest, pose.scale, 25.0), Outline(frames[i], rest.face, pose)
        registered = Registration(frames[i], points[i])
        far = np.abs(gap - gap[i]) * 4 + np.linalg.norm(states[:, :3] - states[i, :3], axis=1)
        weight = NEAR / len(points) + (1 - NEAR) * far / max(far.sum(), 1e-6)
        count = min(TARGETS, len(points) - 1)
        for j in rng.choice(len(points), count, replace=False, p=weight / weight.sum()):
            there = registered(frames[j], points[j])
            fields = around.settled(around.measure(frames[j], fit_pose(rest.face, there)))
            move = mine.move(np.concatenate([mine.state(there), fields.ravel()]), 0.0, True)
            told = rng.random() > UNTOLD
            move = replace(move, interior=interior(frames[j], there) if told else None)
            canvas = frames[i].copy()
            face.draw(canvas, Drive(move))
            x0, y0, x1, y1 = face.box
            _collect(samples, face.looks(), np.ascontiguousarray(frames[j][y0:y1, x0:x1]))
    return samples


def still_pairs(image: Image, points: NDArray, rng: np.random.Generator) -> Samples:
    """Pairs for the mouth from one photograph of an open mouth: closed by warping, then opened again."""
    samples: Samples = defaultdict(list)
    first = PreparedFace(Source(image, Face(points)), OPTIONS)
    if first.face.gaps[4] < 0.025:
        return samples
    rest, _ = choose_rest([points], reference=0)
    first.begin(rest, None, None)
    state = Capture(rest, first.face.pose.scale, 25.0)
    for share in (0.0, float(rng.uniform(0.1, 0.5))):
        shut = first.face.face.copy()
        first.face.set_lips(shut, first.face.gaps * share)
        closing = state.move(state.state(points), 0.0, True)
        closing = replace(closing, offsets=shut - first.face.face)
        canvas = image.copy()
        target = first.draw(canvas, Drive(closing)).target
        second = PreparedFace(Source(canvas, Face(target.points)), OPTIONS)
        again, _ = choose_rest([target.points], reference=0)
        second.begin(again, None, None)
        back = Capture(again, second.face.pose.scale, 25.0)
        out = canvas.copy()
        told = rng.random() > UNTOLD
        opening = replace(back.move(back.state(points), 0.0, True), interior=interior(image, points) if told else None)
        second.draw(out, Drive(opening))
        x0, y0, x1, y1 = second.box
        looks = {n: k for n, k in second.looks().items() if n == "mouth"}
        _collect(samples, looks, np.ascontiguousarray(image[y0:y1, x0:x1]))
    return samples


def _save(folder: Path, name: str, samples: Samples) -> None:
    for part, items in samples.items():
        arrays = dict(zip(("planes", "truth", "support", "flow", "sure"), (np.stack(x) for x in zip(*items))))
        with atomic_path(folder / f"{name}.{part}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    (folder / f"{name}.done").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stills", type=Path)
    parser.add_argument("--manifest", type=Path, help="CSV with the columns path and identity")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    names = names_of(a.manifest)
    clips = sorted(a.clips.glob("*.mp4"))
    people = sorted({names.get(c.stem, c.stem) for c in clips})
    held = held_out(people)
    (a.out / "split.json").write_text(json.dumps({"people": people, "held_out": held}, indent=1))
    shown: dict[str, NDArray] = {}
    for clip in bar(clips, description="clips"):
        who = names.get(clip.stem, clip.stem)
        name = f"{who}__{clip.stem}"
        frames, points = [], []
        done = (a.out / f"{name}.done").exists()
        with VideoReader(clip) as reader, FaceTracker() as tracker:
            for frame in reader:
                face = tracker(frame.image)
                if face is not None:
                    frames.append(frame.image)
                    points.append(face.landmarks)
                    if who not in shown:
                        shown[who] = identity(frame.image, face.landmarks)
                if done and frames:
                    break
        if not done and len(frames) > 8:
            _save(a.out, name, clip_pairs(frames, points, np.random.default_rng(len(name))))
    if not a.stills:
        return
    finder = FaceFinder()
    for path in bar(sorted(p for p in a.stills.iterdir() if p.is_file()), description="stills"):
        name = f"still-{path.stem}__{path.stem}"
        if (a.out / f"{name}.done").exists():
            continue
        image = read_image(path)
        faces = finder.find(image)
        samples: Samples = {}
        if faces:
            me = identity(image, faces[0].landmarks)
            strange = all(float(np.linalg.norm(me - shown[p])) > SAME_PERSON for p in held if p in shown)
            if strange:  # nobody who is held out
                samples = still_pairs(image, faces[0].landmarks, np.random.default_rng(len(name)))
        _save(a.out, name, samples)
    finder.close()


if __name__ == "__main__":
    main()
