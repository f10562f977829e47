"""Teach the reading of Action Units what the tracker sees of them.

    python tools/calibrate_units.py FACES_DIR CLIPS_DIR --keep MEASURED_DIR --out unit_reader.npz

Every unit at several intensities, and random mixtures, are put on the faces by the mesh engine and tracked again; so
are moments of the performances in the clips. From displacements of tracked faces, and of their skin, small networks
learn to find the units, and to find of a performance the same on the portrait as on the performer. Written to
--out, whole or not at all; how well units are found on faces held back is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track as bar
from scipy.linalg import block_diag
from torch import Tensor, nn

from infinex.drivers.units import EMOTIONS
from infinex.drivers.video import VideoDriver
from infinex.editing import Editor
from infinex.engine import Drive
from infinex.errors import InfinexError
from infinex.face import topology as top
from infinex.face.pose import Pose, fit_pose
from infinex.face.reading import DRAWN, network, proportions, reader, together
from infinex.face.shape_reader import Flattened
from infinex.face.tracker import FaceFinder
from infinex.face.units import ALIKE, FACE_UNITS, nonnegative
from infinex.media.files import atomic_path
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.motion import Motion, Rest
from infinex.pipeline import Stage, load_source

OUT = Path(__file__).parents[1] / "infinex" / "face" / "data" / "unit_reader.npz"
Array = NDArray[np.float64]
ACTIVE = [k for k, u in enumerate(FACE_UNITS) if u not in ALIKE]
FLOOR = 2e-3  # IOD: what the tracker does not tell apart
NOISE = 3e-3  # IOD added to every landmark in training
DIRECTIONS, WIDTH, DROP, EPOCHS = 80, 192, 0.3, 40
SKIN_DIRECTIONS, SKIN_WIDTH, SKIN_DROP, SKIN_EPOCHS = 120, 512, 0.2, 60
BATCH = 192
TUNE_EPOCHS, TUNE_RATE = 40, 2e-4  # of a reader that is there
ALIKE_WEIGHT = 0.2  # of the difference between performer and portrait
REAL_WEIGHT = 0.5  # of what explains a performance
RARE = frozenset({"AU11", "AU16", "AU18", "AU22", "AU24", "AU27", "AU28"})
SELDOM = 0.15  # how often expressions with rare units are learnt, for one without
IDLE = 1.5  # threshold of the least-squares estimate, in units of the tracker's noise
MOMENTS = 8  # of a performance, on every face
MIXED = [u for u in FACE_UNITS if u not in ALIKE]


def asked(mixtures: int, seed: int) -> list[dict[str, float]]:
    """Single units, faint and strong, mixtures of two to four, and as many expressions of emotions."""
    rng = np.random.default_rng(seed)
    levels = ((0.15, 0.6), (0.6, 1.0))
    out: list[dict[str, float]] = [{u: float(rng.uniform(*level))} for u in MIXED for level in levels]
    for _ in range(mixtures):
        chosen = rng.choice(MIXED, int(rng.integers(2, 5)), replace=False)
        out.append({str(u): float(rng.uniform(0.15, 0.9)) for u in chosen})
    return out + emotions(mixtures, rng)


def emotions(count: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Units of emotions and compound emotions, each at an intensity of its own, some left out."""
    sets = [list(s) for s in EMOTIONS.values() if len(s) > 1 and all(u in MIXED for u in s)]
    out = []
    for _ in range(count):
        units = sets[int(rng.integers(len(sets)))]
        kept = [u for u in units if rng.random() < 0.8] or units
        out.append({u: float(rng.uniform(0.15, 1.0)) for u in kept})
    return out


def skin_of(flat: Flattened, image: NDArray[np.uint8], pose: Pose) -> Array:
    """How the skin moved at landmarks (468, 2) of a face laid flat, in a picture (H, W, 3) of it at `pose`."""
    flat.pieces(image, pose)
    return flat.skin()


