"""Whose face and which expression one person driving another shows: the landmark transformer beside plain transfer.

python benchmarks/landmark_transformer.py DATA [--keep FOLDER] [--weights FILE] [--frames 40] [--json]

On people that `tools/teach_landmarks.py` held back, every one driving every other, from one picture of the target (the
frame in the middle of their clip) with motion as it is. Faces are landmarks in head coordinates; who somebody is their
mean over all frames says. 95 % intervals by bootstrap over targets.

identity    how far the mean of the result lies from the target's, over how far the driver's does: 0 is the target, 1
            the driver
nearest     share of frames that are nearer to the target's mean face than to that of any other person of the data
expression  correlation of Action Units, read against everybody's own mean face, with the driver's
lips        correlation of how far the inner lips are apart with the driver's"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.face.landmark_transformer import LandmarkTransformer, landmark_transformer
from infinex.face.reading import read_units
from infinex.face.shape import lip_gaps

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from teach_landmarks import held_back, tracks

Array = NDArray[np.float64]
WAYS = ("plain", "displaced", "transformer", "transformer x1.5", "many pictures", "from rest")
POINTS = 468


def transferred(way: str, model: LandmarkTransformer, driver: Array, target: Array, several: Array) -> Array:
    """Faces (T, 478, 3) of the picture `target` (478, 3) driven by `driver` (T, 478, 3).

    plain: the driver's own. displaced: what the driver's mean face does not show is laid on the picture. Many
    pictures: the target's identity is the mean over `several`. From rest: as engines do it, where who the driver is is
    judged in the frame that is most like their mean alone."""
    if way == "plain":
        return driver
    if way == "displaced":
        return target + driver - driver.mean(0)
    if way == "from rest":
        away = np.linalg.norm((driver - driver.mean(0)).reshape(len(driver), -1), axis=1)
        rest = driver[away.argmin()]
        return model.performed(rest, driver - rest, target)
    if way == "many pictures":
        return model.mean + model.identity(several) + model.expression(driver)
    return model.transfer(driver, target, 1.5 if way.endswith("1.5") else 1.0)


def agreement(made: Array, who: Array, driver: Array, own: Array) -> float:
    """Correlation over frames of the units of `made`, away from `who`, with the driver's away from `own`."""
    a, b = read_units(made - who), read_units(driver - own)
    lively = b.std(0) > 0.03
    both = [np.corrcoef(x, y)[0, 1] if x.std() > 1e-6 else 0.0 for x, y in zip(a[:, lively].T, b[:, lively].T)]
    return float(np.mean(both)) if both else float("nan")


def measured(model: LandmarkTransformer, faces: dict[str, Array], names: list[str], frames: int) -> dict[str, dict]:
    """By way and measure, for each target the mean over drivers, and bootstrap intervals."""
    people = list(faces)
    means = np.stack([faces[p].mean(0)[:POINTS] for p in people])
    rows: dict[tuple[str, str], dict[str, list[float]]] = {}
    for who in names:
        own = faces[who]
        picture, mine = own[len(own) // 2], own.mean(0)
        several = own[np.linspace(0, len(own) - 1, 8).astype(int)]
        for name in names:
            if name == who:
                continue
            theirs = faces[name].mean(0)
            driver = faces[name][np.linspace(0, len(faces[name]) - 1, frames).astype(int)]
            apart = np.linalg.norm((theirs - mine)[:POINTS])
            for way in WAYS:
                made = transferred(way, model, driver, picture, several)
                near = np.linalg.norm((made[:, None, :POINTS] - means).reshape(len(made), len(people), -1), axis=2)
                found = {
                    "identity": float(np.linalg.norm((made.mean(0) - mine)[:POINTS]) / apart),
                    "nearest": float(np.mean(near.argmin(1) == people.index(who))),
                    "expression": agreement(made, mine, driver, theirs),
                    "lips": float(np.corrcoef(lip_gaps(made)[:, 4], lip_gaps(driver)[:, 4])[0, 1]),
                }
                for measure, value in found.items():
                    rows.setdefault((way, measure), {}).setdefault(who, []).append(value)
    rng, out = np.random.default_rng(0), {}
    for (way, measure), by_target in rows.items():
        each = np.array([np.nanmean(v) for v in by_target.values()])
        drawn = rng.choice(each, (2000, len(each))).mean(1)
        out.setdefault(way, {})[measure] = (float(each.mean()), *np.percentile(drawn, (2.5, 97.5)).tolist())
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--keep", type=Path, help="folder of tracks")
    parser.add_argument("--weights", type=Path, help="another file than the one that comes along")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    model = landmark_transformer()
    if a.weights:
        with np.load(a.weights, allow_pickle=False) as file:
            model = LandmarkTransformer(*(file[k].astype(np.float64) for k in ("mean", "basis", "reader")))
    faces = tracks(a.data, a.keep)
    names = held_back(list(faces))
    found = measured(model, faces, names, a.frames)
    if a.json:
        print(json.dumps(found))
        return
    print(f"{len(names)} people held back, {len(names) * (len(names) - 1)} pairs; mean [95 % over targets]")
    for way, row in found.items():
        print(f"{way:18}", "  ".join(f"{k} {m:.3f} [{lo:.2f}, {hi:.2f}]" for k, (m, lo, hi) in row.items()))


if __name__ == "__main__":
    main()
