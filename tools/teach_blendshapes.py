"""Teach the reading of Apple's 52 blendshapes on invented people with exactly known expressions.

    python tools/teach_blendshapes.py render MODEL.npz FOLDER --people 160
    python tools/teach_blendshapes.py train FOLDER
    python tools/teach_blendshapes.py basis MODEL.npz

`render` draws people (`tools/exact_face.py`) at rest and under mixtures of shapes and keeps what the tracker sees of
them; `train` teaches a small network and writes infinex/face/data/blendshape_reader.npz, with what it finds of people
held back; `basis` finds where the tracker's 478 points lie on the model, and writes how each shape moves them to
infinex/face/data/blendshapes.npz. Seeds from 100000 on are for benchmarks and never taught.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from exact_face import HEAD, Model, Person, mixture
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.blendshapes import NAMES, mirrored
from infinex.face.pose import fit_pose, similarity
from infinex.face.shape_reader import Network, cut, levelled, looked_at, numbers, plan, read, swapped
from infinex.face.skin import Skin, face_view
from infinex.face.tracker import FaceFinder

Array = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "infinex" / "face" / "data"
FACE_END = 6706  # vertices of the narrow face
BATCH = 64
TURN = (7.0, 5.0, 4.0)  # degrees by which a head turns away from its rest


def seen_of(person: Person, wanted: Array, rng: np.random.Generator, finder: FaceFinder) -> dict[str, NDArray] | None:
    """What is seen of a person at rest and under weights (N, 52); None where the rest is not found."""
    image, places = person.draw(np.zeros(len(NAMES)))
    face = places[:HEAD, :2]
    box = (*face.min(0), *face.max(0))
    points = finder.mesh(image, box)
    if points is None:
        return None
    pose = fit_pose(top.mean_face(), points)
    rest = pose.to_head(points)
    plain = face_view(image, fit_pose(rest, points))
    skin = Skin(plain, rest)
    rows: list[tuple[NDArray, ...]] = []
    for k, w in enumerate(wanted):
        turn = tuple(rng.normal(0, TURN)) if rng.random() < 0.8 else (0.0, 0.0, 0.0)
        image, places = person.draw(w, turn, k + 1)
        face = places[:HEAD, :2]
        seen = finder.mesh(image, (*face.min(0), *face.max(0)))
        if seen is None:
            continue
        pose = fit_pose(rest, seen)
        view = face_view(image, pose)
        rows.append((w, pose.to_head(seen) - rest, skin.moved(view), view, pose.angles))
    w, offsets, moved, views, angles = (np.stack(c) for c in zip(*rows))
    return {"weights": w.astype(np.float32), "offsets": offsets.astype(np.float32), "skin": moved.astype(np.float16),
            "views": views, "angles": angles.astype(np.float32), "rest": rest.astype(np.float32),
            "plain": plain}  # fmt: skip


_model: Model | None = None


def _one(model: str, folder: str, seed: int, count: int) -> None:
    global _model
    out = Path(folder) / f"{seed:06d}.npz"
    if out.exists():
        return
    _model = _model or Model(model)
    rng = np.random.default_rng([5, seed])
    found = seen_of(Person(_model, seed), np.stack([mixture(rng) for _ in range(count)]), rng, FaceFinder())
    if found is not None:
        np.savez_compressed(out.with_suffix(".part.npz"), **found)
        out.with_suffix(".part.npz").rename(out)


def render(o: argparse.Namespace) -> None:
    """Draw people and keep what is seen of them."""
    o.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(o.jobs, context) as pool:
        jobs = [pool.submit(_one, str(o.model), str(o.folder), s, o.each) for s in range(o.first, o.first + o.people)]
        for k, job in enumerate(jobs):
            job.result()
            print(f"\r{k + 1} of {len(jobs)} people", end="", flush=True)


def basis(o: argparse.Namespace) -> None:
    """Where the tracker's points lie on the model, and how each shape moves them."""
    model, finder = Model(o.model), FaceFinder()
    lips = np.array(top.LIPS_INNER + top.LIPS_OUTER)
    found: list[Array] = []
    for seed in range(o.people):
        person = Person(model, 900 + seed, 512)
        person.turn, person.beard, person.glasses, person.lashes = (0, 0, 0), 0.0, False, False
        person.light = np.array([0.0, 0.3, 0.95])
        parted = np.zeros(len(NAMES))
        parted[NAMES.index("jawOpen")] = 0.2
        moved = []
        for weights in (np.zeros(len(NAMES)), parted):
            image, places = person.draw(weights, plain=True)
            box = (*places[:FACE_END, :2].min(0), *places[:FACE_END, :2].max(0))
            points = finder.mesh(image, box)
            if points is None:
                break
            # The nearest vertices of the face's front under each landmark: it moves as they do.
            front = np.arange(FACE_END)
            d = ((points[: top.SURFACE, None, :2] - places[None, front, :2]) ** 2).sum(2)
            close = np.argsort(d, 1)[:, :4]
            w = 1 / (np.take_along_axis(d, close, 1) + 0.5)
            rows = model._rows.reshape(len(NAMES), -1, 3)
            moved.append((rows[:, front[close]] * (w / w.sum(1, keepdims=True))[None, :, :, None]).sum(2))
            if weights is not parted:
                place = (model.neutral[front[close]] * (w / w.sum(1, keepdims=True))[:, :, None]).sum(1)
        if len(moved) < 2:
            continue
        field = moved[0]
        field[:, lips] = moved[1][:, lips]
        flip = np.array([1.0, -1.0, -1.0])  # the model's y goes up, its z towards the viewer
        mean = top.mean_face()
        pose = similarity(place * flip, mean[: top.SURFACE])
        found.append(pose.scale * (field * flip) @ pose.rotation.T)
        print(f"person {seed}: {1 / pose.scale:.2f} cm between the outer corners of the eyes")
    out = np.zeros((len(NAMES), top.POINTS, 3))
    out[:, : top.SURFACE] = np.median(found, 0)
    order = top.mirror()[: top.SURFACE]
    swapped = mirrored(np.arange(len(NAMES))).astype(int)
    out[:, : top.SURFACE] = (out[:, : top.SURFACE] + out[swapped][:, order] * [-1, 1, 1]) / 2
    out[NAMES.index("tongueOut")] = 0
    path = DATA / "blendshapes.npz"
    np.savez_compressed(path, names=np.array(NAMES), fields=out.astype(np.float16))
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB of {len(found)} people")


