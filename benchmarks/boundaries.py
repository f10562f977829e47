"""ReenactGAN with and without its shape loss, several trained people side by side, as the paper argues.

python benchmarks/boundaries.py HELD OTHERS PERSON=DECODER[,TRANSFORMER[,WITHOUT]] ... [--every 6] [--drivers 3]
                                [--frames N] [--out FOLDER] [--json]

HELD is a folder of clips PERSON_*.mp4, parts of the people's films that their runs have not seen; OTHERS a prepared
folder whose test split drives them, N frames of every so many. DECODER, TRANSFORMER and WITHOUT are the runs of a
person's stages, the last one's without the shape loss. Tables as those of benchmarks/ablations.py, 95 % intervals by
bootstrap over people:

own      everybody by the held part of their own film, through the decoder alone
others   the first picture of that part under other people's clips: boundaries as they are, through the transformer, and
         through that which learned without the shape loss"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ablations import EVERY, OTHERS, OWN, driven, features, first_face, thinned, told
from numpy.typing import NDArray

from infinex.engine import Engine, load_engine
from infinex.errors import InputError
from infinex.evaluation.inception import Judges, frechet_distance
from infinex.evaluation.reenact import Take, interval, self_reenactment, takes
from infinex.face.tracker import FaceFinder
from infinex.options import Options

NAME = "reenactgan"
WAYS = ("as they are", "transformer", "without shape")
Rows = dict[str, list[dict[str, Any]]]


def opened(runs: str) -> dict[str, Engine]:
    """The decoder alone, and the transformers, of one person."""
    return {w: load_engine(NAME, Options(engine=NAME, weights=run), run) for w, run in zip(WAYS, runs.split(","))}


def by_their_own(mine: dict[str, list[Take]], people: dict[str, dict[str, Engine]], finder: FaceFinder) -> Any:
    """The first table."""
    rows: Rows = {"static": [], "decoder": []}
    who: list[str] = []
    looks: dict[str, list[NDArray]] = {"truth": [], "decoder": []}

    def watch(index: int, truth: NDArray, pictures: dict[str, NDArray]) -> None:
        for name, picture in () if index % EVERY else (("truth", truth), ("decoder", pictures["decoder"])):
            if (seen := features(finder, picture)) is not None:
                looks[name].append(seen)

    for person, clips in mine.items():
        for clip in clips:
            engines = {"decoder": people[person][WAYS[0]]}
            found, _ = self_reenactment(clip, engines, finder, None, True, Judges.load(None, None), watch)
            who.append(person)
            for name, row in found.items():
                rows[name].append(row)
    table: dict[str, Any] = {n: {k: interval(r, who, k) for k in OWN} for n, r in rows.items()}
    for key in ("akd", "l1"):
        table["decoder"][f"{key}/static"] = table["decoder"][key][0] / table["static"][key][0]
    if looks["decoder"]:
        table["decoder"]["frechet"] = 100 * frechet_distance(np.stack(looks["truth"]), np.stack(looks["decoder"]))
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held", type=Path)
    parser.add_argument("others", type=Path)
    parser.add_argument("people", nargs="+", metavar="PERSON=RUNS")
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--drivers", type=int, default=3)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    people = {n: opened(runs) for n, _, runs in (p.partition("=") for p in a.people)}
    if a.out is not None:
        a.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, FaceFinder() as finder:
        films = takes(a.held)
        mine = {p: [t for t in films if t.name.startswith(f"{p}_")] for p in people}
        if missing := [p for p, clips in mine.items() if not clips]:
            raise InputError(f"{a.held} holds no clip {missing[0]}_*.mp4")
        tables: dict[str, Any] = {"own": by_their_own(mine, people, finder)}
        drivers = list({t.identity: t for t in takes(a.others)}.values())[: a.drivers]
        theirs = [thinned(t, a.every, Path(folder)) for t in drivers]
        rows: Rows = {}
        who: dict[str, list[str]] = {}  # not everybody has all runs
        for person, engines in people.items():
            source = first_face(mine[person][0], finder)
            for clip in theirs if source is not None else ():
                assert source is not None
                panel = a.out and a.out / f"{person}-{clip.name}.png"
                for name, row in driven(source, clip, engines, a.frames, panel).items():
                    rows.setdefault(name, []).append(row)
                    who.setdefault(name, []).append(person)
        tables["others"] = {n: {k: interval(r, who[n], k) for k in OTHERS} for n, r in rows.items()}
    told(tables, a.json, f"{len(people)} people, {len(theirs)} drivers, every {a.every}. frame of theirs")


if __name__ == "__main__":
    main()
