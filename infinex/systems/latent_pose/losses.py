"""The training objective of Latent Pose Descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.losses import StructuralPerceptualLoss, feature_matching
from infinex.nn.vgg import STAGES, STAGES_16, CaffeFeatures, face_inside, features_apart

Adversary = Literal["hinge", "rgan", "ragan"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are the authors'."""

    vgg: float = 0.03  # of VGG-19's features, where its weights are given
    vgg_face: float = 0.006  # of VGG-Face's, on the face alone
    structural: float = 1.0  # of the substitute, where they are not
    pixels: float = 0.0  # of colours' mean absolute difference, and that of their steps between neighbours
    adversarial: float = 1.0  # 0: no discriminator, no features of it, no rows
    matching: float = 10.0
    embedding: float = 0.01  # of the identity code beside the discriminator's row
    dice: float = 1.0


def generator_hinge(real: Tensor, fake: Tensor, kind: Adversary = "hinge") -> Tensor:
    """How far scores (B,) of made pictures are from passing for real ones; a scalar.

    hinge mean -D; rgan and ragan are relativistic (Jolicoeur-Martineau 2018), to the other picture or to the mean."""
    if kind == "hinge":
        return -fake.mean()
    if kind == "rgan":
        return 2 * F.relu(1 + (real - fake)).mean()
    return F.relu(1 + (real - fake.mean())).mean() + F.relu(1 - (fake - real.mean())).mean()


def discriminator_hinge(real: Tensor, fake: Tensor, kind: Adversary = "hinge") -> Tensor:
    """How badly scores (B,) tell real from made; a scalar."""
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "rgan":
        return 2 * F.relu(1 - (real - fake)).mean()
    return F.relu(1 - (real - fake.mean())).mean() + F.relu(1 + (fake - real.mean())).mean()


def matched(real: Iterable[Tensor], fake: Iterable[Tensor]) -> Tensor:
    """Mean over the discriminator's blocks of the mean absolute difference; the real side is fixed."""
    return torch.stack(feature_matching(list(real), list(fake))).mean()


def dice(mask: Tensor, wanted: Tensor) -> Tensor:
    """-log of the Dice coefficient of masks (B, 1, H, W), over the whole batch; 0 for equal ones of 0 and 1.

    The authors' `wanted` has three equal channels, so that its numerator counts thrice and a perfect mask comes out
    below 0: that is what three channels here give."""
    return -torch.log(2 * (mask * wanted).sum() / (mask.square().sum() + wanted.square().sum()))


def pixels_apart(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of pictures (B, 3, H, W), and of their steps down and across; a scalar."""
    off = made - wanted
    return off.abs().mean() + off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean()


class Perceptual(nn.Module):
    """Features of VGG-19 on the picture and of VGG-Face on its middle; without their weights, a substitute."""

    def __init__(self, weights: LossWeights, vgg: str = "", vgg_face: str = "") -> None:
        """Paths of state dicts. Raises WeightsError."""
        super().__init__()
        self.weights = weights
        self.vgg = CaffeFeatures.load(vgg, STAGES) if vgg else None
        self.face = CaffeFeatures.load(vgg_face, STAGES_16) if vgg_face else None
        self.substitute = None if vgg or vgg_face or not weights.structural else StructuralPerceptualLoss()
        self.requires_grad_(False)

    def forward(self, made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W) in about 0..1; scalars, weighted."""
        w, out = self.weights, {}
        if self.vgg is not None:
            out["vgg"] = w.vgg * features_apart(self.vgg, made, wanted)
        if self.face is not None:
            out["vgg_face"] = w.vgg_face * features_apart(self.face, face_inside(made), face_inside(wanted))
        if self.substitute is not None:
            out["structural"] = w.structural * torch.stack(self.substitute(made, wanted)).sum()
        return out
