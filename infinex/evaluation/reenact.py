"""How close an engine comes to the truth, and how well it keeps a stranger's identity.

Self-reenactment, as in the First Order Motion Model's paper: the source is a clip's first frame, the driver the clip,
motion absolute. Engines that need motion alone get no pixel of the driver; those that need frames see them, as
published. Beside every engine stand `static`, the source repeated, and `mesh`.

Cross-reenactment: portraits driven by other people's clips; there is no truth, so identity and Action Units are
compared.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.video import VideoDriver
from infinex.engine import Engine, Prepared, Source, find_engine, load_engine
from infinex.errors import FaceNotFoundError, InfinexError, InputError, MissingDependencyError, OutputError, option
from infinex.evaluation.inception import Judges
from infinex.evaluation.metrics import Flicker, l1, landmark_distance, psnr, ssim
from infinex.evaluation.watched import Doings, Watched
from infinex.face import topology as top
from infinex.face.identity import cosine, identity
from infinex.face.tracker import FaceFinder, FaceTracker
from infinex.media.files import CLIPS, atomic_path, writable_target
from infinex.media.image import is_image, read_image, write_image
from infinex.media.video import VideoReader
from infinex.options import Options
from infinex.stage import make_stage
from infinex.training.data import MANIFEST, read_clips

RGB = NDArray[np.uint8]
Progress = Callable[[int, int | None], None]
KEYS = ("l1", "l1_mouth", "l1_eyes", "psnr", "ssim", "akd", "aed", "csim", "flicker", "lpips", "fps", "cpu")
BETTER = {"l1": -1, "l1_mouth": -1, "l1_eyes": -1, "cpu": -1,
          "psnr": 1, "ssim": 1, "akd": -1, "aed": -1, "csim": 1, "flicker": -1, "lpips": -1, "fps": 1,
          "units": 1}  # fmt: skip
TITLES = {
    "l1": "mean absolute error, 0..1", "l1_mouth": "the same around the true mouth",
    "l1_eyes": "the same around the true eyes",
    "cpu": "CPU seconds a frame", "psnr": "dB", "ssim": "structural similarity",
    "akd": "landmark distance, pixels at 256", "aed": "identity distance to the true frame",
    "csim": "identity cosine to the source", "flicker": "change of the error between frames", "fps": "frames/s",
    "lpips": "perceptual distance (LPIPS)", "units": "correlation of Action Units with the performer's",
}  # fmt: skip
EVERY = 5  # frames between looks at the identity
RESAMPLES = 2000


@dataclass(frozen=True)
class Take:
    """One clip to evaluate on."""

    name: str
    path: Path
    identity: str


def takes(folder: Path, split: str = "test") -> list[Take]:
    """The clips of a prepared folder's split, or every video of any other folder, a person each.

    Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: a folder of clips is wanted")
    if split not in ("test", "train", "all"):
        raise InputError(f"{option('split')} {split}: it is test, train or all")
    if (folder / MANIFEST).is_file():
        clips = read_clips(folder, None if split == "all" else split)
        found = [Take(c.name, c.path, c.identity) for c in clips]
    else:
        found = [Take(p.stem, p, p.stem) for p in sorted(folder.iterdir()) if p.suffix.lower() in CLIPS]
    if not found:
        raise InputError(f"{folder} holds no clip to evaluate on")
    return found


@dataclass
class Moment:
    """One frame worth a look."""

    score: float
    clip: str
    frame: int
    row: RGB  # source, truth and every engine side by side


@dataclass
class _Side:
    """What is measured of one engine on one clip."""

    values: dict[str, list[float]] = field(default_factory=dict)
    flicker: Flicker = field(default_factory=Flicker)
    seconds: float = 0.0
    cpu: float = 0.0
    frames: int = 0

    def add(self, key: str, value: float) -> None:
        self.values.setdefault(key, []).append(value)

    def row(self) -> dict[str, Any]:
        out: dict[str, Any] = {k: float(np.mean(v)) for k, v in self.values.items()}
        out["flicker"] = self.flicker.value
        if self.seconds:
            out["fps"], out["cpu"] = self.frames / self.seconds, self.cpu / self.frames
        return {"frames": self.frames} | {k: round(out[k], 6) for k in KEYS if k in out}


