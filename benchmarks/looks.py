"""What eyes reject: portraits driven by strangers' clips with the defaults, numbers for each fault, sheets to look at.

    python benchmarks/looks.py PORTRAITS CLIPS --out REPORT [--pairs 12] [--frames 60] [--start 0]
    python benchmarks/looks.py --real CLIPS --out REPORT        # each clip against itself: no number may fire

Portraits keep their own size. REPORT gets a sheet for each portrait, index.html, table.csv, and one file for each
pair in pairs/, so that a run that was broken off goes on where it was; another commit starts anew. What each number
means and from where on it is marked stands in `NUMBERS`. `--pairs` deals clips to portraits in turn, one each, until
so many are made; without it every portrait is driven by every clip.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import html
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InfinexError
from infinex.evaluation import edges
from infinex.evaluation import looks as eye
from infinex.evaluation.reenact import takes
from infinex.evaluation.sheets import Sheet
from infinex.face.tracker import FaceTracker
from infinex.jobs.open import open_driver
from infinex.jobs.perform import adjusted, settled
from infinex.jobs.source import load_source
from infinex.media.files import atomic_path
from infinex.media.image import is_image, read_image, write_image
from infinex.media.video import VideoReader
from infinex.options import Options
from infinex.stage import make_stage

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
Row = dict[str, Any]
EVERY = 6  # frames between looks at edges and background
SIDE = 1280  # longest side at which faces are looked for
# Name: lowest and highest value that is not marked, and what it says.
NUMBERS: dict[str, tuple[float, float, str]] = {
    "apart": (0.0, 0.02, "share of frames in which one eye is open and one shut, while the performer's agree"),
    "wide": (0.0, 0.05, "share of frames in which the eyes are stared open beyond the performer's"),
    "lids": (0.9, 1.12, "gain of closing: the result's over the performer's, each of its own open eye"),
    "residual": (-0.06, 0.02, "opening at the performer's shut frames beyond hers, widths of an eye"),
    "lid_uneven": (-9.0, 0.03, "unevenness of shut lids beyond the performer's: bars, smears, an iris through them"),
    "lid_line": (0.45, 9.0, "sharpness and depth of the lash line, as a share of the performer's"),
    "lid_smear": (
        0.0,
        0.12,
        "specks, hooks, rims above shut eyes that the portrait has not, of the skin's lightness",
    ),
    "over": (0.0, 3.0, "lightness of the mouth's lightest twelfth above the portrait's eye white and lightest skin"),
    "blue": (0.0, 0.06, "share of the open mouth that is bluer than eye white, lips and skin"),
    "pink": (0.0, 0.10, "share of the open mouth that is redder than the lips, towards magenta"),
    "pale": (
        -1.0,
        0.15,
        "lightness of the mouth's darkest quarter beyond the performer's where hers is dark, of the skin's",
    ),
    "black": (-1.0, 0.15, "share of the open mouth that is all but black, beyond the performer's"),
    "relief": (0.042, 9.0, "how much teeth differ in lightness from one to the next: real ones do, tiles do not"),
    "crease": (-1.0, 0.03, "line outward from a corner of an open mouth beyond the performer's: a spike, or a beard"),
    "teeth": (0.0, 0.06, "share of the lips' seam that shows teeth while the performer's lips touch"),
    "lips": (0.0, 0.02, "gap of the lips beyond the performer's while hers touch, IOD"),
    "closed": (0.6, 1.5, "gain of the lips' gap"),
    "brows": (0.8, 1.3, "gain of the brows' height"),
    "smile": (0.7, 1.3, "gain of the mouth's width"),
    "moved": (0.0, 0.02, "displacement of background that neither picture hides, IOD"),
    "bent": (0.0, 0.03, "straight lines of the background: by how much the worst is bent, IOD"),
    "ring": (0.0, 5.0, "colour of the ring around the person against the background beside it, beyond the source's"),
    "uncovered": (0.0, 8.0, "colour of uncovered background against the background beside it"),
    "ghost": (0.0, 1.5, "how plainly the person's old outline stands in uncovered background, lightness per pixel"),
    "jaw": (0.0, 0.004, "roughness of the jaw's edge beyond the source's, IOD: stairs"),
    "streaks": (0.0, 0.03, "share of the picture's border drawn in streaks"),
    "pumping": (0.0, 1.25, "how much the head's size wavers, over the performer's"),
    "restless": (0.0, 2.0, "change between neighbouring frames, over the performer's"),
}


class Watch:
    """Looks at performer and result side by side, and keeps numbers only."""

    def __init__(self, portrait: RGB, points: Array, fps: float) -> None:
        self.start = eye.seen(points)
        self.unit = float(np.exp(self.start.size))
        self.fps, self.light, self.portrait = fps, eye.light_of(portrait, points), (portrait, points)
        self.source = edges.Picture(portrait, points, self.unit)
        self.sheet = Sheet()
        self.sheet.first(portrait, points, self.unit)
        self.mine: list[eye.Seen | None] = []
        self.theirs: list[eye.Seen | None] = []
        self.values: dict[str, list[float]] = {}
        self.restless = eye.Restless(), eye.Restless()
        self._trackers = FaceTracker(), FaceTracker()
        self._own = eye.teeth(portrait, points) if self.start.most < eye.TOUCH else 0.0
        self._count = 0

    def close(self) -> None:
        for t in self._trackers:
            t.close()

    def _add(self, key: str, value: float) -> None:
        if np.isfinite(value):
            self.values.setdefault(key, []).append(float(value))

    def _tracked(self, which: int, image: RGB) -> Array | None:
        k = min(1.0, SIDE / max(image.shape[:2]))
        small = image if k == 1 else np.asarray(cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA))
        face = self._trackers[which](np.asarray(small, np.uint8))
        return None if face is None else np.asarray(face.landmarks / k)

    def look(self, result: RGB, performer: RGB) -> None:
        """One frame of both, (H, W, 3)."""
        a, b = self._tracked(0, result), self._tracked(1, performer)
        r, p = (None if x is None else eye.seen(x) for x in (a, b))
        self.mine.append(r)
        self.theirs.append(p)
        for one, image, points in zip(self.restless, (result, performer), (a, b)):
            one.add(None if points is None else eye.held(image, points))
        self._count += 1
        if a is None or b is None or r is None or p is None:
            return
        unit = float(np.exp(r.size))
        self.sheet.add(result, a, unit, performer, b, p, self.start)
        found = eye.mouth(result, a, self.light, p.gap > eye.PARTED)
        if found is not None:
            for key in ("over", "blue", "pink"):
                self._add(key, getattr(found, key))
            hers = eye.mouth(performer, b, eye.light_of(performer, b))
            if hers is not None and hers.dark < 0.5:
                self._add("pale", found.dark - hers.dark)
            if hers is not None:
                self._add("black", found.black - hers.black)
            self._add("relief", found.relief)
            if p.gap > eye.PARTED:
                self._add("crease", float((eye.creases(result, a) - eye.creases(performer, b)).max()))
        if p.most < eye.TOUCH:
            self._add("teeth", max(0.0, eye.teeth(result, a) - max(self._own, eye.teeth(performer, b))))
        level = np.median([s.lids.mean() for s in self.theirs[-60:] if s is not None])
        if p.lids.max() < eye.SHUT * level:
            for side in eye.near_eyes(float(r.angles[0]), float(p.angles[0])):
                mine, theirs = eye.lid(result, a, side), eye.lid(performer, b, side)
                self._add("lid_uneven", mine.uneven - theirs.uneven)
                self._add("lid_line", mine.line / max(theirs.line, 0.05))
                self._add("lid_smear", eye.smear(result, a, *self.portrait, side))
        if self._count % EVERY == 0:
            now = edges.Picture(result, a, self.unit)
            for name in ("moved", "bent", "ring", "uncovered", "ghost", "jaw", "streaks"):
                self._add(name, getattr(edges, name)(now, self.source))

    def numbers(self) -> dict[str, float]:
        """The numbers of the whole; what could not be measured is left out."""
        out = eye.of_landmarks(self.mine, self.theirs, self.fps)
        for key in ("over", "lid_smear", "crease", "moved", "bent", "ring", "uncovered", "ghost", "jaw", "streaks"):
            if key in self.values:  # a fault that shows for a fifth of the time is seen
                out[key] = float(np.percentile(self.values[key], 80))
        for key in ("blue", "pink", "pale", "black", "relief", "teeth", "lid_uneven", "lid_line"):
            if key in self.values:
                out[key] = float(np.mean(self.values[key]))
        out["restless"] = self.restless[0].value / max(self.restless[1].value, 0.15)  # less is not seen
        return {k: round(float(out[k]), 5) for k in NUMBERS if k in out and np.isfinite(out[k])}


def driven(portrait: Path, clip: Path, start: float, frames: int) -> tuple[dict[str, float], RGB]:
    """Numbers and sheet of a portrait under a clip, as `infinex animate` with its defaults draws it."""
    o = Options(start=start)
    sources = load_source(portrait)
    stage = make_stage(sources, o)
    driver = open_driver(clip, o)
    try:
        settled(driver, stage.faces[0].face, o.absolute)
        watch = Watch(sources[0].image, sources[0].face.landmarks, float(driver.fps))
        with closing(adjusted(driver, o, stage.needs)) as cues:
            for cue in islice(cues, frames):
                picture, _ = stage.render(cue)
                if cue.image is not None:
                    watch.look(picture, cue.image)
    finally:
        driver.close()
    watch.close()
    return watch.numbers(), watch.sheet.picture(f"{portrait.name} by {clip.name}")


def itself(clip: Path, start: float, frames: int) -> tuple[dict[str, float], RGB]:
    """Numbers and sheet of a real clip as if it were the result of its own first frame."""
    with VideoReader(clip, **({"start": start} if start else {})) as reader:
        fps = float(reader.info.fps)
        pictures = (f.image for f in islice(reader, frames))
        first = next(pictures)
        tracker = FaceTracker()
        face = tracker(first)
        tracker.close()
        if face is None:
            raise InfinexError(f"{clip.name}: no face in the first frame")
        watch = Watch(first, face.landmarks, fps)
        for picture in pictures:
            watch.look(picture, picture)
    watch.close()
    return watch.numbers(), watch.sheet.picture(f"{clip.name} itself")


def commit() -> str:
    """Which code this is: the commit, and where files differ from it a mark of how."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()

    name = git("rev-parse", "--short", "HEAD") or "unknown"
    changed = git("diff", "HEAD", "--", "..")
    return f"{name}+{hashlib.sha256(changed.encode()).hexdigest()[:6]}" if changed else name


