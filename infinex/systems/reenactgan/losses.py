"""What ReenactGAN minimises, and how its published code does (Wu et al. 2018, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

from infinex.nn.losses import generator_adversarial
from infinex.nn.vgg import VGG16

SHAPE_COMPONENTS = 3  # of the principal components, those that the shape loss keeps
Net = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TransformerWeights:
    """Of the losses of the boundary transformer."""

    cycle: float = 50.0
    shape: float = 10.0  # 0: the ablation without it


@dataclass(frozen=True)
class DecoderWeights:
    """Of the losses of a decoder; `features` of VGG-16, or of what stands in for it."""

    pixels: float = 100.0
    features: float = 10.0
    adversary: float = 1.0


def edges(maps: Tensor) -> Tensor:
    """(B, C, H, W): Sobel's filter across, then down, on every map by itself, as the published critics see them.

    One after the other they are a mixed derivative, and no magnitude."""
    across = maps.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    for kernel in (across, across.T):
        maps = F.conv2d(maps, kernel.expand(maps.shape[1], 1, 3, 3), padding=1, groups=maps.shape[1])
    return maps


def enlarged(maps: Tensor, size: int) -> Tensor:
    """Maps at the size of the picture, as the decoder's critic is shown them: bilinear, centres of pixels aligned."""
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)


def beside(maps: Tensor, image: Tensor, clipped: bool = False) -> Tensor:
    """What the decoder's critic sees: maps (B, parts, h, w) enlarged and the picture (B, 3, S, S), stacked.

    `clipped`, as published: there the decoder's first rectifier works in place and has cut the maps at 0."""
    return torch.cat([enlarged(F.relu(maps) if clipped else maps, image.shape[-1]), image], 1)


def shape_distance(align: Net, pca: Net, fake: Tensor, own: Tensor) -> Tensor:
    """Mean absolute difference of the first three components of the landmarks in two sets of maps, a scalar.

    `own` are the maps that `fake` was made of: what varies most over people and poses stays as it was."""
    with torch.no_grad():
        wanted = pca(align(own))[:, :SHAPE_COMPONENTS]
    return (pca(align(fake))[:, :SHAPE_COMPONENTS] - wanted).abs().mean()


@dataclass(frozen=True)
class Crossed:
    """Boundaries of the target and of every source, made into one another and back; lists are by source."""

    target: Tensor  # (B, parts, h, w)
    sources: list[Tensor]
    to_target: list[Tensor]  # of every source
    to_source: list[Tensor]  # of the target
    sources_back: list[Tensor]
    target_back: list[Tensor]

    @staticmethod
    def over(forward: Net, back: Sequence[Net], target: Tensor, sources: Sequence[Tensor]) -> Crossed:
        """`forward` makes anybody the target, `back` the target each of the sources."""
        there = [forward(s) for s in sources]
        here = [g(target) for g in back]
        return Crossed(
            target, list(sources), there, here, [g(t) for g, t in zip(back, there)], [forward(h) for h in here]
        )


def transformer_terms(
    w: TransformerWeights, c: Crossed, critics: Sequence[Net], align: Net, pca: Net
) -> dict[str, Tensor]:
    """Weighted, each summed over the sources and both directions: least squares, cycle, shape.

    `critics` are that of the target, then those of the sources."""
    zero = c.target.new_zeros(())
    terms = {"gan": zero, "cycle": zero, "shape": zero}
    for i, own in enumerate(c.sources):
        terms["gan"] = terms["gan"] + generator_adversarial(critics[0](edges(c.to_target[i])))
        terms["gan"] = terms["gan"] + generator_adversarial(critics[i + 1](edges(c.to_source[i])))
        both = (c.sources_back[i] - own).abs().mean() + (c.target_back[i] - c.target).abs().mean()
        terms["cycle"] = terms["cycle"] + w.cycle * both
        if w.shape:
            there = shape_distance(align, pca, c.to_target[i], own)
            here = shape_distance(align, pca, c.to_source[i], c.target)
            terms["shape"] = terms["shape"] + w.shape * (there + here)
    if not w.shape:
        del terms["shape"]
    return terms


def critic_terms(c: Crossed, critics: Sequence[Net]) -> dict[str, Tensor]:
    """Least squares of every critic, not halved: what is real counts once, what was made once for each maker."""
    fake = [(critics[0](edges(m.detach())) ** 2).mean() for m in c.to_target]
    terms = {
        "critic_real": ((1 - critics[0](edges(c.target))) ** 2).mean(),
        "critic_fake": torch.stack(fake).sum(),
    }
    back_real, back_fake = c.target.new_zeros(()), c.target.new_zeros(())
    for critic, own, made in zip(critics[1:], c.sources, c.to_source, strict=True):
        back_real = back_real + ((1 - critic(edges(own))) ** 2).mean()
        back_fake = back_fake + (critic(edges(made.detach())) ** 2).mean()
    return terms | {"critic_sources_real": back_real, "critic_sources_fake": back_fake}


def vgg_distance(vgg: VGG16, image: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of relu2_2, and of relu3_3, summed, for pictures (B, 3, S, S) in -1..1."""
    with torch.no_grad():
        wanted = vgg((target + 1) / 2)
    made = vgg((image + 1) / 2)
    return torch.stack([F.mse_loss(a, b) for a, b in zip(made[1:3], wanted[1:3])]).sum()
