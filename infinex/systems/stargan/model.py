"""The networks of StarGAN (Choi et al. 2018, appendix 7.2), for any size.

Pictures are (B, 3, H, W) in -1..1; labels (B, C) are 1 where something holds, or shares of it in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from infinex.nn.labelled import critic_trunk, initialize, translator

EMOTIONS = ("afraid", "angry", "contemptuous", "disgusted", "happy", "neutral", "sad", "surprised")
CELEBA = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")  # those of the published files


@dataclass(frozen=True)
class StarganConfig:
    """Sizes of the networks; the defaults are those of the paper, with our names of its eight expressions."""

    size: int = 128  # side of the picture that the critic reads
    labels: tuple[str, ...] = EMOTIONS
    second: tuple[str, ...] = ()  # labels of a second set learned together with the first
    width: int = 64  # channels of the generator at full size; doubled at every halving
    blocks: int = 6  # residual blocks
    critic_width: int = 64
    critic_depth: int = 6  # halvings; the patch map and the label head see size / 2^depth

    def __post_init__(self) -> None:
        if self.size % 4 or self.size % 2**self.critic_depth:
            raise ValueError(f"size {self.size} is no multiple of 4 and of 2^{self.critic_depth}")
        if not self.labels:
            raise ValueError("there must be at least one label")

    @property
    def told(self) -> int:
        """Numbers that the generator is told: labels of both sets and, where there are two, which of them counts."""
        return len(self.labels) + (len(self.second) + 2 if self.second else 0)

    @property
    def read(self) -> int:
        """Numbers that the critic reads off a picture."""
        return len(self.labels) + len(self.second)


CONFIGS: dict[str, StarganConfig] = {
    "stargan": StarganConfig(),
    "stargan-celeba-128": StarganConfig(labels=CELEBA),
    "stargan-64": StarganConfig(size=64, width=24, blocks=4, critic_width=32, critic_depth=5),
    "stargan-tiny": StarganConfig(size=32, width=8, blocks=1, critic_width=8, critic_depth=4),
}


class Verdict(NamedTuple):
    """What the critic says of a picture."""

    score: Tensor  # (B, h, w) unbounded, high for real, one per patch
    labels: Tensor  # (B, C) logits


class Generator(nn.Module):
    """A picture under labels: they stand behind its colours as planes of one value."""

    def __init__(self, config: StarganConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = translator(3 + config.told, config.width, config.blocks)
        self.color = nn.Conv2d(config.width, 3, 7, padding=3, bias=False)
        initialize(self)

    def forward(self, image: Tensor, labels: Tensor) -> Tensor:
        """`image` (B, 3, H, W) in -1..1 under `labels` (B, told): (B, 3, H, W) in -1..1."""
        planes = labels[:, :, None, None].expand(-1, -1, *image.shape[2:]).to(image.dtype)
        # The last step in full precision: half of it would cut the steps of a dark picture short.
        return torch.tanh(self.color(self.trunk(torch.cat([image, planes], dim=1))).float())


class Critic(nn.Module):
    """A patch critic without normalisation, with a head that names what it sees."""

    def __init__(self, config: StarganConfig) -> None:
        super().__init__()
        self.config = config
        c = config.critic_width << (config.critic_depth - 1)
        self.trunk = critic_trunk(config.critic_width, config.critic_depth)
        self.patch = nn.Conv2d(c, 1, 3, padding=1, bias=False)
        self.labels = nn.Conv2d(c, config.read, config.size // 2**config.critic_depth, bias=False)
        initialize(self)

    def forward(self, image: Tensor) -> Verdict:
        """`image` (B, 3, size, size) in -1..1."""
        x = self.trunk(image)
        return Verdict(self.patch(x)[:, 0].float(), self.labels(x)[:, :, 0, 0].float())


def told(labels: Tensor, config: StarganConfig, which: int = 0) -> Tensor:
    """What the generator is told (B, told) of labels (B, C) of the first set or, with `which` = 1, of the second:
    both sets' labels, those of the other one 0, then which of them counts (section 3.3)."""
    if not config.second:
        return labels
    rest = labels.new_zeros(len(labels), len(config.second if which == 0 else config.labels))
    mask = labels.new_tensor([1 - which, which]).expand(len(labels), 2)
    return torch.cat([labels, rest, mask] if which == 0 else [rest, labels, mask], dim=1)


def of_set(labels: Tensor, config: StarganConfig, which: int = 0) -> Tensor:
    """The part of the critic's (B, read) numbers that belongs to one of the sets."""
    n = len(config.labels)
    return labels[:, :n] if which == 0 else labels[:, n:]
