"""Teach the reading of Action Units beside Apple's shapes: what the blendshape reader sees, in units.

    python tools/teach_units.py draw STILLS CLIPS DRAWN --leave-out liveportrait_d10_00,liveportrait_d13_00
    python tools/teach_units.py train PEOPLE EXAM DRAWN

`draw` puts units on portraits by the mesh engine, and moments of the performances in clips, and keeps the pictures with
what the tracker finds in them; it goes on where it was left. `train` teaches a small network what is meant by what the
network of `tools/teach_blendshapes.py` sees: on those pictures, on people whose shapes are known exactly
(`teach_blendshapes.py render`), and to find of a performance on a portrait what it finds on the performer. The readers
of `tools/calibrate_units.py`, whose answers it is given, come first.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.drivers.units import EMOTIONS
from infinex.drivers.video import VideoDriver
from infinex.editing import Editor
from infinex.engine import Drive
from infinex.errors import InfinexError
from infinex.face import topology as top
from infinex.face.blendshapes import to_units
from infinex.face.pose import fit_pose
from infinex.face.reading import guessed
from infinex.face.shape_reader import Flattened, numbers, read_and_seen
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import mixed
from infinex.face.units import ALIKE, FACE_UNITS
from infinex.media.files import atomic_path
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.motion import Motion, Rest
from infinex.pipeline import Stage, load_source

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]
DATA = Path(__file__).parents[1] / "infinex" / "face" / "data"
MIXED = [u for u in FACE_UNITS if u not in ALIKE]
TURNED = 25.0  # degrees from which on a portrait teaches nothing
PART = 1.7  # of the face's box that is kept of a picture
QUALITY = 94  # of the pictures' files
MOMENTS = 12  # of a clip


def asked(mixtures: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Single units, faint and strong, mixtures of two to four, and as many expressions of emotions."""
    levels = ((0.15, 0.6), (0.6, 1.0))
    out: list[dict[str, float]] = [{u: float(rng.uniform(*level))} for u in MIXED for level in levels]
    for _ in range(mixtures):
        chosen = rng.choice(MIXED, int(rng.integers(2, 5)), replace=False)
        out.append({str(u): float(rng.uniform(0.15, 0.9)) for u in chosen})
    sets = [list(s) for s in EMOTIONS.values() if len(s) > 1 and all(u in MIXED for u in s)]
    for _ in range(mixtures):
        units = sets[int(rng.integers(len(sets)))]
        kept = [u for u in units if rng.random() < 0.8] or units
        out.append({u: float(rng.uniform(0.15, 1.0)) for u in kept})
    return out


class Kept:
    """Pictures (H, W, 3) of a face and its landmarks, as files: the part of them about the first face."""

    def __init__(self, points: Array) -> None:
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        middle, half = (low + high) / 2, PART * (high - low).max() / 2
        self._corner = np.maximum(0, np.floor(middle - half)).astype(int)
        self._end = np.ceil(middle + half).astype(int)
        self.files: list[NDArray] = []
        self.points: list[Array] = []

    def add(self, image: RGB, points: Array) -> None:
        """The next picture."""
        (x0, y0), (x1, y1) = self._corner, self._end
        part = np.ascontiguousarray(image[y0:y1, x0:x1, ::-1])
        self.files.append(cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].ravel())
        self.points.append(points - [x0, y0, 0])

    def save(self, path: Path, **more: NDArray) -> None:
        """Write all of it, whole or not at all."""
        part = path.with_suffix(".part.npz")
        np.savez(part, points=np.stack(self.points).astype(np.float32), files=np.concatenate(self.files),
                 ends=np.cumsum([len(f) for f in self.files]), **more)  # fmt: skip
        part.rename(path)


