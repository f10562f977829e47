"""The training objective of MoCoGAN-HD (section 3), term by term."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

from infinex.systems.mocogan_hd.model import Scales

TEMPERATURE = 0.07


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms, as published."""

    video: float = 0.5  # both players' relativistic loss
    penalty: float = 10.0
    contrast: float = 2.0
    match: float = 1.0  # 5 for faces (FFHQ)
    mutual: float = 1.0


def relativistic(over: Scales, under: Scales, over_aim: float = 1.0, under_aim: float = 0.0) -> tuple[Tensor, Tensor]:
    """How far scores `over` are from lying one above the mean of `under`, and `under` from the mean of `over`.

    Relativistic average least squares (Jolicoeur-Martineau 2019) with the published aims 1 and 0; two scalars, summed
    over scales."""
    first, second = over[0][-1].new_zeros(()), over[0][-1].new_zeros(())
    for a, b in zip(over, under):
        first = first + (a[-1] - b[-1].mean() - over_aim).square().mean()
        second = second + (b[-1] - a[-1].mean() - under_aim).square().mean()
    return first, second


def gradient_penalty(
    score: Callable[[Tensor], Scales], real: Tensor, fake: Tensor, mix: Tensor | None = None
) -> Tensor:
    """mean (‖∂D/∂x‖₂ - 1)² with the norm over the channel axis alone, as published; the mean over scales, a scalar.

    Videos (B, C, T, H, W); `mix` (B,) is the share of the real one, uniform if not given."""
    mix = torch.rand(len(real), device=real.device) if mix is None else mix
    share = mix.reshape(-1, *[1] * (real.dim() - 1)).to(real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_(True)
    total, scales = between.new_zeros(()), score(between)
    for scale in scales:
        (slope,) = torch.autograd.grad(scale[-1].sum(), between, create_graph=True)
        total = total + ((slope.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
    return total / len(scales)


def contrastive(views: Sequence[Tensor], queue: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """-log of a picture's other view among all projections and the queue, a scalar.

    `views` are two of projections (B, P), `queue` (Q, P). A projection's likeness to itself is set to 0."""
    own = F.normalize(torch.cat(list(views)), dim=1)
    everything = torch.cat([own, F.normalize(queue, dim=1)])
    scores = own @ everything.T / temperature
    n = len(own)
    blind = torch.ones_like(scores)
    blind[torch.arange(n), torch.arange(n)] = 0
    partner = (torch.arange(n, device=own.device) + n // 2) % n
    return F.cross_entropy(scores * blind, partner)


def matching(later: Tensor, first: Tensor) -> Tensor:
    """Minus the mean cosine of projections (B, P) of later and first frames: who moves stays the same."""
    return -F.cosine_similarity(later, first, dim=1).mean()


def mutual(noise: Tensor, told: Tensor) -> Tensor:
    """Minus the mean cosine of noise (B, T, N) and what the motion's state tells of it, so that it varies."""
    return -F.cosine_similarity(noise.flatten(0, 1), told.flatten(0, 1), dim=1).mean()
