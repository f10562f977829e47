"""The networks of GANimation (Pumarola et al. 2018, section 4.1), for any size.

Pictures are (B, 3, H, W) in -1..1, unit intensities (B, U) in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from infinex.nn.labelled import critic_trunk, initialize, translator
from infinex.systems.ganimation.labels import UNITS


@dataclass(frozen=True)
class GanimationConfig:
    """Sizes of the networks; the defaults are those of the paper."""

    size: int = 128  # side of the face crop
    units: int = len(UNITS)
    width: int = 64  # channels of the generator at full size; doubled at every halving
    blocks: int = 6  # residual blocks
    critic_width: int = 64
    critic_depth: int = 6  # halvings; the patch map and the expression head see size / 2^depth
    attention: bool = True  # False: the colours are the picture, as in the ablation

    def __post_init__(self) -> None:
        if self.size % 4 or self.size % 2**self.critic_depth:
            raise ValueError(f"size {self.size} is no multiple of 4 and of 2^{self.critic_depth}")


CONFIGS: dict[str, GanimationConfig] = {
    "ganimation": GanimationConfig(),
    "ganimation-80": GanimationConfig(size=80, width=24, blocks=4, critic_width=32, critic_depth=4),
    "ganimation-64": GanimationConfig(size=64, width=16, blocks=3, critic_width=24, critic_depth=5),
    "ganimation-tiny": GanimationConfig(size=32, width=8, blocks=1, critic_width=8, critic_depth=4),
}


class Edit(NamedTuple):
    """What the generator makes of a picture."""

    image: Tensor  # (B, 3, H, W) in -1..1, (1 - A)·C + A·I
    color: Tensor  # (B, 3, H, W) in -1..1, C
    attention: Tensor  # (B, 1, H, W) in 0..1, A: how much of the picture stays


class Verdict(NamedTuple):
    """What the critic says of a picture."""

    score: Tensor  # (B, h, w) unbounded, high for real, one per patch
    units: Tensor  # (B, U) estimated intensities


class Generator(nn.Module):
    """A network of Johnson et al. with two heads in place of one: colours and attention (equation 1)."""

    def __init__(self, config: GanimationConfig) -> None:
        super().__init__()
        self.config = config
        c = config.width
        self.trunk = translator(3 + config.units, c, config.blocks)
        self.color = nn.Conv2d(c, 3, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(c, 1, 7, padding=3, bias=False)
        initialize(self)

    def forward(self, image: Tensor, units: Tensor) -> Edit:
        """`image` (B, 3, H, W) in -1..1 under the intensities `units` (B, U) in 0..1."""
        planes = units[:, :, None, None].expand(-1, -1, *image.shape[2:]).to(image.dtype)
        x = self.trunk(torch.cat([image, planes], dim=1))
        # In full precision: half of it would cut the steps of a dark picture short.
        color = torch.tanh(self.color(x).float())
        if not self.config.attention:
            return Edit(color, color, torch.zeros_like(color[:, :1]))
        attention = torch.sigmoid(self.attention(x).float())
        return Edit(attention * image + (1 - attention) * color, color, attention)


class Critic(nn.Module):
    """A patch critic without normalisation, with an expression head on the same features.

    Without, because the gradient penalty holds for every picture by itself.
    """

    def __init__(self, config: GanimationConfig) -> None:
        super().__init__()
        c = config.critic_width << (config.critic_depth - 1)
        self.trunk = critic_trunk(config.critic_width, config.critic_depth)
        self.patch = nn.Conv2d(c, 1, 3, padding=1, bias=False)
        self.expression = nn.Conv2d(c, config.units, config.size // 2**config.critic_depth, bias=False)
        initialize(self)

    def forward(self, image: Tensor) -> Verdict:
        """`image` (B, 3, size, size) in -1..1."""
        x = self.trunk(image)
        return Verdict(self.patch(x)[:, 0].float(), self.expression(x)[:, :, 0, 0].float())
