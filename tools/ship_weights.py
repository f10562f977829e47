"""Make the result of a training run small enough to come with Infinex, and see that nothing is lost.

    python tools/ship_weights.py RUN/weights.safetensors infinex/systems/fomm/data/NAME.safetensors

Keeps what inference needs, in half precision, and prints the largest change of a prediction on random pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from infinex.systems.fomm.weights import LAYOUT, model_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("target", type=Path)
    a = parser.parse_args()
    full = LAYOUT.load(a.weights)
    model = model_of(full)
    full.networks.pop("discriminator", None)
    a.target.parent.mkdir(parents=True, exist_ok=True)
    LAYOUT.save(a.target, full, half=True)
    small = model_of(LAYOUT.load(a.target))
    generator = torch.Generator().manual_seed(0)
    size = full.config.size
    pictures = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8, generator=generator), size=size, mode="bilinear")
    with torch.inference_mode():
        change = (
            (model(pictures[:4], pictures[4:]).prediction - small(pictures[:4], pictures[4:]).prediction).abs().max()
        )
    print(f"{a.target}: {a.target.stat().st_size / 1e6:.2f} MB, predictions change by {255 * float(change):.2f}/255")


if __name__ == "__main__":
    main()