def responses(path: Path, wanted: list[dict[str, float]], finder: FaceFinder) -> dict[str, NDArray]:
    """Intensities x (N, U), displacements seen y (N, 468, 2), those of the skin (N, 468, 2), and the face's own shape
    (468, 2)."""
    editor = Editor(load_source(path, size=512))
    box = editor.sources[0].face.box
    plain = editor({})
    still = finder.mesh(plain, box)
    if still is None:
        raise InfinexError(f"{path.name}: not found again")
    pose = fit_pose(top.mean_face(), still)
    if np.abs(pose.angles).max() > 25:
        raise InfinexError(f"{path.name}: turned too far")
    rest = pose.to_head(still)
    flat = Flattened(plain, still, rest)
    x, y, z = [], [], []
    for units in wanted:
        picture = editor(units)
        seen = finder.mesh(picture, box)
        if seen is None:
            continue
        x.append([units.get(u, 0.0) for u in FACE_UNITS])
        pose = fit_pose(rest, seen)
        y.append((pose.to_head(seen) - rest)[: top.SURFACE, :2].astype(np.float32))
        z.append(skin_of(flat, picture, pose).astype(np.float32))
    return {"x": np.array(x), "y": np.stack(y), "skin": np.stack(z), "shape": rest[: top.SURFACE, :2]}


def performances(
    path: Path, motions: dict[str, Motion], finder: FaceFinder, rng: np.random.Generator
) -> dict[str, NDArray]:
    """What moments of real performances ask of a face, what is seen of them and of the skin, (N, 468, 2) each, and the
    clip and frame each moment is from."""
    source = load_source(path, size=512)
    stage, face = Stage(source, MeshEngine(MeshOptions("own", "none"))), source[0].face
    stage.begin(Rest.neutral(), None, None)
    still = finder.mesh(stage.canvas, face.box)
    if still is None:
        raise InfinexError(f"{path.name}: not found again")
    rest = fit_pose(top.mean_face(), still).to_head(still)
    flat = Flattened(stage.canvas, still, rest)
    wanted, seen, moved, places = [], [], [], []
    for name, motion in motions.items():
        stage.begin(motion.rest, None, None)
        for i in rng.choice(len(motion), min(MOMENTS, len(motion)), replace=False):
            move = motion.at(int(i))
            canvas, _ = stage.render(Drive(move))
            found = finder.mesh(canvas, face.box)
            if found is None or not move.valid:
                continue
            pose = fit_pose(rest, found)
            wanted.append(move.offsets[: top.SURFACE, :2].astype(np.float32))
            seen.append((pose.to_head(found) - rest)[: top.SURFACE, :2].astype(np.float32))
            moved.append(skin_of(flat, canvas, pose).astype(np.float32))
            places.append((name, int(i)))
    clips, frames = zip(*places)
    return {"wanted": np.stack(wanted), "seen": np.stack(seen), "skin": np.stack(moved), "clips": np.array(clips),
            "frames": np.array(frames)}  # fmt: skip


def performer(path: Path, keep: Path) -> None:
    """Keep a clip's performance, and how the performer's skin moves."""
    file = keep / f"{path.stem}.motion.npz"
    if not file.exists():
        driver = VideoDriver(path, flow=False).settle()
        face = driver.rest.face
        flat = Flattened(driver.rest_image, driver.rest_points, face)
        moves, moved = [], [np.zeros((top.SURFACE, 2))]
        for drive in driver:
            moves.append(replace(drive.move, offsets=drive.move.offsets.astype(np.float32)))
            lost = drive.image is None or drive.points is None
            moved.append(moved[-1] if lost else skin_of(flat, drive.image, fit_pose(face, drive.points)))
        driver.close()
        np.savez_compressed(keep / f"{path.stem}.skin.npz", skin=np.stack(moved[1:]).astype(np.float32))
        Motion.collect(moves, driver.rest, driver.fps).save(file)


def _arrays(path: Path) -> dict[str, NDArray]:
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def _mean() -> Array:
    return top.mean_face()[: top.SURFACE, :2].ravel()


def _covariance(rows: Array) -> Array:
    return rows.T @ rows / len(rows)


