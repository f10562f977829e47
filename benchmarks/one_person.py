"""What learning one person gives: clips learned to four fifths, their last fifth animated, beside the default engine.

python benchmarks/one_person.py CLIP... --runs FOLDER [--frames 40] [--engines deep-video-portraits-album,face2face]
    [--set max_steps=400] [--acted] [--strangers] [--json] [--sheets]

Engines that are taught are named by their recipes.

The portrait is a clip's first frame, the driver its last fifth; the default engine sees one frame and motion alone. The
others learn the first four fifths; what is not in FOLDER yet is fitted and trained into it. Of the driver's pictures
they use what a fit finds (pose, expression), where points and irises are and how the surroundings flow, no colour.
Face2Face and Neural Voice Puppetry keep the head of a film as it is: they draw into the learned frame whose head is
nearest the driver's, and no film runs like that. L1 in grey levels over the box of the true lips and over the frame,
landmark distance in pixels at 256, flicker as in docs/quality.md; ratios are over the default engine's.

With --strangers each person is moved by the next clip's performance instead, as `infinex animate` does it; the identity
cosine of every fifth frame to the person's first one (dlib), beside that of the person's own learned frames."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive
from infinex.drivers.video import VideoDriver
from infinex.engine import Engine, Setting, Source, load_engine
from infinex.evaluation.metrics import Flicker, landmark_distance
from infinex.face import topology as top
from infinex.face.identity import cosine, identity
from infinex.face.morphable.person import Person
from infinex.face.tracker import Face, FaceFinder
from infinex.media.audio import write_wav
from infinex.media.image import write_image
from infinex.media.video import VideoReader
from infinex.options import Options
from infinex.pipeline import animate
from infinex.systems.neural_voice_puppetry.sound import in_step, late, samples_of
from infinex.systems.registry import TRAINED
from infinex.systems.speech.features import RATE

LIPS = [*top.LIPS_INNER, *top.LIPS_OUTER]
LEARNED = 0.8  # share of a clip
EVERY = 5  # frames of which one is asked for its identity
HEARS = "neural-voice-puppetry"
STAYS = ("face2face", HEARS)  # the head of a film


def fitted(clip: Path, cut: float, runs: Path) -> Path:
    """A fit of a clip's beginning, made where it is not there."""
    from infinex.jobs.fit import fit

    known = runs / f"{clip.stem}-person.npz"
    if not known.is_file():
        runs.mkdir(parents=True, exist_ok=True)
        fit(clip, known, None, 0.0, round(cut, 3))
    return known


def learned(recipe: str, clip: Path, cut: float, runs: Path, settings: list[str]) -> Path:
    """The folder of a run that learned a clip's beginning; what is not there is trained."""
    from infinex.training.trainer import train

    run = runs / f"{clip.stem}-{recipe}"
    if not (run / TRAINED).is_file():
        resumed = (run / "recipe.json").is_file()
        begun = [] if resumed else [f"part.end={cut:.3f}", "held=0", f"person={fitted(clip, cut, runs)}"]
        train(recipe, clip, run, [*begun, *settings], resume=resumed, say=print)
    return run


def spoken(clip: Path, cut: float, runs: Path) -> tuple[Path, tuple[float, None]]:
    """The sound of a clip as early as its beginning shows it to be late, from the end of that on."""
    person, samples = Person.load(fitted(clip, cut, runs)), samples_of(clip, (0.0, None))
    lag, _ = late(samples[: round(cut * RATE)], person.points, person.fps)
    return write_wav(runs / f"{clip.stem}.wav", [in_step(samples, lag)], RATE), (cut, None)


def opened(name: str, clip: Path, cut: float, runs: Path, settings: list[str], acted: bool = False) -> Engine:
    """An engine that knows the clip's beginning, the default one nothing of it; one that hears, unless it is `acted`,
    has heard the end."""
    if name == "mesh":
        return load_engine(name, Options(mouth="own", wrinkles="none"))
    if name == "face2face":
        from infinex.systems.face2face.engine import Face2FaceEngine
        from infinex.systems.face2face.target import of_person

        return Face2FaceEngine(of_person(Person.load(fitted(clip, cut, runs)), clip), clip)
    run = learned(name, clip, cut, runs, settings)
    if name.startswith(HEARS):
        engine = load_engine(HEARS, Options(engine=HEARS), str(run))
        if not acted:
            engine.hear(*spoken(clip, cut, runs))
        return engine
    return load_engine("deep-video-portraits", Options(engine="deep-video-portraits", absolute=True), str(run))


