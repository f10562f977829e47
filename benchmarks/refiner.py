"""What the refiner adds to the mesh engine, on people it was not trained on.

    python benchmarks/refiner.py CLIPS_DIR --manifest MANIFEST.csv [--out DIR] [--frames N] [--stills DIR]

Self-reenactment, leak-free: the source is a clip's first frame, the driver the clip, and no pixel of the driver
enters. `mesh` knows tracked landmarks alone (`--no-refine`); with `measured`, what landmarks miss of the motion is
measured by optical flow between the driver's frames (`infinex.face.register`, `infinex.face.outline`); `untold` has
the networks as well; `refined`, the default, also tells them how light the inside of the performer's mouth is beside
the skin, six shares a frame (`infinex.face.interior`). The people are those the refiner's training held out: every
fifth name in alphabetical order. L1 is taken over regions of the true frame: inside of the mouth, eyes, the person's
outline above the chin (hair), and background that the person covered in the source. DIR gets report.json and contact
sheets; with --stills, portraits before and after under expressions that no driver frame can show.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.drivers.video import VideoDriver
from infinex.engine import Drive, Source
from infinex.evaluation.metrics import Flicker, psnr
from infinex.face import topology as top
from infinex.face.identity import cosine, identity
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose
from infinex.face.shape import lip_gaps
from infinex.face.tracker import FaceFinder, FaceTracker
from infinex.face.units import units_offsets
from infinex.media.image import read_image
from infinex.media.video import VideoReader
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.layers import person_matte, polygon_mask
from infinex.motion import Move, Rest
from infinex.systems.refiner.split import held_out, names_of

ENGINES = {
    "mesh": MeshOptions("own", "none", True, outline=False, refine=False),
    "measured": MeshOptions("own", "none", True, refine=False),
    "untold": MeshOptions("own", "none", True),
    "refined": MeshOptions("own", "none", True),
}
REGIONS = ("mouth", "eyes", "hair", "background")
Image = NDArray[np.uint8]


def regions(image: Image, points: NDArray, source_alpha: NDArray) -> dict[str, NDArray[np.bool_]]:
    """Masks (H, W) of a true frame with its landmarks (478, 3), and the source's person matte (H, W)."""
    h, w = image.shape[:2]
    face = SourceFace(points)
    unit = face.pose.scale

    def mask(ids: list[int], grow: float = 0.0) -> NDArray[np.bool_]:
        m = polygon_mask(h, w, points[ids, :2])
        if grow:
            size = 2 * max(1, round(grow * unit)) + 1
            m = cv2.dilate(m, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return m > 0.5

    out = {}
    if lip_gaps(fit_pose(top.mean_face(), points).to_head(points))[4] > 0.02:
        out["mouth"] = mask(top.LIPS_INNER)
    out["eyes"] = mask(top.RIGHT_EYE, 0.05) | mask(top.LEFT_EYE, 0.05)
    alpha = person_matte(image, face, points[:, :2])
    size = 2 * max(1, round(0.08 * unit)) + 1
    ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    solid = (alpha > 0.5).astype(np.uint8)
    band = (cv2.dilate(solid, ring) != cv2.erode(solid, ring)) & ~mask(top.OVAL)
    band[int(points[152, 1]) :] = False
    out["hair"] = band
    out["background"] = (alpha < 0.3) & (source_alpha > 0.5)
    return out


def measure(clip: Path, finder: FaceFinder, frames: int) -> tuple[dict[str, Any], list[Image]]:
    """One clip's row and its sheet's rows: source, mesh, measured, untold, refined, truth."""
    with VideoReader(clip) as reader:
        first = next(iter(reader)).image
    face = finder.find(first)[0]
    engines = {n: PreparedFace(Source(first, face), o) for n, o in ENGINES.items()}
    one = engines["mesh"]
    drivers = {flow: VideoDriver(clip, flow=flow).settle(one.face.pose, one.face.face) for flow in (False, True)}
    for e in engines.values():
        e.begin(drivers[True].rest, None, None)
    alpha = person_matte(first, one.face, face.landmarks[:, :2])
    me = identity(first, face.landmarks)
    canvas = {n: first.copy() for n in engines}
    sums: dict[str, list[float]] = defaultdict(list)
    flicker = {n: Flicker() for n in ("static", *engines)}
    mesh_of_result = {n: FaceTracker() for n in engines}
    sheet: list[tuple[float, Image]] = []
    with FaceTracker() as tracker:
        for i, (plain, measured) in enumerate(zip(drivers[False], drivers[True])):
            if i >= frames:
                break
            truth = measured.image
            seen = tracker(truth) if truth is not None else None
            if truth is None or seen is None:
                continue
            for n, e in engines.items():
                drive = plain if n == "mesh" else measured
                move = replace(drive.move, interior=None) if n == "untold" else drive.move
                e.draw(canvas[n], replace(drive, move=move, image=None, points=None))
            masks = regions(truth, seen.landmarks, alpha) if i % 2 == 0 else {}
            for n, image in (("static", first), *canvas.items()):
                error = np.abs(image.astype(np.int16) - truth).mean(2) / 255
                sums[f"{n}.l1"].append(float(error.mean()))
                sums[f"{n}.psnr"].append(psnr(image, truth))
                flicker[n].add(image, truth)
                for r, m in masks.items():
                    if m.sum() >= 20:
                        sums[f"{n}.{r}"].append(float(error[m].mean()))
                if i % 5 == 0 and n in engines and (found := mesh_of_result[n](image)) is not None:
                    sums[f"{n}.csim"].append(cosine(identity(image, found.landmarks), me))
            if (inside := masks.get("mouth")) is not None and inside.sum() >= 20:
                off = truth[inside].astype(np.float32) - canvas["mesh"][inside]
                sums["told.mouth"].append(float(np.abs(off - np.median(off, 0)).mean() / 255))
            shown = float(lip_gaps(fit_pose(top.mean_face(), seen.landmarks).to_head(seen.landmarks))[4])
            sheet.append((shown, np.hstack([first, *canvas.values(), truth])))
    for t in mesh_of_result.values():
        t.close()
    for driver in drivers.values():
        driver.close()
    row: dict[str, Any] = {k: float(np.mean(v)) for k, v in sums.items()}
    row |= {f"{n}.flicker": f.value for n, f in flicker.items()}
    row["name"] = clip.stem
    sheet.sort(key=lambda item: item[0])
    rows = [s for _, s in (sheet[-1], sheet[len(sheet) // 2])] if sheet else []
    return row, rows


EXPRESSIONS = {
    "smile": {"AU12": 0.9, "AU25": 0.6, "AU6": 0.5},
    "open": {"AU26": 0.9, "AU25": 0.5},
    "blink": {"AU45": 1.0},
}


def before_and_after(path: Path, finder: FaceFinder, side: int = 260) -> Image | None:
    """A portrait under expressions without a driver: the upper row the mesh engine alone, the lower refined."""
    image = read_image(path)
    faces = finder.find(image)
    if not faces:
        return None
    rows = []
    for name in ("mesh", "refined"):
        face = PreparedFace(Source(image, faces[0]), replace(ENGINES[name], absolute=False))
        face.begin(Rest.neutral(), None, None)
        x0, y0, x1, y1 = faces[0].box
        half = 0.75 * max(x1 - x0, y1 - y0)
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        row = []
        for units in ({}, *EXPRESSIONS.values()):
            canvas = image.copy()
            rest = Rest.neutral()
            move = Move(0.0, rest.rotation, rest.translation, rest.scale, units_offsets(units), rest.gaze)
            face.draw(canvas, Drive(move))
            cut = canvas[max(0, int(cy - half)) : int(cy + half), max(0, int(cx - half)) : int(cx + half)]
            row.append(cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA))
        rows.append(np.hstack(row))
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--manifest", type=Path, help="CSV with the columns path and identity")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--stills", type=Path)
    a = parser.parse_args()
    clips = sorted(a.clips.glob("*.mp4"))
    names = names_of(a.manifest)
    held = held_out({names.get(c.stem, c.stem) for c in clips})
    finder = FaceFinder()
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for clip in bar([c for c in clips if names.get(c.stem, c.stem) in held], description="clips"):
        row, sheet = measure(clip, finder, a.frames)
        rows.append(row)
        if a.out and sheet:
            cv2.imwrite(str(a.out / f"{clip.stem}.png"), np.vstack(sheet)[..., ::-1])
    keys = sorted({k for r in rows for k in r if k != "name"})
    mean = {k: float(np.mean([r[k] for r in rows if k in r])) for k in keys}
    print(f"{len(rows)} clips of {len(held)} people held out")
    columns = ("static", *ENGINES)
    print(f"{'':12}" + "".join(f"{n:>9}" for n in columns) + f"{'refined/mesh':>14}")
    for key in ("l1", *REGIONS, "psnr", "flicker", "csim"):
        values = {n: mean.get(f"{n}.{key}", float("nan")) for n in columns}
        ratio = values["refined"] / values["mesh"]
        print(f"{key:12}" + "".join(f"{v:9.4f}" for v in values.values()) + f"{ratio:14.3f}")
    told = mean.get("told.mouth", float("nan"))
    print(f"inside of the mouth by `mesh`, had each frame's own median colour been known: {told:.4f}")
    below = [r["name"] for r in rows if r["refined.psnr"] < r["static.psnr"]]
    print("PSNR below static:", ", ".join(below) or "none")
    if a.out:
        (a.out / "report.json").write_text(json.dumps({"clips": rows, "mean": mean}, indent=1))
        if a.stills:
            for path in bar(sorted(a.stills.iterdir()), description="stills"):
                sheet_of = before_and_after(path, finder)
                if sheet_of is not None:
                    cv2.imwrite(str(a.out / f"still-{path.stem}.png"), sheet_of[..., ::-1])
    finder.close()


if __name__ == "__main__":
    main()
