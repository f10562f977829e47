"""Add people to a training set: stills moved by the mesh engine under the motion of the set's own training clips.

    python tools/widen_clips.py DATASET STILLS_DIR WIDER [--number 60] [--frames 40] [--size 128] [--drivers 12]
    python tools/widen_clips.py DATASET STILLS_DIR WIDER --number 200 --frames 0

With --frames 0 stills stay still: enough to learn where faces are, in seconds. They count together as many people as
there are in the clips, so that a pair is drawn from either as often.

WIDER becomes a prepared folder with the clips of DATASET and the rendered ones, all of them for training. A still that
looks like anybody held back in DATASET is left out, so that nobody of the test split is trained on.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from infinex.engine import Source
from infinex.errors import InfinexError
from infinex.face.identity import identity
from infinex.face.tracker import FaceFinder
from infinex.media.files import atomic_path
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.motion import Motion
from infinex.pipeline import Options, render, track
from infinex.training.data import MANIFEST, read_clips
from infinex.training.prepare import MANIFEST_COLUMNS, People

STRANGER = 0.6  # distance of embeddings above which two faces are two people
LEAK_FREE = Options(mouth="own", wrinkles="none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("stills", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=60, help="stills to move")
    parser.add_argument("--frames", type=int, default=40, help="of each rendered clip")
    parser.add_argument("--every", type=int, default=3, help="frames of the motion between two rendered ones")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--drivers", type=int, default=12, help="training clips whose motion is used")
    a = parser.parse_args()
    rng = random.Random(0)
    finder = FaceFinder()
    cv2.setNumThreads(1)

    (a.out / "clips").mkdir(parents=True, exist_ok=True)
    with (a.dataset / MANIFEST).open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["status"] == "ok"]
    for row in rows:
        if not (a.out / row["clip"]).exists():
            shutil.copy(a.dataset / row["clip"], a.out / row["clip"])

    held = []
    for clip in read_clips(a.dataset, "test"):
        with VideoReader(clip.path) as reader:
            for image in (f.image for f in reader.at([0, clip.frames // 2])):
                held += [identity(image, f.landmarks) for f in finder.find(image)[:1]]
    chosen, people = [], People()
    for path in sorted(a.stills.iterdir()):
        image = cv2.imread(str(path))
        faces = finder.find(image[..., ::-1].copy()) if image is not None else []
        if not faces:
            continue
        image = np.ascontiguousarray(image[..., ::-1])
        me = identity(image, faces[0].landmarks)
        if min((float(np.linalg.norm(me - h)) for h in held), default=9.0) < STRANGER:
            print(f"{path.name}: too like somebody held back, left out")
            continue
        chosen.append((path, Source(image, faces[0]), f"still-{people(me.tolist())}"))
    finder.close()
    rng.shuffle(chosen)
    seen: Counter[str] = Counter()
    turn = []
    for c in chosen:
        turn.append(seen[c[2]])
        seen[c[2]] += 1
    chosen = [chosen[i] for i in np.argsort(turn, kind="stable")]  # every person once before any twice
    clips = read_clips(a.dataset, "train")
    people_filmed = len({c.identity for c in clips})
    rng.shuffle(clips)
    motions: list[Motion] = []
    for clip in clips:
        if len(motions) == (a.drivers if a.frames else 0):
            break
        try:
            motions.append(track(clip.path)[0])
        except InfinexError as error:
            print(error)
    print(f"{len(chosen)} stills, {len({c[2] for c in chosen})} people, {len(motions)} motions")
    for i, (path, source, person) in enumerate(chosen[: a.number]):
        name = f"clips/still_{path.stem}.mp4"
        fps, count, frames = 25.0, 0, iter([source.image] * 2)
        if a.frames:
            motion = motions[i % len(motions)]
            length = a.frames * a.every
            start = rng.randrange(max(1, len(motion) - length)) / motion.fps
            fps = motion.fps / a.every
            frames = render(source, motion.trim(start, start + length / motion.fps).resample(fps), LEAK_FREE)
        else:
            person = f"stills-{i % people_filmed}"
        side = source.image.shape[0]
        with open_sink(a.out / name, (a.size, a.size), fps, quality=15) as sink:
            for frame in frames:
                inter = cv2.INTER_AREA if side > a.size else cv2.INTER_CUBIC
                sink.write(cv2.resize(frame, (a.size, a.size), interpolation=inter))
                count += 1
        row = dict.fromkeys(MANIFEST_COLUMNS, "") | {
            "file": path.name, "clip": name, "split": "train", "identity": person, "status": "ok", "start": 0,
            "seconds": round(count / fps, 3), "frames": count, "fps": f"{fps:g}", "width": a.size, "height": a.size,
            "audio": 0,
        }  # fmt: skip
        rows.append(row)
        print(i, name, person, count, flush=True)
    with atomic_path(a.out / MANIFEST) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, MANIFEST_COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
