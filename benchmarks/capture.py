"""Action Units on invented people whose expressions are known exactly: what is found of them, beside py-feat.

    python benchmarks/capture.py MODEL.npz [--people 2] [--out REPORT.json]

People (`tools/exact_face.py`) of seeds that taught nothing show mixtures of expressions. The truth of a unit is the
shape that stands for it in `infinex.face.blendshapes`, on FACS's scale of 0 to 5; that is a table, not a coder. What
`infinex track --format openface` writes and what py-feat finds in the same pictures is reported in the form of
py-feat's evaluation: F1 of an intensity from 2, ICC(3,1), and beside those the correlation; mean and for each unit. Of
py-feat, which gives probabilities, one of 0.5 counts as there, as its evaluation has it. It needs `pip install py-feat`
and its weights, which it fetches itself (HF_HUB_OFFLINE=1 keeps it from trying); where one of them is missing its part
says why.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from exact_face import HEAD, Model, Person, mixture

from infinex.face.blendshapes import NAMES, to_units
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS, OPENFACE

Array = NDArray[np.float64]
FIRST = 100_000  # seeds from here on teach nothing
THERE, PROBABLE, MOST = 2.0, 0.5, 5.0


def two(unit: str) -> str:
    """AU01 for AU1."""
    return f"AU{int(unit[2:]):02}"


def f1(truth: Array, found: Array, at: float) -> float:
    """F1 of what is there from intensity `THERE` on, and found from `at` on; 0 where there is none of either."""
    a, b = truth >= THERE, found >= at
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def icc(truth: Array, found: Array) -> float:
    """ICC(3,1) of two raters (Shrout and Fleiss, 1979)."""
    rows = np.stack([truth, found], 1)
    n = len(rows)
    between = 2 * ((rows.mean(1) - rows.mean()) ** 2).sum() / (n - 1)
    rest = rows - rows.mean(1, keepdims=True) - rows.mean(0) + rows.mean()
    error = (rest**2).sum() / (n - 1)
    return float((between - error) / (between + error)) if between + error > 1e-12 else 0.0


def correlation(truth: Array, found: Array) -> float:
    """Pearson's; 0 where nothing varies."""
    return float(np.corrcoef(truth, found)[0, 1]) if truth.std() > 1e-9 and found.std() > 1e-9 else 0.0


def scored(truth: dict[str, Array], found: dict[str, Array], at: float, seconds: float) -> dict[str, Any]:
    """In the form of py-feat's evaluation; pictures without a face (NaN) do not count."""
    out: dict[str, dict[str, float]] = {"f1": {}, "icc": {}, "r": {}}
    for unit in truth:
        if unit in found:
            there = np.isfinite(found[unit])
            a, b = truth[unit][there], found[unit][there]
            out["f1"][unit], out["icc"][unit], out["r"][unit] = f1(a, b, at), icc(a, b), correlation(a, b)
    first = next(iter(found.values()))
    report: dict[str, Any] = {
        "n_samples": len(first), "n_faces_detected": int(np.isfinite(first).sum()), "elapsed_s": round(seconds, 2),
        "fps": round(len(first) / seconds, 2), "n_aus_evaluated": len(out["f1"]),
    }  # fmt: skip
    for name, values in out.items():
        report[f"au_{name}_mean"] = round(float(np.mean(list(values.values()))), 4)
        report[f"au_{name}_per_au"] = {u: round(v, 4) for u, v in values.items()}
    return report


def ours(people: list[tuple[list[NDArray[np.uint8]], list[tuple[float, ...]]]]) -> tuple[dict[str, Array], float]:
    """Intensities 0 to 5 of the pictures of every person, the first of which shows rest and is not counted."""
    finder, rows, began = FaceFinder(), [], time.process_time()
    for pictures, boxes in people:
        points = finder.mesh(pictures[0], boxes[0])
        if points is None:
            raise SystemExit("a person is not found at rest; take other seeds")
        reader, seen = UnitReader(pictures[0], points), []
        for picture, box in zip(pictures[1:], boxes[1:]):
            points = finder.mesh(picture, box)
            seen.append(points is not None)
            if points is not None:
                reader.add(picture, points)
        found = np.full((len(seen), len(FACE_UNITS)), np.nan)
        found[seen] = MOST * reader.units()
        rows.append(found)
    every = np.concatenate(rows)
    columns = {two(u): every[:, FACE_UNITS.index(u)] for u in OPENFACE}
    return columns, time.process_time() - began


def of_pyfeat(people: list[tuple[list[NDArray[np.uint8]], Any]]) -> tuple[dict[str, Array], float] | str:
    """Probabilities of py-feat in the same pictures, or why there are none."""
    try:
        from feat import Detectorv1, __version__

        detector = Detectorv1()
    except Exception as error:  # of many kinds: not installed, or its weights cannot be loaded
        return f"left out: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    print(f"py-feat {__version__}", file=sys.stderr)
    with TemporaryDirectory() as folder:
        paths = []
        for k, picture in enumerate(p for pictures, _ in people for p in pictures[1:]):
            paths.append(f"{folder}/{k:06d}.png")
            cv2.imwrite(paths[-1], picture[..., ::-1])
        began = time.process_time()
        fex = detector.detect(paths, data_type="image", batch_size=1, num_workers=0, progress_bar=False)
        took = time.process_time() - began
    fex = fex.sort_values("FaceScore", ascending=False).drop_duplicates("frame").set_index("frame")
    fex = fex.reindex(range(len(paths)))
    return {two(u): fex[two(u)].to_numpy(float) for u in OPENFACE if two(u) in fex}, took


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--each", type=int, default=80, help="pictures of each person")
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    model, people, truth = Model(o.model), [], []
    for k in range(o.people):
        person, rng = Person(model, FIRST + k), np.random.default_rng([25, k])
        wanted = np.stack([np.zeros(len(NAMES)), *(mixture(rng) for _ in range(o.each))])
        pictures, boxes = [], []
        for i, w in enumerate(wanted):
            picture, places = person.draw(w, tuple(rng.normal(0, (5, 4, 3))) if i else None, i)
            pictures.append(picture)
            boxes.append((*places[:HEAD, :2].min(0), *places[:HEAD, :2].max(0)))
        people.append((pictures, boxes))
        truth.append(wanted[1:])
        print(f"person {k + 1} of {o.people}", file=sys.stderr, flush=True)
    units = to_units(np.concatenate(truth))
    asked = {two(u): MOST * units[u] for u in OPENFACE if u in units and units[u].any()}
    found, seconds = ours(people)
    report: dict[str, Any] = {"infinex": scored(asked, found, THERE, seconds)}
    theirs = of_pyfeat(people)
    report["py-feat"] = theirs if isinstance(theirs, str) else scored(asked, theirs[0], PROBABLE, theirs[1])
    print(f"mean r {report['infinex']['au_r_mean']:.2f} of {len(asked)} units; others are in none of the pictures")
    print("unit   r     F1    ICC" + ("" if isinstance(theirs, str) else "   py-feat: r F1 ICC"))
    for unit in asked:
        cells = [
            f"{side[f'au_{n}_per_au'].get(unit, np.nan):5.2f}"
            for side in report.values() if not isinstance(side, str) for n in ("r", "f1", "icc")
        ]  # fmt: skip
        print(unit, *cells)
    print("py-feat", theirs if isinstance(theirs, str) else "in the same run")
    if o.out:
        o.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
