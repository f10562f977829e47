"""Latent Pose Descriptors (Burkov et al., CVPR 2020): the networks.

    pictures of a person ─► identity encoder, mean ─┐
    performer ─► pose encoder ─────────────────────┴► every AdaIN of the generator ─► picture of the person, and mask
    picture, which video ─► projection discriminator

Pictures are RGB in 0..1 on black; there are no landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from infinex.nn.strided import Strided
from infinex.systems.latent_pose.encoders import MobileNet, ResNeXt

NORM_EPS = 1e-4  # of instance norm and of the spectral norm of convolutions


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of the networks; the defaults are the published ones."""

    size: int = 256
    width: int = 64  # channels at full size
    max_width: int = 512
    identity: int = 512  # numbers that say who
    pose: int = 256  # numbers that say how
    constant: int = 4  # side of the generator's first map
    residual: int = 2  # blocks at that size
    hidden: int = 768  # between the two codes and the numbers of all AdaINs
    stages: tuple[int, ...] = (64, 64, 128, 256, 512)  # of the identity encoder
    depths: tuple[int, ...] = (3, 4, 6, 3)
    groups: int = 32
    per_group: int = 4
    mobile: float = 1.0  # width of the pose encoder
    mobile_by: int = 8
    mobile_last: int = 1280
    strided: tuple[int, ...] = ()  # widths of a pose encoder that is no MobileNet, as the published one is
    spectral: bool = True  # spectral norm in the generator, as published; without, AdaIN's weights count from one
    critic_blocks: int = 7
    labels: int = 1  # rows of the discriminator: one for each video, or for the one person


CONFIGS: dict[str, LatentConfig] = {
    "latent-pose": LatentConfig(),
    "latent-pose-small": LatentConfig(
        size=128, width=24, max_width=192, identity=192, pose=96, hidden=288, stages=(24, 24, 48, 96, 192),
        depths=(2, 2, 2, 2), groups=8, per_group=16, mobile=0.5, mobile_last=640, critic_blocks=6, labels=256,
    ),
    # Minutes on a laptop.
    "latent-pose-tiny": LatentConfig(
        size=64, width=16, max_width=96, identity=96, pose=32, hidden=128, stages=(12, 12, 24, 48, 96),
        depths=(1, 1, 1, 1), groups=4, per_group=16, mobile=0.25, mobile_by=4, mobile_last=160, critic_blocks=5,
        labels=64,
    ),
    # An hour of a CPU core, the face tracker at hand.
    "latent-pose-face": LatentConfig(
        size=64, width=16, max_width=128, identity=96, pose=64, hidden=256, stages=(12, 12, 24, 48, 96),
        depths=(1, 1, 1, 1), groups=4, per_group=16, strided=(24, 48, 96, 128, 192), spectral=False, critic_blocks=5,
    ),
}  # fmt: skip


class Made(NamedTuple):
    """What the generator paints."""

    image: Tensor  # (B, 3, H, W) the person on black, -0.25..1.25
    mask: Tensor  # (B, 1, H, W) in 0..1 where the person is


class Embedder(nn.Module):
    """Who is seen, of several pictures, and how, of one."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        c = config
        self.identity_encoder = ResNeXt(c.identity, c.stages, c.depths, c.groups, c.per_group)
        self.pose_encoder: nn.Module = (
            Strided(c.pose, c.strided, c.size) if c.strided else MobileNet(c.pose, c.mobile, c.mobile_by, c.mobile_last)
        )

    def each(self, pictures: Tensor) -> Tensor:
        """Who is seen in each of (B, N, 3, H, W): (B, N, identity)."""
        if not pictures.shape[1]:
            return pictures.new_zeros(len(pictures), 0, self.identity_encoder.fc.out_features)
        return self.identity_encoder(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])

    def forward(self, pictures: Tensor, performer: Tensor) -> tuple[Tensor, Tensor]:
        """`each` of the pictures, and how the performer (B, 3, H, W) is: (B, pose)."""
        return self.each(pictures), self.pose_encoder(performer)


class AdaIN(nn.Module):
    """Instance norm whose weight and bias are set from outside."""

    def __init__(self, channels: int, base: float = 0.0) -> None:
        """`base` is added to the weight."""
        super().__init__()
        self.channels, self.base = channels, base
        self.set: tuple[Tensor, Tensor] | None = None  # bias and weight (B, C)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        assert self.set is not None
        bias, weight = (t[..., None, None] for t in self.set)
        if not self.base:
            return F.instance_norm(x, eps=NORM_EPS) * weight + bias
        # The same in one pass over the map, which in half precision stays so.
        with torch.autocast(x.device.type, enabled=False):
            var, mean = torch.var_mean(x.float(), (2, 3), keepdim=True, unbiased=False)
            scale = (weight.float() + self.base) * torch.rsqrt(var + NORM_EPS)
            shift = bias.float() - mean * scale
        return x * scale.to(x.dtype) + shift.to(x.dtype)


def _conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = False, spectral: bool = True) -> nn.Module:
    conv: nn.Module = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    return spectral_norm(conv, eps=NORM_EPS) if spectral else conv


class Block(nn.Module):
    """AdaIN, ReLU, convolution, twice, beside a shortcut; optionally the size is doubled first."""

    def __init__(self, inputs: int, outputs: int, up: bool, spectral: bool = True) -> None:
        super().__init__()
        self.up = up
        base = 0.0 if spectral else 1.0
        self.norm1, self.conv1 = AdaIN(inputs, base), _conv(inputs, outputs, spectral=spectral)
        self.norm2, self.conv2 = AdaIN(outputs, base), _conv(outputs, outputs, spectral=spectral)
        self.skip = _conv(inputs, outputs, 1, True, spectral) if up or inputs != outputs else None

    def _larger(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H or 2H, W or 2W)."""
        y = self.conv1(self._larger(F.relu(self.norm1(x))))
        y = self.conv2(F.relu(self.norm2(y)))
        return y + (x if self.skip is None else self.skip(self._larger(x)))


