"""Every engine on the same frames: one table, as the papers compare, with what could not be run and why.

A clip (self-reenactment), or a portrait and a clip (cross-reenactment), is one job of `infinex.jobs.batch`: jobs run
in a pool or on a cluster, a killed comparison goes on where it was, and memory does not grow with their number.
"""

from __future__ import annotations

import csv
import html
import io
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from infinex.drivers.video import VideoDriver
from infinex.engine import Engine, Source, engine_names, find_engine, load_engine
from infinex.errors import InfinexError, InputError, OutputError, option
from infinex.evaluation.inception import Judges
from infinex.evaluation.reenact import (
    BETTER,
    EVERY,
    KEYS,
    RGB,
    STYLE,
    TITLES,
    Take,
    interval,
    self_reenactment,
    takes,
    without_the_driver,
)
from infinex.evaluation.watched import Doings, Watched
from infinex.face.identity import cosine, identity, identity_network
from infinex.face.tracker import FaceFinder
from infinex.jobs.batch import MANIFEST, Job, batch, done_before
from infinex.media.files import atomic_path, writable_target
from infinex.media.image import is_image, read_image, write_image
from infinex.media.sink import open_sink
from infinex.options import Options
from infinex.stage import make_stage

Progress = Callable[[int, "int | None"], None]
STATIC, DEFAULT = "static", "mesh"
SIDE = 256  # of a picture in a panel or a grid of videos
MOMENTS = 4  # of a clip that panels show
CROSS = ("csim", "pose", "units", "gaze", "lips", "lids", "fps", "cpu")
MORE = {
    "pose": ("degrees that the head's turn is off the performer's", -1),
    "gaze": ("degrees that the gaze is off the performer's", -1),
    "lips": ("correlation of the lips' gap with the performer's", 1),
    "lids": ("correlation of the lids' gap with the performer's", 1),
}
ROWS, VIDEOS, PICTURES = "rows", "videos", "pictures"


@dataclass(frozen=True)
class Entrant:
    """One engine that takes part."""

    name: str
    weights: str  # a file or a name; empty: those that come along
    megabytes: float  # of its weights; 0 where there are none
    learned: str  # what its weights were learned from


# -- who takes part -----------------------------------------------------------------------------------


def entrants(names: Sequence[str], weights: dict[str, str]) -> tuple[list[Entrant], dict[str, str]]:
    """The engines that can run, the default one first, and why the others cannot.

    `names` may be just "all". Raises InputError for an unknown name, and for weights of an engine that is not asked."""
    chosen = engine_names() if list(names) == ["all"] else list(dict.fromkeys([DEFAULT, *names]))
    for name in (*chosen, *weights):
        find_engine(name)
    if extra := sorted(set(weights) - set(chosen)):
        raise InputError(f"{option('weights')} {extra[0]}=...: that engine is not compared")
    found, missing = [], {}
    for name in chosen:
        try:
            load_engine(name, Options(engine=name), weights.get(name, ""))
        except InfinexError as error:
            missing[name] = str(error)
            continue
        found.append(Entrant(name, weights.get(name, ""), *_size(name, weights.get(name, ""))))
    return found, missing


def _size(name: str, weights: str) -> tuple[float, str]:
    path = Path(weights)
    if weights and path.exists():
        files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        return round(sum(f.stat().st_size for f in files) / 1e6, 2), f"{path.name}, by the user"
    system = find_engine(name)
    listed = [w for w in system.system.weights if (w.name == weights if weights else w.bundled)]
    size = sum(
        (system.data / w.bundled).stat().st_size for w in listed if w.bundled and (system.data / w.bundled).exists()
    )
    return round(size / 1e6, 2), "; ".join(dict.fromkeys(w.origin for w in listed)) or "nothing learned"