def performer(path: Path, folder: Path) -> None:
    """Keep moments of a performance: the performer at rest and then, and the moves that others are to make."""
    out = folder / f"clip_{path.stem}.npz"
    if out.exists():
        return
    driver = VideoDriver(path, flow=False).settle()
    assert driver.rest_image is not None and driver.rest_points is not None
    kept, moves, offsets = Kept(driver.rest_points), [], [np.zeros((top.POINTS, 3))]
    kept.add(driver.rest_image, driver.rest_points)
    chosen = set(np.linspace(0, max(1, (driver.frames or 100) - 2), MOMENTS).astype(int).tolist())
    for k, drive in enumerate(driver):
        if k in chosen and drive.image is not None and drive.points is not None and drive.move.valid:
            kept.add(drive.image, drive.points)
            offsets.append(drive.move.offsets)
            moves.append(replace(drive.move, offsets=drive.move.offsets.astype(np.float32)))
    driver.close()
    Motion.collect(moves, driver.rest, driver.fps).save(folder / f"{path.stem}.motion.npz")
    kept.save(out, face=driver.rest.face, offsets=np.stack(offsets).astype(np.float32))


def portrait(path: Path, folder: Path, mixtures: int, seed: int, finder: FaceFinder) -> None:
    """Keep what a portrait looks like under units, and under moments of performances."""
    out = folder / f"face_{path.stem}.npz"
    if out.exists():
        return
    rng = np.random.default_rng([7, seed])
    source = load_source(path, size=512)
    editor, box = Editor(source), source[0].face.box
    still = finder.mesh(editor({}), box)
    if still is None or np.abs(fit_pose(top.mean_face(), still).angles).max() > TURNED:
        raise InfinexError(f"{path.name}: not found again, or turned too far")
    kept, rows, wanted = Kept(still), [np.zeros(len(FACE_UNITS))], asked(mixtures, rng)
    kept.add(editor({}), still)
    for units in wanted:
        picture = editor(units)
        seen = finder.mesh(picture, box)
        if seen is not None:
            kept.add(picture, seen)
            rows.append(np.array([units.get(u, 0.0) for u in FACE_UNITS]))
    stage = Stage(source, MeshEngine(MeshOptions("own", "none")))
    stage.begin(Rest.neutral(), None, None)
    plain = finder.mesh(stage.canvas, box)
    clips = sorted(p.name.removesuffix(".motion.npz") for p in folder.glob("*.motion.npz"))
    played: list[tuple[str, int]] = []
    if plain is not None and clips:
        others = Kept(plain)
        others.add(stage.canvas, plain)
        for clip in rng.choice(clips, min(4, len(clips)), replace=False):
            motion = Motion.load(folder / f"{clip}.motion.npz")
            stage.begin(motion.rest, None, None)
            for i in rng.choice(len(motion), min(5, len(motion)), replace=False):
                canvas, _ = stage.render(Drive(motion.at(int(i))))
                seen = finder.mesh(canvas, box)
                if seen is not None:
                    others.add(canvas, seen)
                    played.append((str(clip), int(i)))
        if played:
            names, frames = zip(*played)
            others.save(folder / f"played_{path.stem}.npz", clips=np.array(names), frames=np.array(frames))
    kept.save(out, units=np.stack(rows))


def draw(o: argparse.Namespace) -> None:
    """Keep pictures of portraits and performers."""
    o.folder.mkdir(parents=True, exist_ok=True)
    left = set(o.leave_out.split(","))
    clips = [p for p in sorted(o.clips.glob("*.mp4")) if p.stem not in left]
    clips = [clips[i] for i in np.linspace(0, len(clips) - 1, min(o.clips_most, len(clips))).astype(int)]
    for path in bar(clips, description="clips"):
        try:
            performer(path, o.folder)
        except InfinexError as error:
            print(error)
    paths = sorted(o.faces.iterdir())
    order = np.random.default_rng(0).permutation(len(paths))[: o.most]
    with FaceFinder() as finder:
        for k in bar(order[o.part :: o.parts], description="faces"):
            try:
                portrait(paths[k], o.folder, o.mixtures, int(k), finder)
            except InfinexError as error:
                print(error)


# -- training -------------------------------------------------------------------------------------

ACTIVE = [k for k, u in enumerate(FACE_UNITS) if u not in ALIKE]
STEPS, BATCH, PAIRS, RATE, DECAY = 900, 256, 64, 1e-3, 0.03
NOISE, DOUBT = 0.15, 0.05  # spread of what is added to what is seen, and to what landmarks and skin are taken for
DRAWN, ALIKE_WEIGHT, REAL_WEIGHT = 1.2, 0.3, 0.1  # of portraits, of performer against portrait, of performances
BLINK = 5.0  # of AU45 among these
UNKNOWN = ("AU11", "AU27")  # no shapes stand for these
HELD = 1.5  # how much more than an exam portraits held back say about shares
SPARSE = 0.01  # of what is found where there is nothing