# -- training -------------------------------------------------------------------------------------


def gathered(files: list[Path]) -> tuple[NDArray, list[NDArray], NDArray]:
    """Numbers (N, F), small pictures and weights (N, 52) of people that were rendered."""
    xs, pictures, ws = [], [], []
    for file in files:
        with np.load(file, allow_pickle=False) as d:
            rest = d["rest"].astype(np.float64)
            where = plan(rest)
            plain = cut(d["plain"], where)
            xs.append(numbers(d["offsets"], d["skin"].astype(np.float32), rest, d["angles"]).astype(np.float32))
            pictures.append([levelled(cut(v, where), plain) for v in d["views"]])
            ws.append(d["weights"])
    rows = [p for person in pictures for p in person]
    return np.concatenate(xs), [np.stack(s) for s in zip(*rows)], np.concatenate(ws)


def train(o: argparse.Namespace) -> None:
    """Teach the reader; every tenth person is held back and said to be found how well."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(o.threads)
    files = sorted(p for p in o.folder.glob("*.npz") if ".part" not in p.name)
    held = files[::10]
    x, pictures, w = gathered([f for f in files if f not in held])
    tx, tpictures, tw = gathered(held)
    print(f"{len(files) - len(held)} people, {len(x)} pictures; {len(held)} people held back")
    right, left, mouth = pictures
    x = np.concatenate([x, swapped(x).astype(np.float32)])
    pictures = [np.concatenate([right, left]), np.concatenate([left, right]), np.concatenate([mouth, mouth[..., ::-1]])]
    w = np.concatenate([w, mirrored(w)])
    middle = np.zeros(x.shape[1], np.float32)
    middle[-13:-3] = x[:, -13:-3].mean(0)  # at rest nothing has moved
    look = np.zeros((x.shape[1], 0), np.float32)
    for a, b, count in ((0, 1434, 120), (1434, 2370, 100), (2370, 2380, 10), (2380, 2383, 3)):
        columns = np.zeros((x.shape[1], min(count, b - a)), np.float32)
        columns[a:b] = directions(x[:, a:b] - middle[a:b], count)
        look = np.concatenate([look, columns], 1)
    parts: dict[str, NDArray] = {"middle": middle, "look": look}
    seen = [(x - middle) @ look]
    for name, count, picture in (("eye", 50, pictures[0]), ("mouth", 70, pictures[2])):
        rows = looked_at(picture)
        parts[f"{name}_middle"] = rows.mean(0)
        parts[f"{name}_look"] = directions((rows - rows.mean(0))[::2], count)
    for name, picture in zip(("eye", "eye", "mouth"), pictures):
        seen.append((looked_at(picture) - parts[f"{name}_middle"]) @ parts[f"{name}_look"])
    given, wanted = torch.tensor(np.concatenate(seen, 1).astype(np.float32)), torch.tensor(w)
    n, many = given.shape[1], look.shape[1]
    sizes = {"hidden0": (n, 320), "hidden1": (320, 192), "out": (192, len(NAMES))}
    net = nn.ModuleDict({k: nn.Linear(*s) for k, s in sizes.items()})
    drop = nn.Dropout(0.15)

    def seen_by(x: torch.Tensor) -> torch.Tensor:
        a = drop(nn.functional.silu(net["hidden0"](drop(x))))
        return net["out"](drop(nn.functional.silu(net["hidden1"](a))))

    steps = o.epochs * (len(x) // BATCH)
    how = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=3e-2)
    slow = torch.optim.lr_scheduler.OneCycleLR(how, 2e-3, steps)
    rng, shake = np.random.default_rng(0), torch.tensor(look)
    for epoch in range(o.epochs):
        drop.train()
        order, total = rng.permutation(len(x)), 0.0
        for k in range(0, len(x) - BATCH + 1, BATCH):
            i = torch.tensor(order[k : k + BATCH])
            tremble = (torch.randn(BATCH, x.shape[1]) * 1.5e-3) @ shake  # IOD
            s = given[i] + torch.cat([tremble, 0.15 * torch.randn(BATCH, n - many)], 1)
            found, want = seen_by(s), wanted[i]
            loss = ((found - want) ** 2).mean() + 0.01 * ((want == 0) * found.abs()).mean()
            how.zero_grad()
            loss.backward()
            how.step()
            slow.step()
            total += float(loss.detach())
        if epoch % 10 == 9 or epoch == o.epochs - 1:
            for name in ("hidden0", "hidden1", "out"):
                layer = net[name]
                parts[f"{name}_w"] = layer.weight.detach().numpy().T.copy()  # type: ignore[union-attr,operator]
                parts[f"{name}_b"] = layer.bias.detach().numpy().copy()  # type: ignore[union-attr,operator]
            made = Network(parts)
            r = correlations(tw, read(made, tx, tpictures))
            print(f"epoch {epoch + 1}: loss {total / (len(x) // BATCH):.4f}, held back: median r {np.median(r):.3f}, "
                  f"{(r >= 0.7).sum()} of 52 from 0.7, {(r >= 0.9).sum()} from 0.9", flush=True)  # fmt: skip
    print("  ".join(f"{n} {v:.2f}" for n, v in zip(NAMES, r)))
    path = DATA / "blendshape_reader.npz"
    np.savez_compressed(path, names=np.array(NAMES), **{k: v.astype(np.float16) for k, v in made.parts.items()})
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def correlations(asked: Array, found: Array) -> Array:
    """(52,) of weights asked and found, (N, 52) each."""
    a, b = asked - asked.mean(0), found - found.mean(0)
    return np.asarray((a * b).sum(0) / np.maximum(np.sqrt((a * a).sum(0) * (b * b).sum(0)), 1e-9))


def directions(rows: NDArray, count: int) -> NDArray:
    """(F, count) the directions in which rows (N, F) differ most, at equal size."""
    spread, main_ = np.linalg.eigh(rows.T @ rows / len(rows))
    return np.asarray(main_[:, -count:] / np.sqrt(spread[-count:] + 1e-9), np.float32)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    r = steps.add_parser("render")
    r.add_argument("model", type=Path)
    r.add_argument("folder", type=Path)
    r.add_argument("--people", type=int, default=160)
    r.add_argument("--first", type=int, default=0)
    r.add_argument("--each", type=int, default=56)
    r.add_argument("--jobs", type=int, default=2)
    r.set_defaults(run=render)
    t = steps.add_parser("train")
    t.add_argument("folder", type=Path)
    t.add_argument("--epochs", type=int, default=80)
    t.add_argument("--threads", type=int, default=1)
    t.set_defaults(run=train)
    b = steps.add_parser("basis")
    b.add_argument("model", type=Path)
    b.add_argument("--people", type=int, default=7)
    b.set_defaults(run=basis)
    o = parser.parse_args()
    o.run(o)


if __name__ == "__main__":
    main()