@lru_cache(maxsize=1)
def _engines(wanted: tuple[tuple[str, str], ...]) -> dict[str, Engine]:
    """Loaded once in a process; told to meet the truth."""
    return {n: load_engine(n, without_the_driver(n, True, w), w) for n, w in wanted}


# -- one job ------------------------------------------------------------------------------------------


def measured(job: Job, out: str) -> dict[str, Any]:
    """One clip, or one portrait and clip, by every engine; see `infinex.jobs.batch.Do`."""
    began = time.perf_counter()
    row: dict[str, Any] = {"key": job.key, "source": job.source, "driving": job.driving, "output": job.output}
    try:
        o = dict(job.options)
        engines = tuple((n, w) for n, w in o["engines"])
        take = Take(o["name"], Path(job.driving), o["identity"])
        if job.source == job.driving:
            result = _own(take, engines, o["frames"], Path(out))
        else:
            result = _strangers(Path(job.source), take, engines, o["frames"], Path(out))
        target = Path(out) / job.output
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps({"name": take.name, "identity": o["person"], "rows": result}), "utf-8")
        row |= {"status": "done"}
    except InfinexError as error:
        row |= {"status": "failed", "error": str(error)}
    except Exception as error:  # one clip's fault is not the others'
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return row | {"seconds": round(time.perf_counter() - began, 3)}


def _people() -> bool:
    try:
        identity_network()
    except InfinexError:
        return False
    return True


