"""Make the result of a training run small enough to come with Infinex, and see that nothing is lost.

    python tools/ship_weights.py RUN/weights.safetensors infinex/systems/fomm/data/NAME.safetensors
    python tools/ship_weights.py RUN/weights.safetensors FILE --system monkey_net

Keeps what inference needs, in half precision, and prints the largest change of a prediction on random pictures.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infinex.nn.stored import Layout

SYSTEMS = "fomm", "monkey_net", "x2face", "dae_gan", "stargan", "latent_pose", "marionette", "crossid_gan", "freenet"
# Networks that only training wants; elsewhere the discriminator.
LEFT = {
    "stargan": ("critic",),
    "marionette": ("critic",),
    "crossid_gan": ("critic", "film_critic", "reader", "classifier"),
    "freenet": ("pair", "single", "critic"),
}


def drawn(system: str, layout: Layout[Any], weights: Any, source: Tensor, driving: Tensor) -> Tensor:
    """What networks make of pictures (B, 3, S, S): pictures, or warps."""
    networks = layout.networks(weights)
    if system == "x2face":
        return torch.cat([networks["embedding"](source)[0], networks["driving"](driving)[0]])
    if system == "dae_gan":
        pose: Any = networks["pose"]
        return torch.cat([networks["face"](source[:, None])[1], pose(driving, pose.pose(driving))[0]])
    if system == "latent_pose":
        embedder: Any = networks["embedder"]
        made: Any = networks["generator"](embedder.each(source[:, None])[:, 0], embedder.pose_encoder(driving))
        return torch.cat([made.image, made.mask], 1)
    if system == "stargan":
        return networks["generator"](source * 2 - 1, torch.eye(len(weights.config.labels))[: len(source)])
    if system == "marionette":
        made, aligned = networks["generator"](driving * 2 - 1, source[:, None] * 2 - 1, driving[:, None] * 2 - 1)
        return torch.cat([made.image.flatten(1), aligned.flatten(1)], 1)
    if system == "crossid_gan":
        lines = torch.nn.functional.interpolate(driving.mean(1, keepdim=True), size=weights.config.lines)
        place = driving.new_tensor([0.0, 0.0, -1.0]).expand(len(driving), -1)
        return networks["generator"](networks["motion"](lines), place, networks["content"](source * 2 - 1)).image
    if system == "freenet":
        own = 512 * torch.rand(2, len(source), 2 * weights.config.points, generator=torch.Generator().manual_seed(1))
        wanted = networks["converter"](own[1], own[0], own[1].flip(0))
        return networks["generator"](source * 2 - 1, own[0], wanted).image
    out = networks["generator"](source, networks["detector"](source), networks["detector"](driving))
    return torch.cat([out.prediction, out.deformed])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--system", choices=SYSTEMS, default="fomm")
    a = parser.parse_args()
    layout = import_module(f"infinex.systems.{a.system}.weights").LAYOUT
    full = layout.load(a.weights)
    for name in LEFT.get(a.system, ("discriminator",)):
        full.networks.pop(name, None)
    a.target.parent.mkdir(parents=True, exist_ok=True)
    layout.save(a.target, full, half=True)
    small = layout.load(a.target)
    generator = torch.Generator().manual_seed(0)
    size = full.config.size
    pictures = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8, generator=generator), size=size, mode="bilinear")
    with torch.inference_mode():
        before, after = (drawn(a.system, layout, w, pictures[:4], pictures[4:]) for w in (full, small))
    change = (before - after).abs().max()
    print(f"{a.target}: {a.target.stat().st_size / 1e6:.2f} MB, predictions change by {255 * float(change):.2f}/255")


if __name__ == "__main__":
    main()
