"""Teach the reading of Apple's 52 blendshapes on invented people with exactly known expressions.

    python tools/teach_blendshapes.py render MODEL.npz PEOPLE --people 1000
    python tools/teach_blendshapes.py render MODEL.npz EXAM --first 60000 --people 5 --each 30 --exam
    python tools/teach_blendshapes.py train PEOPLE EXAM
    python tools/teach_blendshapes.py basis MODEL.npz

`render` draws people (`tools/exact_face.py`) at rest and under shapes alone and mixed, and keeps pictures and what the
tracker finds in them; `train` teaches a small network and writes infinex/face/data/blendshape_reader.onnx; what was
chosen, its calibration among it, was chosen by people of an exam. More people and longer lessons are only numbers:
`render` goes on where it was left. `basis` finds where the tracker's 478 points lie on the model, and writes how each
shape moves them to infinex/face/data/blendshapes.npz. Seeds from 60000 on are for exams, from 100000 on for benchmarks,
and never taught.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from exact_face import HEAD, Model, Person, alone, mixture, put
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.blendshapes import NAMES, mirrored
from infinex.face.pose import fit_pose, similarity
from infinex.face.shape_reader import INPUTS, Flattened, numbers, settled, swapped
from infinex.face.tracker import FaceFinder

Array = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "infinex" / "face" / "data"
FACE_END = 6706  # vertices of the narrow face
BATCH = 128
# What the network looks at: whose directions it has, and how many.
SEEN = {
    "right": ("right", 90), "left": ("right", 90), "mouth": ("mouth", 90), "red": ("red", 30), "face": ("face", 60),
    "right_flow": ("right_flow", 60), "left_flow": ("right_flow", 60), "mouth_flow": ("mouth_flow", 70),
    "face_flow": ("face_flow", 110), "points": ("points", 140), "person": ("person", 13),
}  # fmt: skip
MOST, RIDGE = 1.3, 0.3  # by which calibration makes answers larger, and how little it takes off
LOOKS_RATE = 5e-4  # at which directions are taught
TOGETHER = 0.6  # of the pictures in a lesson have another expression added to them
ALONE, RESTING = 0.4, 0.44  # of the pictures show one shape alone; up to here nothing
TURN = (7.0, 5.0, 4.0)  # degrees by which a head turns away from its rest


def seen_of(person: Person, wanted: Array, rng: np.random.Generator, finder: FaceFinder) -> dict[str, NDArray] | None:
    """Pictures of a person at rest, first, and under weights (N, 52), as files, with the landmarks that are found in
    them; None where the rest is not found."""
    rows: list[tuple[NDArray, NDArray]] = []
    files: list[NDArray] = []
    for k, w in enumerate([np.zeros(len(NAMES)), *wanted]):
        turn = tuple(rng.normal(0, TURN)) if k and rng.random() < 0.8 else (0.0, 0.0, 0.0)
        image, places = person.draw(w, turn, k)
        face = places[:HEAD, :2]
        seen = finder.mesh(image, (*face.min(0), *face.max(0)))
        if seen is None and not k:
            return None
        if seen is not None:
            rows.append((w, seen))
            files.append(person.coded.ravel())
    weights, points = (np.stack(c) for c in zip(*rows))
    return {"weights": weights.astype(np.float32), "points": points.astype(np.float32), "files": np.concatenate(files),
            "ends": np.cumsum([len(f) for f in files])}  # fmt: skip


def asked(rng: np.random.Generator, count: int) -> Array:
    """Weights (count, 52) to draw somebody under: faces as they are, single shapes, many of them full, and rest."""
    out = np.zeros((count, len(NAMES)))
    for row in out:
        kind = rng.random()
        if kind < ALONE:
            amount = 1.0 if rng.random() < 0.35 else float(rng.uniform(0.15, 1))
            put(row, NAMES[int(rng.integers(len(NAMES)))], amount)
        elif kind > RESTING:
            row[:] = mixture(rng, 0.0)
    return out


_model: Model | None = None


def _one(model: str, folder: str, seed: int, count: int, exam: bool) -> None:
    global _model
    out = Path(folder) / f"{seed:06d}.npz"
    if out.exists():
        return
    _model = _model or Model(model)
    rng = np.random.default_rng([5, seed])
    wanted = asked(rng, count)
    if exam:
        wanted = np.concatenate([alone((1.0,)), [mixture(rng) for _ in range(count)]])
    found = seen_of(Person(_model, seed), wanted, rng, FaceFinder())
    if found is not None:
        np.savez(out.with_suffix(".part.npz"), **found)
        out.with_suffix(".part.npz").rename(out)


def render(o: argparse.Namespace) -> None:
    """Draw people and keep what is seen of them."""
    o.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(o.jobs, context) as pool:
        seeds = range(o.first, o.first + o.people)
        jobs = [pool.submit(_one, str(o.model), str(o.folder), s, o.each, o.exam) for s in seeds]
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


@dataclass
class Shown:
    """Pictures that were rendered, as the reader sees them: pieces (N, C, H, W), numbers (N, F), weights (N, 52) and
    whose they are (N,); everybody's first picture is at rest."""

    pieces: list[NDArray]
    x: NDArray
    weights: NDArray
    people: NDArray

    def inputs(self, rows: NDArray) -> list[NDArray]:
        """`INPUTS` of so many rows."""
        return [a[rows].astype(np.float32) for a in (*self.pieces, self.x)]


