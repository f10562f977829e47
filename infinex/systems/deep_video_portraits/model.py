"""The rendering-to-video network (Kim et al. 2018, section 6): a window of drawn conditions becomes a frame.

`Retouch` is ours: what an album of learned frames recalls becomes a frame, with the conditions as a guide."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import Norm, PixelPatches
from infinex.nn.layers import normal_
from infinex.nn.pix2pix import norm_layer
from infinex.systems.puppet import CHANNELS
from infinex.systems.recall import PICTURES


@dataclass(frozen=True)
class PortraitConfig:
    """Sizes of the networks."""

    size: int = 256
    window: int = 11  # instants that the network sees, the current one last
    width: int = 64
    levels: int = 8
    max_width: int = 512
    last: int = 3  # channels of the last stage before it is a picture; more are ours
    norm: Norm = "batch"
    dropout: int = 3  # stages of the decoder with dropout
    critic_width: int = 64
    critic_blocks: int = 3
    tracked: bool = False  # conditions lie where the tracker sees the face, not where the fit has it
    album: int = 0  # learned frames that are kept and recalled (ours); 0: all comes from the network

    @property
    def inputs(self) -> int:
        """Channels of what is recalled and of the conditions of a window."""
        return self.window * CHANNELS + (PICTURES if self.album else 0)

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the picture down."""
        return [min(self.max_width, self.width * 2**i) for i in range(self.levels)]


CONFIGS: dict[str, PortraitConfig] = {
    "deep-video-portraits": PortraitConfig(),
    "deep-video-portraits-128": PortraitConfig(
        128, 11, 24, 6, 128, last=12, norm="instance", dropout=0, critic_width=24, critic_blocks=2
    ),
    "deep-video-portraits-album": PortraitConfig(
        256, 1, 32, 5, 128, critic_width=24, critic_blocks=2, tracked=True, album=240
    ),
}
CANVAS = 8  # channels that a `Retouch` learns for each place of the square, whatever is shown
CHOICE = 4.0  # how readily it chooses among what is recalled


class Raise(nn.Module):
    """One stage of the decoder: twice the size, norm, dropout, what the encoder saw, two refinements 3×3."""

    def __init__(self, inputs: int, outputs: int, across: int, norm: Norm, dropout: bool, last: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        self.norm = norm_layer(norm, outputs)
        self.drop = nn.Dropout(0.5) if dropout else nn.Identity()
        self.refine1 = nn.Conv2d(outputs + across, outputs, 3, 1, 1)
        self.norm1 = norm_layer(norm, outputs)
        self.refine2 = nn.Conv2d(outputs, 3 if last else outputs, 3, 1, 1)
        self.norm2 = nn.Identity() if last else norm_layer(norm, outputs)
        self.last = last

    def forward(self, x: Tensor, across: Tensor | None) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, 2H, 2W), or to the picture itself in -1..1."""
        y = self.drop(self.norm(self.up(x)))
        if across is not None:
            y = torch.cat([y, across], 1)
        y = F.relu(self.norm1(self.refine1(F.relu(y))))
        # A ReLU here would forbid everything darker than grey.
        y = self.norm2(self.refine2(y))
        return torch.tanh(y) if self.last else F.relu(y)


class Renderer(nn.Module):
    """Encoder and decoder with mirrored connections."""

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__()
        widths = config.widths
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip([config.inputs, *widths[:-1]], widths)
        )  # fmt: skip
        deepest = config.size >> config.levels
        # One pixel has no spread to normalise by; a batch of them has.
        self.norms = nn.ModuleList(
            nn.Identity()
            if i == 0 or (config.norm == "instance" and deepest == 1 and i == len(widths) - 1)
            else norm_layer(config.norm, w)
            for i, w in enumerate(widths)
        )
        stages = []
        for step, level in enumerate(reversed(range(config.levels))):
            last = level == 0
            out = config.last if last else widths[level - 1]
            across = 0 if last else widths[level - 1]
            stages.append(Raise(widths[level], out, across, config.norm, step < config.dropout, last))
        self.up = nn.ModuleList(stages)
        normal_(self)

    def forward(self, window: Tensor) -> Tensor:
        """Conditions (B, window·9, S, S) in -1..1, oldest first, to the frame (B, 3, S, S) of the last, in -1..1."""
        across = []
        y = window
        for conv, norm in zip(self.down, self.norms):
            y = F.leaky_relu(norm(conv(y)), 0.2)
            across.append(y)
        across.pop()
        for stage in self.up:
            y = stage(y, across.pop() if across else None)
        return y


class Retouch(nn.Module):
    """Chooses for each pixel among the pictures that were recalled, and adds what they lack.

    It works at half the size, which four pixels as channels keep without loss; what it adds is nothing at first."""

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__()
        w = config.widths
        half = config.size // 2
        self.canvas = nn.Parameter(0.1 * torch.randn(1, CANVAS, half, half))
        self.first = _plain(4 * config.inputs + CANVAS, w[0])
        self.down = nn.ModuleList(nn.Sequential(_plain(a, b, 2), _plain(b, b)) for a, b in pairwise(w))
        self.up = nn.ModuleList(nn.Sequential(_plain(a + b, a), _plain(a, a)) for a, b in pairwise(w))
        self.last = nn.Conv2d(w[0], 4 * (3 + PICTURES // 3), 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        # A third less time on CPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, window: Tensor) -> Tensor:
        """What is recalled, then conditions (B, inputs, S, S), in -1..1, to the frame (B, 3, S, S)."""
        y = torch.cat([F.pixel_unshuffle(window, 2), self.canvas.expand(len(window), -1, -1, -1)], 1)
        y = self.first(y.contiguous(memory_format=torch.channels_last))
        across = [y]
        for stage in self.down:
            y = stage(y)
            across.append(y)
        y = across.pop()
        for stage in reversed(self.up):
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = stage(torch.cat([y, across.pop()], 1))
        made = F.pixel_shuffle(self.last(y).float(), 2)
        share = torch.softmax(CHOICE * made[:, 3:], 1)[:, :, None]
        pictures = window[:, :PICTURES].reshape(len(window), -1, 3, *window.shape[2:])
        return (share * pictures).sum(1) + made[:, :3]


def _plain(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1))


def renderer_of(config: PortraitConfig) -> Renderer | Retouch:
    """The network that makes the frame."""
    return Retouch(config) if config.album else Renderer(config)


def networks_of(config: PortraitConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names that files store them by."""
    critic = PixelPatches(config.inputs + 3, config.critic_width, config.critic_blocks, config.norm)
    return {"renderer": renderer_of(config), "critic": normal_(critic)}
