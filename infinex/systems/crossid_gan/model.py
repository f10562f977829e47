"""The networks of CrossID-GAN (Huang, Yang and Wang, CVPR 2020): motion without its owner, and a face to wear it.

The paper names the parts and what each is taught, not their layers: every size, how the two codes meet in the
generator, and the reader that finds the motion in a generated picture are our choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import PixelPatches

PLACE = 3  # numbers that say where in the picture a head is and how large


@dataclass(frozen=True)
class CrossIdConfig:
    """Sizes of the networks; all are ours."""

    size: int = 128  # pictures
    lines: int = 64  # pictures of landmarks
    code: int = 128  # of motion
    width: int = 64  # channels at full size; they double up to `most`
    most: int = 512
    levels: int = 3  # halvings of the content encoder
    blocks: int = 4  # of the generator that motion bends
    people: int = 0  # classes of the identity classifier
    critic: int = 64
    critic_layers: int = 3


CONFIGS: dict[str, CrossIdConfig] = {
    "crossid-gan": CrossIdConfig(),
    "crossid-gan-small": CrossIdConfig(size=96, code=64, width=16, most=96, critic=16),
    "crossid-gan-tiny": CrossIdConfig(
        size=32, lines=32, code=16, width=4, most=16, levels=2, blocks=2, critic=4, critic_layers=2
    ),
}


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, instance normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()
    )


class MotionEncoder(nn.Module):
    """E_L: a picture of landmarks (B, inputs, H, W) in 0..1 to a motion code (B, code).

    The reader is the same network for photographs. Nothing is normalised: how open a mouth is lies in the contrast."""

    def __init__(self, config: CrossIdConfig, inputs: int, size: int) -> None:
        super().__init__()
        widths = [inputs] + [min(config.most, config.width * 2**i) for i in range(4)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.last = nn.Linear(widths[-1] * (size // 16) ** 2, config.code)

    def forward(self, x: Tensor) -> Tensor:
        """See above."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        out: Tensor = self.last(x.flatten(1))
        return out


class ContentEncoder(nn.Module):
    """E_C: a picture (B, 3, S, S) of a person in -1..1 to a map (B, C, S/2ⁿ, S/2ⁿ) of who it is and what it shows."""

    def __init__(self, config: CrossIdConfig) -> None:
        super().__init__()
        widths = [min(config.most, config.width * 2**i) for i in range(config.levels + 1)]
        self.first = _conv(3, widths[0], 7)
        self.down = nn.Sequential(*(_conv(a, b, 4, 2) for a, b in pairwise(widths)))

    def forward(self, image: Tensor) -> Tensor:
        """See above."""
        x = self.first(image)
        for conv in self.down:
            # An even kernel leaves one pixel too many.
            x = conv(x)[..., : x.shape[2] // 2, : x.shape[3] // 2]
        return x


class Bent(nn.Module):
    """A residual block whose normalised maps are scaled and shifted as motion wants (Huang and Belongie 2017)."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.bends = nn.ModuleList(nn.Linear(told, 2 * channels) for _ in range(2))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, C, h, w) and (B, told) to the same."""
        y = x
        for conv, bend in zip(self.convs, self.bends):
            scale, shift = bend(told)[..., None, None].chunk(2, 1)
            y = conv(F.relu(F.instance_norm(y) * (1 + scale) + shift))
        return x + y


class Generator(nn.Module):
    """G: a motion code, where the head is to be, and the content of a picture to that person's picture in -1..1.

    What is told besides is where every cell of the map lies: without it a bent block could move nothing."""

    def __init__(self, config: CrossIdConfig) -> None:
        super().__init__()
        widths = [min(config.most, config.width * 2**i) for i in range(config.levels + 1)][::-1]
        told = config.code + PLACE
        self.joined = nn.Conv2d(widths[0] + told + 2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(Bent(widths[0], told) for _ in range(config.blocks))
        self.up = nn.ModuleList(_conv(a, b) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 3, 7, padding=3)

    def forward(self, motion: Tensor, place: Tensor, content: Tensor) -> Tensor:
        """`motion` (B, code), `place` (B, 3), `content` of `ContentEncoder`: (B, 3, S, S)."""
        told = torch.cat([motion, place], 1)
        b, _, h, w = content.shape
        y = torch.linspace(-1, 1, h, device=content.device)[None, None, :, None].expand(b, 1, h, w)
        x = torch.linspace(-1, 1, w, device=content.device)[None, None, None].expand(b, 1, h, w)
        spread = told[..., None, None].expand(-1, -1, h, w)
        maps = self.joined(torch.cat([content, spread, x, y], 1))
        for block in self.blocks:
            maps = block(maps, told)
        for conv in self.up:
            maps = conv(F.interpolate(maps, scale_factor=2.0, mode="nearest"))
        return torch.tanh(self.last(maps))


class Classifier(nn.Module):
    """D_C: whose motion a code (B, code) is, as scores (B, people)."""

    def __init__(self, config: CrossIdConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.code, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, max(1, config.people)),
        )

    def forward(self, code: Tensor) -> Tensor:
        """See above."""
        out: Tensor = self.layers(code)
        return out


def networks_of(config: CrossIdConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks by the names they are stored by."""
    return {
        "motion": MotionEncoder(config, 1, config.lines),
        "content": ContentEncoder(config),
        "generator": Generator(config),
        "reader": MotionEncoder(config, 3, config.size),
        "classifier": Classifier(config),
        "critic": PixelPatches(3, config.critic, config.critic_layers, norm="instance"),
        "film_critic": PixelPatches(3, config.critic, config.critic_layers, norm="instance", dimensions=3),
    }


AT_WORK = ("motion", "content", "generator")  # what animating needs
