"""What StyleCLIP minimises (section 5, equations 1 to 4): the text's distance, identity, and the size of the change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

ENLARGED, CLIP_SIDE = 7, 32  # a picture is enlarged seven times, then averaged over 1/32 of its side: 224 pixels


@dataclass(frozen=True)
class LossWeights:
    """λ of equation 4, as published."""

    clip: float = 1.0
    identity: float = 0.1
    change: float = 0.8


def clip_input(image: Tensor) -> Tensor:
    """(B, 3, S, S) to (B, 3, 224, 224) as published: repeated, averaged, *not* normalised as CLIP's own are."""
    return F.avg_pool2d(F.interpolate(image, scale_factor=ENLARGED, mode="nearest"), image.shape[-1] // CLIP_SIDE)


def clip_loss(images: Tensor, text: Tensor) -> Tensor:
    """1 - cosine of embeddings (B, E) and (1, E), each of any length: (B,)."""
    return 1 - F.cosine_similarity(images, text, dim=1)


def identity_loss(made: Tensor, source: Tensor) -> Tensor:
    """1 - cosine of identity features of unit length (B, E), the mean; a scalar."""
    return (1 - (made * source).sum(1)).mean()


def change_loss(edited: Tensor, codes: Tensor) -> Tensor:
    """Mean squared change of codes, a scalar."""
    return F.mse_loss(edited, codes)


def terms(
    weights: LossWeights,
    distance: Tensor,
    made: Tensor,
    source: Tensor,
    codes: Tensor,
    edited: Tensor,
    identity: Callable[[Tensor], Tensor] | None,
) -> dict[str, Tensor]:
    """Weighted terms: `distance` (B,) of `clip_loss`, pictures `made` of `source`, codes `edited` of `codes`."""
    out = {"clip": weights.clip * distance.mean(), "change": weights.change * change_loss(edited, codes)}
    if identity is not None and weights.identity:
        out["identity"] = weights.identity * identity_loss(identity(made), identity(source).detach())
    return out


def ramp(step: int, steps: int, rate: float = 0.1, up: float = 0.05, down: float = 0.25) -> float:
    """Learning rate at `step` of so many: up over the first share of them, down by a cosine over the last."""
    t = step / steps
    falling = 0.5 - 0.5 * math.cos(min(1.0, (1 - t) / down) * math.pi)
    return rate * falling * min(1.0, t / up)