Watch = Callable[[int, RGB, dict[str, RGB]], None]
AROUND = {"l1_mouth": [*top.LIPS_OUTER], "l1_eyes": [*top.RIGHT_EYE, *top.LEFT_EYE]}
MARGIN = 0.25  # of a region's larger side, around its landmarks


def region(points: NDArray, chosen: list[int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns around some of the landmarks (478, 2+), within a picture."""
    low, high = points[chosen, :2].min(0), points[chosen, :2].max(0)
    margin = MARGIN * float((high - low).max())
    x0, y0 = np.clip(np.floor(low - margin), 0, [shape[1] - 1, shape[0] - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(high + margin), 1, [shape[1], shape[0]]).astype(int)
    return slice(int(y0), max(int(y0) + 1, int(y1))), slice(int(x0), max(int(x0) + 1, int(x1)))


def _first_face(path: Path, finder: FaceFinder) -> Source:
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
    faces = finder.find(image)
    if not faces:
        raise FaceNotFoundError(f"no face in the first frame of {path.name}")
    return Source(image, faces[0])


def self_reenactment(
    take: Take,
    engines: dict[str, Engine],
    finder: FaceFinder,
    frames: int | None,
    people: bool,
    judges: Judges,
    watch: Watch | None = None,
) -> tuple[dict[str, dict[str, Any]], list[Moment]]:
    """Rows by engine (`static` first), and the best and the worst moment of the last engine, of one clip.

    `people`: whether identity is measured; `judges` look at every fifth frame; `watch` is shown every frame, its true
    picture and those of all (which change afterwards). Raises InfinexError where the clip is
    of no use."""
    source = _first_face(take.path, finder)
    prepared: dict[str, Prepared] = {n: e.prepare(source) for n, e in engines.items()}
    driver = VideoDriver(take.path)
    trackers: dict[str, FaceTracker] = {}
    sides = {n: _Side() for n in ("static", *engines)}
    moments: list[Moment] = []
    try:
        first = next(iter(prepared.values()))
        driver.settle(first.face.pose, first.face.face)
        for name, face in prepared.items():
            shown = engines[name].needs == "frames"
            face.begin(driver.rest, driver.rest_image if shown else None, driver.rest_points if shown else None)
        trackers = {n: FaceTracker() for n in ("truth", *engines)}
        canvases = {n: source.image.copy() for n in engines}
        me = identity(source.image, source.face.landmarks) if people else None
        still: NDArray | None = None
        for i, drive in enumerate(driver):
            if frames is not None and i >= frames:
                break
            if drive.image is None:
                continue
            truth = drive.image
            if truth.shape != source.image.shape:
                raise InputError(f"{take.path.name} is larger than {max(truth.shape)} pixels; prepare it first")
            pictures = {"static": source.image}
            for name, face in prepared.items():
                blind = drive if engines[name].needs == "frames" else replace(drive, image=None, points=None)
                start, busy = time.perf_counter(), time.process_time()
                face.draw(canvases[name], blind)
                sides[name].seconds += time.perf_counter() - start
                sides[name].cpu += time.process_time() - busy
                pictures[name] = canvases[name]
            seen = {n: t(truth if n == "truth" else canvases[n]) for n, t in trackers.items()}
            true = seen["truth"]
            if still is None and true is not None:
                still = true.landmarks
            for name, picture in pictures.items():
                side = sides[name]
                side.frames += 1
                side.add("l1", l1(picture, truth))
                side.add("psnr", psnr(picture, truth))
                side.add("ssim", ssim(picture, truth))
                side.flicker.add(picture, truth)
                if true is not None:
                    for key, chosen in AROUND.items():
                        at = region(true.landmarks, chosen, truth.shape)
                        side.add(key, l1(picture[at], truth[at]))
                found = seen.get(name)
                points = still if name == "static" else (found.landmarks if found is not None else None)
                if points is None or true is None:
                    continue
                side.add("akd", landmark_distance(points, true.landmarks, truth.shape[1]))
                if me is not None and i % EVERY == 0:
                    mine = identity(picture, points) if name != "static" else me
                    side.add("csim", cosine(mine, me))
                    side.add("aed", float(np.linalg.norm(mine - identity(truth, true.landmarks))))
            if watch is not None:
                watch(i, truth, pictures)
            if i % EVERY == 0:
                judges.see("truth", truth)
                for name, picture in pictures.items():
                    judges.see(name, picture)
                    if (distance := judges.distance(picture, truth)) is not None:
                        sides[name].add("lpips", distance)
                last = list(pictures)[-1]
                _keep(
                    moments,
                    sides[last].values["l1"][-1],
                    take.name,
                    i,
                    [source.image, truth, *list(pictures.values())[1:]],
                )
    finally:
        driver.close()
        for tracker in trackers.values():
            tracker.close()
    if not sides["static"].frames:
        raise FaceNotFoundError(f"no face in {take.path.name}")
    return {n: s.row() for n, s in sides.items()}, moments


def _keep(moments: list[Moment], score: float, clip: str, frame: int, pictures: list[RGB]) -> None:
    """Hold the best and the worst moment only."""
    best, worst = (
        (min(moments, key=lambda m: m.score), max(moments, key=lambda m: m.score)) if moments else (None, None)
    )
    if best is not None and worst is not None and best.score <= score <= worst.score and len(moments) == 2:
        return
    row = np.hstack([cv2.resize(p, (256, 256), interpolation=cv2.INTER_AREA) for p in pictures])
    moments.append(Moment(score, clip, frame, row))
    if len(moments) > 2:
        moments.remove(sorted(moments, key=lambda m: m.score)[1])


def interval(rows: Sequence[dict[str, Any]], people: Sequence[str], key: str) -> tuple[float, float, float] | None:
    """Mean over clips of each person, then over people, with the 2.5 and 97.5 per cent points of a bootstrap over
    people (seeded). None where nothing was measured."""
    by: dict[str, list[float]] = {}
    for row, person in zip(rows, people):
        if key in row and np.isfinite(row[key]):
            by.setdefault(person, []).append(row[key])
    if not by:
        return None
    means = np.array([np.mean(v) for v in by.values()])
    drawn = np.random.default_rng(0).integers(0, len(means), (RESAMPLES, len(means)))
    low, high = np.percentile(means[drawn].mean(1), [2.5, 97.5])
    return float(means.mean()), float(low), float(high)


# -- strangers -------------------------------------------------------------------------------------


def cross_reenactment(
    portrait: Path, clips: list[Take], options: Options, finder: FaceFinder, frames: int | None, people: bool
) -> tuple[list[dict[str, Any]], RGB]:
    """A row for each clip that drives a portrait, and a sheet to look at. Raises FaceNotFoundError."""
    image = read_image(portrait)
    if max(image.shape[:2]) > 768:
        k = 768 / max(image.shape[:2])
        image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    faces = finder.find(image)
    if not faces:
        raise FaceNotFoundError(f"no face in {portrait.name}")
    source = Source(image, faces[0])
    me = identity(image, faces[0].landmarks) if people else None
    rows, sheet = [], []
    for clip in clips:
        stage = make_stage([source], options)
        driver = VideoDriver(clip.path)
        watched = Watched(image, driver.fps)
        kept, line = [], [_face_square(image, faces[0].box)]
        try:
            head = stage.faces[0].face
            driver.settle(head.pose, None)
            stage.begin(driver.rest, driver.rest_image, driver.rest_points)
            asked = Doings(driver.rest)
            total = min(driver.frames or 100, frames or 1 << 30)
            shown = set(np.linspace(0, total - 1, 6).astype(int).tolist())
            for i, drive in enumerate(driver):
                if i >= total:
                    break
                canvas, _ = stage.render(drive)
                if i in shown:
                    line.append(_face_square(canvas, faces[0].box))
                points = watched.add(canvas) if watched.found else None
                asked.add(drive.move)
                if me is not None and points is not None and i % EVERY == 0:
                    kept.append(cosine(identity(canvas, points), me))
            done = watched.doings() if watched.found else None
        finally:
            driver.close()
            watched.close()
        while len(line) < 7:
            line.append(np.zeros_like(line[0]))
        sheet.append(np.hstack(line))
        row: dict[str, Any] = {"name": f"{portrait.stem} by {clip.name}", "identity": portrait.stem, "frames": total}
        if kept:
            row["csim"] = round(float(np.mean(kept)), 6)
        if done is not None:
            want, have = asked.units, done.units
            lively = np.flatnonzero((want.std(0) > 0.05) & (have.std(0) > 1e-6))
            if len(lively):
                row["units"] = round(float(np.mean([np.corrcoef(want[:, k], have[:, k])[0, 1] for k in lively])), 6)
        rows.append(row)
    return rows, np.vstack(sheet)


def _face_square(image: RGB, box: tuple[float, ...], side: int = 192) -> RGB:
    x0, y0, x1, y1 = box
    half = int(max(x1 - x0, y1 - y0))
    cx, cy = int((x0 + x1) / 2), int((y0 + y1) / 2)
    padded = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REPLICATE)
    return cv2.resize(padded[cy : cy + 2 * half, cx : cx + 2 * half], (side, side), interpolation=cv2.INTER_AREA)


# -- the whole -------------------------------------------------------------------------------------


def without_the_driver(engine: str, absolute: bool, weights: str = "") -> Options:
    """What an engine is asked: none of the driver's pixels where it can do without them, and no choice that it does not
    know."""
    wanted = {"absolute": absolute, "mouth": "own", "wrinkles": "none"}
    known = find_engine(engine).system.options
    return Options(engine=engine, weights=weights, **{k: v for k, v in wanted.items() if k in known})  # type: ignore[arg-type]


def evaluate(
    folder: str | Path,
    out: str | Path,
    engine: str = "mesh",
    weights: str = "",
    cross: str | Path | None = None,
    split: str = "test",
    frames: int | None = None,
    drivers: int = 2,
    progress: Progress | None = None,
    lpips: str | Path | None = None,
    inception: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluate an engine; `out` gets report.json, index.html and pictures. Returns the report.

    With `cross`, a folder of portraits, these are driven by the first `drivers` clips of different people. `lpips` and
    `inception` are files of networks (see `infinex.nn.lpips` and `infinex.evaluation.inception`): with them LPIPS and
    FID are measured, against the true frames, which --cross has not.
    Raises InfinexError for what the user can mend; a clip of no use is named in the report and left out."""
    out = Path(out)
    if out.exists():
        if not out.is_dir() or (any(out.iterdir()) and not (out / "report.json").is_file()):
            raise OutputError(f"{out} exists and is no earlier report")
    else:
        writable_target(out, folder=True)
    found = takes(Path(folder), split)
    options = without_the_driver(engine, cross is None, weights)
    options.check()
    names = ["mesh"] if engine == "mesh" else ["mesh", engine]
    engines = {n: load_engine(n, without_the_driver(n, cross is None), weights if n == engine else "") for n in names}
    if cross is not None and (lpips or inception):
        raise InputError(
            f"{option('lpips')} and {option('inception')} compare with true frames, which {option('cross')} has not"
        )
    judges = Judges.load(lpips, inception)
    notes: list[str] = []
    people = _people(notes)
    finder = FaceFinder()
    try:
        if cross is not None:
            report, pictures = _cross(
                Path(cross), found, options, names, finder, frames, people, drivers, notes, progress
            )
        else:
            report, pictures = _self(found, engines, engine, finder, frames, people, notes, progress, judges)
    finally:
        finder.close()
    report |= {"engine": engine, "weights": weights, "data": Path(folder).name, "notes": notes}
    out.mkdir(parents=True, exist_ok=True)
    (out / "pictures").mkdir(exist_ok=True)
    shown = []
    for name, caption, picture in pictures:
        write_image(out / "pictures" / f"{name}.png", picture)
        shown.append((f"pictures/{name}.png", caption))
    _write(out / "report.json", json.dumps(report, indent=1))
    _write(out / "index.html", page(report, shown))
    return report


def _people(notes: list[str]) -> bool:
    from infinex.face.identity import identity_network

    try:
        identity_network()
    except MissingDependencyError as error:
        notes.append(f"no identity measures: {error}")
        return False
    return True


Picture = tuple[str, str, RGB]


def _self(
    found: list[Take], engines: dict[str, Engine], engine: str, finder: FaceFinder, frames: int | None,
    people: bool, notes: list[str], progress: Progress | None, judges: Judges,
) -> tuple[dict[str, Any], list[Picture]]:  # fmt: skip
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in ("static", *engines)}
    who: list[str] = []
    moments: list[Moment] = []
    for done, take in enumerate(found, 1):
        try:
            mine, best = self_reenactment(take, engines, finder, frames, people, judges)
        except InfinexError as error:
            notes.append(f"{take.name} left out: {error}")
            continue
        finally:
            if progress:
                progress(done, len(found))
        who.append(take.identity)
        moments += best
        for name, row in mine.items():
            rows[name].append({"name": take.name, "identity": take.identity} | row)
    if not who:
        raise InputError("no clip could be evaluated: " + "; ".join(notes[:3]))
    ranked = sorted(moments, key=lambda m: m.score)
    columns = ", ".join(["source", "truth", *engines])
    pictures = [
        (f"{kind}-{i}", f"{kind}: {m.clip}, frame {m.frame}, l1 {m.score:.4f} ({columns})", m.row)
        for kind, chosen in (("worst", ranked[::-1][:5]), ("best", ranked[:5]))
        for i, m in enumerate(chosen)
    ]
    table = {n: _means(r, who) for n, r in rows.items()}
    report = {
        "clips": rows[engine], "mean": {k: v[0] for k, v in table[engine].items()}, "people": len(set(who)),
        "intervals": table, "baselines": {n: r for n, r in rows.items() if n != engine},
    }  # fmt: skip
    if fid := judges.fid():
        report["fid"] = fid
    return report, pictures


def _means(rows: list[dict[str, Any]], who: list[str]) -> dict[str, tuple[float, float, float]]:
    found = {k: interval(rows, who, k) for k in (*KEYS, "units")}
    return {k: v for k, v in found.items() if v is not None}


def _cross(
    portraits: Path, found: list[Take], options: Options, names: list[str], finder: FaceFinder, frames: int | None,
    people: bool, drivers: int, notes: list[str], progress: Progress | None,
) -> tuple[dict[str, Any], list[Picture]]:  # fmt: skip
    if not portraits.is_dir():
        raise InputError(f"{option('cross')} {portraits}: a folder of portraits is wanted")
    chosen = list({t.identity: t for t in found}.values())[:drivers]
    paths = [p for p in sorted(portraits.iterdir()) if p.is_file() and is_image(p)]
    if not paths:
        raise InputError(f"{option('cross')} {portraits} holds no picture")
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in names}
    pictures: list[Picture] = []
    for done, path in enumerate(paths, 1):
        for name in names:
            o = without_the_driver(name, False, options.weights if name == options.engine else "")
            try:
                mine, sheet = cross_reenactment(path, chosen, o, finder, frames, people)
            except InfinexError as error:
                notes.append(f"{path.name} left out: {error}")
                break
            rows[name] += mine
            pictures.append((f"{path.stem}-{name}", f"{path.name} by {name}", sheet))
        if progress:
            progress(done, len(paths))
    if not rows[options.engine]:
        raise InputError("no portrait could be driven: " + "; ".join(notes[:3]))
    table = {n: _means(r, [x["identity"] for x in r]) for n, r in rows.items()}
    report = {
        "clips": rows[options.engine], "mean": {k: v[0] for k, v in table[options.engine].items()},
        "people": len({x["identity"] for x in rows[options.engine]}), "intervals": table,
        "baselines": {n: r for n, r in rows.items() if n != options.engine},
    }  # fmt: skip
    return report, pictures


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The table of a report as text, one line each: means with their 95 per cent intervals."""
    table = report["intervals"]
    keys = [k for k in (*KEYS, "units") if any(k in row for row in table.values())]
    yield f"{report['people']} people, {len(report['clips'])} clips; mean and 95 % interval over people"
    yield f"{'':14}" + "".join(f"{k:>28}" for k in keys)
    for name, row in table.items():
        cells = [f"{row[k][0]:.4g} [{row[k][1]:.3g}, {row[k][2]:.3g}]" if k in row else "-" for k in keys]
        yield f"{name:14}" + "".join(f"{c:>28}" for c in cells)
    if "static" in table:
        for name in table:
            if name != "static" and {"l1", "akd"} <= table[name].keys():
                a, b = (table[name][k][0] / max(1e-9, table["static"][k][0]) for k in ("l1", "akd"))
                yield f"{name}: l1 {a:.3f} and landmark distance {b:.3f} of static's"
    if "fid" in report:
        yield "FID from the true frames: " + ", ".join(f"{n} {v:.2f}" for n, v in report["fid"].items())
    for note in report["notes"]:
        yield f"note: {note}"


STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}img{max-width:100%}figure{margin:1rem 0}figcaption{color:#555}
.best{font-weight:600}small{color:#777}"""


