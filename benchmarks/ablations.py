"""What a system loses without one of its parts: runs by name, side by side, as papers argue.

python benchmarks/ablations.py ENGINE DATASET NAME=RUN[,OPTION=VALUE...] ... [--split test] [--every 6] [--frames N]
                               [--drivers 2] [--out FOLDER] [--json]

    python benchmarks/ablations.py marionette data/faces full=runs/full attention=runs/without \\
        transformer=runs/full,proportions=plain

RUN is what --weights takes, nothing for the weights that come along; options are those of `infinex animate`. Two
tables, means with 95 % intervals by bootstrap over people:

own      everybody by their own clips (every so many frames of them), motion as it is, as `infinex evaluate` measures;
         of landmark distance (akd) and L1 also the share of the static picture's. frechet: distance between the face
         recogniser's features of true and of made pictures, as FID is of Inception's, times 100 (no interval: it is
         one number of all pictures)
others   everybody's first picture by the clips of so many others, motion as it is: share of frames in which a face is
         found, identity cosine (csim), correlation of Action Units, degrees that the head's turn is off, correlations
         of lips and lids

With --out four moments of every clip are drawn as panels: truth (or performer), portrait, and every run."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.video import VideoDriver
from infinex.engine import Engine, Source, find_engine, load_engine
from infinex.evaluation.compare import agreement
from infinex.evaluation.inception import Judges, frechet_distance
from infinex.evaluation.reenact import Take, interval, self_reenactment, takes
from infinex.evaluation.watched import Doings, Watched
from infinex.face.identity import cosine, identity
from infinex.face.tracker import FaceFinder
from infinex.media.image import write_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.options import Options
from infinex.stage import Stage

RGB = NDArray[np.uint8]
OWN = ("akd", "csim", "l1", "l1_mouth", "ssim", "psnr")
OTHERS = ("found", "csim", "units", "pose", "lips", "lids")
MOMENTS, SIDE = 4, 160  # of a panel
EVERY = 3  # frames between looks at who it is


def variant(text: str, engine: str) -> tuple[str, Engine]:
    """NAME=RUN[,OPTION=VALUE...] as an engine that is told to take motion as it is."""
    name, _, rest = text.partition("=")
    run, *settings = rest.split(",")
    chosen = dict(s.split("=", 1) for s in settings)
    shared: dict[str, Any] = {k: chosen.pop(k) for k in ("proportions",) if k in chosen}
    # An engine that knows no other motion has no such option.
    if "absolute" in find_engine(engine).system.options:
        shared["absolute"] = True
    options = Options(engine=engine, weights=run, own=chosen, **shared)
    return name, load_engine(engine, options, run)


def thinned(take: Take, every: int, folder: Path) -> Take:
    """The same clip of every so many frames, in `folder`."""
    path = folder / f"{take.name}.mp4"
    with VideoReader(take.path) as reader:
        info = reader.info
        with open_sink(path, (info.width, info.height), float(info.fps) / every, quality=8) as sink:
            for frame in reader:
                if frame.index % every == 0:
                    sink.write(frame.image)
    return Take(take.name, path, take.identity)


def first_face(take: Take, finder: FaceFinder) -> Source | None:
    """The portrait that a clip begins with."""
    with VideoReader(take.path) as reader:
        image = next(iter(reader)).image
    faces = finder.find(image)
    return Source(image, faces[0]) if faces else None


def features(finder: FaceFinder, picture: RGB) -> NDArray | None:
    """Of the face recogniser; None where no face is found."""
    faces = finder.find(picture)
    return identity(picture, faces[0].landmarks) if faces else None


class Panel:
    """A few moments of all, side by side."""

    def __init__(self, frames: int) -> None:
        self.shown = set(np.linspace(0, max(0, frames - 1), MOMENTS).round().astype(int).tolist())
        self.rows: list[RGB] = []

    def add(self, index: int, pictures: Sequence[RGB]) -> None:
        """The next frame."""
        if index in self.shown:
            self.rows.append(np.hstack([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in pictures]))

    def write(self, path: Path | None) -> None:
        """As a picture, if anywhere."""
        if path is not None and self.rows:
            write_image(path, np.vstack(self.rows))


def length(take: Take) -> int:
    """Frames of a clip."""
    with VideoReader(take.path) as reader:
        return sum(1 for _ in reader)


def by_their_own(
    clips: list[Take], engines: dict[str, Engine], finder: FaceFinder, frames: int | None, out: Path | None
) -> dict[str, Any]:
    """The first table."""
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in ("static", *engines)}
    looks: dict[str, list[NDArray]] = {n: [] for n in ("truth", *engines)}
    for clip in clips:
        count = length(clip)
        panel = Panel(min(count, frames or count))

        def watch(index: int, truth: RGB, pictures: dict[str, RGB], panel: Panel = panel) -> None:
            panel.add(index, [truth, *pictures.values()])
            if index % EVERY == 0:
                for name, picture in (("truth", truth), *pictures.items()):
                    if name in looks and (seen := features(finder, picture)) is not None:
                        looks[name].append(seen)

        found, _ = self_reenactment(clip, engines, finder, frames, True, Judges.load(None, None), watch)
        for name, row in found.items():
            rows[name].append(row)
        panel.write(out and out / f"own-{clip.name}.png")
    who = [c.identity for c in clips]
    table: dict[str, Any] = {n: {k: interval(r, who, k) for k in OWN} for n, r in rows.items()}
    for name in engines:
        for key in ("akd", "l1"):
            table[name][f"{key}/static"] = table[name][key][0] / table["static"][key][0]
        if looks[name]:
            table[name]["frechet"] = 100 * frechet_distance(np.stack(looks["truth"]), np.stack(looks[name]))
    return table


def by_others(
    clips: list[Take],
    engines: dict[str, Engine],
    finder: FaceFinder,
    drivers: int,
    frames: int | None,
    out: Path | None,
) -> dict[str, Any]:
    """The second table."""
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in engines}
    who: list[str] = []
    everybody = list({c.identity: c for c in clips}.values())
    for number, target in enumerate(everybody):
        source = first_face(target, finder)
        if source is None:
            continue
        for step in range(1, min(drivers, len(everybody) - 1) + 1):
            clip = everybody[(number + step) % len(everybody)]
            who.append(target.identity)
            found = driven(source, clip, engines, frames, out and out / f"others-{target.name}-{clip.name}.png")
            for name, row in found.items():
                rows[name].append(row)
    return {n: {k: interval(r, who, k) for k in OTHERS} for n, r in rows.items()}


def driven(
    source: Source, clip: Take, engines: dict[str, Engine], frames: int | None, panel: Path | None
) -> dict[str, dict[str, float]]:
    """What is measured of a portrait under somebody else's clip, by run."""
    me = identity(source.image, source.face.landmarks)
    driver = VideoDriver(clip.path)
    stages = {n: Stage([source], e) for n, e in engines.items()}
    watched = {n: Watched(source.image, driver.fps) for n in engines}
    alike: dict[str, list[float]] = {n: [] for n in engines}
    found = dict.fromkeys(engines, 0)
    shown = Panel(min(length(clip), frames or 1 << 30))
    try:
        driver.settle(next(iter(stages.values())).faces[0].face.pose, None)
        for stage in stages.values():
            stage.begin(driver.rest, driver.rest_image, driver.rest_points)
        asked = Doings(driver.rest)
        for i, drive in enumerate(driver):
            if frames is not None and i >= frames:
                break
            asked.add(drive.move)
            pictures = []
            for name, stage in stages.items():
                canvas, _ = stage.render(drive)
                points = watched[name].add(canvas)
                found[name] += points is not None
                if points is not None and i % EVERY == 0:
                    alike[name].append(cosine(identity(canvas, points), me))
                pictures.append(canvas.copy())
            performer = source.image if drive.image is None else drive.image
            shown.add(i, [performer, source.image, *pictures])
        out: dict[str, dict[str, float]] = {}
        for name in engines:
            row = {"found": found[name] / len(asked)}
            # What a network of few steps draws need not show a face.
            if len(seen := watched[name].doings()):
                row |= agreement(asked, seen)
                lively = np.flatnonzero((asked.units.std(0) > 0.05) & (seen.units.std(0) > 1e-6))
                if len(lively):
                    each = [np.corrcoef(asked.units[:, k], seen.units[:, k])[0, 1] for k in lively]
                    row["units"] = float(np.mean(each))
            if alike[name]:
                row["csim"] = float(np.mean(alike[name]))
            out[name] = row
    finally:
        driver.close()
        for w in watched.values():
            w.close()
    shown.write(panel)
    return out