class Generator(nn.Module):
    """From a learned constant to a picture; who and how come in by the AdaINs alone."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        c = config
        ups = round(log2(c.size / c.constant))
        sizes = [min(c.max_width, c.width * 2 ** (ups - 1 - i)) for i in range(ups)]
        start = torch.ones if c.spectral else torch.randn
        self.constant = nn.Parameter(start(1, sizes[0], c.constant, c.constant))
        blocks = [Block(sizes[0], sizes[0], False, c.spectral) for _ in range(c.residual)]
        blocks += [Block(a, b, True, c.spectral) for a, b in zip([sizes[0], *sizes], sizes)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = AdaIN(sizes[-1], 0.0 if c.spectral else 1.0)
        self.last = _conv(sizes[-1], 4, bias=True, spectral=c.spectral)
        self.adains = [m for m in self.modules() if isinstance(m, AdaIN)]  # in the order of the vector
        sides = (c.identity + c.pose, c.hidden), (c.hidden, 2 * sum(m.channels for m in self.adains))
        first, second = (spectral_norm(nn.Linear(*s)) if c.spectral else nn.Linear(*s) for s in sides)
        self.project = nn.Sequential(first, nn.ReLU(), second)

    def parameters_of(self, identity: Tensor, pose: Tensor) -> Tensor:
        """The numbers of all AdaINs (B, P): layer by layer, biases before weights."""
        return self.project(torch.cat([identity, pose], dim=1))

    def raw(self, numbers: Tensor) -> Tensor:
        """What is painted with the numbers (B, P): (B, 4, H, W) in -1..1."""
        at = 0
        for adain in self.adains:
            c = adain.channels
            adain.set = numbers[:, at : at + c], numbers[:, at + c : at + 2 * c]
            at += 2 * c
        x = self.constant.expand(len(numbers), -1, -1, -1)
        for block in self.blocks:
            x = block(x)
        out = torch.tanh(self.last(F.relu(self.norm(x))))
        for adain in self.adains:
            adain.set = None
        return out

    def forward(self, identity: Tensor, pose: Tensor) -> Made:
        """Codes (B, identity) and (B, pose) to a picture."""
        out = self.raw(self.parameters_of(identity, pose)).float()
        mask = 0.5 * out[:, 3:] + 0.5
        return Made((0.75 * out[:, :3] + 0.5) * mask, mask)


class Verdict(NamedTuple):
    """What the discriminator says of a batch."""

    score: Tensor  # (B,) unbounded, high for real
    features: list[Tensor]  # of every block
    label: Tensor  # (B, identity) the row of the video


class CriticBlock(nn.Module):
    """ReLU, convolution, twice, beside a shortcut that sees what the first ReLU has left."""

    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv1, self.conv2 = _conv(inputs, outputs, bias=True), _conv(outputs, outputs, bias=True)
        self.skip = _conv(inputs, outputs, 1, bias=True) if halve or inputs != outputs else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W) to its rectified form and (B, outputs, H or H/2, W or W/2)."""
        x = F.relu(x)
        y = self.conv2(F.relu(self.conv1(x)))
        y = y + (x if self.skip is None else self.skip(x))
        return x, F.avg_pool2d(y, 2) if self.halve else y


class Discriminator(nn.Module):
    """Whether a picture is real, and of the video that it is said to be of (Miyato and Koyama 2018)."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        c = config
        self.conv1, self.conv2 = _conv(3, c.width, bias=True), _conv(c.width, c.width, bias=True)
        self.skip = _conv(3, c.width, 1, bias=True)
        count, halved = c.critic_blocks - 1, round(log2(c.size)) - 3
        sizes = [min(c.max_width, c.width * 2**i) for i in range(count)] + [c.identity]
        self.blocks = nn.ModuleList(CriticBlock(sizes[i], sizes[i + 1], i < halved) for i in range(count))
        self.linear = spectral_norm(nn.Linear(sizes[-1], 1))
        embed = nn.Embedding(c.labels, c.identity)
        nn.init.uniform_(embed.weight, -0.1, 0.1)
        self.embed = spectral_norm(embed)

    def forward(self, image: Tensor, label: Tensor) -> Verdict:
        """`image` (B, 3, H, W) in 0..1 and the numbers (B,) of its videos.

        As published, ReLUs work in place: of all features but the last what is negative is lost."""
        x = F.avg_pool2d(self.conv2(F.relu(self.conv1(image))) + self.skip(image), 2)
        features = []
        for block in self.blocks:
            seen, x = block(x)
            features.append(seen)
        features.append(x)
        vector = F.relu(x).sum((2, 3))
        row = self.embed(label)
        return Verdict(self.linear(vector)[:, 0] + (vector * row).sum(1), features, row)


class Person(nn.Module):
    """One person's code, once it has become a parameter of the generator; zero until then."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.identity = nn.Parameter(torch.zeros(1, config.identity))


def networks_of(config: LatentConfig) -> dict[str, nn.Module]:
    """Fresh networks by name."""
    return {
        "embedder": Embedder(config), "generator": Generator(config), "discriminator": Discriminator(config),
        "person": Person(config),
    }  # fmt: skip