class _Grid:
    """The same moment of all, side by side with names: a video, and a few frames as a panel."""

    def __init__(self, names: Sequence[str], out: Path, stem: str, fps: float, frames: int, stack: ExitStack) -> None:
        self.names, self.out, self.stem = names, out, stem
        self.columns = min(len(names), 4)
        self.rows = -(-len(names) // self.columns)
        for folder in (VIDEOS, PICTURES):
            (out / folder).mkdir(parents=True, exist_ok=True)
        self.sink = stack.enter_context(
            open_sink(out / VIDEOS / f"{stem}.mp4", (self.columns * SIDE, self.rows * SIDE), fps)
        )
        self.shown = set(np.linspace(0, max(0, frames - 1), MOMENTS).round().astype(int).tolist())
        self.panel: list[RGB] = []

    def add(self, index: int, pictures: Sequence[RGB]) -> None:
        cells = [_labelled(p, n) for p, n in zip(pictures, self.names)]
        if index in self.shown:
            self.panel.append(np.hstack(cells))
        cells += [np.zeros((SIDE, SIDE, 3), np.uint8)] * (self.rows * self.columns - len(cells))
        self.sink.write(
            np.vstack([np.hstack(cells[r * self.columns : (r + 1) * self.columns]) for r in range(self.rows)])
        )

    def end(self) -> None:
        if self.panel:
            write_image(self.out / PICTURES / f"{self.stem}.png", np.vstack(self.panel))


def _labelled(picture: RGB, name: str) -> RGB:
    h, w = picture.shape[:2]
    k = SIDE / max(h, w)
    small = cv2.resize(picture, (max(1, round(k * w)), max(1, round(k * h))), interpolation=cv2.INTER_AREA)
    cell = np.zeros((SIDE, SIDE, 3), np.uint8)
    y, x = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    cell[y : y + small.shape[0], x : x + small.shape[1]] = small
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(cell, name, (6, SIDE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return cell


def _own(take: Take, wanted: tuple[tuple[str, str], ...], frames: int | None, out: Path) -> dict[str, Any]:
    engines = _engines(wanted)
    driver = VideoDriver(take.path)
    fps, total = driver.fps, driver.frames or 1
    driver.close()
    total = min(total, frames or total)
    with FaceFinder() as finder, ExitStack() as stack:
        grid = _Grid(["truth", STATIC, *engines], out, take.name, fps, total, stack)

        def watch(index: int, truth: RGB, pictures: dict[str, RGB]) -> None:
            grid.add(index, [truth, *pictures.values()])

        rows, _ = self_reenactment(take, engines, finder, frames, _people(), Judges.load(None, None), watch)
        grid.end()
    return rows


def agreement(asked: Doings, seen: Doings) -> dict[str, float]:
    """How a result moves (`seen`, from the portrait's rest) beside what was performed (`asked`, from the performer's).

    Turns and gaze are compared as changes since the first frame, in degrees; lips and lids by correlation, where both
    move."""
    turns = []
    for doings in (asked, seen):
        r = Rotation.from_rotvec(doings.turns)
        turns.append(r * r[0].inv())
    out = {"pose": float(np.degrees((turns[0] * turns[1].inv()).magnitude()).mean())}
    off = (asked.gaze - asked.gaze[0]) - (seen.gaze - seen.gaze[0])
    out["gaze"] = float(np.degrees(np.linalg.norm(off, axis=1)).mean())
    for name, a, b in (("lips", asked.lips, seen.lips), ("lids", asked.lids, seen.lids)):
        if a.std() > 0.01 and b.std() > 1e-6:
            out[name] = float(np.corrcoef(a, b)[0, 1])
    return out


def _strangers(
    portrait: Path, take: Take, wanted: tuple[tuple[str, str], ...], frames: int | None, out: Path
) -> dict[str, Any]:
    image = read_image(portrait)
    if max(image.shape[:2]) > 768:
        k = 768 / max(image.shape[:2])
        image = np.asarray(cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.uint8)
    with FaceFinder() as finder:
        faces = finder.find(image)
    if not faces:
        raise InputError(f"no face in {portrait.name}")
    source = Source(image, faces[0])
    me = identity(image, faces[0].landmarks) if _people() else None
    driver = VideoDriver(take.path)
    rows: dict[str, Any] = {}
    watched: dict[str, Watched] = {}
    try:
        stages = {n: make_stage([source], without_the_driver(n, False, w)) for n, w in wanted}
        for n in stages:
            watched[n] = Watched(image, driver.fps)
        first = next(iter(stages.values())).faces[0].face
        driver.settle(first.pose, None)
        for stage in stages.values():
            stage.begin(driver.rest, driver.rest_image, driver.rest_points)
        total = min(driver.frames or 100, frames or 1 << 30)
        asked = Doings(driver.rest)
        kept: dict[str, list[float]] = {n: [] for n in stages}
        clock = {n: [0.0, 0.0] for n in stages}
        with ExitStack() as stack:
            grid = _Grid(
                ["performer", "portrait", *stages], out, f"{portrait.stem} by {take.name}", driver.fps, total, stack
            )
            for i, drive in enumerate(driver):
                if i >= total:
                    break
                pictures = []
                for name, stage in stages.items():
                    start, busy = time.perf_counter(), time.process_time()
                    canvas, _ = stage.render(drive)
                    clock[name][0] += time.perf_counter() - start
                    clock[name][1] += time.process_time() - busy
                    points = watched[name].add(canvas) if watched[name].found else None
                    if me is not None and points is not None and i % EVERY == 0:
                        kept[name].append(cosine(identity(canvas, points), me))
                    pictures.append(canvas)
                asked.add(drive.move)
                shown = np.zeros_like(image) if drive.image is None else drive.image
                grid.add(i, [shown, image, *pictures])
            grid.end()
        for name in stages:
            row: dict[str, float] = {"frames": len(asked), "fps": len(asked) / max(1e-9, clock[name][0]),
                                     "cpu": clock[name][1] / max(1, len(asked))}  # fmt: skip
            if kept[name]:
                row["csim"] = float(np.mean(kept[name]))
            # What an engine draws need not show a face to the tracker.
            if watched[name].found and len(asked) > 1 and len(seen := watched[name].doings()):
                row |= agreement(asked, seen)
                want, have = asked.units, seen.units
                lively = np.flatnonzero((want.std(0) > 0.05) & (have.std(0) > 1e-6))
                if len(lively):
                    row["units"] = float(np.mean([np.corrcoef(want[:, k], have[:, k])[0, 1] for k in lively]))
            rows[name] = {k: round(v, 6) for k, v in row.items()}
    finally:
        driver.close()
        for w in watched.values():
            w.close()
    return rows


# -- the whole ----------------------------------------------------------------------------------------


def compare(
    folder: str | Path,
    out: str | Path,
    names: Sequence[str] = ("all",),
    weights: dict[str, str] | None = None,
    cross: str | Path | None = None,
    split: str = "test",
    frames: int | None = None,
    drivers: int = 2,
    workers: int = 0,
    ray: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run engines on the same clips; `out` gets report.json, table.csv, clips.csv, table.tex, index.html, and a panel
    and a grid of videos for every clip. Returns the report.

    With `cross`, a folder of portraits, each is driven by `drivers` clips of different people. A killed run goes on
    when it is called again in the same way. Raises InfinexError for what the user can mend; an engine that cannot run,
    and a clip of no use, are named in the report with the reason."""
    out = Path(out)
    if out.exists():
        if not out.is_dir() or (any(out.iterdir()) and not ((out / "report.json").is_file() or (out / ROWS).is_dir())):
            raise OutputError(f"{out} exists and is no earlier comparison")
    else:
        writable_target(out, folder=True)
    found = takes(Path(folder), split)
    taking, missing = entrants(names, weights or {})
    options: dict[str, Any] = {"engines": [[e.name, e.weights] for e in taking], "frames": frames}
    if twice := {t.name for t in found if sum(u.name == t.name for u in found) > 1}:
        raise InputError(f"{folder}: two clips are named {min(twice)}; rename one of them")
    if cross is None:
        jobs = [
            Job(str(t.path), str(t.path), f"{ROWS}/{t.name}.json",
                options | {"name": t.name, "identity": t.identity, "person": t.identity})
            for t in found
        ]  # fmt: skip
    else:
        jobs = _pairs(Path(cross), found, drivers, options)
    (out / ROWS).mkdir(parents=True, exist_ok=True)
    batch(jobs, out, workers, ray, False, progress, measured)
    done, failed = _outcomes(out, jobs)
    notes = [f"{n} left out: {why}" for n, why in missing.items()]
    notes += [f"{Path(j.output).stem} left out: {why}" for j, why in failed]
    report = summary(out, done, taking, CROSS if cross is not None else KEYS)
    if cross is not None:
        rows = [(n, r) for n, mine in report["rows"].items() for r in mine if r["frames"] > 1 and "pose" not in r]
        notes += [f"{n}: no face is seen in what it draws of {r['name']}" for n, r in rows]
    if not _people():
        notes.append("no identity measures: they need face_recognition_models and dlib-bin")
    report |= {"data": Path(folder).name, "notes": notes, "cross": cross is not None}
    written(report, out)
    return report


def _pairs(portraits: Path, found: list[Take], drivers: int, options: dict[str, Any]) -> list[Job]:
    if not portraits.is_dir():
        raise InputError(f"{option('cross')} {portraits}: a folder of portraits is wanted")
    paths = [p for p in sorted(portraits.iterdir()) if p.is_file() and is_image(p)]
    if not paths:
        raise InputError(f"{option('cross')} {portraits} holds no picture")
    if twice := {p.stem for p in paths if sum(q.stem == p.stem for q in paths) > 1}:
        raise InputError(f"{option('cross')} {portraits}: two pictures are named {min(twice)}; rename one of them")
    chosen = list({t.identity: t for t in found}.values())[:drivers]
    return [
        Job(str(p), str(t.path), f"{ROWS}/{p.stem} by {t.name}.json",
            options | {"name": t.name, "identity": t.identity, "person": p.stem})
        for p in paths
        for t in chosen
    ]  # fmt: skip


def _outcomes(out: Path, jobs: list[Job]) -> tuple[list[Job], list[tuple[Job, str]]]:
    """The jobs that have a result, and those that failed with the last word on each: files of an earlier call that
    asked for something else are no result."""
    manifest = out / MANIFEST
    done = done_before(manifest, out)
    said: dict[str, str] = {}
    for line in manifest.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            said[str(row.get("key"))] = str(row.get("error", "failed"))
    return [j for j in jobs if j.key in done], [(j, said[j.key]) for j in jobs if j.key in said and j.key not in done]


def summary(out: Path, jobs: Iterable[Job], taking: Sequence[Entrant], keys: Sequence[str]) -> dict[str, Any]:
    """Means of the jobs' rows with 95 % intervals over people, by engine. Raises InputError where there are none."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        data = json.loads((out / job.output).read_text(encoding="utf-8"))
        for name, row in data["rows"].items():
            rows.setdefault(name, []).append({"name": Path(job.output).stem, "identity": data["identity"], **row})
    if not rows:
        raise InputError(f"nothing could be compared; {out / MANIFEST} says why")
    table = {}
    for name, mine in rows.items():
        who = [r["identity"] for r in mine]
        means = {k: interval(mine, who, k) for k in keys}
        table[name] = {k: v for k, v in means.items() if v is not None}
    everybody = {r["identity"] for mine in rows.values() for r in mine}
    engines = {e.name: {"megabytes": e.megabytes, "learned": e.learned, "weights": e.weights} for e in taking}
    return {"intervals": table, "rows": rows, "people": len(everybody), "keys": list(keys), "engines": engines}


def better(key: str) -> int:
    """1 where more is better, -1 where less is."""
    return MORE[key][1] if key in MORE else BETTER[key]


def title(key: str) -> str:
    """What a column is."""
    return MORE[key][0] if key in MORE else TITLES[key]


def best_of(table: dict[str, dict[str, Any]], key: str) -> str:
    """The engine with the best mean; the static picture does not take part."""
    rivals = {n: row[key][0] * better(key) for n, row in table.items() if key in row and n != STATIC}
    return max(rivals, key=lambda n: rivals[n]) if rivals else ""


def _columns(report: dict[str, Any]) -> list[str]:
    return [k for k in report["keys"] if any(k in row for row in report["intervals"].values())]


def lines(report: dict[str, Any]) -> list[str]:
    """The table as text."""
    table, keys = report["intervals"], _columns(report)
    out = [f"{report['people']} people; mean and 95 % interval over people"]
    out.append(f"{'':22}" + "".join(f"{k:>28}" for k in keys))
    for name, row in table.items():
        cells = [f"{row[k][0]:.4g} [{row[k][1]:.3g}, {row[k][2]:.3g}]" if k in row else "-" for k in keys]
        out.append(f"{name:22}" + "".join(f"{c:>28}" for c in cells))
    return out + [f"note: {n}" for n in report["notes"]]


def as_csv(report: dict[str, Any]) -> tuple[str, str]:
    """The table (mean, low and high of every figure) and every row, as CSV."""
    keys = _columns(report)
    means, rows = io.StringIO(), io.StringIO()
    table = csv.writer(means, lineterminator="\n")
    table.writerow(["engine", *[f"{k}{end}" for k in keys for end in ("", "_low", "_high")], "megabytes", "learned"])
    for name, row in report["intervals"].items():
        about = report["engines"].get(name, {"megabytes": "", "learned": ""})
        cells = [f"{v:.6g}" for k in keys for v in row[k]] if all(k in row for k in keys) else [
            f"{v:.6g}" if k in row else "" for k in keys for v in row.get(k, ("", "", ""))
        ]  # fmt: skip
        table.writerow([name, *cells, about["megabytes"], about["learned"]])
    every = csv.writer(rows, lineterminator="\n")
    every.writerow(["engine", "name", "identity", "frames", *keys])
    for name, mine in report["rows"].items():
        for r in mine:
            every.writerow([name, r["name"], r["identity"], r.get("frames", ""), *[r.get(k, "") for k in keys]])
    return means.getvalue(), rows.getvalue()


def as_latex(report: dict[str, Any]) -> str:
    """The table for a paper: means, half the width of their intervals, the best in bold."""
    table, keys = report["intervals"], _columns(report)
    safe = {"_": r"\_", "%": r"\%", "&": r"\&"}

    def text(s: str) -> str:
        return "".join(safe.get(c, c) for c in s)

    arrows = [
        f"{text(k)} ${'uparrow' if better(k) > 0 else 'downarrow'}$".replace("$u", r"$\u").replace("$d", r"$\d")
        for k in keys
    ]
    body = [r"\begin{tabular}{l" + "r" * len(keys) + "}", " & ".join(["", *arrows]) + r" \\ \hline"]
    for name, row in table.items():
        cells = []
        for k in keys:
            if k not in row:
                cells.append("--")
                continue
            mean, low, high = row[k]
            number = f"{mean:.3g} $\\pm$ {(high - low) / 2:.2g}"
            cells.append(rf"\textbf{{{number}}}" if best_of(table, k) == name else number)
        body.append(" & ".join([text(name), *cells]) + r" \\")
    return "\n".join([*body, r"\end{tabular}", ""])


def page(report: dict[str, Any], stems: Sequence[str]) -> str:
    """One HTML page: the table, who took part, and for each of `stems` its panel and its grid of videos."""
    table, keys = report["intervals"], _columns(report)
    head = "".join(f'<th title="{html.escape(title(k))}">{k}</th>' for k in keys)
    body = ""
    for name, row in table.items():
        cells = ""
        for k in keys:
            if k in row:
                mean, low, high = row[k]
                mark = ' class="best"' if best_of(table, k) == name else ""
                cells += f"<td{mark}>{mean:.4g} <small>{low:.3g}..{high:.3g}</small></td>"
            else:
                cells += "<td>-</td>"
        body += f"<tr><td>{html.escape(name)}</td>{cells}</tr>"
    about = "".join(
        f"<tr><td>{html.escape(n)}</td><td>{e['megabytes']:g} MB</td><td>{html.escape(e['learned'])}</td></tr>"
        for n, e in report["engines"].items()
    )
    shown = "".join(
        f'<figure><figcaption>{html.escape(s)}: <a href="{VIDEOS}/{html.escape(s)}.mp4">as a video</a></figcaption>'
        f'<img loading="lazy" src="{PICTURES}/{html.escape(s)}.png" alt="{html.escape(s)}"></figure>'
        for s in stems
    )
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in report["notes"])
    legend = ", ".join(f"{k}: {title(k)}" for k in keys)
    kind = "Portraits driven by strangers" if report["cross"] else "Clips driven by themselves"
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Infinex: engines compared</title>
<style>{STYLE}</style><h1>Engines on {html.escape(report["data"])}</h1>
<p>{kind}; {report["people"]} people. Means over people, with 95 % intervals by bootstrap.</p>
<table><tr><th></th>{head}</tr>{body}</table><p><small>{html.escape(legend)}</small></p><ul>{notes}</ul>
<h2>Who took part</h2><table><tr><th></th><th>weights</th><th>learned from</th></tr>{about}</table>
<h2>The same moments</h2>{shown}</html>"""


def written(report: dict[str, Any], out: Path) -> None:
    """Write the report in all its forms, each whole or not at all."""
    means, rows = as_csv(report)
    stems = [r["name"] for r in next(iter(report["rows"].values())) if (out / PICTURES / f"{r['name']}.png").is_file()]
    for name, text in (
        ("report.json", json.dumps(report, indent=1)), ("table.csv", means), ("clips.csv", rows),
        ("table.tex", as_latex(report)), ("index.html", page(report, stems)),
    ):  # fmt: skip
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