@dataclass(frozen=True)
class Measured:
    """What was measured on N expressions, M moments of performances and K faces; skins beside it as (., 936)."""

    units: Array  # (N, U) intensities asked for, after the units have met
    seen: Array  # (N, 936) displacements
    wanted: Array  # (M, 936) of the performers
    played: Array  # (M, 936) seen of them on faces
    shapes: Array  # (K, 936) how faces differ from the mean face
    seen_skin: Array
    wanted_skin: Array
    played_skin: Array
    owner: NDArray[np.int64]  # (N,) whose expressions these are, of the K faces
    moment_owner: NDArray[np.int64]  # (M,)
    performers: Array  # (M, 936) the performers' own shapes

    def proportions(self) -> tuple[Array, Array, Array]:
        """Proportions (., P) of the faces behind every expression, of the performers, and of the faces that played."""
        own = proportions(self.shapes + _mean())
        return own[self.owner], proportions(self.performers), own[self.moment_owner]

    def mirrored(self) -> Measured:
        """The same of all faces mirrored; both sides of a face answer alike."""
        same = ("units", "owner", "moment_owner", "performers")
        return replace(self, **{k: mirrored(v) for k, v in vars(self).items() if k not in same})


def mirrored(x: Array) -> Array:
    """Displacements (N, 936) of the mirrored face."""
    order = top.mirror()[: top.SURFACE]
    return (x.reshape(len(x), top.SURFACE, 2)[:, order] * [-1, 1]).reshape(len(x), 2 * top.SURFACE)


def measured(keep: Path, stems: list[str]) -> Measured:
    """Of the faces named."""
    faces = [_arrays(keep / f"face_{n}.npz") for n in stems]
    moments = [_arrays(keep / f"played_{n}.npz") for n in stems]
    skins = {p.name.removesuffix(".skin.npz"): _arrays(p)["skin"] for p in keep.glob("*.skin.npz")}
    theirs = [np.stack([skins[str(c)][i] for c, i in zip(m["clips"], m["frames"])]) for m in moments]
    people = {n: Motion.load(keep / f"{n}.motion.npz").rest.face[: top.SURFACE, :2] for n in skins}
    shown = [np.stack([people[str(c)] for c in m["clips"]]) for m in moments]
    count = np.arange(len(stems))

    def rows(parts: list[NDArray]) -> Array:
        return np.concatenate([p.reshape(-1, 2 * top.SURFACE) for p in parts]).astype(np.float64)

    return Measured(
        together(np.concatenate([f["x"] for f in faces])), rows([f["y"] for f in faces]),
        rows([m["wanted"] for m in moments]), rows([m["seen"] for m in moments]),
        rows([f["shape"][None] for f in faces]) - _mean(),
        rows([f["skin"] for f in faces]), rows(theirs), rows([m["skin"] for m in moments]),
        np.repeat(count, [len(f["x"]) for f in faces]), np.repeat(count, [len(m["seen"]) for m in moments]),
        rows(shown),
    )  # fmt: skip