def gathered(files: list[Path]) -> Shown:
    """The people of some files, as the reader sees them."""
    pieces, people, xs, ws = [], [], [], []
    for k, file in enumerate(files):
        with np.load(file, allow_pickle=False) as d:
            points, weights = d["points"].astype(np.float64), d["weights"]
            images = [cv2.imdecode(f, cv2.IMREAD_COLOR) for f in np.split(d["files"], d["ends"][:-1])]  # as drawn
        face = fit_pose(top.mean_face(), points[0]).to_head(points[0])
        flat, poses = Flattened(images[0], points[0], face), [fit_pose(face, p) for p in points]
        pieces += [[p.astype(np.float16) for p in flat.pieces(i, q)] for i, q in zip(images, poses)]
        moved = np.stack([p.to_head(q) for p, q in zip(poses, points)]) - face
        xs.append(numbers(moved, face, np.stack([p.angles for p in poses])).astype(np.float16))
        ws.append(weights)
        people += [k] * len(points)
    stacked = [np.stack(p) for p in zip(*pieces)]
    return Shown([p.reshape(len(p), -1, *p.shape[-2:]) for p in stacked], np.concatenate(xs), np.concatenate(ws),
                 np.array(people))  # fmt: skip


def looked_at(inputs: list[Any]) -> list[Any]:
    """Rows (N, F) of `INPUTS`, as tensors: one for every part of `SEEN`."""
    from torch.nn.functional import avg_pool2d

    right, left, mouth, face, *flows, x = inputs
    red = avg_pool2d(mouth[:, 1:], 4)
    parts = [right, left, avg_pool2d(mouth[:, :1], 2), red, avg_pool2d(face, 2), *flows, x[:, :1434], x[:, 1434:]]
    return [p.flatten(1) for p in parts]


def directions(rows: Any, count: int) -> Any:
    """The (F, count) directions in which rows (N, F) differ most from nothing, brought closer to equal size."""
    import torch

    _, spread, look = torch.svd_lowrank(rows, count + 10, 3)
    spread, look = spread[:count] / len(rows) ** 0.5, look[:, :count]
    return look / (spread**0.7 * spread[0] ** 0.3)


