"""Teach the reading of Action Units to look at the face itself, not only at its tracked landmarks.

    python tools/train_unit_views.py MEASURED_DIR

MEASURED_DIR is what `tools/calibrate_units.py` keeps. A small convolutional network sees the face at rest and now, in
head coordinates, beside the displacements of the landmarks, and learns to find the units that were put on. On real
performances it is held to what explains their landmarks best, and to the same on performer and portrait.
Written to infinex/face/data/unit_views.onnx; how well units are found on faces held back is printed.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from calibrate_units import ACTIVE, Measured, explained, features, measured
from rich.progress import track as bar
from torch import Tensor, nn
from torch.nn import functional as F

from infinex.face import topology as top
from infinex.face.units import FACE_UNITS
from infinex.face.view import SIZE, levelled

OUT = Path(__file__).parents[1] / "infinex" / "face" / "data" / "unit_views.onnx"
WIDTH, DROP, NOISE = 192, 0.3, 3e-3
BATCH = 96
REAL_WEIGHT, ALIKE_WEIGHT = 0.3, 0.2


class Reader(nn.Module):
    """Displacements (N, 936) in IOD and levelled views now and at rest (N, 2, S, S) to intensities (N, A)."""

    def __init__(self, look: Tensor, units: int) -> None:
        super().__init__()
        self.look = nn.Parameter(look)
        layers: list[nn.Module] = []
        for before, after, size in ((3, 16, 5), (16, 32, 3), (32, 48, 3), (48, 64, 3)):
            layers += [nn.Conv2d(before, after, size, 2, size // 2), nn.SiLU()]
        self.views = nn.Sequential(
            *layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * (SIZE // 16) ** 2, 128), nn.SiLU()
        )
        self.points = nn.Sequential(nn.Dropout(DROP), nn.Linear(look.shape[1], WIDTH), nn.SiLU())
        self.out = nn.Sequential(nn.Dropout(DROP), nn.Linear(WIDTH + 128, WIDTH), nn.SiLU(), nn.Linear(WIDTH, units))

    def forward(self, offsets: Tensor, views: Tensor) -> Tensor:
        both = torch.cat([views, views[:, :1] - views[:, 1:]], 1)
        return self.out(torch.cat([self.points(offsets @ self.look), self.views(both)], 1))


def varied(views: Tensor, rng: torch.Generator) -> Tensor:
    """Pairs of views (N, 2, S, S) as cameras and trackers vary them: light, noise, softness, a shift of one by half a
    pixel."""
    n = len(views)
    u = lambda *s: torch.rand(*s, generator=rng) * 2 - 1  # noqa: E731
    out = views * (1 + 0.15 * u(n, 2, 1, 1)) + 0.15 * u(n, 2, 1, 1)
    theta = torch.eye(2, 3).repeat(2 * n, 1, 1)
    theta[:, :, 2] = (2 / SIZE) * (1.5 * u(n, 1, 2).repeat(1, 2, 1).reshape(-1, 2) + 0.4 * u(2 * n, 2))
    theta[:, 0, 0] += 0.02 * u(n, 1).repeat(1, 2).reshape(-1)
    grid = F.affine_grid(theta, [2 * n, 1, SIZE, SIZE], align_corners=False)
    out = F.grid_sample(out.reshape(2 * n, 1, SIZE, SIZE), grid, padding_mode="border", align_corners=False)
    out = out.reshape(n, 2, SIZE, SIZE)
    soft = F.avg_pool2d(out, 3, 1, 1)
    share = torch.rand(n, 1, 1, 1, generator=rng) * 0.7
    out = out * (1 - share) + soft * share
    return out + 0.06 * torch.rand(n, 1, 1, 1, generator=rng) * torch.randn(out.shape, generator=rng)


class Data:
    """Everything measured on some faces, as tensors."""

    def __init__(self, keep: Path, stems: list[str]) -> None:
        self.points: Measured = measured(keep, stems)
        self.mirrored = self.points.mirrored()
        views, owner, rest, shown = [], [], [], []
        theirs, theirs_rest = [], []
        clips = {p.name.removesuffix(".views.npz"): dict(np.load(p)) for p in sorted(keep.glob("*.views.npz"))}
        clip_rest = {n: levelled(c["rest"]) for n, c in clips.items()}
        moment_owner = []
        for k, stem in enumerate(stems):
            with np.load(keep / f"face_{stem}.npz") as face, np.load(keep / f"played_{stem}.npz") as played:
                views.append(np.stack([levelled(v) for v in face["views"]]))
                owner += [k] * len(face["views"])
                rest.append(levelled(face["rest"]))
                shown.append(np.stack([levelled(v) for v in played["views"]]))
                moment_owner += [k] * len(played["views"])
                for clip, frame in zip(played["clips"], played["frames"]):
                    theirs.append(levelled(clips[str(clip)]["views"][int(frame)]))
                    theirs_rest.append(clip_rest[str(clip)])
        half = lambda x: torch.tensor(np.stack(x) if isinstance(x, list) else x, dtype=torch.float16)  # noqa: E731
        self.views, self.owner, self.rest = half(np.concatenate(views)), torch.tensor(owner), half(rest)
        self.shown, self.shown_owner = half(np.concatenate(shown)), torch.tensor(moment_owner)
        self.theirs, self.theirs_rest = half(theirs), half(theirs_rest)
        self.asked = torch.tensor(self.points.units[:, ACTIVE], dtype=torch.float32)

    def pair(self, i: Tensor) -> Tensor:
        return torch.stack([self.views[i], self.rest[self.owner[i]]], 1).float()

    def portrait(self, i: Tensor) -> Tensor:
        return torch.stack([self.shown[i], self.rest[self.shown_owner[i]]], 1).float()

    def performer(self, i: Tensor) -> Tensor:
        return torch.stack([self.theirs[i], self.theirs_rest[i]], 1).float()


def train(data: Data, epochs: int, test: Data | None = None) -> Reader:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    net = Reader(torch.tensor(features(data.points, False), dtype=torch.float32), len(ACTIVE))
    sides = [[torch.tensor(v, dtype=torch.float32) for v in (m.seen, m.wanted, m.played)]
             for m in (data.points, data.mirrored)]  # fmt: skip
    target = torch.tensor(explained(data.points, data.points.wanted), dtype=torch.float32)
    groups = [{"params": [net.look], "lr": 1e-4, "weight_decay": 0.0},
              {"params": [p for n, p in net.named_parameters() if n != "look"]}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, weight_decay=2e-2)
    steps = epochs * -(-len(data.asked) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [1e-4, 2e-3], total_steps=steps)
    average = copy.deepcopy(net)
    step = 0
    for epoch in bar(range(epochs), description="reader"):
        net.train()
        total = 0.0
        for chosen in torch.randperm(len(data.asked), generator=rng).split(BATCH):
            flip = int(torch.rand((), generator=rng) < 0.5)
            seen, wanted, played = sides[flip]
            m = torch.randint(len(wanted), (BATCH // 3,), generator=rng)
            views = varied(torch.cat([data.pair(chosen), data.performer(m), data.portrait(m)]), rng)
            if flip:
                views = views.flip(3)
            y = torch.cat([seen[chosen], wanted[m], played[m]])
            y = y + NOISE * torch.randn(y.shape, generator=rng)
            found, theirs, mine = net(y, views).split([len(chosen), len(m), len(m)])
            loss = (found - data.asked[chosen]).square().mean()
            loss = loss + REAL_WEIGHT * (theirs - target[m]).square().mean()
            loss = loss + ALIKE_WEIGHT * (theirs - mine).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            keep = min(0.998, step / (step + 10))
            with torch.no_grad():
                for a, b in zip(average.parameters(), net.parameters()):
                    a.lerp_(b, 1 - keep)
            total += float(loss.detach()) * len(chosen)
        if test is not None and (epoch % 3 == 2 or epoch == epochs - 1):
            print(f"epoch {epoch + 1}: loss {total / len(data.asked):.4f}", scores(average, test), flush=True)
    return average.eval()


@torch.no_grad()
def scores(net: Reader, test: Data) -> str:
    net.eval()
    found = torch.cat([net(torch.tensor(test.points.seen[i], dtype=torch.float32), test.pair(torch.tensor(i)))
                       for i in np.array_split(np.arange(len(test.asked)), 20)]).numpy()  # fmt: skip
    r = [np.corrcoef(test.asked[:, k], found[:, k])[0, 1] for k in range(len(ACTIVE))]
    return f"mean {np.mean(r):.3f}  " + "  ".join(f"{FACE_UNITS[k]} {x:.2f}" for k, x in zip(ACTIVE, r))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("keep", type=Path, help="folder of what was measured")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--held", type=int, default=12, help="faces held back to print how well units are found")
    a = parser.parse_args()
    stems = sorted(p.stem.removeprefix("face_") for p in a.keep.glob("face_*.npz"))
    stems = [n for n in stems if (a.keep / f"played_{n}.npz").exists()]
    held = stems[:: max(1, len(stems) // a.held)] if a.held else []
    data = Data(a.keep, [n for n in stems if n not in held])
    print(f"{len(stems)} faces, {len(data.asked)} expressions")
    net = train(data, a.epochs, Data(a.keep, held) if held else None)
    example = (torch.zeros(2, 2 * top.SURFACE), torch.zeros(2, 2, SIZE, SIZE))
    torch.onnx.export(
        net, example, OUT, input_names=["offsets", "views"], output_names=["units"], dynamo=False,
        dynamic_axes={"offsets": {0: "n"}, "views": {0: "n"}, "units": {0: "n"}},
    )  # fmt: skip
    print(f"{OUT.name}: {OUT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
