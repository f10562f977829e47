"""The refiner's network: a small U-Net on one window of the mesh engine's frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.layers import ConvBlock, ResBlock


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes of one network. `inputs` planes as `infinex.mesh.refiner` builds them, the first three the frame."""

    part: str  # mouth, eye or head
    side: int  # of the window in pixels, a multiple of 8
    inputs: int
    width: int = 32
    grey: bool = False  # lightness alone is corrected: no colour fringes around an iris
    flow: float = 0.0  # largest correction of the dense motion, window pixels; 0: none is predicted
    mirror: tuple[int, ...] = ()  # planes that change their sign in a mirror; (): what it sees has a handedness


CONFIGS = {
    "mouth": RefinerConfig("mouth", 96, 21, flow=4.0, mirror=(14, 16)),
    "eye": RefinerConfig("eye", 64, 17, width=20, grey=True, flow=4.0),
    "head": RefinerConfig("head", 128, 19, width=20, flow=5.0, mirror=(6, 15, 17)),
}


class Refiner(nn.Module):
    """Residual colour and, for the head, a correction of the dense motion.

    After the occlusion-aware generator of Siarohin et al. 2019 with a mesh's motion in place of learned
    keypoints. Pixels are folded two by two first: at half size the layers cost a quarter.
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        widths = (w, w + w // 2, 2 * w)
        self.stem = ConvBlock(4 * config.inputs, w)
        self.encode = nn.ModuleList(ResBlock(c) for c in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(ConvBlock(a + b, a) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(ResBlock(c) for c in widths[:-1])
        self.outputs = (1 if config.grey else 3) + (2 if config.flow else 0)
        self.last = nn.Conv2d(w, 4 * self.outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # it begins as the mesh engine alone
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, inputs, side, side) to (B, 3 or 5, side, side): residual in the planes' scale, then flow in pixels."""
        x = self.stem(F.pixel_unshuffle(planes, 2))
        kept = []
        for i, encode in enumerate(self.encode):
            x = encode(x)
            if i < len(self.down):
                kept.append(x)
                x = self.down[i](x)
        for i in reversed(range(len(self.up))):
            x = self.up[i](torch.cat([kept[i], F.interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
            x = self.decode[i](x)
        out = F.pixel_shuffle(self.last(x), 2)
        colour, flow = (out[:, :1].repeat(1, 3, 1, 1), out[:, 1:]) if self.config.grey else (out[:, :3], out[:, 3:])
        if not self.config.flow:
            return colour
        return torch.cat([colour, self.config.flow * torch.tanh(flow / self.config.flow)], dim=1)


def apply(out: Tensor, planes: Tensor, support: Tensor) -> Tensor:
    """The refined window (B, 3, S, S) in the planes' scale from a network's answer, its planes and the support.

    `infinex.mesh.refiner` does the same at the portrait's own resolution."""
    frame, support = planes[:, :3], support[:, None]
    if out.shape[1] > 3:
        frame = sample(frame, out[:, 3:5] * support)
    return frame + out[:, :3] * support


def sample(image: Tensor, flow: Tensor) -> Tensor:
    """`image` (B, C, S, S) looked up at a pixel's own place plus `flow` (B, 2, S, S) in pixels, x first."""
    s = image.shape[-1]
    ticks = torch.arange(s, device=image.device, dtype=image.dtype)
    x, y = flow[:, 0] + ticks, flow[:, 1] + ticks[:, None]
    grid = torch.stack([x, y], dim=-1) * (2 / (s - 1)) - 1
    return F.grid_sample(image, grid, align_corners=True, padding_mode="border")
