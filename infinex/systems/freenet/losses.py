"""What FReeNet minimises, as its published code weighs it (Zhang et al. 2020, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

from infinex.nn.losses import generator_adversarial, reconstruction, triplet

Distances = Callable[[Tensor, Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class ConverterWeights:
    """Of the converter; the identity term is in the code and not in the paper."""

    points: float = 100.0
    cycle: float = 10.0
    identity: float = 10.0
    pair: float = 0.1
    single: float = 0.1
    critic_pair: float = 0.1  # of the critics' own losses
    critic_single: float = 1.0


@dataclass(frozen=True)
class GeneratorWeights:
    """Of the generator."""

    adversary: float = 0.1
    pixels: float = 100.0
    triplet: float = 0.1  # 0: the ablation without it
    margin: float = 0.3
    steps: float = 0.0  # ours: the differences between neighbouring pixels
    moved: float = 0.0  # ours, of a `MovingGenerator`: the portrait's pixels alone, moved ...
    taught: float = 0.0  # ... and where the tracked mesh says that they come from


@dataclass(frozen=True)
class Converted:
    """What the converter made of a batch: landmarks (B, 2·points)."""

    made: Tensor  # the other's face under the expression
    cycle: Tensor  # carried back
    identity: Tensor  # carried over to the same face


def converter_terms(
    w: ConverterWeights, c: Converted, expression: Tensor, wanted: Tensor, pair: Tensor, single: Tensor
) -> dict[str, Tensor]:
    """Weighted. `expression` is the performer's, `wanted` the other's under it; `pair` and `single` what the critics
    say of what was made."""
    return {
        "points": w.points * reconstruction(c.made, wanted),
        "cycle": w.cycle * reconstruction(c.cycle, expression),
        "identity": w.identity * reconstruction(c.identity, expression),
        "pair": w.pair * generator_adversarial(pair),
        "single": w.single * generator_adversarial(single),
    }


def critic_halves(weight: float, real: Tensor, fake: Tensor) -> Tensor:
    """Half of the weighted squared errors of a critic's scores, a scalar."""
    return 0.5 * weight * (generator_adversarial(real) + fake.square().mean())


def triplet_distance(
    distances: Distances, anchor: Tensor, positive: Tensor, negative: Tensor, margin: float, published: bool = False
) -> Tensor:
    """A scalar: the same person under another expression is nearer than another person under the same, by `margin`.

    `distances` are of two pictures, a scalar for each level. As published a batch is one distance, and the margin only
    decides whether a level counts; otherwise every sample counts by itself, and the margin is one."""
    if published:
        return triplet(distances(positive, anchor), distances(negative, anchor), margin, margin_is_gate=True)
    total = anchor.new_zeros(())
    for a, p, n in zip(anchor.split(1), positive.split(1), negative.split(1)):
        total = total + triplet(distances(p, a), distances(n, a), margin)
    return total / len(anchor)


def steps_apart(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the steps between neighbouring pixels, a scalar."""
    off = image - target
    return 0.5 * (off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean())


def misplaced(flow: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
    """How far from the mesh's points (B, N, 2) in the portrait a flow takes those in the wanted picture, a scalar; all
    in halves of the side, from -1 to 1 between the edges."""
    found = F.grid_sample(flow, wanted[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return (found.mT + wanted - own).abs().mean()


def squared_features(maps: Callable[[Tensor], Sequence[Tensor]]) -> Distances:
    """Mean squared differences of a network's first three maps."""

    def distances(image: Tensor, other: Tensor) -> list[Tensor]:
        return [(a - b).square().mean() for a, b in zip(maps(image)[:3], maps(other)[:3])]

    return distances


def beside(image: Tensor, other: Tensor) -> Tensor:
    """What the patch critic sees: the face as it was and the picture that is judged, (B, 6, S, S)."""
    return torch.cat([image, other], 1)