def looked_at(file: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], Array]:
    """What the reader is given of the pictures in a file, and of them mirrored: (N, F) each, the first at rest; and
    their shapes (N, 52) as the reader of shapes says them."""
    with np.load(file, allow_pickle=False) as d:
        points = d["points"].astype(np.float64)
        images = [cv2.imdecode(f, cv2.IMREAD_COLOR) for f in np.split(d["files"], d["ends"][:-1])]
        face = d["face"] if "face" in d else fit_pose(top.mean_face(), points[0]).to_head(points[0])
        offsets = d["offsets"].astype(np.float64) if "offsets" in d else None
    if not file.name[0].isdigit():  # people of `teach_blendshapes.py render` lie in their files as they were drawn
        images = [np.ascontiguousarray(i[..., ::-1]) for i in images]
    flat, poses = Flattened(images[0], points[0], face), [fit_pose(face, p) for p in points]
    pieces, skins = [], []
    for image, pose in zip(images, poses):
        pieces.append(flat.pieces(image, pose))
        skins.append(flat.skin())
    moved = np.stack([q.to_head(p) for q, p in zip(poses, points)]) - face if offsets is None else offsets
    x = numbers(moved, face, np.stack([q.angles for q in poses])).astype(np.float32)
    given = [*(np.stack(p).reshape(len(x), -1, *p[0].shape[-2:]).astype(np.float32) for p in zip(*pieces)), x]
    before = guessed(moved, np.stack(skins), face)
    shapes, *seen = read_and_seen(given)
    a, b = (np.concatenate([s, before], 1).astype(np.float32) for s in seen)
    return a, b, shapes


def known(weights: Array) -> Array:
    """Units (N, A) that shapes (N, 52) stand for."""
    units = to_units(weights)
    return np.stack([units.get(FACE_UNITS[k], np.zeros(len(weights))) for k in ACTIVE], 1)


def performances(folder: Path) -> tuple[NDArray, NDArray, Array]:
    """What is seen of performers (M, F) and of portraits that play the same, and the units (M, A) that the performers'
    shapes stand for; of both sides."""
    clips = {p.stem.removeprefix("clip_"): looked_at(p) for p in sorted(folder.glob("clip_*.npz"))}
    theirs, mine, units = [], [], []
    for file in sorted(folder.glob("played_*.npz")):
        with np.load(file, allow_pickle=False) as d:
            moments = list(zip(d["clips"].astype(str), d["frames"].tolist()))
        found = looked_at(file)
        for k, (clip, frame) in enumerate(moments, 1):
            *seen, shapes = clips[clip]
            said = known(np.clip(shapes[frame + 1] - shapes[0], 0, 1)[None])[0]
            lids = seen[0][frame + 1, -len(ACTIVE) - 1]  # rims hide a blink from pictures
            said[-1] = max(said[-1], float(np.clip(1.05 * lids, 0, 1)))
            for side in (0, 1):
                theirs.append(seen[side][frame + 1])
                mine.append(found[side][k])
                units.append(said)
    return np.stack(theirs), np.stack(mine), np.stack(units)


def head(size: int) -> Any:
    """The network that is taught: it begins as the reader of shapes does, its last layer as least squares has it."""
    from onnx import load, numpy_helper
    from torch import nn, tensor

    began = {
        t.name.removesuffix("_half"): numpy_helper.to_array(t).astype(np.float32)
        for t in load(DATA / "blendshape_reader.onnx").graph.initializer
    }
    net = nn.Sequential(
        nn.Dropout(0.1), nn.Linear(size, 448), nn.SiLU(), nn.Dropout(0.15), nn.Linear(448, 256), nn.SiLU(),
        nn.Dropout(0.1), nn.Linear(256, len(ACTIVE)),
    )  # fmt: skip
    weight = 0.15 * np.random.default_rng(0).standard_normal((448, size)).astype(np.float32)
    weight[:, : began["head.1.weight"].shape[1]] = began["head.1.weight"]
    for layer, values in ((1, weight), (4, began["head.4.weight"])):
        net[layer].weight.data = tensor(values)
        net[layer].bias.data = tensor(began[f"head.{layer}.bias"])
    return net