def printed(title: str, table: dict[str, Any]) -> None:
    """One table as Markdown."""
    keys = list(dict.fromkeys(k for row in table.values() for k in row))
    print(f"| {title} | " + " | ".join(keys) + " |")
    print("| --- " * (len(keys) + 1) + "|")
    for name, row in table.items():
        cells = []
        for key in keys:
            value = row.get(key)
            if value is None:
                cells.append("")
            elif isinstance(value, float):
                cells.append(f"{value:.3g}")
            else:
                cells.append(f"{value[0]:.3g} [{value[1]:.3g}, {value[2]:.3g}]")
        print(f"| {name} | " + " | ".join(cells) + " |")


def told(tables: dict[str, Any], as_json: bool, head: str) -> None:
    """Print tables as JSON, or as text below `head`."""
    if as_json:
        print(json.dumps(tables))
        return
    print(head)
    for title, table in tables.items():
        printed(title, table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--split", default="test")
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--drivers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    engines = dict(variant(r, a.engine) for r in a.runs)
    if a.out is not None:
        a.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, FaceFinder() as finder:
        clips = [thinned(t, a.every, Path(folder)) for t in takes(a.data, a.split)]
        tables = {"own": by_their_own(clips, engines, finder, a.frames, a.out)}
        if a.drivers:
            tables["others"] = by_others(clips, engines, finder, a.drivers, a.frames, a.out)
    told(tables, a.json, f"{len({c.identity for c in clips})} people, {len(clips)} clips, every {a.every}. frame")


if __name__ == "__main__":
    main()
