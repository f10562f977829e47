"""What the networks are trained for: sound classes by cross-entropy, mouths by distance on the mesh and its change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SOFT = 0.3  # below this distance the position term is quadratic, beyond it linear


@dataclass(frozen=True)
class SpeechWeights:
    """Shares of the terms."""

    position: float = 1.0
    change: float = 1.0  # of the difference over 40 ms, L_temp of Neural Voice Puppetry
    bias: float = 0.3  # how close every talker's own resting place stays to the shared one
    gain: float = 0.05  # and how close their liveliness


def sounds(logits: Tensor, classes: Tensor, smoothing: float = 0.05) -> Tensor:
    """Cross-entropy of logits (B, T, C) against classes (B, T)."""
    return F.cross_entropy(logits.flatten(0, 1), classes.flatten(), label_smoothing=smoothing)


def position(made: Tensor, truth: Tensor) -> Tensor:
    """Root of the squared distance of coefficients (..., T, K), which are orthonormal on the weighted mesh."""
    square = ((made - truth) ** 2).sum(-1)
    return (torch.sqrt(square + SOFT**2) - SOFT).mean()


def change(made: Tensor, truth: Tensor, steps: int = 2) -> Tensor:
    """Squared distance of the differences over some steps."""
    a, b = made[..., steps:, :] - made[..., :-steps, :], truth[..., steps:, :] - truth[..., :-steps, :]
    return ((a - b) ** 2).sum(-1).mean()
