"""The training objective of the First Order Motion Model (section 3.3 and the authors' training recipe).

generator, motion and keypoints   perceptual + equivariance (value, Jacobian) + adversarial + feature matching
discriminator                     adversarial (+ gradient penalty for wgan-gp)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infinex.nn.discriminators import Verdict
from infinex.nn.geometry import ThinPlateTransform, inverse_2x2
from infinex.nn.layers import ImagePyramid
from infinex.nn.losses import (
    Adversary,
    PyramidPerceptual,
    discriminator_adversarial,
    feature_matching,
    generator_adversarial,
    gradient_penalty,
)
from infinex.systems.fomm.model import Keypoints

Verdicts = dict[float, Verdict]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are those of the published adversarial training."""

    perceptual: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0, 10.0)  # per VGG level
    equivariance_value: float = 10.0
    equivariance_jacobian: float = 10.0
    generator_gan: float = 1.0  # 0: no adversarial training at all, as for vox-256
    discriminator_gan: float = 1.0
    feature_matching: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0)  # per discriminator block
    gradient_penalty: float = 10.0  # wgan-gp only


@dataclass(frozen=True)
class TransformSizes:
    """How far the random transforms of the equivariance loss go."""

    sigma_affine: float = 0.05
    sigma_spline: float = 0.005
    points: int = 5  # control points along each side


def equivariance_value(keypoints: Keypoints, moved: Keypoints, transform: ThinPlateTransform) -> Tensor:
    """mean |p - T(p')|: keypoints of a picture against those of its transform, mapped back (equation 8).

    The transformed picture shows at z what the picture has at T(z), so T takes its keypoints `moved` to the
    picture's own `keypoints`.
    """
    return (keypoints.value - transform.points(moved.value)).abs().mean()


def equivariance_jacobian(keypoints: Keypoints, moved: Keypoints, transform: ThinPlateTransform) -> Tensor:
    """mean |1 - J⁻¹·T'(p')·J'|, the same for the local frames (equation 11).

    Written as a product that should be the identity, for the difference of both sides is least at J = 0.
    """
    mapped = transform.jacobian(moved.value) @ moved.jacobian.float()
    product = inverse_2x2(keypoints.jacobian) @ mapped
    return (torch.eye(2, device=product.device) - product).abs().mean()


class FommLosses(nn.Module):
    """All terms, each already multiplied by its weight, under the names the curves are drawn by."""

    def __init__(
        self,
        perceptual: nn.Module | None,  # gives as many levels, fine to coarse, as it has weights; None: off
        weights: LossWeights = LossWeights(),
        scales: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125),
        adversary: Adversary = "lsgan",
    ) -> None:
        super().__init__()
        self.weights, self.adversary = weights, adversary
        self.pyramid = ImagePyramid(scales)
        self.perceptual = PyramidPerceptual(perceptual, weights.perceptual, scales) if perceptual is not None else None

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator to train."""
        return self.weights.generator_gan > 0

    def picture(self, prediction: dict[float, Tensor], target: dict[float, Tensor]) -> dict[str, Tensor]:
        """What the pictures alone say, from their pyramids."""
        if self.perceptual is None or not any(self.weights.perceptual):
            return {}
        return {"perceptual": self.perceptual(prediction, target)}

    def equivariance(self, keypoints: Keypoints, moved: Keypoints, transform: ThinPlateTransform) -> dict[str, Tensor]:
        """What the keypoints of a picture and of its transform say."""
        w, out = self.weights, {}
        if w.equivariance_value:
            out["equivariance_value"] = w.equivariance_value * equivariance_value(keypoints, moved, transform)
        if w.equivariance_jacobian:
            term = equivariance_jacobian(keypoints, moved, transform)
            out["equivariance_jacobian"] = w.equivariance_jacobian * term
        return out

    def generator(self, real: Verdicts, fake: Verdicts) -> dict[str, Tensor]:
        """What the discriminator says to the generator, summed over its scales."""
        w = self.weights
        gan = [generator_adversarial(v.score, self.adversary) for v in fake.values()]
        out = {"generator_gan": w.generator_gan * torch.stack(gan).sum()}
        if any(w.feature_matching):
            terms = [
                weight * term
                for scale in fake
                for weight, term in zip(
                    w.feature_matching, feature_matching(real[scale].features, fake[scale].features)
                )
            ]
            out["feature_matching"] = torch.stack(terms).sum()
        return out

    def discriminator(self, real: Verdicts, fake: Verdicts) -> dict[str, Tensor]:
        """What the discriminator has to learn, summed over its scales."""
        terms = [discriminator_adversarial(real[s].score, fake[s].score, self.adversary) for s in fake]
        return {"discriminator_gan": self.weights.discriminator_gan * torch.stack(terms).sum()}

    def penalty(
        self,
        discriminate: Callable[[dict[float, Tensor]], Verdicts],
        real: dict[float, Tensor],
        fake: dict[float, Tensor],
    ) -> dict[str, Tensor]:
        """Gradient penalty of wgan-gp, taken on the finest picture the discriminator sees."""
        if self.adversary != "wgan-gp" or not self.weights.gradient_penalty:
            return {}
        scale = max(real)

        def score(x: Tensor) -> Tensor:
            shrunk = {s: x if s == scale else level(x) for s, level in zip(self.pyramid.scales, self.pyramid.levels)}
            # The critic is the mean over patches, which is also what the adversarial term compares.
            return torch.cat([v.score.flatten(1) for v in discriminate(shrunk).values()], dim=1).mean(1)

        term = gradient_penalty(score, real[scale], fake[scale])
        return {"gradient_penalty": self.weights.gradient_penalty * term}
