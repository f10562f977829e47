"""The networks of MoCoGAN-HD (Tian et al. 2021): motion in the space of a frozen StyleGAN2, and what judges it.

Videos are (B, T, 3, H, W) in -1..1, codes w (B, W).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn
from torch.nn.utils import spectral_norm


@dataclass(frozen=True)
class MocoganConfig:
    """Sizes; the defaults are those of the paper."""

    style: int = 512  # of w
    noise: int = 512  # of what is new in every frame
    hidden: int = 384
    directions: int = 384  # principal directions of W that motion takes
    step: float = 0.2  # of a frame along them, in standard deviations
    frames: int = 16
    size: int = 128  # side of the crops that are judged
    width: int = 64  # of the video and pair critics
    picture_width: int = 96  # of the critic of single pictures
    projection: int = 256
    queue: int = 4096  # projections that are remembered

    def __post_init__(self) -> None:
        if self.size < 32 or self.size & (self.size - 1):
            raise ValueError(f"size {self.size} is no power of two of 32 or more")


class Motion(NamedTuple):
    """What the motion generator makes of a first code."""

    codes: Tensor  # (B, T, style); the first is what it was given
    noise: Tensor  # (B, T - 1, noise) that was drawn
    told: Tensor  # (B, T - 1, noise) what its state still tells of it


class MotionGenerator(nn.Module):
    """Codes of frames, one after the other: w_t = w_{t-1} + step · tanh(h W + b) · D (equations 1 and 2).

    D (directions, style), principal directions of W times their deviations, is measured of the generator; it is kept
    with the weights."""

    directions: Tensor

    def __init__(self, config: MocoganConfig) -> None:
        super().__init__()
        c = self.config = config
        self.enc_cell, self.cell = nn.LSTMCell(c.style, c.hidden), nn.LSTMCell(c.noise, c.hidden)
        self.w, self.b = nn.Parameter(torch.zeros(c.hidden, c.directions)), nn.Parameter(torch.zeros(c.directions))
        self.fc1, self.fc2 = nn.Linear(2 * c.hidden, c.noise), nn.Linear(c.noise, c.noise)
        self.register_buffer("directions", torch.zeros(c.directions, c.style))
        for cell in (self.enc_cell, self.cell):
            for weight in (cell.weight_ih, cell.weight_hh):
                for gate in weight.detach().chunk(4):
                    nn.init.orthogonal_(gate)
            nn.init.zeros_(cell.bias_ih)
            nn.init.zeros_(cell.bias_hh)
        nn.init.normal_(self.w, 0.0, 0.02)
        for layer in (self.fc1, self.fc2):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, first: Tensor, frames: int, noise: Tensor | None = None) -> Motion:
        """`first` (B, style); `noise` (B, frames - 1, noise), drawn anew if not given."""
        c = self.config
        if noise is None:
            noise = torch.randn(len(first), frames - 1, c.noise, device=first.device, dtype=first.dtype)
        h, cell = self.enc_cell(first)
        codes, told = [first], []
        for t in range(frames - 1):
            h, cell = self.cell(noise[:, t], (h, cell))
            codes.append(codes[-1] + c.step * (torch.tanh(h @ self.w + self.b) @ self.directions))
            told.append(self.fc2(F.relu(self.fc1(torch.cat([h, cell], dim=1)))))
        told_all = torch.stack(told, 1) if told else noise
        return Motion(torch.stack(codes, 1), noise, told_all)

    def steps(self, first: Tensor, generator: torch.Generator | None = None) -> Iterator[Tensor]:
        """The same, code by code without an end: an iterator over (B, style)."""
        h, cell = self.enc_cell(first)
        code = first
        while True:
            yield code
            noise = torch.randn(len(first), self.config.noise, generator=generator).to(first)
            h, cell = self.cell(noise, (h, cell))
            code = code + self.config.step * (torch.tanh(h @ self.w + self.b) @ self.directions)


def interpolated(codes: Tensor) -> Tensor:
    """Codes (B, T, W) with their midpoints between them: (B, 2T - 1, W)."""
    between = (codes[:, 1:] + codes[:, :-1]) / 2
    pairs = torch.stack([codes[:, :-1], between], dim=2).flatten(1, 2)
    return torch.cat([pairs, codes[:, -1:]], dim=1)


class Patches(nn.Module):
    """A patch critic of videos (`dims` 3) or pictures (2): features and scores at its end.

    Instance norms always take the statistics of what they see."""

    def __init__(self, inputs: int, width: int, dims: int) -> None:
        super().__init__()
        conv: type[nn.Module] = nn.Conv3d if dims == 3 else nn.Conv2d
        norm: type[nn.Module] = nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d
        widths = [inputs, width, 2 * width, 4 * width, 8 * width]
        layers = []
        for k, (a, b) in enumerate(pairwise(widths)):
            layer = [conv(a, b, 4, 2 if k < 3 else 1, 2)]
            layers.append(nn.Sequential(*layer, *([norm(b)] if k else []), nn.LeakyReLU(0.2)))
        layers.append(nn.Sequential(conv(widths[-1], 1, 4, 1, 2)))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, [T,] H, W) to the features of every layer; the last are the scores."""
        out = []
        for layer in self.layers:
            x = layer(x)
            out.append(x)
        return out


