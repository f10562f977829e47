"""Measure how the tracker sees Action Units, for their estimation.

    python tools/calibrate_units.py FACES_DIR CLIPS_DIR --keep MEASURED_DIR

Every unit at several intensities, and random mixtures, are put on the faces by the mesh engine and tracked
again; the mean response of each unit and the scatter around it - of faces, of the tracker, and of real clips
where they move in ways no unit explains - are what the estimator weighs displacements with. Written to
infinex/face/data/unit_views.npz. How strong units get in the clips is printed: 1 should be rarely reached.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.editing import Editor
from infinex.engine import Drive
from infinex.errors import InfinexError
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.reading import together
from infinex.face.tracker import FaceFinder
from infinex.face.units import ALIKE, FACE_UNITS
from infinex.mesh.engine import MeshOptions
from infinex.motion import Motion, Rest
from infinex.pipeline import Stage, load_source
from infinex.pipeline import track as track_clip

OUT = Path(__file__).parents[1] / "infinex" / "face" / "data" / "unit_views.npz"
Array = NDArray[np.float64]
MOMENTS = 8  # of a performance, on every face
MIXED = [u for u in FACE_UNITS if u not in ALIKE]


def asked(mixtures: int, seed: int) -> list[dict[str, float]]:
    """Single units at two intensities and mixtures of two to four."""
    out: list[dict[str, float]] = [{u: a} for u in MIXED for a in (0.5, 1.0)]
    rng = np.random.default_rng(seed)
    for _ in range(mixtures):
        chosen = rng.choice(MIXED, int(rng.integers(2, 5)), replace=False)
        out.append({str(u): float(rng.uniform(0.15, 0.9)) for u in chosen})
    return out


def responses(path: Path, wanted: list[dict[str, float]], finder: FaceFinder) -> tuple[Array, Array, Array]:
    """Intensities (N, U), displacements seen (N, 468, 2), and the face's own shape (468, 2)."""
    editor = Editor(load_source(path, size=512))
    box = editor.sources[0].face.box
    still = finder.mesh(editor({}), box)
    if still is None:
        raise InfinexError(f"{path.name}: not found again")
    pose = fit_pose(top.mean_face(), still)
    if np.abs(pose.angles).max() > 25:
        raise InfinexError(f"{path.name}: turned too far")
    rest = pose.to_head(still)
    x, y = [], []
    for units in wanted:
        seen = finder.mesh(editor(units), box)
        if seen is None:
            continue
        x.append([units.get(u, 0.0) for u in FACE_UNITS])
        y.append((fit_pose(rest, seen).to_head(seen) - rest)[: top.SURFACE, :2])
    return np.array(x), np.stack(y), rest[: top.SURFACE, :2]


def performances(
    path: Path, motions: list[Motion], finder: FaceFinder, rng: np.random.Generator
) -> tuple[Array, Array]:
    """What moments of real performances ask of a face, and what is seen of them, (N, 468, 2) each."""
    source = load_source(path, size=512)
    stage, face = Stage(source, MeshOptions("own", "none")), source[0].face
    stage.begin(Rest.neutral(), None, None)
    still = finder.mesh(stage.canvas, face.box)
    if still is None:
        raise InfinexError(f"{path.name}: not found again")
    rest = fit_pose(top.mean_face(), still).to_head(still)
    wanted, seen = [], []
    for motion in motions:
        stage.begin(motion.rest, None, None)
        for i in rng.choice(len(motion), min(MOMENTS, len(motion)), replace=False):
            move = motion.at(int(i))
            canvas, _ = stage.render(Drive(move))
            found = finder.mesh(canvas, face.box)
            if found is None or not move.valid:
                continue
            wanted.append(move.offsets[: top.SURFACE, :2])
            seen.append((fit_pose(rest, found).to_head(found) - rest)[: top.SURFACE, :2])
    return np.stack(wanted), np.stack(seen)


def _arrays(path: Path) -> dict[str, NDArray]:
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def _covariance(rows: Array) -> Array:
    return rows.T @ rows / len(rows)


