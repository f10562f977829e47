"""Apple's 52 blendshapes on invented people whose shapes are known exactly: what `track` finds of them.

    python benchmarks/blendshapes.py MODEL.npz [--people 4] [--out REPORT.json]

People (`tools/exact_face.py`) of seeds that taught nothing, with their own skin, light and cameras, show every shape
rising and falling alone, and mixtures. Reported for every shape: the correlation of asked and found over all pictures
of shapes alone (`alone`: what others leak into it counts against it) and over the mixtures (`mixed`), what is found of
a full one (`gain`), and the most that a full one puts into any other (`leak`); beside the same figures of what the
Action Units that `track` reads stand for, and of a mean of the two.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from exact_face import HEAD, Model, Person, alone, mixture

from infinex.face import topology as top
from infinex.face.blendshapes import AT, EYES, NAMES, from_units, look
from infinex.face.pose import fit_pose
from infinex.face.shape import gaze_of
from infinex.face.shape_reader import ShapeReader
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS

Array = NDArray[np.float64]
FIRST = 100_000  # seeds from here on teach nothing
WITH = {"mouthClose": ("jawOpen",), "tongueOut": ("jawOpen",)}  # cannot be seen without


def found_of(person: Person, wanted: Array, finder: FaceFinder, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Weights (N, 52) that the reader finds, those that units stand for, and seconds of the reader a picture."""
    image, places = person.draw(np.zeros(len(NAMES)))
    points = finder.mesh(image, (*places[:HEAD, :2].min(0), *places[:HEAD, :2].max(0)))
    if points is None:
        raise SystemExit(f"person {person.seed}: not found at rest")
    rest = fit_pose(top.mean_face(), points).to_head(points)
    reader, units, eyes, took = ShapeReader(image, points, rest), UnitReader(image, points, rest), [], 0.0
    for k, w in enumerate(wanted):
        image, places = person.draw(w, tuple(rng.normal(0, (5, 4, 3))), k + 1)
        seen = finder.mesh(image, (*places[:HEAD, :2].min(0), *places[:HEAD, :2].max(0)))
        shape = rest if seen is None else fit_pose(rest, seen).to_head(seen)
        began = time.process_time()
        reader.add(image if seen is not None else None, seen, shape - rest)
        took += time.process_time() - began
        units.add(image if seen is not None else None, seen, shape - rest)
        eyes.append(np.repeat((gaze_of(shape) - gaze_of(rest))[None], 2, 0))
    began = time.process_time()
    out = reader.shapes()
    plain = from_units(units.units(), FACE_UNITS)
    plain[:, EYES] = look(np.stack(eyes))
    return out, plain, (took + time.process_time() - began) / len(wanted)


def correlation(a: Array, b: Array) -> Array:
    """(52,) of (N, 52) each; 0 where nothing was found."""
    a, b = a - a.mean(0), b - b.mean(0)
    return np.asarray((a * b).sum(0) / np.maximum(np.sqrt((a * a).sum(0) * (b * b).sum(0)), 1e-9))


def leakage(found: Array, asked: Array) -> Array:
    """(52,) the most that a full shape puts into any other that was not asked for, on the average of the people."""
    out = np.zeros(len(NAMES))
    for k, name in enumerate(NAMES):
        full = found[asked[:, k] == 1]
        others = [i for i, n in enumerate(NAMES) if i != k and n not in WITH.get(name, ())]
        # Full in a row of its own, not as what another needs.
        mine = full[
            [not any(asked[r][AT[n]] == 1 for n in WITH if n != name) for r in np.flatnonzero(asked[:, k] == 1)]
        ]
        out[k] = mine[:, others].mean(0).max() if len(mine) else np.nan
    return out


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--mixtures", type=int, default=60)
    parser.add_argument("--levels", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    model, finder = Model(o.model), FaceFinder()
    singles = alone(tuple(o.levels))
    asked, found, plain, took = [], [], [], []
    for k in range(o.people):
        rng = np.random.default_rng([9, k])
        wanted = np.concatenate([singles, [mixture(rng) for _ in range(o.mixtures)]])
        a, b, seconds = found_of(Person(model, FIRST + k), wanted, finder, rng)
        asked.append(wanted), found.append(a), plain.append(b), took.append(seconds)
        print(f"person {k + 1} of {o.people}", file=sys.stderr, flush=True)
    both = [(a + b) / 2 for a, b in zip(found, plain)]
    n = len(singles)
    report: dict[str, object] = {
        "people": o.people,
        "pictures": sum(map(len, asked)),
        "ms": round(1e3 * float(np.mean(took)), 2),
    }
    one, many = np.concatenate([a[:n] for a in asked]), np.concatenate([a[n:] for a in asked])
    for name, rows in (("reader", found), ("units", plain), ("mean", both)):
        f1, f2 = np.concatenate([r[:n] for r in rows]), np.concatenate([r[n:] for r in rows])
        r1, r2, leak = correlation(one, f1), correlation(many, f2), leakage(f1, one)
        gain = np.array([f1[one[:, k] == 1, k].mean() for k in range(len(NAMES))])
        figures = {"alone": r1, "mixed": r2, "gain": gain, "leak": leak}
        report[name] = {m: {f: round(float(v[k]), 3) for f, v in figures.items()} for m, k in AT.items()}
        print(f"{name}: alone {(r1 >= 0.7).sum()} of 52 from 0.7, {(r1 >= 0.9).sum()} from 0.9, "
              f"median {np.median(r1):.3f}; "
              f"mixed {(r2 >= 0.7).sum()}, {(r2 >= 0.9).sum()}, {np.median(r2):.3f}; "
              f"leak at most 0.15 of {(leak <= 0.15).sum()}, median {np.nanmedian(leak):.2f}")  # fmt: skip
    print(f"\n{'shape':20} alone mixed gain leak   (units: alone mixed; mean: alone mixed)")
    a, b, c = report["reader"], report["units"], report["mean"]
    assert isinstance(a, dict) and isinstance(b, dict) and isinstance(c, dict)
    for m in NAMES:
        others = [t[m][f] for t in (b, c) for f in ("alone", "mixed")]
        figures = [*(a[m][f] for f in ("alone", "mixed", "gain", "leak")), *others]
        print(f"{m:20}", *(f"{v:5.2f}" for v in figures))
    print(f"{report['ms']} ms of CPU a picture")
    if o.out:
        o.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
