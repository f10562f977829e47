"""Losses of language-guided face animation, equations 9 to 11, each a sum as the paper writes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

TEMPERATURE = 0.07


@dataclass(frozen=True)
class LossWeights:
    """λ of equation 12."""

    content: float = 1.0  # w-reg
    path: float = 1.0
    contrast: float = 0.5
    lpips: float = 1.0
    ends: float = 0.0  # squared first and last change, a term of the authors' code that the paper does not have


def content_regularisation(codes: Tensor, content: Tensor) -> Tensor:
    """Equation 9: how far the codes (B, T, ...) of all frames are from the content's (B, ...); a sum."""
    return (codes - content[:, None]).square().sum()


def path_regularisation(codes: Tensor) -> Tensor:
    """Equation 10: how much the step from frame to frame of (B, T, ...) changes; a sum, 0 for T < 3."""
    steps = codes[:, 1:] - codes[:, :-1]
    return (steps[:, 1:] - steps[:, :-1]).square().sum()


def contrastive(images: Tensor, texts: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Equation 11: minus the log-likelihood of each picture's own text among those of the batch; a sum.

    `images`, `texts` (B, E) are embeddings of unit length, the texts all different."""
    scores = images @ texts.T / temperature
    return F.cross_entropy(scores, torch.arange(len(images), device=images.device), reduction="sum")


def end_regularisation(codes: Tensor) -> Tensor:
    """Squared difference of the first and of the last two frames of (B, T, ...), a sum."""
    first, last = codes[:, 1] - codes[:, 0], codes[:, -1] - codes[:, -2]
    return first.square().sum() + last.square().sum()
