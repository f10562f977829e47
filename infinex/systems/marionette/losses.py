"""What MarioNETte is taught by: a hinge, features of two recognisers and of the critic (section 3.5 of the paper).

The public re-implementation differs in two things, which are kept by name: its hinge, and features of some layers that
are taken before they are rectified.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.files import read_weights
from infinex.nn.losses import discriminator_adversarial, generator_adversarial
from infinex.nn.vgg import STAGES_16, VGG16, Stages, torchvision_indices
from infinex.training.embedded import embedded_points, offset_apart

Hinge = Literal["hinge", "published"]
# Stages whose features are not rectified, as published: the last of VGG-19, the fourth of the face recogniser.
RAW_OBJECTS, RAW_FACES = (4,), (3,)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms, as in the paper."""

    adversarial: float = 1.0
    objects: float = 10.0  # features of VGG-19, or of what stands in for it; 0.01 in the re-implementation
    faces: float = 0.01  # features of a network that knows faces, where its weights are given
    feature_matching: float = 10.0
    # What the paper has not, and small runs learn sooner by:
    pixels: float = 0.0  # mean absolute error
    edges: float = 0.0  # the same of the steps between neighbours
    lines: float = 0.0  # by how much more both count near the lines of the outline
    taught: float = 0.0  # distance of the flows from what the tracked face says they are


def face_recogniser(path: str | Path) -> Stages:
    """A VGG-16 that knows faces (Parkhi et al. 2015), convolutions named as torchvision's or `conv1_1` to `conv5_3`.

    Raises WeightsError."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} does not exist: give the state dict of a VGG-16 that knows faces")
    state, network = read_weights(path), VGG16(STAGES_16)
    if isinstance(state, dict) and "conv1_1.weight" in state:
        names = [f"conv{i}_{k}" for i, stage in enumerate(STAGES_16, 1) for k in range(1, len(stage) + 1)]
        ours = dict(zip(names, torchvision_indices(STAGES_16)))
        named = {(key.rpartition(".")[0], key.rpartition(".")[2]): v for key, v in state.items()}
        state = {f"features.{ours[n]}.{part}": v for (n, part), v in named.items() if n in ours}
    network.read(state, str(path), "VGG-16")
    return network


def features(network: Stages, image: Tensor, raw: Collection[int] = ()) -> list[Tensor]:
    """Maps after the first convolution of every stage, rectified but for the stages `raw`.

    `image` (B, 3, H, W) is normalised as the network has it: for the published sums, not at all."""
    x, convs, out = (image - network.mean) / network.std, iter(network.convs), []
    for i, stage in enumerate(network.stages):
        first = next(convs)(F.max_pool2d(x, 2) if i else x)
        x = F.relu(first)
        out.append(first if i in raw else x)
        for _ in stage[1:]:
            x = F.relu(next(convs)(x))
    return out


def perceptual(network: Stages, made: Tensor, real: Tensor, raw: Collection[int] = ()) -> Tensor:
    """Mean absolute differences of the features, summed over the stages; a scalar."""
    with torch.no_grad():
        wanted = features(network, real, raw)
    return torch.stack([(a - b).abs().mean() for a, b in zip(features(network, made, raw), wanted)]).sum()


def near_lines(outlines: Tensor) -> Tensor:
    """0..1 (B, 1, S, S) near the lines of outlines (B, 3, S, S) in 0..1."""
    drawn = outlines.amax(1, keepdim=True)
    wide = max(3, outlines.shape[-1] // 12 | 1)
    return F.avg_pool2d(F.max_pool2d(drawn, wide, 1, wide // 2), wide, 1, wide // 2)


def flows_apart(aligned: Tensor, read: list[Tensor], own: Tensor, wanted: Tensor) -> Tensor:
    """How far flows are from what the tracked face says; a scalar.

    The pose that the target's maps are moved into is that of the mean face, seen from the front. `aligned`
    (B, 2, h, w), offsets, lead from there to the target's points `own` (B, 468, 2), x and y in -1..1; each of the
    decoder's, `read`, from the driver's points `wanted` to there."""
    middle = torch.from_numpy(embedded_points()).to(own)[None]
    return offset_apart(aligned, middle, own) + torch.stack([offset_apart(f, wanted, middle) for f in read]).mean()


def critic_hinge(real: Tensor, fake: Tensor, kind: Hinge = "hinge") -> Tensor:
    """How badly the critic tells scores apart; a scalar.

    hinge      mean max(0, 1 - D(x)) + mean max(0, 1 + D(x'))
    published  max(0, 1 - mean D(x)) + max(0, 1 - mean D(x')), which wants both high and hands no gradient on: with it
               the critic never learns
    """
    if kind == "published":
        return (F.relu(1 - real.mean()) + F.relu(1 - fake.mean())).detach()
    return discriminator_adversarial(real, fake, "hinge")


def generator_hinge(fake: Tensor) -> Tensor:
    """mean -D(x')."""
    return generator_adversarial(fake, "hinge")
