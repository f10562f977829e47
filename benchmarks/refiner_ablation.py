"""What each choice in the refiner's training is worth, on people it was not trained on.

    python benchmarks/refiner_ablation.py PAIRS_DIR RUNS_DIR [--epochs N] [--part mouth|eye|head ...]

Trains every variant as short (N epochs of 2,000 pairs; the recipes have more), on the pairs that
`infinex.systems.refiner.pairs` made, and prints the L1 of held-out pairs within the supports, as a share of the
mesh engine's. A run that is there already is not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from infinex.systems.refiner import weights
from infinex.systems.refiner.recipe import RECIPES, held_out_error, samples
from infinex.training.trainer import train

VARIANTS: dict[str, list[str]] = {
    "as shipped": [],
    "no mirror": ["mirror=false"],
    "no other light": ["augment=false"],
    "no optical flow": ["weights.flow=0"],
    "stills as one person": ["stills=1"],
    "L1 alone": ["weights.edges=0", "weights.coarse=0", "weights.energy=0"],
}
ONLY = {"no mirror": ("mouth", "head"), "stills as one person": ("mouth",)}  # elsewhere it changes nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--part", nargs="+", default=["mouth", "eye", "head"])
    a = parser.parse_args()
    a.runs.mkdir(parents=True, exist_ok=True)
    print(f"{'':24}" + "".join(f"{p:>8}" for p in a.part))
    held = {p: samples(RECIPES[f"refiner-{p}"], a.pairs, "test") for p in a.part}
    for name, settings in VARIANTS.items():
        row = ""
        for part in a.part:
            if part not in ONLY.get(name, a.part):
                row += f"{'':>8}"
                continue
            run = a.runs / f"{part}-{name.replace(' ', '-')}-{a.epochs}"
            file = run / "weights.safetensors"
            if not file.is_file():
                short = [f"epochs={a.epochs}", "tensorboard=false", "panel_every=100000", "log_every=100"]
                train(f"refiner-{part}", a.pairs, run, [*short, *settings])
            error = held_out_error(weights.load(file, part), held[part])
            row += f"{error['refined'] / error['mesh']:8.3f}"
        print(f"{name:24}{row}", flush=True)


if __name__ == "__main__":
    main()