class Critic(nn.Module):
    """`Patches` at two scales, the finer first; the second sees half the height and width (and time over 16 frames)."""

    def __init__(self, inputs: int, width: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.fine, self.coarse = Patches(inputs, width, dims), Patches(inputs, width, dims)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """(B, C, [T,] H, W) to features of both scales."""
        if self.dims == 3:
            small = F.avg_pool3d(x, 3, (2 if x.shape[2] > 16 else 1, 2, 2), 1, count_include_pad=False)
        else:
            small = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return [self.fine(x), self.coarse(small)]


class _Block(nn.Module):
    """A residual block of BigGAN's critic (Brock et al. 2019)."""

    def __init__(self, inputs: int, outputs: int, first: bool, halve: bool) -> None:
        super().__init__()
        self.first, self.halve = first, halve
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.conv_sc = spectral_norm(nn.Conv2d(inputs, outputs, 1)) if halve or inputs != outputs else None

    def _pooled(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halve else x

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H[/2], W[/2])."""
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.conv_sc is None:
            return self._pooled(y) + self._pooled(x)
        return self._pooled(y) + (self.conv_sc(self._pooled(x)) if self.first else self._pooled(self.conv_sc(x)))


def _blocks(size: int, width: int) -> list[tuple[int, bool]]:
    # Channels over `width`, and whether the block halves, at each size; at 32 pixels BigGAN's layout for CIFAR.
    if size == 32:
        return [(4, True), (4, True), (4, False), (4, False)]
    times = {64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}
    if size not in times:
        raise ValueError(f"single pictures are judged at 32, 64, 128 or 256 pixels, not {size}")
    row = times[size]
    return [(t, k < len(row) - 1) for k, t in enumerate(row)]


class PictureVerdict(NamedTuple):
    """What the critic of single pictures says."""

    score: Tensor  # (B, 1)
    projection: Tensor  # (B, projection)


class PictureCritic(nn.Module):
    """A critic of single pictures with a head whose projections are compared (section 3.3)."""

    def __init__(self, config: MocoganConfig) -> None:
        super().__init__()
        inputs, blocks = 3, []
        for k, (times, halve) in enumerate(_blocks(config.size, config.picture_width)):
            outputs = times * config.picture_width
            blocks.append(_Block(inputs, outputs, k == 0, halve))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.proj0, self.proj1 = spectral_norm(nn.Linear(inputs, inputs)), spectral_norm(nn.Linear(inputs, inputs))
        self.proj2 = spectral_norm(nn.Linear(inputs, config.projection))
        self.linear = spectral_norm(nn.Linear(inputs, 1))

    def forward(self, x: Tensor) -> PictureVerdict:
        """(B, 3, size, size) in -1..1."""
        for block in self.blocks:
            x = block(x)
        h = F.relu(self.proj0(F.relu(x).sum((2, 3))))
        return PictureVerdict(self.linear(h), self.proj2(F.relu(self.proj1(h))))


class Memory(nn.Module):
    """A slow copy of the critic of single pictures, and queues of what it said of real and of made ones (MoCo)."""

    real: Tensor
    fake: Tensor
    place: Tensor

    def __init__(self, critic: PictureCritic, config: MocoganConfig, momentum: float = 0.999) -> None:
        super().__init__()
        self.momentum = momentum
        self.slow = PictureCritic(config)
        self.slow.load_state_dict(critic.state_dict())
        self.slow.requires_grad_(False)
        for name in ("real", "fake"):
            self.register_buffer(name, F.normalize(torch.randn(config.queue, config.projection), dim=1))
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def follow(self, critic: nn.Module) -> None:
        """The copy moves towards the critic."""
        for own, other in zip(self.slow.parameters(), critic.parameters()):
            own.mul_(self.momentum).add_(other.detach(), alpha=1 - self.momentum)

    @torch.no_grad()
    def remember(self, real: Tensor, fake: Tensor) -> None:
        """Put what the copy says of pictures (B, 3, S, S) into the queues, over the oldest."""
        at = (int(self.place) + torch.arange(len(real))) % len(self.real)
        self.real[at], self.fake[at] = self.slow(real).projection, self.slow(fake).projection
        self.place[0] = (int(self.place) + len(real)) % len(self.real)


def pairs(video: Tensor) -> Tensor:
    """The first frame beside each later one, on channels: (B, T, 3, H, W) to (B, 6, T - 1, H, W), for critics that
    know the domain."""
    first = video[:, :1].expand(-1, video.shape[1] - 1, -1, -1, -1)
    return torch.cat([first, video[:, 1:]], dim=2).transpose(1, 2)


def networks_of(config: MocoganConfig, in_domain: bool = False) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names their weights are stored by."""
    out: dict[str, nn.Module] = {"motion": MotionGenerator(config)}
    out["video"] = Critic(6 if in_domain else 3, config.width, 3)
    out["picture"] = Critic(6, config.width, 2) if in_domain else PictureCritic(config)
    return out


Scales = Sequence[Sequence[Tensor]]