def fit(keep: Path) -> None:
    """Mean responses and scatter from what was measured; writes the views."""
    faces = [_arrays(f) for f in sorted(keep.glob("face_*.npz"))]
    clips = [_arrays(f)["y"].reshape(-1, 2 * top.SURFACE).astype(np.float64) for f in sorted(keep.glob("clip_*.npz"))]
    x = together(np.concatenate([f["x"] for f in faces]))
    y = np.concatenate([f["y"].reshape(len(f["y"]), -1) for f in faces]).astype(np.float64)
    n = len(FACE_UNITS)
    views = np.linalg.solve(x.T @ x + 1e-2 * np.eye(n), x.T @ y)
    views[[FACE_UNITS.index(u) for u in ALIKE]] = 0
    # Both sides of a face answer alike; faces that look aside do not average out on their own.
    mirror = top.mirror()[: top.SURFACE]
    v = views.reshape(n, top.SURFACE, 2)
    views = ((v + v[:, mirror] * [-1, 1]) / 2).reshape(n, -1)
    scatter = _covariance(y - x @ views)
    shapes = np.stack([f["shape"].ravel() for f in faces]) - top.mean_face()[: top.SURFACE, :2].ravel()
    floor = 2e-3  # IOD
    people = _covariance(shapes)
    unexplained = np.zeros_like(scatter)
    for _ in range(2):  # what of the clips no unit explains, and again with what was learnt from it
        filters, gram = _filters(views, scatter + unexplained, floor)
        rows = [c - _solve(c @ filters.T, gram) @ views for c in clips]
        if rows:
            unexplained = np.mean([_covariance(r) for r in rows], axis=0)
    out = {"names": np.array(FACE_UNITS), "views": views.astype(np.float16)}
    for kind, cov in (("clip", scatter + unexplained), ("still", scatter + unexplained + people)):
        filters, gram = _filters(views, cov, floor)
        out[f"{kind}_filters"], out[f"{kind}_gram"] = filters.astype(np.float32), gram.astype(np.float32)
    np.savez_compressed(OUT, **out)
    print(
        f"{OUT.name}: {len(faces)} faces, {len(x)} expressions, {len(clips)} clips, {OUT.stat().st_size / 1e3:.0f} kB"
    )
    amounts = [_solve(c @ filters.T, gram) for c in clips]
    if amounts:
        peaks = np.stack([np.percentile(a, 99, axis=0) for a in amounts])
        print("strongest in the clips, over people (median, highest):")
        for k, name in enumerate(FACE_UNITS):
            print(f"  {name:6}{np.median(peaks[:, k]):6.2f}{peaks[:, k].max():6.2f}")


def _filters(views: Array, covariance: Array, floor: float) -> tuple[Array, Array]:
    filters = np.linalg.solve(covariance + floor**2 * np.eye(len(covariance)), views.T).T
    return filters, filters @ views.T


def _solve(aim: Array, gram: Array, passes: int = 200) -> Array:
    """Non-negative least squares without an upper limit."""
    gram = gram + np.diag(np.full(len(gram), 1 / 0.5**2))
    step = 1 / np.linalg.norm(gram, 2)
    x = np.zeros_like(aim)
    y = x
    for k in range(passes):
        new = np.maximum(y - step * (y @ gram - aim), 0)
        y = new + k / (k + 3) * (new - x)
        x = new
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--most", type=int, default=28, help="faces used")
    parser.add_argument("--clips-most", type=int, default=42, help="clips used")
    parser.add_argument("--leave-out", default="", help="stems of clips not to be used, comma-separated")
    parser.add_argument("--mixtures", type=int, default=40)
    parser.add_argument("--keep", type=Path, required=True, help="folder for what was measured; resumes from it")
    a = parser.parse_args()
    a.keep.mkdir(parents=True, exist_ok=True)
    finder = FaceFinder()
    paths = sorted(a.faces.iterdir())
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, min(a.most, len(paths))).astype(int)]
    for k, path in enumerate(bar(paths, description="faces")):
        file = a.keep / f"face_{path.stem}.npz"
        if file.exists():
            continue
        try:
            x, y, shape = responses(path, asked(a.mixtures, k), finder)
        except InfinexError as error:
            print(error)
            continue
        np.savez_compressed(file, x=x, y=y.astype(np.float32), shape=shape)
    out = set(a.leave_out.split(","))
    clips = [p for p in sorted(a.clips.glob("*.mp4")) if p.stem not in out]
    clips = [clips[i] for i in np.linspace(0, len(clips) - 1, min(a.clips_most, len(clips))).astype(int)]
    motions = []
    for path in bar(clips, description="clips"):
        file = a.keep / f"{path.stem}.motion.npz"
        if not file.exists():
            track_clip(path)[0].save(file)
        motions.append(Motion.load(file))
    for k, path in enumerate(bar(paths, description="performances")):
        file = a.keep / f"played_{path.stem}.npz"
        if file.exists() or not (a.keep / f"face_{path.stem}.npz").exists():
            continue
        rng = np.random.default_rng(k)
        chosen = [motions[i] for i in rng.choice(len(motions), min(6, len(motions)), replace=False)]
        wanted, seen = performances(path, chosen, finder, rng)
        np.savez_compressed(file, wanted=wanted.astype(np.float32), seen=seen.astype(np.float32))
    finder.close()
    fit(a.keep)


if __name__ == "__main__":
    main()
