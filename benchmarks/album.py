"""What more pictures of a person give the default engine: mouths of the last fifth of clips, with and without an album.

python benchmarks/album.py CLIPS_DIR [--clips 10] [--frames 40] [--json]

The portrait is a clip's first frame, the album its first four fifths, the driver its last fifth; motion is absolute,
and of the driver's pictures nothing is used. L1 in grey levels over the box of the true lips, where the mouth is open
and everywhere; of the eyes while they are shut, where the album has shut ones; of skin that the driver turns further
to the front than the portrait does (1.5 times as broad as there, where that is a patch of 0.15 square IOD or more);
over the whole frame; and flicker of the mouth beside the true one's."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.video import VideoDriver
from infinex.engine import Source
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.tracker import FaceFinder
from infinex.media.video import VideoReader
from infinex.mesh.album import OPEN, SHUT, Album, View, cut_out
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.raster import drawn
from infinex.mesh.seen import facing

LEAK_FREE = MeshOptions("own", "none", True)
NAMES = ("without", "with")
UNCOVERED, PATCH = 1.5, 0.15
LIPS = [*top.LIPS_INNER, *top.LIPS_OUTER]


def uncovered(own: NDArray, points: NDArray, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (H, W) of skin at landmarks (478, 3) that lies further to the front than at a portrait's `own`."""
    shown = facing(points)
    more = (shown / np.maximum(facing(own), 0.1)) * (shown > 0.15)
    tris = top.triangles()
    tris = np.ascontiguousarray(tris[np.argsort(-points[tris, 2].mean(1))], np.int64)  # from far to near
    times, _, covered = drawn(points[: top.SURFACE, :2], np.column_stack([more, more]), tris, 0, 0, shape)
    return np.asarray(covered & (times > UNCOVERED))


def measured(clip: Path, frames: int) -> dict[str, float] | None:
    """Ratios of one clip: with the album over without; None where it shows no face at first."""
    with VideoReader(clip) as reader:
        length = float(reader.info.duration or 0)
        first = next(iter(reader)).image
    with FaceFinder() as finder:
        faces = finder.find(first)
    if not faces:
        return None
    source, cut = Source(first, faces[0]), 0.8 * length
    # Tracked once, from the first frame on, whose rest is the portrait's: what is drawn is of the last fifth alone.
    driver = VideoDriver(clip, reference=0).settle()
    views: list[View] = []
    engines: dict[str, PreparedFace] = {}
    values: dict[str, list[float]] = {
        f"{k} {n}": [] for n in NAMES for k in ("mouth", "open", "shut", "skin", "frame", "flicker")
    }
    values["flicker truth"] = []
    last: dict[str, NDArray] = {}
    canvas = {n: first.copy() for n in NAMES}
    drawn = 0
    for i, drive in enumerate(driver):
        if drive.image is None or drive.points is None:
            continue
        if drive.move.time < cut:
            if i % 2 == 0:
                views.append(cut_out(drive.image, drive.points))
            continue
        if not engines:
            engines = {"without": PreparedFace(source, LEAK_FREE)}
            engines["with"] = PreparedFace(source, LEAK_FREE, album=Album(views))
            for engine in engines.values():
                engine.begin(driver.rest, None, None)
        drawn += 1
        if drawn > frames:
            break
        p = drive.points[LIPS, :2]
        x0, y0 = np.maximum(np.floor(p.min(0)) - 3, 0).astype(int)
        x1, y1 = np.ceil(p.max(0)).astype(int) + 4
        shut = False
        if len(engines["with"].album.shut):  # type: ignore[union-attr]
            shut = eye_openness(fit_pose(top.mean_face(), drive.points).to_head(drive.points)).max() < SHUT
        e = drive.points[[*top.RIGHT_EYE, *top.LEFT_EYE], :2]
        room = 0.12 * float(np.linalg.norm(drive.points[33, :2] - drive.points[263, :2]))
        (ex0, ey0), (ex1, ey1) = np.maximum(e.min(0) - room, 0).astype(int), (e.max(0) + room).astype(int)
        bare = uncovered(source.face.landmarks, drive.points, drive.image.shape[:2])
        gap = float(lip_gaps(fit_pose(top.mean_face(), drive.points).to_head(drive.points))[4])
        truth = drive.image.astype(np.float32)
        if "truth" in last:
            values["flicker truth"].append(float(np.abs(truth - last["truth"])[y0:y1, x0:x1].mean()))
        last["truth"] = truth
        for n, engine in engines.items():
            engine.draw(canvas[n], replace(drive, image=None, points=None))
            off = np.abs(canvas[n].astype(np.float32) - truth)
            values[f"mouth {n}"].append(float(off[y0:y1, x0:x1].mean()))
            if gap > OPEN:
                values[f"open {n}"].append(values[f"mouth {n}"][-1])
            if shut:
                values[f"shut {n}"].append(float(off[ey0:ey1, ex0:ex1].mean()))
            if bare.sum() > PATCH * (room / 0.12) ** 2:
                values[f"skin {n}"].append(float(off[bare].mean()))
            values[f"frame {n}"].append(float(off.mean()))
            if n in last:
                values[f"flicker {n}"].append(float(np.abs(canvas[n] - last[n])[y0:y1, x0:x1].mean()))
            last[n] = canvas[n].astype(np.float32)
    driver.close()
    mean = {k: float(np.mean(v)) for k, v in values.items() if v}
    out = {"frames": float(len(values["mouth with"])), "views": float(len(views))}
    parts = [k for k in ("mouth", "open", "shut", "skin", "frame") if f"{k} with" in mean]
    out |= {k: mean[f"{k} with"] / mean[f"{k} without"] for k in parts}
    return out | {k: mean[f"flicker {k}"] / mean["flicker truth"] for k in ("with", "without")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips_dir", type=Path)
    parser.add_argument("--clips", type=int, default=10, help="The longest ones.")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    clips = sorted(args.clips_dir.glob("*.mp4"), key=_length, reverse=True)[: args.clips]
    rows = {}
    for clip in clips:
        row = measured(clip, args.frames)
        if row is None:
            continue
        rows[clip.stem] = row
        if not args.json:
            print(clip.stem, "  ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    keys = dict.fromkeys(k for r in rows.values() for k in r)  # eyes are not shut in all clips
    mean = {k: float(np.mean([r[k] for r in rows.values() if k in r])) for k in keys}
    words = "mean " + "  ".join(f"{k} {v:.3g}" for k, v in mean.items())
    print(json.dumps({"clips": rows, "mean": mean}) if args.json else words)


def _length(clip: Path) -> float:
    with VideoReader(clip) as reader:
        return float(reader.info.duration or 0)


if __name__ == "__main__":
    main()
