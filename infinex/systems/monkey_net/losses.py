"""The training objective of Monkey-Net (section 3.4): feature matching from the picture itself upwards, and LSGAN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infinex.nn.discriminators import Verdict
from infinex.nn.losses import (
    Adversary,
    discriminator_adversarial,
    feature_matching,
    generator_adversarial,
    reconstruction,
)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are those of `vox`."""

    matching: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0, 1.0)  # of the picture, then of each discriminator block
    deformed: float = 0.0  # of the deformed source itself
    generator_gan: float = 1.0  # 0: no discriminator
    discriminator_gan: float = 1.0


def matching(prediction: Tensor, driving: Tensor, real: Verdict | None, fake: Verdict | None) -> list[Tensor]:
    """Mean absolute differences of the pictures, and of what every block of the discriminator sees in them.

    Both sides pass gradients on: the discriminator is shown keypoints, which learn from it."""
    seen, made = [driving], [prediction]
    if real is not None and fake is not None:
        seen, made = seen + real.features, made + fake.features
    return feature_matching(seen, made, both=True)


def generator_terms(
    prediction: Tensor,
    deformed: Tensor,
    driving: Tensor,
    real: Verdict | None,
    fake: Verdict | None,
    w: LossWeights,
    adversary: Adversary = "lsgan",
) -> dict[str, Tensor]:
    """What generator and keypoints have to learn, each term weighted."""
    levels = matching(prediction, driving, real, fake)
    weighted = [weight * level for weight, level in zip(w.matching, levels)]
    terms = {"reconstruction": weighted[0]}
    if len(weighted) > 1:
        terms["feature_matching"] = torch.stack(weighted[1:]).sum()
    if w.deformed:
        terms["deformed"] = w.deformed * reconstruction(deformed, driving)
    if fake is not None and w.generator_gan:
        terms["generator_gan"] = w.generator_gan * generator_adversarial(fake.score, adversary)
    return terms


def discriminator_terms(
    real: Verdict, fake: Verdict, w: LossWeights, adversary: Adversary = "lsgan"
) -> dict[str, Tensor]:
    """What the discriminator has to learn."""
    return {"discriminator_gan": w.discriminator_gan * discriminator_adversarial(real.score, fake.score, adversary)}
