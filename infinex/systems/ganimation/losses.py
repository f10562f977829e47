"""The training objective of GANimation (section 4.2), term by term.

critic     E[D(x')] - E[D(x)] + 10·penalty + expression of real pictures
generator  -E[D(x')] + expression of made pictures + attention (both passes) + cycle identity
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infinex.nn.losses import bare, discriminator_adversarial, generator_adversarial, gradient_penalty, reconstruction
from infinex.systems.ganimation.model import Critic, Edit, Verdict


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are those of the paper (section 5)."""

    gradient_penalty: float = 10.0
    expression: float = 4000.0  # the published training divides it by the batch size: 160 for its 25
    attention: float = 0.1
    variation: float = 1e-4  # of the attention mask, times `attention`
    identity: float = 10.0
    paired: float = 0.0  # not in the paper: distance to a picture known to show the wanted expression

    def expression_of(self, batch: int) -> float:
        """Weight of the mean squared error of intensities for a batch of so many pictures."""
        return self.expression / batch


def total_variation(mask: Tensor) -> Tensor:
    """Σ_ij (A[i+1,j] - A[i,j])² + (A[i,j+1] - A[i,j])², mean over the batch; `mask` (B, 1, H, W), a scalar."""
    return (mask.diff(dim=2).square().sum() + mask.diff(dim=3).square().sum()) / len(mask)


def attention_loss(mask: Tensor, variation: float = 1e-4) -> Tensor:
    """λ_TV·TV(A) + mean A (equation 3): masks that stay smooth and do not keep the whole picture."""
    return variation * total_variation(mask) + mask.mean()


def expression_loss(estimated: Tensor, wanted: Tensor) -> Tensor:
    """mean (D_y - y)² over pictures and units (B, U), a scalar (equation 4)."""
    return (estimated - wanted).square().mean()


def identity_loss(back: Tensor, image: Tensor) -> Tensor:
    """mean |G(G(I | y_f) | y_o) - I| (equation 5): who goes there and back is the same person."""
    return reconstruction(back, image)


def face_window(size: int) -> Tensor:
    """Weights (size, size) that keep to the middle of an upright face crop, 0.1 + 0.9·exp(-(r / 0.36 size)^4)."""
    at = (torch.arange(size) + 0.5) / size - 0.5
    square = (at[:, None] - 0.04) ** 2 + at[None, :] ** 2
    return 0.1 + 0.9 * torch.exp(-((square / 0.36**2) ** 2))


def paired_loss(made: Tensor, target: Tensor, paired: Tensor) -> Tensor:
    """Mean |made - target| over the face of those pictures (B, 3, S, S) where `paired` (B, 1) is 1; a scalar.

    Not in the paper. Hair and background, which differ between two frames for other reasons, count little."""
    window = face_window(made.shape[-1]).to(made) * paired.reshape(-1, 1, 1, 1)
    return ((made - target).abs() * window).sum() / (3 * window.sum()).clamp_min(1)


def generator_terms(
    weights: LossWeights, there: Edit, back: Edit | None, image: Tensor, verdict: Verdict | None, wanted: Tensor
) -> dict[str, Tensor]:
    """Weighted terms of the generator (equation 6).

    `there` is `image` (B, 3, H, W) under `wanted` (B, U), `back` is that under the intensities `image` had,
    `verdict` the critic's on `there`; without one of the latter its terms are left out.
    """
    terms: dict[str, Tensor] = {}
    if verdict is not None:
        terms["generator_gan"] = generator_adversarial(verdict.score, "wgan-gp")
        terms["expression"] = weights.expression_of(len(image)) * expression_loss(verdict.units, wanted)
    if back is not None:
        terms["identity"] = weights.identity * identity_loss(back.image, image)
    if weights.attention:
        terms["attention"] = weights.attention * attention_loss(there.attention, weights.variation)
        if back is not None:
            terms["attention_back"] = weights.attention * attention_loss(back.attention, weights.variation)
    return terms


def critic_terms(
    weights: LossWeights, critic: Critic, image: Tensor, made: Tensor, units: Tensor, mix: Tensor | None = None
) -> dict[str, Tensor]:
    """Weighted terms of the critic on real pictures `image` with intensities `units` and `made` ones.

    `mix` (B,) is the share of the real picture where the penalty is taken; uniform if not given (equation 2).
    """
    real, fake = critic(image), critic(made.detach())
    plain = bare(critic)
    return {
        "critic_gan": discriminator_adversarial(real.score, fake.score, "wgan-gp"),
        "critic_expression": weights.expression_of(len(image)) * expression_loss(real.units, units),
        "critic_penalty": weights.gradient_penalty * gradient_penalty(lambda x: plain(x).score, image, made, mix),
    }