def directions_of(path: Path) -> dict[str, Any]:
    """Those that a reader's file has, by part of `SEEN`, and the middle of persons."""
    import torch
    from onnx import load, numpy_helper

    values = {t.name.removesuffix("_half"): numpy_helper.to_array(t) for t in load(path).graph.initializer}
    kinds = {kind for kind, _ in SEEN.values()} | {"middle"}
    found = {k: next(v for n, v in values.items() if n.split(".")[0] == k) for k in kinds}
    return {k: torch.tensor(v.astype(np.float32)) for k, v in found.items()}


def first_directions(seen: Shown) -> dict[str, Any]:
    """The same, those in which pictures differ most."""
    import torch

    rows = np.sort(np.random.default_rng(0).choice(len(seen.weights), min(3000, len(seen.weights)), replace=False))
    whole = looked_at([torch.tensor(i) for i in seen.inputs(rows)])
    person = whole[-1]
    out = {"middle": person.mean(0), "person": torch.diag(1 / (person.std(0) + 1e-3))}
    for name, part in zip(SEEN, whole):
        if name == SEEN[name][0] and name != "person":
            out[name] = directions(part, SEEN[name][1]).contiguous()
    return out


def network(known: dict[str, Any]) -> Any:
    """The network: directions of what is seen, which are taught, both eyes by the same, then three layers; and the
    directions that are `known`, which others go on from."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, value in known.items():
                self.register_buffer(name, value)
            kinds = sorted(set(known) - {"middle"})
            self.looks = nn.ParameterDict({k: nn.Parameter(known[k].clone()) for k in kinds})
            n = sum(count for _, count in SEEN.values())
            self.head = nn.Sequential(
                nn.Dropout(0.1), nn.Linear(n, 448), nn.SiLU(), nn.Dropout(0.15), nn.Linear(448, 256), nn.SiLU(),
                nn.Dropout(0.1), nn.Linear(256, len(NAMES)),
            )  # fmt: skip

        def features(self, parts: list[torch.Tensor], taught: bool = True) -> torch.Tensor:
            *parts, person = (p.float() for p in parts)
            looks = [self.looks[k] if taught else getattr(self, k) for k, _ in SEEN.values()]
            return torch.cat([p @ look for p, look in zip([*parts, person - self.middle], looks)], 1)

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            parts = looked_at(list(inputs))
            return self.head(self.features(parts)), self.features(parts, taught=False)

    return Net()


class Pictures:
    """What the network looks at of pictures and of their mirror images, which follow behind: 2N rows, at half
    precision."""

    def __init__(self, data: Shown) -> None:
        import torch

        blocks: list[list[Any]] = [[], []]
        for k in range(0, len(data.weights), 128):
            given = data.inputs(np.arange(k, min(k + 128, len(data.weights))))
            for kept, v in zip(blocks, (given, swapped(given))):
                kept.append([p.half() for p in looked_at([torch.tensor(np.ascontiguousarray(g)) for g in v])])
        self.parts = [torch.cat([b[k] for b in blocks[0] + blocks[1]]) for k in range(len(SEEN))]
        self.wanted = torch.tensor(np.concatenate([data.weights, mirrored(data.weights)]).astype(np.float32))
        whose = np.concatenate([data.people, data.people + data.people[-1] + 1])
        self._rest = np.flatnonzero(np.diff(whose, prepend=-1))[whose]
        self._count = np.bincount(whose)[whose]

    def __len__(self) -> int:
        return len(self.wanted)

    def some(self, rows: NDArray, rng: np.random.Generator) -> tuple[list[Any], Any]:
        """Rows as `looked_at` has them and their weights; many with what another expression of the same person moves
        added to them: shapes that act together do nearly that, and there are more such pairs than could be drawn."""
        import torch

        others, rest = self._rest[rows] + rng.integers(0, self._count[rows]), self._rest[rows]
        wanted = self.wanted[rows] + self.wanted[others]
        both = torch.tensor(rng.random(len(rows)) < TOGETHER) & (wanted.max(1).values <= 1.05)
        parts = [p[rows] for p in self.parts]
        for k, p in enumerate(self.parts[:-1]):  # the last is who it is
            parts[k] = parts[k] + (p[others] - p[rest]) * both[:, None]
        return parts, torch.where(both[:, None], wanted.clamp(0, 1), self.wanted[rows])

    def read(self, net: Any) -> Array:
        """What the network says (N, 52), as the reader asks it."""
        import torch

        net.eval()
        with torch.no_grad():
            rows = [net.head(net.features([p[k : k + 512] for p in self.parts])) for k in range(0, len(self), 512)]
        net.train()
        there, back = np.split(torch.cat(rows).numpy(), 2)
        out = (there + mirrored(back)) / 2
        return np.asarray(out - out[self._rest[: len(out)]])


def train(o: argparse.Namespace) -> None:
    """Teach the reader, calibrate it on the people of the exam, and say how well it reads those."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(o.threads)
    data, test = (gathered(sorted(p for p in f.glob("*.npz") if ".part" not in p.name)) for f in (o.folder, o.exam))
    print(f"{data.people[-1] + 1} people, {len(data.weights)} pictures; exam: {test.people[-1] + 1}, "
          f"{len(test.weights)}", flush=True)  # fmt: skip
    example = data.inputs(np.arange(2))
    net = network(first_directions(data) if o.onto is None else directions_of(o.onto))
    spread = data.weights.std(0)
    matters = torch.tensor(spread.mean() / spread)
    given, asked_ = Pictures(data), Pictures(test)
    rng = np.random.default_rng(0)
    # First what the directions mean, then both.
    heads, looks = list(net.head.parameters()), list(net.looks.values())
    alone, both = [(heads, o.rate, o.decay)], [(looks, LOOKS_RATE, 0.0), (heads, o.rate / 2, o.decay)]
    for epochs, groups in ((o.first, alone), (o.epochs, both)):
        steps = epochs * (len(given) // BATCH)
        how = torch.optim.AdamW([{"params": p, "lr": r, "weight_decay": d} for p, r, d in groups])
        slow = torch.optim.lr_scheduler.OneCycleLR(how, [r for _, r, _ in groups], steps, pct_start=0.1)
        for epoch in range(epochs):
            order, total = rng.permutation(len(given)), 0.0
            for k in range(0, len(given) - BATCH + 1, BATCH):
                parts, want = given.some(order[k : k + BATCH], rng)
                with torch.autocast("cpu", torch.bfloat16):
                    seen = net.features(parts)
                found = net.head(seen.float() + o.noise * torch.randn(seen.shape))
                loss = ((found - want) ** 2 + 0.01 * (want == 0) * found.abs()) @ matters
                loss = loss.mean() / len(NAMES)
                how.zero_grad()
                loss.backward()
                how.step()
                slow.step()
                total += float(loss.detach())
            if epoch % 5 == 4 or epoch == epochs - 1:
                line = said(test, settled(asked_.read(net)))[0]
                print(f"epoch {epoch + 1}: loss {total / (len(given) // BATCH):.4f}; {line}", flush=True)
    apart = torch.tensor(told_apart(asked_.read(net), test.weights).T.astype(np.float32))
    with torch.no_grad():
        net.head[-1].weight.data = apart @ net.head[-1].weight
        net.head[-1].bias.data = apart @ net.head[-1].bias
    line, r, gain = said(test, settled(asked_.read(net)))
    print(f"told apart: {line}")
    print("  ".join(f"{m} {a:.2f} ({g:.2f})" for m, a, g in zip(NAMES, r, gain)))
    written(net, example, o.out)


def told_apart(found: Array, wanted: Array) -> Array:
    """What answers (N, 52) about weights (N, 52) are to be multiplied by, (52, 52): each made larger where it comes out
    too small, and what others put into it taken off, by ridge regression; a face and its mirror image alike."""
    found, wanted = (np.concatenate([a, mirrored(a)]) for a in (found, wanted))
    times = np.clip((wanted**2).sum(0) / np.maximum((wanted * found).sum(0), 1e-6), 1, MOST)
    found = found * times
    gram = found.T @ found
    out = np.linalg.solve(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), found.T @ (wanted - found))
    np.fill_diagonal(out, 1)
    return np.asarray(times[:, None] * out)


