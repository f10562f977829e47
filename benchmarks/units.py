"""Action Units there and back: how well units asked of the mesh are found again by tracking the result.

    python benchmarks/units.py PORTRAITS_DIR [--names A,B,...] [--out REPORT.json] [--steps N]

Every portrait takes on each of the 17 units that OpenFace measures at rising intensities, random combinations, and
emotions; the pictures are tracked and units estimated against the portrait's own neutral. Reported per unit: the
correlation of asked and found over the portraits, of units one at a time (`alone`), with the emotions and with
everything (`r`), the last on the least portrait, the slope, the mean error, what is found where nothing was asked, and
leakage - how far the drawn mesh moves in the half of the face that is not the unit's (upper: mouth; lower: eyes and
brows), as a share of its largest displacement. AU9 reaches from brow to lip and has none to speak of. Also the time of
an edit at 1024 pixels, after the first.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.drivers.units import EMOTIONS, units_motion
from infinex.editing import Editor
from infinex.errors import InfinexError
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.reading import together
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS, OPENFACE, UNITS
from infinex.pipeline import load_source

MOUTH = top.LIPS_INNER + top.LIPS_OUTER
UPPER = top.RIGHT_BROW + top.LEFT_BROW + top.RIGHT_EYE + top.LEFT_EYE
CLEAR = 0.75  # of what was asked of a unit that is left when it has met the others
TURNED = 25  # degrees to the side, up or down
Row = dict[str, Any]


def expressions(steps: int, mixtures: int, seed: int = 0) -> list[dict[str, float]]:
    """Every unit at `steps` rising intensities; then as many mixtures of three units of which none overrules another
    (a shut eye and a wide one cannot both be seen), and of emotions and compound emotions, each unit at its own."""
    out: list[dict[str, float]] = [{u: (k + 1) / steps} for u in OPENFACE for k in range(steps)]
    rng = np.random.default_rng(seed)
    triples: list[dict[str, float]] = []
    while len(triples) < mixtures:
        chosen = [str(u) for u in rng.choice(OPENFACE, 3, replace=False)]
        units = {u: float(np.round(rng.uniform(0.2, 0.9), 2)) for u in chosen}
        shown = together(np.array([[units.get(u, 0.0) for u in FACE_UNITS]]))[0]
        if all(shown[FACE_UNITS.index(u)] > CLEAR * units[u] for u in chosen):
            triples.append(units)
    emotions = [list(e) for e in EMOTIONS.values() if len(e) > 1 and all(u in FACE_UNITS for u in e)]
    for _ in range(mixtures):
        units = {u: float(np.round(rng.uniform(0.2, 1.0), 2)) for u in emotions[int(rng.integers(len(emotions)))]}
        triples.append(units)
    return out + triples


def round_trip(path: Path, asked: list[dict[str, float]], finder: FaceFinder) -> Row:
    """Intensities found (N, 17) for those asked on one portrait, and displacements of single units."""
    editor = Editor(load_source(path))
    box = editor.sources[0].face.box
    plain = editor({})
    still = finder.mesh(plain, box)
    if still is None:
        raise InfinexError(f"{path.name}: the tracker does not find its own face again")
    reader, seen_rows = UnitReader(plain, still), []
    for units in asked:
        picture = editor(units)
        seen = finder.mesh(picture, box)
        seen_rows.append(seen is not None)
        if seen is not None:
            reader.add(picture, seen)
    found = np.full((len(asked), len(OPENFACE)), np.nan)
    found[seen_rows] = reader.units()[:, [FACE_UNITS.index(u) for u in OPENFACE]]
    turned = float(np.abs(fit_pose(top.mean_face(), still).angles[:2]).max())
    return {"name": path.stem, "found": found, "leakage": leakage(editor), "turned": turned}


def leakage(editor: Editor) -> list[float]:
    """Root mean square displacement of the other half of the drawn face over the largest, for each unit at 1."""
    face = editor._stage.faces[0]
    out = []
    for unit in OPENFACE:
        editor({unit: 1.0})
        target = face.target(units_motion(np.ones((1, 1)), [unit]).at(0))
        moved = np.linalg.norm(target.points[: top.SURFACE, :2] - face.face.points[: top.SURFACE, :2], axis=1)
        other = MOUTH if UNITS[unit].region == "upper" else UPPER
        out.append(float(np.sqrt((moved[other] ** 2).mean()) / moved.max()))
    return out


def edit_time(path: Path, side: int = 1024, calls: int = 20) -> float:
    """Milliseconds of an edit after the first, the median."""
    editor = Editor(load_source(path, size=side))
    units = {"AU12": 0.8, "AU6": 0.5}
    editor(units)
    spent = []
    for k in range(calls):
        start = time.perf_counter()
        editor({"AU12": 0.8 - 0.01 * k, "AU6": 0.5})
        spent.append(time.perf_counter() - start)
    return 1000 * float(np.median(spent))


def table(rows: list[Row], wanted: NDArray[np.float64], parts: dict[str, NDArray[np.int64]]) -> Row:
    """Print and return what was found on portraits of the intensities `wanted` (N, 17); `parts` names rows of it."""
    print(f"{'':8}{'alone':>7}{'emotions':>10}{'r':>7}{'least r':>9}{'slope':>7}{'error':>7}{'false':>7}{'leakage':>9}")
    report: Row = {}
    for k, unit in enumerate(OPENFACE):
        got = np.stack([r["found"][:, k] for r in rows])  # (portraits, expressions)
        ok = np.isfinite(got)
        least = min(float(np.corrcoef(wanted[o, k], g[o])[0, 1]) for g, o in zip(got, ok))
        aim = np.broadcast_to(wanted[:, k], got.shape)
        r = {n: float(np.corrcoef(aim[:, p][ok[:, p]], got[:, p][ok[:, p]])[0, 1]) for n, p in parts.items()}
        aim, got = aim[ok], got[ok]
        one = {"slope": float((aim * got).sum() / (aim**2).sum()), "error": float(np.abs(aim - got).mean()),
               "false": float(got[aim == 0].mean()), "leakage": max(row["leakage"][k] for row in rows)}  # fmt: skip
        report[unit] = {"r": r, "least_r": least, **one}
        print(f"{unit:8}{r['alone']:7.3f}{r['emotions']:10.3f}{r['all']:7.3f}{least:9.3f}"
              f"{one['slope']:7.2f}{one['error']:7.3f}{one['false']:7.3f}{one['leakage']:9.3f}")  # fmt: skip
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--names", help="stems of portraits, comma-separated; all by default")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--mixtures", type=int, default=24)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    chosen = set(a.names.split(",")) if a.names else None
    paths = [p for p in sorted(a.portraits.iterdir()) if chosen is None or p.stem in chosen]
    asked = expressions(a.steps, a.mixtures)
    single = np.arange(len(OPENFACE) * a.steps)
    wanted = np.array([[u.get(n, 0.0) for n in OPENFACE] for u in asked])
    finder = FaceFinder()
    rows = []
    for path in bar(paths, description="round trip"):
        try:
            rows.append(round_trip(path, asked, finder))
        except InfinexError as error:
            print(error)
    finder.close()
    parts = {
        "alone": single,
        "emotions": np.r_[single, len(asked) - a.mixtures : len(asked)],
        "all": np.arange(len(asked)),
    }
    facing = [r for r in rows if r["turned"] <= TURNED]
    report: Row = {"portraits": [r["name"] for r in rows]}
    if 0 < len(facing) < len(rows):
        print(f"{len(asked)} expressions each, on {len(facing)} portraits turned {TURNED} degrees at most")
        report["facing"] = table(facing, wanted, parts)
    print(f"{len(asked)} expressions each, on all {len(rows)} portraits")
    report["units"] = table(rows, wanted, parts)
    report["ed"] = float(np.mean([u["error"] for u in report["units"].values()]))
    report["edit_ms"] = edit_time(paths[0])
    print(f"mean error per unit {report['ed']:.3f}; an edit at 1024 pixels takes {report['edit_ms']:.1f} ms")
    if a.out:
        a.out.write_text(json.dumps(report, indent=1))
        np.savez_compressed(a.out.with_suffix(".npz"), wanted=wanted, found=np.stack([r["found"] for r in rows]))


if __name__ == "__main__":
    main()