def wanted(a: argparse.Namespace) -> Iterator[tuple[Path | None, Path]]:
    """The pairs of portrait and clip; of real clips the clip alone."""
    clips = [t.path for t in takes(a.clips, "all")]
    if a.drivers:
        clips = [c for n in a.drivers.split(",") for c in clips if c.stem == n]
    if a.real:
        yield from ((None, c) for c in clips)
        return
    portraits = [p for p in sorted(a.portraits.iterdir()) if p.is_file() and is_image(p)]
    if a.names:
        portraits = [p for n in a.names.split(",") for p in portraits if p.stem == n]
    if a.pairs:
        yield from ((portraits[i % len(portraits)], clips[i % len(clips)]) for i in range(a.pairs))
    else:
        yield from ((p, c) for p in portraits for c in clips)


def marked(row: Row) -> list[str]:
    """Names of the numbers that are out of bounds."""
    return [k for k, (low, high, _) in NUMBERS.items() if k in row and not low <= row[k] <= high]


def page(rows: list[Row], pictures: list[str], version: str) -> str:
    """One HTML page: the table, what the numbers mean, the sheets."""
    head = "".join(f'<th title="{html.escape(t)}">{k}</th>' for k, (_, _, t) in NUMBERS.items())
    body = ""
    for row in rows:
        bad = marked(row)
        cells = "".join(
            f"<td{' class=bad' if k in bad else ''}>{row[k]:.3g}</td>" if k in row else "<td>-</td>" for k in NUMBERS
        )
        body += f"<tr><td>{html.escape(row['portrait'])}<br>{html.escape(row['clip'])}</td>{cells}</tr>"
    legend = "".join(f"<li>{k} ({lo:g} to {hi:g}): {html.escape(t)}</li>" for k, (lo, hi, t) in NUMBERS.items())
    figures = "".join(f'<h3>{html.escape(Path(p).stem)}</h3><img src="{html.escape(p)}" alt="">' for p in pictures)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Infinex: looks</title><style>