def said(data: Shown, found: Array) -> tuple[str, Array, Array]:
    """How well pictures were read, in words; correlation (52,) and gain (52,) over shapes that are full and alone."""
    single = np.zeros(len(found), bool)
    for k in range(data.people[-1] + 1):
        single[np.flatnonzero(data.people == k)[1 : 1 + len(NAMES)]] = True  # so `render --exam` orders them
    w = data.weights
    r, many = correlations(w[single], found[single]), correlations(w[~single], found[~single])
    full = [(w[:, k] == 1) & single for k in range(len(NAMES))]
    full[NAMES.index("jawOpen")] &= w[:, NAMES.index("mouthClose")] == 0
    gain = np.array([found[rows, k].mean() for k, rows in enumerate(full)])
    leak = np.array([np.where(w[rows].any(0), 0, found[rows].mean(0)).max() for rows in full])
    return (
        (
            f"alone {(r >= 0.7).sum()}, {(r >= 0.9).sum()}, {np.median(r):.3f}; mixed {(many >= 0.7).sum()}, "
            f"{(many >= 0.9).sum()}, {np.median(many):.3f}; gain {np.median(gain):.2f}; leak {(leak <= 0.15).sum()}, "
            f"{np.median(leak):.2f}"
        ),
        r,
        gain,
    )


