"""How close the mesh engine comes to the truth, and how well it keeps a stranger's identity.

    python benchmarks/quality.py CLIPS_DIR [--manifest MANIFEST.csv] [--no-refine] [--frames N] [--out REPORT_DIR]
    python benchmarks/quality.py CLIPS_DIR --cross PORTRAITS_DIR [--out REPORT_DIR]

Self-reenactment: the source is a clip's first frame, the driver the clip, motion absolute, and no pixel
or shading of the driver enters (`--mouth own --wrinkles none`). Landmarks of result and truth are
tracked alike. Beside the engine stands `static`, the source repeated. With a manifest (columns path, identity) the
mean is also taken over the people whom neither the refiner's training nor the mouth's fit has seen.
Cross-reenactment drives every portrait by a few clips; units are read in landmarks of performer and result, and, as
`pictures`, in their pictures. REPORT_DIR gets report.json and contact sheets.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.drivers.video import VideoDriver
from infinex.engine import Source
from infinex.errors import InputError
from infinex.evaluation.metrics import Flicker, l1, landmark_distance, psnr, ssim
from infinex.evaluation.watched import Watched
from infinex.face import topology as top
from infinex.face.identity import cosine, identity
from infinex.face.reading import read_units
from infinex.face.tracker import FaceFinder, FaceTracker
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS
from infinex.media.image import read_image
from infinex.media.video import VideoReader
from infinex.mesh.engine import MeshEngine, MeshOptions, PreparedFace
from infinex.pipeline import Stage
from infinex.systems.refiner.split import held_out, names_of

LEAK_FREE = MeshOptions("own", "none", True)
EVERY = 5  # frames between identity measurements
LIVELY = 0.05  # standard deviation of an intensity from which the driver counts as moving that unit
Row = dict[str, Any]


def self_reenactment(clip: Path, finder: FaceFinder, frames: int | None, refine: bool) -> list[Row]:
    """Rows `static` and `mesh` of one clip; none where its first frame shows no face."""
    with VideoReader(clip) as reader:
        first = next(iter(reader)).image
    faces = finder.find(first)
    if not faces:
        return []
    face = PreparedFace(Source(first, faces[0]), replace(LEAK_FREE, outline=refine, refine=refine))
    driver = VideoDriver(clip).settle(face.face.pose, face.face.face)
    face.begin(driver.rest, None, None)
    me = identity(first, faces[0].landmarks)
    trackers = {n: FaceTracker() for n in ("truth", "mesh")}
    static_points = None
    values: dict[str, dict[str, list[float]]] = {n: {} for n in ("static", "mesh")}
    flicker = {n: Flicker() for n in values}
    canvas = first.copy()
    for i, drive in enumerate(driver):
        if drive.image is None or (frames is not None and i >= frames):
            if drive.image is None:
                continue
            break
        truth = drive.image
        face.draw(canvas, replace(drive, image=None, points=None))
        seen = {"truth": trackers["truth"](truth), "mesh": trackers["mesh"](canvas)}
        if static_points is None and seen["truth"] is not None:
            static_points = seen["truth"].landmarks
        for name, image in (("static", first), ("mesh", canvas)):
            v = values[name]
            v.setdefault("l1", []).append(l1(image, truth))
            v.setdefault("psnr", []).append(psnr(image, truth))
            v.setdefault("ssim", []).append(ssim(image, truth))
            flicker[name].add(image, truth)
            points = static_points if name == "static" else (seen["mesh"].landmarks if seen["mesh"] else None)
            if points is not None and seen["truth"] is not None:
                v.setdefault("akd", []).append(landmark_distance(points, seen["truth"].landmarks, truth.shape[1]))
            if i % EVERY == 0 and name == "mesh" and points is not None and seen["truth"] is not None:
                mine = identity(image, points)
                v.setdefault("csim", []).append(cosine(mine, me))
                real = identity(truth, seen["truth"].landmarks)
                v.setdefault("aed", []).append(float(np.linalg.norm(mine - real)))
    for t in trackers.values():
        t.close()
    driver.close()
    out = []
    for name, v in values.items():
        row: Row = {"name": clip.stem, "engine": name, "frames": len(v.get("l1", []))}
        row |= {k: float(np.mean(x)) for k, x in v.items() if x}
        row["flicker"] = flicker[name].value
        out.append(row)
    return out


def crop(image: NDArray[np.uint8], box: tuple[float, ...], side: int) -> NDArray[np.uint8]:
    """Square cut of twice a face box, resized."""
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    a, b = max(0, int(cx - half)), max(0, int(cy - half))
    part = image[b : int(cy + half), a : int(cx + half)]
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)


def twice_areas(points: NDArray[np.floating], tris: NDArray[np.integer]) -> NDArray[np.floating]:
    """Twice the signed areas (T,) of triangles (T, 3) over points (N, 2)."""
    a, b, c = (points[tris[:, k]] for k in range(3))
    return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]


def agreement(want: NDArray[np.float64], have: NDArray[np.float64]) -> dict[str, float]:
    """Correlations of units read of a performer and of a result, (T, U) each, by name, over those that move."""
    return {
        FACE_UNITS[k]: float(np.corrcoef(want[:, k], have[:, k])[0, 1]) if have[:, k].any() else 0.0
        for k in np.flatnonzero(want.std(0) > LIVELY)
    }


def cross(
    portraits: list[Path], clips: list[Path], finder: FaceFinder, out: Path | None, frames: int | None
) -> list[Row]:
    """Drive each portrait by each clip: identity kept, expression followed, triangles folded."""
    rows = []
    for path in bar(portraits, description="cross"):
        try:
            image = read_image(path)
        except InputError:
            continue
        faces = finder.find(image)
        if not faces:
            print(f"{path.name}: no face")
            continue
        me = identity(image, faces[0].landmarks)
        sheet = []
        for clip in clips:
            stage = Stage([Source(image, faces[0])], MeshEngine(MeshOptions()))
            face = stage.faces[0]
            driver = VideoDriver(clip).settle(face.face.pose)
            stage.begin(driver.rest, driver.rest_image, driver.rest_points)
            watched, kept, folded = Watched(image, driver.fps), [], 0
            asked = []
            theirs = UnitReader(driver.rest_image, driver.rest_points, driver.rest.face)
            mine = UnitReader(image, faces[0].landmarks)
            total = min(driver.frames or 100, frames or 10**9)
            show = set(np.linspace(0, total - 1, 6).astype(int).tolist())
            line = [crop(image, faces[0].box, 256)]
            tris = face.warp.tris[face.warp.surface]
            before, least = twice_areas(face.face.face[:, :2], tris), 2.0 / face.face.pose.scale**2
            for i, drive in enumerate(driver):
                if i >= total:
                    break
                canvas, drawn = stage.render(drive)
                target = drawn[0].target  # type: ignore[attr-defined]
                if not target.still:
                    # Seen from the front, whatever way the head has turned; the tracker's mesh overlaps itself in a
                    # few places even at rest: what counts is what turns over.
                    after = twice_areas(target.face[:, :2], tris)
                    folded += int(((before > least) & (after < -least)).any())
                if i in show:
                    line.append(crop(canvas, faces[0].box, 256))
                found = watched.add(canvas) if watched.found else None
                asked.append(drive.move.offsets)
                theirs.add(drive.image, drive.points, drive.move.offsets)
                mine.add(*((None, None, np.zeros((top.POINTS, 3))) if found is None else (canvas, found)))
                if found is not None and i % EVERY == 0:
                    kept.append(cosine(identity(canvas, found), me))
            driver.close()
            done = watched.doings().units if kept else None
            watched.close()
            sheet.append(np.hstack(line))
            if done is None:
                print(f"{path.name}: no face in the result")
                continue
            r, seen = agreement(read_units(np.stack(asked)), done), agreement(theirs.units(), mine.units())
            rows.append({"portrait": path.stem, "clip": clip.stem, "csim": float(np.mean(kept)),
                         "units": float(np.mean(list(r.values()))) if r else float("nan"), "each": r,
                         "pictures": float(np.mean(list(seen.values()))) if seen else float("nan"),
                         "folded": folded, "frames": len(asked)})  # fmt: skip
        if out is not None:
            cv2.imwrite(str(out / f"cross_{path.stem}.png"), np.vstack(sheet)[..., ::-1])
    return rows


def summary(title: str, static: list[Row], mesh: list[Row], keys: tuple[str, ...]) -> Row:
    """Print the means of both and how they compare; those of the engine."""
    mean = [
        {k: float(np.mean([r[k] for r in rows if k in r])) for k in keys if k in rows[0]} for rows in (static, mesh)
    ]
    for name, m in zip(("static", "mesh"), mean):
        print(f"{title[:25]:26}{name:8}" + "".join(f"{m[k]:9.4f}" if k in m else f"{'-':>9}" for k in keys))
    shares = [mean[1][k] / mean[0][k] for k in ("l1", "flicker")]
    print(f"L1 {shares[0]:.3f} of static, flicker {shares[1]:.3f} of static")
    return mean[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--cross", type=Path, help="folder of portraits")
    parser.add_argument("--drivers", default="liveportrait_d10_00,liveportrait_d13_00", help="clips for --cross")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--frames", type=int, help="frames of each clip; all by default")
    parser.add_argument("--manifest", type=Path, help="CSV with the columns path and identity")
    parser.add_argument("--no-refine", dest="refine", action="store_false", help="the warp alone")
    a = parser.parse_args()
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
    finder = FaceFinder()
    clips = sorted(a.clips.glob("*.mp4"))
    report: Row = {"engine": "mesh", "clips": [], "static": []}
    if not a.cross:
        for clip in bar(clips, description="self"):
            rows = self_reenactment(clip, finder, a.frames, a.refine)
            if not rows:
                print(f"{clip.name}: no face in the first frame, left out")
                continue
            report["static"].append(rows[0])
            report["clips"].append(rows[1])
        keys = ("l1", "psnr", "ssim", "akd", "aed", "csim", "flicker")
        print(f"{'clip':26}{'':8}" + "".join(f"{k:>9}" for k in keys))
        for static, mesh in zip(report["static"], report["clips"]):
            for row in (static, mesh):
                values = "".join(f"{row[k]:9.4f}" if k in row else f"{'-':>9}" for k in keys)
                print(f"{row['name'][:25]:26}{row['engine']:8}{values}")
        names = names_of(a.manifest)
        new = set(held_out(names.get(c.stem, c.stem) for c in clips))
        unseen = {n: [r for r in report[n] if names.get(r["name"]) in new] for n in ("static", "clips")}
        report["mean"] = summary("mean", report["static"], report["clips"], keys)
        if unseen["clips"]:
            people = len({names[r["name"]] for r in unseen["clips"]})
            report["unseen"] = summary(f"{people} people never seen", unseen["static"], unseen["clips"], keys)
    else:
        drivers = [a.clips / f"{n}.mp4" for n in a.drivers.split(",")]
        report["cross"] = cross(sorted(a.cross.iterdir()), drivers, finder, a.out, a.frames)
        for row in report["cross"]:
            print(f"{row['portrait'][:30]:32}{row['clip'][:24]:26}csim {row['csim']:.3f}  units {row['units']:.3f}  "
                  f"folded {row['folded']}")  # fmt: skip
        share = sum(r["folded"] for r in report["cross"]) / max(1, sum(r["frames"] for r in report["cross"]))
        print(f"folded in {share:.0%} of the frames")
        each: dict[str, list[float]] = {}
        for row in report["cross"]:
            for name, r in row["each"].items():
                each.setdefault(name, []).append(r)
        print("  ".join(f"{name} {np.mean(each[name]):.2f}" for name in FACE_UNITS if name in each))
        for k in ("csim", "units", "pictures"):
            print(f"mean {k} {np.nanmean([r[k] for r in report['cross']]):.3f}")
    finder.close()
    if a.out:
        (a.out / "report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