body{{font:14px/1.4 system-ui,sans-serif;margin:1.5rem}}td,th{{padding:.15rem .4rem;text-align:right;
border-bottom:1px solid #ddd}}td:first-child{{text-align:left}}.bad{{background:#fbb}}img{{max-width:100%}}</style>
<h1>Looks at {html.escape(version)}</h1><table><tr><th></th>{head}</tr>{body}</table><ul>{legend}</ul>
{figures}</html>"""


def table(rows: list[Row]) -> None:
    """Print every pair with what is marked, then how often each number is."""
    for row in rows:
        bad = " ".join(f"{k} {row[k]:.3g}" for k in marked(row))
        print(f"{row['portrait'][:26]:27}{row['clip'][:24]:25}{bad or '-'}")
    print(f"\n{'number':12}{'measured':>9}{'marked':>8}{'median':>9}{'10 %':>9}{'90 %':>9}   bounds")
    for key, (low, high, title) in NUMBERS.items():
        found = [r[key] for r in rows if key in r]
        if found:
            middle, least, most = np.percentile(found, [50, 10, 90])
            times = sum(key in marked(r) for r in rows)
            print(f"{key:12}{len(found):9}{times:8}{middle:9.3f}{least:9.3f}{most:9.3f}   {low:g}..{high:g}  {title}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portraits", type=Path, nargs="?")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", action="store_true", help="each clip against itself")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--start", type=float, default=0.0, help="seconds of the clips that are passed over")
    parser.add_argument("--pairs", type=int, help="so many pairs, clips dealt to portraits in turn")
    parser.add_argument("--names", help="stems of portraits, comma-separated, in that order")
    parser.add_argument("--drivers", help="stems of clips, comma-separated, in that order")
    a = parser.parse_args()
    if not a.real and a.portraits is None:
        parser.error("a folder of portraits and one of clips are wanted")
    version = commit()
    (a.out / "pairs").mkdir(parents=True, exist_ok=True)
    pairs = list(wanted(a))
    rows: list[Row] = []
    begun, made = time.monotonic(), 0
    for i, (portrait, clip) in enumerate(pairs, 1):
        name = f"{portrait.stem if portrait else 'itself'}--{clip.stem}"
        kept = a.out / "pairs" / f"{name}.json"
        key = {"commit": version, "frames": a.frames, "start": a.start}
        row: Row = {}
        if kept.is_file():
            old = json.loads(kept.read_text())
            row = old if {k: old.get(k) for k in key} == key else {}
        if not row:
            try:
                numbers, sheet = itself(clip, a.start, a.frames) if portrait is None else driven(
                    portrait, clip, a.start, a.frames)  # fmt: skip
            except InfinexError as error:
                print(f"{name} left out: {error}", flush=True)
                continue
            write_image(a.out / "pairs" / f"{name}.png", sheet)
            row = {"portrait": portrait.stem if portrait else "itself", "clip": clip.stem} | key | numbers
            with atomic_path(kept) as temporary:
                temporary.write_text(json.dumps(row, indent=1))
            made += 1
            left = (time.monotonic() - begun) / made * (len(pairs) - i)
            print(f"[{i}/{len(pairs)}, {left / 60:.0f} min left] {name}: {' '.join(marked(row)) or '-'}", flush=True)
        rows.append(row)
    pictures = []
    for owner in dict.fromkeys(r["portrait"] for r in rows):
        sheets = [read_image(a.out / "pairs" / f"{owner}--{r['clip']}.png") for r in rows if r["portrait"] == owner]
        wide = max(s.shape[1] for s in sheets)
        sheets = [cv2.copyMakeBorder(s, 0, 12, 0, wide - s.shape[1], cv2.BORDER_CONSTANT) for s in sheets]
        if owner == "itself":
            pictures += [f"pairs/itself--{r['clip']}.png" for r in rows]
        else:
            write_image(a.out / f"{owner}.png", np.vstack(sheets))
            pictures.append(f"{owner}.png")
    with atomic_path(a.out / "table.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["portrait", "clip", "commit", "frames", "start", *NUMBERS])
        writer.writeheader()
        writer.writerows(rows)
    with atomic_path(a.out / "index.html") as temporary:
        temporary.write_text(page(rows, pictures, version), encoding="utf-8")
    table(rows)


if __name__ == "__main__":
    main()
