"""Which emotion is read off the portraits that `--engine stargan` was told to give one: the asked one, or another?

python benchmarks/emotions.py PORTRAITS [--weights RUN] [--sheet PICTURE] [--json]

Every portrait of a folder is drawn under every emotion that the weights know. The reader of Action Units compares the
drawn face with the portrait; the emotion whose units lie nearest by angle, as the engine itself tells emotions apart,
is the one that is read. `first` is the share of portraits that read as what was asked; `mean` is what the mean of their
units reads as. 95 % intervals by bootstrap over portraits. `strength` is how much of the asked emotion the mean shows,
1 for all of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Source
from infinex.errors import FaceNotFoundError
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import UnitReader
from infinex.media.image import write_image
from infinex.motion import Move
from infinex.systems.ganimation.evaluate import portraits
from infinex.systems.stargan.engine import BUNDLED, NEUTRAL, StarganEngine, StarganOptions, prototypes

RESAMPLES = 2000
SHOWN = 160  # side of a face on the sheet


def drawn(engine: StarganEngine, source: Source) -> NDArray[np.uint8]:
    """The portrait under the labels of the engine."""
    canvas, still = source.image.copy(), np.zeros(3)
    points = source.face.landmarks.shape[0]
    engine.prepare(source).draw(canvas, Drive(Move(0.0, still, still, 1.0, np.zeros((points, 3)), np.zeros(2))))
    return canvas


def face_of(source: Source, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The face of a picture, square."""
    x0, y0, x1, y1 = (int(v) for v in source.face.box)
    side, (h, w) = max(x1 - x0, y1 - y0), image.shape[:2]
    y, x = max(0, min(y0, h - side)), max(0, min(x0, w - side))
    return np.asarray(cv2.resize(image[y : y + side, x : x + side], (SHOWN, SHOWN), interpolation=cv2.INTER_AREA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--weights", default=BUNDLED)
    parser.add_argument("--sheet", type=Path, help="every portrait under every emotion, side by side")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    first = StarganEngine(a.weights)
    names = tuple(n for n in first.config.labels if n != NEUTRAL)
    engines = {n: StarganEngine(a.weights, StarganOptions(labels=n)) for n in names}
    rows = prototypes(names)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    units: dict[str, list[NDArray[np.float64]]] = {n: [] for n in names}
    finder, sheet, lost = FaceFinder(), [], 0
    for _, source in portraits(a.portraits):
        pictures = {n: drawn(e, source) for n, e in engines.items()}
        sheet.append(np.hstack([face_of(source, i) for i in (source.image, *pictures.values())]))
        try:
            found = {n: finder.in_box(i, source.face.box).landmarks for n, i in pictures.items()}
        except FaceNotFoundError:
            lost += 1
            continue
        for n in names:
            reader = UnitReader(source.image, source.face.landmarks)
            reader.add(pictures[n], found[n])
            units[n].append(reader.units()[0])
    rng = np.random.default_rng(0)
    report: dict[str, Any] = {"portraits": len(units[names[0]]), "lost": lost, "emotions": {}}
    for k, n in enumerate(names):
        read = np.array(units[n])
        right = (np.argmax(read @ rows.T, axis=1) == k).astype(float)
        means = [right[rng.integers(len(right), size=len(right))].mean() for _ in range(RESAMPLES)]
        mean = read.mean(0)
        report["emotions"][n] = {
            "first": round(float(right.mean()), 3),
            "interval": [round(float(v), 3) for v in np.percentile(means, [2.5, 97.5])],
            "mean": names[int(np.argmax(mean @ rows.T))],
            "strength": round(float(mean @ rows[k] / np.linalg.norm(prototypes((n,)))), 3),
        }
    if a.sheet:
        write_image(a.sheet, np.vstack(sheet))
    if a.json:
        print(json.dumps(report))
        return
    print(f"{report['portraits']} portraits, in {lost} more the drawn face was not found; chance {1 / len(names):.2f}")
    for n, row in report["emotions"].items():
        print(f"{n:14} first {row['first']:.2f} {row['interval']}  mean {row['mean']:14} {row['strength']:.2f}")


if __name__ == "__main__":
    main()