@dataclass
class Taught:
    """What is seen (N, F) of pictures, one array a person and side, and the units (N, A) they show."""

    seen: list[NDArray[np.float32]]
    units: list[Array]

    def tensors(self) -> tuple[Any, Any]:
        """All of it: (N, F) and (N, A)."""
        import torch

        return tuple(torch.tensor(np.concatenate(a).astype(np.float32)) for a in (self.seen, self.units))  # type: ignore[return-value]


def people(folder: Path) -> Taught:
    """Those of `teach_blendshapes.py render`."""
    out = Taught([], [])
    for file in bar(sorted(p for p in folder.glob("*.npz") if ".part" not in p.name), description="people"):
        *sides, _ = looked_at(file)
        with np.load(file, allow_pickle=False) as d:
            units = known(d["weights"])
        out.seen += sides
        out.units += [units, units]
    return out


def portraits(folder: Path) -> Taught:
    """Those of `draw`."""
    out = Taught([], [])
    for file in bar(sorted(folder.glob("face_*.npz")), description="portraits"):
        *sides, _ = looked_at(file)
        with np.load(file, allow_pickle=False) as d:
            units = d["units"][:, ACTIVE]
        out.seen += sides
        out.units += [units, units]
    return out


def lesson(exact: Taught, drawn: Taught, played: tuple[NDArray, NDArray, Array], steps: int) -> Any:
    """The network, taught."""
    import torch

    torch.manual_seed(0)
    (x, y), (e, z) = exact.tensors(), drawn.tensors()
    theirs, mine, said = (torch.tensor(a.astype(np.float32)) for a in played)
    net = head(x.shape[1])
    with torch.no_grad():
        net.eval()
        order = torch.randperm(len(x))[:6000]
        rows, values = torch.cat([x[order], e]), torch.cat([y[order], z])
        h = torch.cat([net[:6](rows), torch.ones(len(rows), 1)], 1).double()
        ridge = 3e-3 * len(h) * torch.cat([h[:, :-1].var(0).mean().repeat(256), torch.tensor([1e-6])])
        first = torch.linalg.solve(h.T @ h + torch.diag(ridge), h.T @ values.double()).float()
        net[7].weight.data, net[7].bias.data = first[:-1].T.contiguous(), first[-1]
        net.train()
    matters, matters_drawn = ((v.std(0).mean() / v.std(0).clamp(min=0.05)).clamp(0.5, 2) for v in (y, z))
    shown = torch.tensor([float(FACE_UNITS[k] not in UNKNOWN) for k in ACTIVE])
    surely = torch.tensor([BLINK if FACE_UNITS[k] == "AU45" else 1.0 for k in ACTIVE])
    noise = torch.full((x.shape[1],), NOISE)
    noise[-2 * len(ACTIVE) :] = DOUBT
    how = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    slow = torch.optim.lr_scheduler.OneCycleLR(how, RATE, steps)
    for _ in bar(range(steps), description="lessons"):
        i, j, m = torch.randint(len(x), (BATCH,)), torch.randint(len(e), (BATCH,)), torch.randint(len(mine), (PAIRS,))
        given = torch.cat([x[i], e[j]])
        answers = net(torch.cat([given + noise * torch.randn_like(given), theirs[m], mine[m]]))
        a, b, c, d = answers.split([BATCH, BATCH, PAIRS, PAIRS])
        loss = (((a - y[i]) ** 2 + SPARSE * (y[i] == 0) * a.abs()) * shown @ matters).mean() / len(ACTIVE)
        loss = loss + DRAWN * (((b - z[j]) ** 2 + SPARSE * (z[j] == 0) * b.abs()) @ matters_drawn).mean() / len(ACTIVE)
        loss = loss + ALIKE_WEIGHT * ((c - d) ** 2).mean()
        loss = loss + REAL_WEIGHT * ((c - said[m]) ** 2 * shown * surely).mean()
        how.zero_grad()
        loss.backward()
        how.step()
        slow.step()
    return net.eval()