def fit(keep: Path, target: Path) -> None:
    """Train the readers of clips, stills and pictures on what was measured; prints what is found on faces held back."""
    stems = sorted(p.stem.removeprefix("face_") for p in keep.glob("face_*.npz"))
    stems = [n for n in stems if (keep / f"played_{n}.npz").exists()]
    held = stems[:: len(stems) // 12] if len(stems) >= 24 else []
    print(f"{len(stems)} faces")
    if held:
        test, rest = measured(keep, held), measured(keep, [n for n in stems if n not in held])
        print("found again on faces held back (correlation):")
        for kind in ("clip", "skin"):
            more = [test.seen_skin, test.proportions()[0]] if kind == "skin" else []
            x = np.concatenate([test.seen, *more], 1)
            found = network(train(rest, kind), x)
            r = [np.corrcoef(test.units[:, k], f)[0, 1] for k, f in zip(ACTIVE, found.T)]
            print(f"{kind}:", "  ".join(f"{FACE_UNITS[k]} {v:.2f}" for k, v in zip(ACTIVE, r)))
    everybody = measured(keep, stems)
    out: dict[str, NDArray] = {"names": np.array([FACE_UNITS[k] for k in ACTIVE])}
    for kind in ("clip", "still", "skin"):
        # Of a still nobody knows the rest: it is taught on people without the smiles of their pictures.
        data = replace(everybody, shapes=at_rest(everybody, keep)) if kind == "still" else everybody
        for k, layer in enumerate(train(data, kind)):
            out[f"{kind}_{k}"] = layer.astype(np.float16)
    written(target, out)


def views_of(data: Measured, seen: Array) -> Array:
    """How displacements `seen` (N, F) show each unit on the average face, (A, F)."""
    x = data.units[:, ACTIVE]
    views: Array = np.linalg.solve(x.T @ x + 1e-2 * np.eye(len(ACTIVE)), x.T @ seen)
    return views


def filters_of(data: Measured, seen: Array, people: Array | None = None) -> tuple[Array, Array]:
    """Least-squares filters (F, A) of the units in displacements like `seen` (N, F), and what they answer to each unit
    (A, A); `people` (F, F) is how people differ, where no rest is known."""
    views = views_of(data, seen)
    noise = _covariance(seen - data.units[:, ACTIVE] @ views) + FLOOR**2 * np.eye(seen.shape[1])
    filters = np.linalg.solve(noise if people is None else noise + people, views.T)
    return filters, views @ filters


def explained(data: Measured) -> Array:
    """Units (M, A) that explain the performers' displacements best, by least squares."""
    filters, gram = filters_of(data, data.seen)
    spread = np.array([0.08 if FACE_UNITS[k] in RARE else 0.6 for k in ACTIVE])
    aim = data.wanted @ filters - IDLE * np.sqrt(np.diag(gram))
    return nonnegative(gram + np.diag(1 / spread**2), aim, np.ones(len(ACTIVE)), 300)


def at_rest(data: Measured, keep: Path) -> Array:
    """How people at rest differ from the mean face, (K', 936): performers at rest, and the faces of stills, many of
    which smile, without what units explain of them."""
    faces = [Motion.load(p).rest.face[: top.SURFACE, :2] for p in sorted(keep.glob("*.motion.npz"))]
    performers = np.stack(faces).reshape(len(faces), -1) - _mean()
    views = views_of(data, data.seen)
    shapes = performers
    for _ in range(3):
        filters, gram = filters_of(data, data.seen, _covariance(shapes))
        units = nonnegative(gram + 4 * np.eye(len(ACTIVE)), data.shapes @ filters, np.ones(len(ACTIVE)), 300)
        shapes = np.concatenate([performers, data.shapes - units @ views])
    return shapes


def features(data: Measured, seen: Array, people: Array | None, directions: int) -> Array:
    """(936, F) what a reader looks at first in displacements like `seen` (N, 936): the directions in which they differ
    most, at equal size, and the least-squares filter of every unit; `people` (936, 936) is how people differ."""
    filters, gram = filters_of(data, seen, people)
    filters = filters / np.sqrt(np.diag(gram))
    both = np.concatenate([seen, mirrored(seen)])
    spread, main = np.linalg.eigh(_covariance(both) + (0 if people is None else people))
    return np.concatenate([main[:, -directions:] / np.sqrt(spread[-directions:]), 0.3 * filters], 1)


@dataclass(frozen=True)
class Inputs:
    """What a reader is given, as it looks at it: expressions, moments of performers and of faces that played them."""

    look: Array  # (F, D) from displacements to features
    middle: Array  # (D,) taken off them
    seen: tuple[Tensor, Tensor]  # (N, D) of the faces and of the faces mirrored
    wanted: tuple[Tensor, Tensor]  # (M, D)
    played: tuple[Tensor, Tensor]
    shapes: Tensor  # (K, D) how people at rest differ


def inputs(data: Measured, kind: str) -> Inputs:
    """Of the reader of `clip`, `still` or `skin`: landmarks, skin after them, the face's proportions last."""
    both = (data, data.mirrored())
    seen, wanted, played = ([getattr(m, n) for m in both] for n in ("seen", "wanted", "played"))
    people = _covariance(data.shapes) if kind == "still" else None
    look, middle = features(data, data.seen, people, DIRECTIONS), 0.0
    if kind == "skin":
        own, theirs, mine = data.proportions()
        spread = own.std(0) + 1e-6
        look = block_diag(look, features(data, data.seen_skin, None, SKIN_DIRECTIONS), np.diag(1 / spread))
        middle = np.concatenate([np.zeros(look.shape[1] - len(spread)), own.mean(0) / spread])
        seen = [np.concatenate([x, m.seen_skin, own], 1) for x, m in zip(seen, both)]
        wanted = [np.concatenate([x, m.wanted_skin, theirs], 1) for x, m in zip(wanted, both)]
        played = [np.concatenate([x, m.played_skin, mine], 1) for x, m in zip(played, both)]

    def looked(parts: list[Array]) -> tuple[Tensor, Tensor]:
        first, second = (torch.tensor(x @ look - middle, dtype=torch.float32) for x in parts)
        return first, second

    shapes = torch.tensor(data.shapes @ look[: 2 * top.SURFACE], dtype=torch.float32)
    return Inputs(look, np.broadcast_to(middle, look.shape[1:]), looked(seen), looked(wanted), looked(played), shapes)


def train(data: Measured, kind: str) -> list[Array]:
    """Weights and biases of a reader, `W0, b0, W1, b1, ...`, of displacements (936,) in IOD; `skin` reads those of the
    skin and the face's proportions after them.

    It is to find the units asked for; of performances, which are stronger and less pure, what explains them best; and
    on the portrait what it finds on the performer."""
    torch.manual_seed(0)
    still, skin = kind == "still", kind == "skin"
    given = inputs(data, kind)
    width, drop, depth = (SKIN_WIDTH, SKIN_DROP, 3) if skin else (WIDTH, DROP, 2)
    size, layers = given.look.shape[1], []
    for _ in range(depth):
        layers += [nn.Dropout(drop), nn.Linear(size, width), nn.SiLU()]
        size = width
    net = nn.Sequential(*layers, nn.Linear(width, len(ACTIVE)))
    asked = torch.tensor(data.units[:, ACTIVE], dtype=torch.float32)
    # Real skin shows more than units: what a performance is taken for is told by its landmarks.
    theirs_asked = torch.tensor(explained(data), dtype=torch.float32)
    noise = torch.tensor(NOISE * np.linalg.norm(given.look, axis=0), dtype=torch.float32)
    seldom = data.units[:, [FACE_UNITS.index(u) for u in RARE]].any(1)
    usual = torch.tensor(np.where(seldom, SELDOM, 1.0))
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    epochs = SKIN_EPOCHS if skin else EPOCHS
    steps = epochs * -(-len(asked) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in bar(range(epochs), description=f"reader of {kind}s"):
        for chosen in torch.multinomial(usual, len(asked), replacement=True).split(BATCH):
            side = int(torch.rand(()) < 0.5)
            y = given.seen[side][chosen]
            y = y + noise * torch.randn_like(y)
            if still:  # a face that was never seen at rest: somebody's, or between two people's
                i, j = torch.randint(len(given.shapes), (2, len(chosen)))
                share = torch.rand(len(chosen), 1)
                y = y + share * given.shapes[i] + (1 - share) * given.shapes[j]
                loss = (net(y) - asked[chosen]).square().mean()
            else:
                m = torch.randint(len(theirs_asked), (BATCH,))
                rows = torch.cat([y, given.wanted[side][m], given.played[side][m]])
                found, theirs, mine = net(rows).split([len(y), BATCH, BATCH])
                loss = (found - asked[chosen]).square().mean() + ALIKE_WEIGHT * (theirs - mine).square().mean()
                loss = loss + REAL_WEIGHT * (theirs - theirs_asked[m]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    linear = [m for m in net if isinstance(m, nn.Linear)]
    out = [p.detach().double().numpy() for m in linear for p in (m.weight.T, m.bias)]
    out[1] = out[1] - given.middle @ out[0]
    out[0] = given.look @ out[0]
    return out


def tuned(data: Measured, stay: Measured, kind: str, epochs: int = TUNE_EPOCHS) -> list[Array]:
    """The layers of the reader that is there, taught on what the engine draws today of a few faces.

    Of performances, of which nothing new was drawn, it is to go on finding what it finds; `stay` has them."""
    torch.manual_seed(0)
    _, layers = reader(kind)
    weights = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in layers]
    drawn = torch.tensor([DRAWN.get(FACE_UNITS[k], 1.0) for k in ACTIVE], dtype=torch.float32)
    asked = torch.tensor(data.units[:, ACTIVE], dtype=torch.float32) * drawn
    own = data.proportions()[0]

    def rows(seen: Array, skin: Array, more: Array | None) -> Tensor:
        parts = [seen] if more is None or kind != "skin" else [seen, skin, more]
        return torch.tensor(np.concatenate(parts, 1), dtype=torch.float32)

    def answer(x: Tensor) -> Tensor:
        for k in range(0, len(weights), 2):
            x = x @ weights[k] + weights[k + 1]
            x = nn.functional.silu(x) if k + 2 < len(weights) else x
        return x

    both = [rows(m.seen, m.seen_skin, own) for m in (data, data.mirrored())]
    kept = rows(stay.wanted, stay.wanted_skin, stay.proportions()[1])
    with torch.no_grad():
        found = answer(kept)
    optimizer = torch.optim.Adam(weights, lr=TUNE_RATE)
    for _ in bar(range(epochs), description=f"tuning the reader of {kind}s"):
        for chosen in torch.randperm(len(asked)).split(BATCH):
            y = both[int(torch.rand(()) < 0.5)][chosen]
            noise = torch.zeros_like(y)
            noise[:, : 2 * top.SURFACE] = NOISE * torch.randn(len(y), 2 * top.SURFACE)
            m = torch.randint(len(kept), (BATCH,))
            loss = (answer(y + noise) - asked[chosen]).square().mean()
            loss = loss + REAL_WEIGHT * (answer(kept[m]) - found[m]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [w.detach().double().numpy() for w in weights]


def tune(keep: Path, target: Path) -> None:
    """Tune the readers of clips and skins on the faces measured; prints what is found on faces held back, before and
    after, and writes only what finds more there."""
    stems = sorted(p.stem.removeprefix("face_") for p in keep.glob("face_*.npz"))
    held = stems[2 :: max(1, len(stems) // 5)]
    test, rest, everybody = (shown(keep, n) for n in (held, [n for n in stems if n not in held], stems))
    with np.load(OUT, allow_pickle=False) as data:
        out = dict(data)
    for kind in ("clip", "skin"):
        x = np.concatenate([test.seen, *([test.seen_skin, test.proportions()[0]] if kind == "skin" else [])], 1)
        before, after = (network(w, x) for w in (reader(kind)[1], tuned(rest, rest, kind)))
        r = np.array(
            [[np.corrcoef(test.units[:, k], f)[0, 1] for k, f in zip(ACTIVE, found.T)] for found in (before, after)]
        )
        print(f"{kind}: mean {r[0].mean():.3f} to {r[1].mean():.3f}")
        print("  ".join(f"{FACE_UNITS[k]} {a:.2f} {b:.2f}" for k, a, b in zip(ACTIVE, *r)))
        if r[1].mean() > r[0].mean():
            for k, layer in enumerate(tuned(everybody, everybody, kind)):
                out[f"{kind}_{k}"] = layer.astype(np.float16)
    written(target, out)


def written(target: Path, out: dict[str, NDArray]) -> None:
    """Write a reader, whole or not at all."""
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **out)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")


def shown(keep: Path, stems: list[str]) -> Measured:
    """What was measured on the faces named, and all performers; no moments of theirs on the faces."""
    faces = [_arrays(keep / f"face_{n}.npz") for n in stems]
    clips = sorted(p.name.removesuffix(".skin.npz") for p in keep.glob("*.skin.npz"))
    motions = [Motion.load(keep / f"{n}.motion.npz") for n in clips]

    def rows(parts: list[NDArray]) -> Array:
        return np.concatenate([p.reshape(-1, 2 * top.SURFACE) for p in parts]).astype(np.float64)

    theirs = [np.stack([m.at(i).offsets[: top.SURFACE, :2] for i in range(len(m))]) for m in motions]
    people = [np.repeat(m.rest.face[None, : top.SURFACE, :2], len(m), 0) for m in motions]
    none = np.zeros((0, 2 * top.SURFACE))
    return Measured(
        together(np.concatenate([f["x"] for f in faces])), rows([f["y"] for f in faces]), rows(theirs), none,
        rows([f["shape"][None] for f in faces]) - _mean(), rows([f["skin"] for f in faces]),
        rows([_arrays(keep / f"{n}.skin.npz")["skin"] for n in clips]), none,
        np.repeat(np.arange(len(stems)), [len(f["x"]) for f in faces]), np.zeros(0, np.int64), rows(people),
    )  # fmt: skip


def measure_face(path: Path, mixtures: int, seed: int, keep: Path) -> None:
    """Keep what is seen of units on a face; says why where it cannot be used."""
    file = keep / f"face_{path.stem}.npz"
    if file.exists():
        return
    finder = FaceFinder()
    try:
        np.savez_compressed(file, **responses(path, asked(mixtures, seed), finder))
    except InfinexError as error:
        print(error)
    finally:
        finder.close()


def measure_moments(path: Path, seed: int, keep: Path) -> None:
    """Keep what is seen of moments of six performances on a face."""
    file = keep / f"played_{path.stem}.npz"
    if file.exists() or not (keep / f"face_{path.stem}.npz").exists():
        return
    rng = np.random.default_rng(seed)
    names = sorted(p.name.removesuffix(".motion.npz") for p in keep.glob("*.motion.npz"))
    chosen = rng.choice(names, min(6, len(names)), replace=False)
    motions = {str(n): Motion.load(keep / f"{n}.motion.npz") for n in chosen}
    with FaceFinder() as finder:
        np.savez_compressed(file, **performances(path, motions, finder, rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--most", type=int, default=28, help="faces used")
    parser.add_argument("--clips-most", type=int, default=42, help="clips used")
    parser.add_argument("--leave-out", default="", help="stems of clips not to be used, comma-separated")
    parser.add_argument("--mixtures", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure")
    parser.add_argument("--measure", action="store_true", help="only measure; train another time")
    parser.add_argument("--tune", action="store_true", help="go on from the reader that is there; a few faces will do")
    parser.add_argument("--keep", type=Path, required=True, help="folder for what was measured; resumes from it")
    parser.add_argument("--out", type=Path, required=True, help="the reader to write: unit_reader.npz")
    a = parser.parse_args()
    a.keep.mkdir(parents=True, exist_ok=True)
    paths = sorted(a.faces.iterdir())
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, min(a.most, len(paths))).astype(int)]
    out = set(a.leave_out.split(","))
    clips = [p for p in sorted(a.clips.glob("*.mp4")) if p.stem not in out]
    clips = [clips[i] for i in np.linspace(0, len(clips) - 1, min(a.clips_most, len(clips))).astype(int)]
    many = len(paths)
    with ProcessPoolExecutor(a.jobs, multiprocessing.get_context("spawn")) as pool:
        seen = pool.map(measure_face, paths, [a.mixtures] * many, range(many), [a.keep] * many)
        list(bar(seen, description="faces", total=many))
        list(bar(pool.map(performer, clips, [a.keep] * len(clips)), description="clips", total=len(clips)))
        if a.tune:
            tune(a.keep, a.out)
            return
        played = pool.map(measure_moments, paths, range(many), [a.keep] * many)
        list(bar(played, description="performances", total=many))
    if not a.measure:
        fit(a.keep, a.out)


if __name__ == "__main__":
    main()
