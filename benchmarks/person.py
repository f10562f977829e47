"""What fitting Latent Pose Descriptors to a person gives: an album of a clip's beginning, measured on its end.

python benchmarks/person.py CLIPS --runs FOLDER [--weights RUN] [--split test] [--every 3] [--set repeats=50] [--json]

CLIPS is a folder of `infinex prepare`, or of clips. Of everybody's longest clip the first three fifths are the album
(thirty pictures, evenly spread); the portrait is the clip's first frame, the driver every few frames of the last two
fifths. Figures are those of `infinex evaluate`: landmark distance (pixels at 256), identity cosine to the portrait, L1;
means with 95 % intervals over people, and over the static picture's where that has a meaning. `plain` are the weights
before they were fitted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.engine import load_engine
from infinex.evaluation.inception import Judges
from infinex.evaluation.reenact import Take, interval, self_reenactment, takes
from infinex.face.tracker import FaceFinder
from infinex.media.image import write_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.systems.registry import TRAINED, resolve

ALBUM = 0.6  # share of a clip
NAMES = ("static", "plain", "fitted")
SHOWN = 6  # moments of each clip on a sheet


def longest(clips: list[Take]) -> list[tuple[Take, int]]:
    """Everybody's longest clip and how many frames it has."""
    out: dict[str, tuple[Take, int]] = {}
    for take in clips:
        with VideoReader(take.path) as reader:
            count = sum(1 for _ in reader)
        if count > out.get(take.identity, (take, 0))[1]:
            out[take.identity] = take, count
    return list(out.values())


def cut(take: Take, count: int, folder: Path, every: int) -> tuple[Path, Path]:
    """The album as a clip, and what it is measured on as another, its first frame first."""
    album, end, first = folder / "album.mp4", folder / "end.mp4", round(ALBUM * count)
    with VideoReader(take.path) as reader:
        size = reader.info.width, reader.info.height
        sinks = [open_sink(p, size, float(reader.info.fps), quality=8) for p in (album, end)]
        with sinks[0] as learned, sinks[1] as measured:
            for frame in reader:
                if frame.index < first:
                    learned.write(frame.image)
                if frame.index == 0 or (frame.index >= first and (frame.index - first) % every == 0):
                    measured.write(frame.image)
    return album, end


def fitted(take: Take, count: int, runs: Path, weights: str, settings: list[str], every: int) -> dict[str, Any]:
    """Rows by name of one person; what is not in `runs` yet is learned."""
    from infinex.training.trainer import train

    folder, run = runs / take.identity, runs / take.identity / "run"
    folder.mkdir(parents=True, exist_ok=True)
    album, end = cut(take, count, folder, every)
    if not (run / TRAINED).is_file():
        start = [f"start_from={resolve(weights, 'latent-pose')}"] if weights else []
        train("latent-pose-face-person", album, run, [*start, "tensorboard=False", *settings], say=print)
    engines = {n: load_engine("latent-pose", weights=w) for n, w in (("plain", weights), ("fitted", str(run)))}
    rows: list[NDArray[np.uint8]] = []
    at = set(np.linspace(0, (count - round(ALBUM * count)) // every, SHOWN).round().astype(int).tolist())

    def watch(i: int, truth: NDArray[np.uint8], pictures: dict[str, NDArray[np.uint8]]) -> None:
        if i in at:
            rows.append(np.hstack([truth, *(pictures[n] for n in NAMES)]))

    with FaceFinder() as finder:
        found, _ = self_reenactment(
            Take(take.name, end, take.identity), engines, finder, None, True, Judges(None, None), watch
        )
    write_image(folder / "sheet.png", np.vstack(rows))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="Where what is learned lies, or comes to lie.")
    parser.add_argument("--weights", default="", help="Of many people; those that come along where none are named.")
    parser.add_argument("--split", default="test", help="Of a prepared folder.")
    parser.add_argument("--every", type=int, default=3, help="Frames between two that are measured.")
    parser.add_argument("--set", action="append", default=[], help="key=value for what is trained.")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    people: list[str] = []
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in NAMES}
    for take, count in longest(takes(args.clips, args.split)):
        row = fitted(take, count, args.runs, args.weights, args.set, args.every)
        people.append(take.identity)
        for name in NAMES:
            rows[name].append(row[name])
            print(f"{take.identity:16} {name:8} {row[name]}", flush=True)
    mean = {n: {k: interval(rows[n], people, k) for k in ("akd", "csim", "l1", "psnr", "ssim", "cpu")} for n in NAMES}
    if args.json:
        print(json.dumps({"people": dict(zip(people, zip(*rows.values()))), "mean": mean}))
    for name, figures in mean.items():
        said = "  ".join(f"{k} {v[0]:.3g} [{v[1]:.3g}, {v[2]:.3g}]" for k, v in figures.items() if v)
        over = [figures[k][0] / mean["static"][k][0] for k in ("akd", "l1")]  # type: ignore[index]
        print(f"{name:8} {said}  of static: akd {over[0]:.2f}, l1 {over[1]:.2f}")


if __name__ == "__main__":
    main()