def answers(net: Any, some: Taught) -> tuple[Array, Array, Array]:
    """What the network says of pictures as the reader asks it (N, A), what was guessed (N, 2 A), and the truth."""
    import torch

    found, before = [], []
    with torch.no_grad():
        for a, b in zip(some.seen[::2], some.seen[1::2]):
            said = (net(torch.tensor(a)) + net(torch.tensor(b))).numpy() / 2
            found.append(said - said[:1])
            before.append(a[:, -2 * len(ACTIVE) :])
    return np.concatenate(found), np.concatenate(before), np.concatenate(some.units[::2])


def shares(net: Any, exam: Taught, held: Taught) -> Array:
    """How much (3, A) counts of what the network says and of both guesses, by least squares on people who taught none;
    this undoes, too, that answers come out too small."""
    seen = [answers(net, some) for some in (exam, held)]
    out = np.zeros((3, len(ACTIVE)))
    weights = (1.0, HELD)
    for k, unit in enumerate(ACTIVE):
        parts = seen[1:] if FACE_UNITS[unit] in (*UNKNOWN, "AU23") else seen  # the exam hardly shows an AU23
        w = weights[-len(parts) :]
        a = np.concatenate(
            [v * np.stack([f[:, k], *(g[:, k] for g in np.split(b, 2, 1))], 1) for v, (f, b, _) in zip(w, parts)]
        )
        y = np.concatenate([v * t[:, k] for v, (*_, t) in zip(w, parts)])
        out[:, k] = np.linalg.solve(a.T @ a + 5e-4 * len(a) * np.eye(3), a.T @ y)
    print("   ".join(f"{FACE_UNITS[u]} {a:.2f} {b:.2f} {c:.2f}" for u, (a, b, c) in zip(ACTIVE, out.T)))
    for name, (f, b, t) in zip(("exam", "held back"), seen):
        said = np.clip(mixed(f, b, out), 0, 1)
        r = [np.corrcoef(said[:, k], t[:, k])[0, 1] if t[:, k].any() else np.nan for k in range(len(ACTIVE))]
        print(f"{name}: mean r {np.nanmean(r):.3f}")
    return out


def train(o: argparse.Namespace) -> None:
    """Teach the head, and write it beside the readers of landmarks."""
    import torch

    torch.set_num_threads(o.threads)
    exact, exam, drawn, played = people(o.people), people(o.exam), portraits(o.folder), performances(o.folder)
    held = [k for k in range(len(drawn.seen)) if k // 2 % 6 == 2]
    some, rest = (
        Taught([drawn.seen[k] for k in ks], [drawn.units[k] for k in ks])
        for ks in (held, [k for k in range(len(drawn.seen)) if k not in held])
    )
    share = shares(lesson(exact, rest, played, o.steps), exam, some)
    written(lesson(exact, drawn, played, o.steps), share, o.out)


def written(net: Any, share: Array, path: Path) -> None:
    """Put the head into the file of readers, as `seen_*`, whole or not at all."""
    with np.load(path, allow_pickle=False) as data:
        out = {k: v for k, v in data.items() if not k.startswith("seen_")}
    layers = [p for k in (1, 4, 7) for p in (net[k].weight.detach().numpy().T, net[k].bias.detach().numpy())]
    for k, layer in enumerate([*layers, share]):
        out[f"seen_{k}"] = layer.astype(np.float16)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **out)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    d = steps.add_parser("draw")
    d.add_argument("faces", type=Path)
    d.add_argument("clips", type=Path)
    d.add_argument("folder", type=Path)
    d.add_argument("--most", type=int, default=60, help="faces used")
    d.add_argument("--clips-most", type=int, default=20, help="clips used")
    d.add_argument("--leave-out", default="", help="stems of clips not to be used, comma-separated")
    d.add_argument("--mixtures", type=int, default=24)
    d.add_argument("--parts", type=int, default=1, help="of how many processes that draw")
    d.add_argument("--part", type=int, default=0, help="this is which, from 0")
    d.set_defaults(run=draw)
    t = steps.add_parser("train")
    t.add_argument("people", type=Path)
    t.add_argument("exam", type=Path)
    t.add_argument("folder", type=Path)
    t.add_argument("--steps", type=int, default=STEPS)
    t.add_argument("--threads", type=int, default=1)
    t.add_argument("--out", type=Path, default=DATA / "unit_reader.npz", help="the readers, of which one is replaced")
    t.set_defaults(run=train)
    o = parser.parse_args()
    o.run(o)


if __name__ == "__main__":
    main()