def written(net: Any, inputs: list[NDArray], path: Path) -> None:
    """The network as ONNX, weights at half precision."""
    import onnx
    import torch
    from onnx import TensorProto, helper, numpy_helper

    torch.onnx.export(
        net.eval(), tuple(torch.tensor(np.ascontiguousarray(i)) for i in inputs), str(path), input_names=list(INPUTS),
        output_names=["weights", "seen"], dynamic_axes={k: {0: "n"} for k in (*INPUTS, "weights", "seen")},
        opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 256:
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name + "_half")
            model.graph.initializer.remove(tensor)
            model.graph.initializer.append(half)
            casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def correlations(asked: Array, found: Array) -> Array:
    """(52,) of weights asked and found, (N, 52) each."""
    a, b = asked - asked.mean(0), found - found.mean(0)
    return np.asarray((a * b).sum(0) / np.maximum(np.sqrt((a * a).sum(0) * (b * b).sum(0)), 1e-9))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    r = steps.add_parser("render")
    r.add_argument("model", type=Path)
    r.add_argument("folder", type=Path)
    r.add_argument("--people", type=int, default=1000)
    r.add_argument("--first", type=int, default=0)
    r.add_argument("--each", type=int, default=20)
    r.add_argument("--jobs", type=int, default=2)
    r.add_argument("--exam", action="store_true", help="every shape alone and full, then mixtures")
    r.set_defaults(run=render)
    t = steps.add_parser("train")
    t.add_argument("folder", type=Path)
    t.add_argument("exam", type=Path)
    t.add_argument("--first", type=int, default=20, help="rounds in which directions stay")
    t.add_argument("--epochs", type=int, default=20, help="rounds in which they are taught, too")
    t.add_argument("--onto", type=Path, help="a reader's file whose directions are kept for the reader of units")
    t.add_argument("--rate", type=float, default=2e-3)
    t.add_argument("--decay", type=float, default=0.03)
    t.add_argument("--noise", type=float, default=0.12, help="spread of what is added to what is seen")
    t.add_argument("--out", type=Path, default=DATA / "blendshape_reader.onnx")
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
