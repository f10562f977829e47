"""Teach the reading of Action Units what the tracker sees of them.

    python tools/calibrate_units.py FACES_DIR CLIPS_DIR --keep MEASURED_DIR

Every unit at several intensities, and random mixtures, are put on the faces by the mesh engine and tracked again; so
are moments of the performances in the clips. From displacements of tracked faces a small network learns to find the
units, and to find of a performance the same on the portrait as on the performer. Written to
infinex/face/data/unit_reader.npz; how well units are found on faces held back is printed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track as bar
from torch import nn

from infinex.editing import Editor
from infinex.engine import Drive
from infinex.errors import InfinexError
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.reading import network, together
from infinex.face.tracker import FaceFinder
from infinex.face.units import ALIKE, FACE_UNITS, nonnegative
from infinex.mesh.engine import MeshOptions
from infinex.motion import Motion, Rest
from infinex.pipeline import Stage, load_source
from infinex.pipeline import track as track_clip

OUT = Path(__file__).parents[1] / "infinex" / "face" / "data" / "unit_reader.npz"
Array = NDArray[np.float64]
ACTIVE = [k for k, u in enumerate(FACE_UNITS) if u not in ALIKE]
FLOOR = 2e-3  # IOD: what the tracker does not tell apart
NOISE = 3e-3  # IOD added to every landmark in training
DIRECTIONS, WIDTH, DROP = 80, 192, 0.3
EPOCHS, BATCH = 40, 128
ALIKE_WEIGHT = 0.2  # of the difference between performer and portrait
REAL_WEIGHT = 0.5  # of what explains a performance
RARE = frozenset({"AU11", "AU16", "AU18", "AU22", "AU24", "AU27", "AU28"})
IDLE = 1.5  # threshold of the least-squares estimate, in units of the tracker's noise
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


@dataclass(frozen=True)
class Measured:
    """What was measured on N expressions, M moments of performances and K faces."""

    units: Array  # (N, U) intensities asked for, after the units have met
    seen: Array  # (N, 936) displacements
    wanted: Array  # (M, 936) of the performers
    played: Array  # (M, 936) seen of them on faces
    shapes: Array  # (K, 936) how faces differ from the mean face

    def mirrored(self) -> Measured:
        """The same of all faces mirrored; both sides of a face answer alike."""
        order = top.mirror()[: top.SURFACE]

        def flip(x: Array) -> Array:
            return (x.reshape(-1, top.SURFACE, 2)[:, order] * [-1, 1]).reshape(len(x), -1)

        return Measured(self.units, *(flip(x) for x in (self.seen, self.wanted, self.played, self.shapes)))


def measured(keep: Path, stems: list[str]) -> Measured:
    """Of the faces named."""
    faces = [_arrays(keep / f"face_{n}.npz") for n in stems]
    moments = [_arrays(keep / f"played_{n}.npz") for n in stems]

    def rows(parts: list[NDArray]) -> Array:
        return np.concatenate([p.reshape(-1, 2 * top.SURFACE) for p in parts]).astype(np.float64)

    return Measured(
        together(np.concatenate([f["x"] for f in faces])), rows([f["y"] for f in faces]),
        rows([m["wanted"] for m in moments]), rows([m["seen"] for m in moments]),
        rows([f["shape"][None] for f in faces]) - top.mean_face()[: top.SURFACE, :2].ravel(),
    )  # fmt: skip


def fit(keep: Path) -> None:
    """Train the readers of clips and stills on what was measured; prints what one finds on faces held back."""
    stems = sorted(p.stem.removeprefix("face_") for p in keep.glob("face_*.npz"))
    stems = [n for n in stems if (keep / f"played_{n}.npz").exists()]
    held = stems[:: len(stems) // 12] if len(stems) >= 24 else []
    print(f"{len(stems)} faces")
    if held:
        test = measured(keep, held)
        learnt = train(measured(keep, [n for n in stems if n not in held]), False)
        found = _read(learnt, test.seen)
        r = [np.corrcoef(test.units[:, k], found[:, k])[0, 1] if test.units[:, k].any() else np.nan for k in ACTIVE]
        print("found again on faces held back (correlation):")
        print("  ".join(f"{FACE_UNITS[k]} {x:.2f}" for k, x in zip(ACTIVE, r)))
    everybody = measured(keep, stems)
    everybody = replace(everybody, shapes=at_rest(everybody, keep))
    out: dict[str, NDArray] = {"names": np.array([FACE_UNITS[k] for k in ACTIVE])}
    for kind in ("clip", "still"):
        for k, layer in enumerate(train(everybody, kind == "still")):
            out[f"{kind}_{k}"] = layer.astype(np.float16)
    np.savez_compressed(OUT, **out)
    print(f"{OUT.name}: {OUT.stat().st_size / 1e3:.0f} kB")


def views_of(data: Measured) -> Array:
    """How the tracker sees each unit on the average face, (A, 936)."""
    x = data.units[:, ACTIVE]
    views: Array = np.linalg.solve(x.T @ x + 1e-2 * np.eye(len(ACTIVE)), x.T @ data.seen)
    return views


def filters_of(data: Measured, still: bool) -> tuple[Array, Array]:
    """Least-squares filters (936, A) of the units, and what they answer to each unit (A, A)."""
    views = views_of(data)
    scatter, people = _covariance(data.seen - data.units[:, ACTIVE] @ views), _covariance(data.shapes)
    noise = scatter + (people if still else 0) + FLOOR**2 * np.eye(2 * top.SURFACE)
    filters = np.linalg.solve(noise, views.T)
    return filters, views @ filters


def explained(data: Measured, moments: Array) -> Array:
    """Units (M, A) that explain displacements (M, 936) of real performances best, by least squares."""
    filters, gram = filters_of(data, False)
    spread = np.array([0.08 if FACE_UNITS[k] in RARE else 0.6 for k in ACTIVE])
    aim = moments @ filters - IDLE * np.sqrt(np.diag(gram))
    return nonnegative(gram + np.diag(1 / spread**2), aim, np.ones(len(ACTIVE)), 300)


def at_rest(data: Measured, keep: Path) -> Array:
    """How people at rest differ from the mean face, (K', 936): performers at rest, and the faces of stills, many of
    which smile, without what units explain of them."""
    faces = [Motion.load(p).rest.face[: top.SURFACE, :2] for p in sorted(keep.glob("*.motion.npz"))]
    performers = np.stack(faces).reshape(len(faces), -1) - top.mean_face()[: top.SURFACE, :2].ravel()
    views = views_of(data)
    shapes = performers
    for _ in range(3):
        filters, gram = filters_of(replace(data, shapes=shapes), True)
        units = nonnegative(gram + 4 * np.eye(len(ACTIVE)), data.shapes @ filters, np.ones(len(ACTIVE)), 300)
        shapes = np.concatenate([performers, data.shapes - units @ views])
    return shapes


def features(data: Measured, still: bool) -> Array:
    """(936, F) what the reader looks at first: the directions in which displacements differ most, at equal size, and
    the least-squares filter of every unit."""
    filters, gram = filters_of(data, still)
    filters = filters / np.sqrt(np.diag(gram))
    both, people = np.concatenate([data.seen, data.mirrored().seen]), _covariance(data.shapes)
    spread, directions = np.linalg.eigh(_covariance(both) + (people if still else 0))
    main = directions[:, -DIRECTIONS:] / np.sqrt(spread[-DIRECTIONS:])
    return np.concatenate([main, 0.3 * filters], 1)


def train(data: Measured, still: bool) -> list[Array]:
    """Weights and biases of the reader: `W0, b0, W1, b1, W2, b2`, of displacements (936,) in IOD.

    It is to find the units asked for; of performances, which are stronger and less pure, what explains them best; and
    on the portrait what it finds on the performer."""
    torch.manual_seed(0)
    look = torch.tensor(features(data, still), dtype=torch.float32)
    net = nn.Sequential(
        nn.Dropout(DROP), nn.Linear(look.shape[1], WIDTH), nn.SiLU(),
        nn.Dropout(DROP), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, len(ACTIVE)),
    )  # fmt: skip
    sides = [
        [torch.tensor(v, dtype=torch.float32) for v in (m.seen, m.wanted, m.played, m.shapes)]
        for m in (data, data.mirrored())
    ]
    asked = torch.tensor(data.units[:, ACTIVE], dtype=torch.float32)
    theirs_asked = torch.tensor(explained(data, data.wanted), dtype=torch.float32)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    steps = EPOCHS * -(-len(asked) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in bar(range(EPOCHS), description="reader"):
        for chosen in torch.randperm(len(asked)).split(BATCH):
            seen, wanted, played, shapes = sides[int(torch.rand(()) < 0.5)]
            y = seen[chosen] + NOISE * torch.randn(len(chosen), 2 * top.SURFACE)
            if still:  # a face that was never seen at rest: somebody's, or between two people's
                i, j = torch.randint(len(shapes), (2, len(chosen)))
                share = torch.rand(len(chosen), 1)
                loss = (net((y + share * shapes[i] + (1 - share) * shapes[j]) @ look) - asked[chosen]).square().mean()
            else:
                m = torch.randint(len(wanted), (BATCH,))
                found, theirs, mine = net(torch.cat([y, wanted[m], played[m]]) @ look).split([len(y), BATCH, BATCH])
                loss = (found - asked[chosen]).square().mean() + ALIKE_WEIGHT * (theirs - mine).square().mean()
                loss = loss + REAL_WEIGHT * (theirs - theirs_asked[m]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    layers = [m for m in net if isinstance(m, nn.Linear)]
    out = [p.detach().double().numpy() for m in layers for p in (m.weight.T, m.bias)]
    out[0] = look.double().numpy() @ out[0]
    return out


def _read(layers: list[Array], y: Array) -> Array:
    out = np.zeros((len(y), len(FACE_UNITS)))
    out[:, ACTIVE] = network(layers, y)
    return out


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