def drives(clip: Path, cut: float, face: Any, frames: int) -> Iterator[tuple[VideoDriver, Drive]]:
    """The last fifth, measured from the frame of the clip that is most like its first: all of it is read, since a
    driver that begins later would rest later."""
    driver = VideoDriver(clip).settle(face.pose, face.face)
    try:
        count = 0
        for drive in driver:
            if drive.move.time < cut:
                continue
            if count == frames:
                return
            count += 1
            yield driver, drive
    finally:
        driver.close()


class Nearest:
    """The learned frame whose head is nearest: what engines that keep the head of a film draw into."""

    def __init__(self, clip: Path, cut: float, runs: Path) -> None:
        self.person = Person.load(fitted(clip, cut, runs))
        with VideoReader(clip, end=cut) as reader:
            self.frames = [f.image for f in reader][: len(self.person)]
        self._heads = self.person.points[: len(self.frames), top.RIGID, :2]

    def __call__(self, points: NDArray) -> Source:
        t = int(np.abs(self._heads - points[top.RIGID, :2].astype(np.float32)).mean((1, 2)).argmin())
        return Source(self.frames[t], Face(self.person.points[t].astype(np.float64)))


def measured(
    clip: Path, names: list[str], runs: Path, frames: int, settings: list[str], sheets: bool, acted: bool = False
) -> dict[str, dict[str, float]]:
    """Figures of each engine on one clip."""
    with VideoReader(clip) as reader:
        cut, first = LEARNED * float(reader.info.duration or 0), next(iter(reader)).image
    with FaceFinder() as finder:
        source = Source(first, finder.find(first)[0])
        engines = {n: opened(n, clip, cut, runs, settings, acted) for n in names}
        faces = {n: e.prepare(source, Setting()) for n, e in engines.items()}
        nearest = Nearest(clip, cut, runs) if any(n.startswith(STAYS) for n in names) else None
        values: dict[str, dict[str, list[float]]] = {n: {k: [] for k in ("mouth", "frame", "akd")} for n in names}
        flicker, canvas = {n: Flicker() for n in names}, {n: first.copy() for n in names}
        rows: list[NDArray[np.uint8]] = []
        for i, (driver, drive) in enumerate(drives(clip, cut, next(iter(faces.values())).face, frames)):
            if drive.image is None or drive.points is None:
                continue
            if i == 0:
                for name, face in faces.items():
                    filmed = name != "mesh"
                    face.begin(driver.rest, *((first, source.face.landmarks) if filmed else (None, None)))
            truth, p = drive.image, drive.points[LIPS, :2]
            x0, y0 = np.maximum(np.floor(p.min(0)) - 3, 0).astype(int)
            x1, y1 = np.ceil(p.max(0)).astype(int) + 4
            since = replace(drive.move, time=i / driver.fps)  # of the sound that was heard
            for name, face in faces.items():
                seen = Drive(since, None, None) if name == "mesh" else replace(drive, move=since)
                if name.startswith(STAYS) and nearest is not None:
                    near = nearest(drive.points)
                    face = engines[name].prepare(near, Setting(film=True))
                    face.begin(driver.rest, first, source.face.landmarks)
                    canvas[name] = near.image.copy()
                face.draw(canvas[name], seen)
                off = np.abs(canvas[name].astype(np.float32) - truth)
                values[name]["mouth"].append(float(off[y0:y1, x0:x1].mean()))
                values[name]["frame"].append(float(off.mean()))
                flicker[name].add(canvas[name], truth)
                found = finder.find(canvas[name]) if i % 4 == 0 else []
                if found:
                    values[name]["akd"].append(landmark_distance(found[0].landmarks, drive.points, truth.shape[1]))
            if sheets and i % max(1, frames // 6) == 0:
                rows.append(np.hstack([truth, *canvas.values()]))
    if rows:
        write_image(runs / f"{clip.stem}.png", np.vstack(rows))
    return {
        n: {k: float(np.mean(v)) if v else float("nan") for k, v in values[n].items()} | {"flicker": flicker[n].value}
        for n in names
    }


def by_stranger(
    clip: Path, driver: Path, names: list[str], runs: Path, frames: int, settings: list[str], sheets: bool
) -> dict[str, float]:
    """Identity cosine to a clip's first frame of what each engine makes of another's performance, and of the clip."""
    with VideoReader(clip) as reader:
        cut = LEARNED * float(reader.info.duration or 0)
        film = [f.image for f in reader if f.time < cut][:: EVERY * 5]
    shown = {"film": film[1:]}
    portrait = runs / f"{clip.stem}-first.png"
    write_image(portrait, film[0])
    with VideoReader(driver) as reader:
        end = frames / float(reader.info.fps)
        acted = [f.image for i, f in enumerate(reader) if i < frames and i % EVERY == 0]
    for name in names:
        out = runs / f"{clip.stem}-by-{driver.stem}-{name}.mp4"
        weights = "" if name == "mesh" else str(learned(name, clip, cut, runs, settings))
        engine = "mesh" if name == "mesh" else "deep-video-portraits"
        animate(portrait, driver, out, Options(engine=engine, weights=weights, end=end))
        with VideoReader(out) as reader:
            shown[name] = [f.image for i, f in enumerate(reader) if i % EVERY == 0]
    with FaceFinder() as finder:
        me = identity(film[0], finder.find(film[0])[0].landmarks)
        found = {n: [(i, finder.find(i)) for i in images] for n, images in shown.items()}
    if sheets:
        some = range(0, len(acted), max(1, len(acted) // 6))
        columns = [acted, *(shown[n] for n in names)]
        rows = [np.hstack([cv2.resize(c[min(i, len(c) - 1)], (320, 320)) for c in columns]) for i in some]
        write_image(runs / f"{clip.stem}-by-{driver.stem}.png", np.vstack(rows).astype(np.uint8))
    return {
        n: float(np.mean([cosine(identity(image, faces[0].landmarks), me) for image, faces in seen if faces]))
        for n, seen in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--runs", type=Path, required=True, help="Where what is learned lies, or comes to lie.")
    parser.add_argument("--frames", type=int, default=40, help="Of the last fifth.")
    parser.add_argument("--engines", default="deep-video-portraits-album,face2face")
    parser.add_argument("--set", action="append", default=[], help="key=value for what is trained.")
    parser.add_argument("--acted", action="store_true", help="Neural Voice Puppetry sees the driver and hears nothing.")
    parser.add_argument("--strangers", action="store_true", help="Each is moved by the next clip: identity is kept.")
    parser.add_argument("--sheets", action="store_true", help="Write pictures of each clip: truth, then the engines.")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = ["mesh", *[n for n in args.engines.split(",") if n != "mesh"]]
    if args.strangers:
        kept = []
        for clip, driver in zip(args.clips, [*args.clips[1:], args.clips[0]]):
            kept.append(by_stranger(clip, driver, names, args.runs, args.frames, args.set, args.sheets))
            if not args.json:
                print(f"{clip.stem:24} by {driver.stem:24} ", "  ".join(f"{n} {v:.3f}" for n, v in kept[-1].items()))
        mean = {n: float(np.mean([k[n] for k in kept])) for n in kept[0]}
        print(json.dumps(mean) if args.json else "mean " + "  ".join(f"{n} {v:.3f}" for n, v in mean.items()))
        return
    rows = {}
    for clip in args.clips:
        rows[clip.stem] = row = measured(clip, names, args.runs, args.frames, args.set, args.sheets, args.acted)
        if not args.json:
            _print(clip.stem, row)
    mean = {n: {k: float(np.nanmean([r[n][k] for r in rows.values()])) for k in ("mouth", "frame", "akd", "flicker")}
            for n in names}  # fmt: skip
    if args.json:
        print(json.dumps({"clips": rows, "mean": mean}))
    elif len(rows) > 1:
        _print("mean", mean)


def _print(title: str, row: dict[str, dict[str, float]]) -> None:
    for name, figures in row.items():
        own = "  ".join(f"{k} {v:.3g} ({v / row['mesh'][k]:.2f})" for k, v in figures.items())
        print(f"{title:24} {name:24} {own}", flush=True)


if __name__ == "__main__":
    main()
