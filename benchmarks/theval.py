"""Five columns of THEval: how like a real video a driven portrait moves, heard and seen.

    python benchmarks/theval.py CLIPS [--clips 16] [--frames 150] [--out table.csv]

Every clip's first frame is driven by the clip, as `infinex animate` with its defaults draws it; result and clip are
tracked alike and compared as `infinex.evaluation.theval` says. Clips that a folder's manifest calls synthetic are left
out; clips without sound count in the first three columns. Prints a row for each clip, result over truth, and scores.
"""

from __future__ import annotations

import argparse
import csv
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import track as bar

from infinex.engine import Source
from infinex.errors import InfinexError, InputError
from infinex.evaluation import theval
from infinex.evaluation.reenact import takes
from infinex.face.tracker import FaceFinder, FaceTracker
from infinex.jobs.open import open_driver
from infinex.jobs.perform import adjusted, settled
from infinex.media.audio import read_audio
from infinex.media.video import VideoReader
from infinex.options import Options
from infinex.stage import make_stage

RATE = 16000


def synthetic(folder: Path) -> set[str]:
    """Stems of the clips that a MANIFEST.csv beside or above the folder calls made by a generator."""
    for place in (folder, *folder.resolve().parents[:2]):
        if (place / "MANIFEST.csv").is_file():
            with (place / "MANIFEST.csv").open(encoding="utf-8") as file:
                return {Path(r["path"]).stem for r in csv.DictReader(file) if r.get("kind") == "synthetic"}
    return set()


def pair(clip: Path, frames: int, finder: FaceFinder) -> tuple[dict[str, float], dict[str, float]]:
    """The measures of the driven first frame and of the clip itself. Raises InfinexError."""
    o = Options()
    with VideoReader(clip) as reader:
        first = next(iter(reader)).image
    faces = finder.find(first)
    if not faces:
        raise InputError(f"{clip.name}: no face in the first frame")
    stage = make_stage([Source(first, faces[0])], o)
    driver = open_driver(clip, o)
    trackers = FaceTracker(), FaceTracker()
    seen: tuple[list[theval.Glimpse], list[theval.Glimpse]] = ([], [])
    try:
        settled(driver, stage.faces[0].face, o.absolute)
        fps = float(driver.fps)
        with closing(adjusted(driver, o, stage.needs)) as cues:
            for cue in islice(cues, frames):
                picture, _ = stage.render(cue)
                if cue.image is None:
                    raise InputError(f"{clip.name}: the face is lost for a while")
                found = [t(i) for t, i in zip(trackers, (picture, cue.image))]
                for kept, face in zip(seen, found):
                    if face is not None:
                        kept.append(theval.glimpse(face.landmarks))
                    elif kept:
                        kept.append(kept[-1])
    finally:
        driver.close()
        for t in trackers:
            t.close()
    if min(map(len, seen)) < 8:
        raise InputError(f"{clip.name}: too few frames with a face")
    try:
        sound = read_audio(clip, RATE)[: int(len(seen[1]) / fps * RATE)]
    except InputError:
        sound = None
    result, truth = (theval.measures(s, sound, RATE, fps) for s in seen)
    return result, truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--clips", dest="most", type=int, default=16, help="how many, people taken in turn")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--out", type=Path, help="CSV of every clip")
    a = parser.parse_args()
    made = synthetic(a.clips)
    found = [t for t in takes(a.clips, "all") if t.path.stem not in made]
    finder = FaceFinder()
    names, results, truths = [], [], []
    for take in bar(found[: a.most], description="theval"):
        try:
            result, truth = pair(take.path, a.frames, finder)
        except InfinexError as error:
            print(f"left out: {error}")
            continue
        names.append(take.name)
        results.append(result)
        truths.append(truth)
    finder.close()
    print(f"{'result / truth':28}" + "".join(f"{theval.TITLES[k]:>16}" for k in theval.KEYS))
    for name, r, t in zip(names, results, truths):
        print(f"{name[:27]:28}" + "".join(f"{r[k] / max(t[k], 1e-9):16.3f}" for k in theval.KEYS))
    score = theval.scores(results, truths)
    print(f"{'score':28}" + "".join(f"{score.get(k, np.nan):16.3f}" for k in theval.KEYS))
    print(f"{'LivePortrait, as published':28}" + "".join(f"{theval.PUBLISHED[k]:16.3f}" for k in theval.KEYS))
    if a.out:
        with a.out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["clip", *(f"{k}_{side}" for k in theval.KEYS for side in ("result", "truth"))])
            for name, r, t in zip(names, results, truths):
                writer.writerow([name, *(v for k in theval.KEYS for v in (r[k], t[k]))])


if __name__ == "__main__":
    main()