def page(report: dict[str, Any], pictures: Sequence[tuple[str, str]]) -> str:
    """One HTML page: the means, every clip, and pictures (path, caption)."""
    table = report["intervals"]
    keys = [k for k in (*KEYS, "units") if any(k in row for row in table.values())]

    def cell(name: str, key: str) -> str:
        if key not in table[name]:
            return "<td>-</td>"
        mean, low, high = table[name][key]
        rivals = [row[key][0] * BETTER[key] for n, row in table.items() if key in row and n != "static"]
        best = ' class="best"' if name != "static" and mean * BETTER[key] == max(rivals) else ""
        return f"<td{best}>{mean:.4g} <small>{low:.3g}..{high:.3g}</small></td>"

    head = "".join(f'<th title="{html.escape(TITLES[k])}">{k}</th>' for k in keys)
    means = "".join(f"<tr><td>{html.escape(n)}</td>{''.join(cell(n, k) for k in keys)}</tr>" for n in table)
    clips = "".join(
        f"<tr><td>{html.escape(r['name'])}</td>"
        + "".join(f"<td>{r[k]:.4g}</td>" if k in r else "<td>-</td>" for k in keys)
        + "</tr>"
        for r in report["clips"]
    )
    figures = "".join(
        f'<figure><figcaption>{html.escape(c)}</figcaption><img src="{html.escape(p)}" alt="{html.escape(c)}"></figure>'
        for p, c in pictures
    )
    notes = "".join(f"<li>{html.escape(n)}</li>" for n in report["notes"])
    fid = ", ".join(f"{html.escape(n)} {v:.2f}" for n, v in report.get("fid", {}).items())
    fid = f"<p>FID from the true frames: {fid}</p>" if fid else ""
    legend = ", ".join(f"{k}: {TITLES[k]}" for k in keys)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>Infinex: {html.escape(report["engine"])}</title>
<style>{STYLE}</style><h1>{html.escape(report["engine"])} on {html.escape(report["data"])}</h1>
<p>{report["people"]} people, {len(report["clips"])} clips. Means over people, with 95 % intervals by bootstrap.</p>
<table><tr><th></th>{head}</tr>{means}</table>{fid}<p><small>{html.escape(legend)}</small></p><ul>{notes}</ul>
<h2>Pictures</h2>{figures}<h2>Every clip, {html.escape(report["engine"])}</h2>
<table><tr><th></th>{head}</tr>{clips}</table></html>"""
