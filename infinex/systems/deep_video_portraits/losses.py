"""What the networks are taught by: fool a critic that sees the conditions, and be like the frame (section 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infinex.nn.losses import Adversary, generator_adversarial


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; 0 leaves it out."""

    adversarial: float = 1.0
    likeness: float = 100.0  # mean absolute error
    focus: float = 0.0  # by how much more mouth and eyes count in it; not in the paper


def focused(made: Tensor, frame: Tensor, focus: Tensor, weight: float) -> Tensor:
    """Mean absolute error of pictures (B, 3, H, W) in which `focus` (B, 1, H, W) in 0..1 counts `weight` times more."""
    share = 1 + weight * focus
    return ((made - frame).abs() * share).sum() / (share.sum() * made.shape[1])


def renderer_terms(
    w: LossWeights, made: Tensor, frame: Tensor, focus: Tensor, score: Tensor | None, adversary: Adversary
) -> dict[str, Tensor]:
    """Weighted terms of the renderer by name; `score` is the critic's of what was `made`."""
    terms = {"likeness": w.likeness * focused(made, frame, focus, w.focus)}
    if score is not None:
        terms["adversarial"] = w.adversarial * generator_adversarial(score, adversary)
    return terms
