"""What pictures are turned into pictures with after Isola et al. (2017): the nested U-Net and its norms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import Norm


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """A normalisation; that of instances has no weights of its own."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.Identity()


class NestedUNet(nn.Module):
    """4×4 convolutions down without norm, the same transposed up with instance norm, every size handed across.

    What is handed across has been through the leaky ReLU. `bilinear`: pixels are enlarged, then convolved 3×3, instead
    of transposed convolutions, each with a leaky ReLU of its own."""

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int], bilinear: bool = False) -> None:
        super().__init__()
        self.bilinear = bilinear
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise([inputs, *widths]))
        back = [outputs, *widths[:-1]]  # channels that come up out of each level
        ups = []
        for i, out in enumerate(back):
            into = widths[i] * (1 if i == len(widths) - 1 else 2)
            ups.append(nn.Conv2d(into, out, 3, 1, 1) if bilinear else nn.ConvTranspose2d(into, out, 4, 2, 1))
        self.up = nn.ModuleList(ups)

    def _raised(self, level: int, x: Tensor) -> Tensor:
        x = F.relu(x)
        if not self.bilinear:
            return self.up[level](x)
        return F.leaky_relu(self.up[level](F.interpolate(x, scale_factor=2.0, mode="bilinear")), 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W) in -1..1; H and W are multiples of 2^levels, at least twice that."""
        y, across = self.down[0](x), []
        for conv in self.down[1:]:
            y = F.leaky_relu(y, 0.2)
            across.append(y)
            y = conv(y)
        for level in reversed(range(1, len(self.up))):
            y = F.instance_norm(self._raised(level, y))
            y = torch.cat([across[level - 1], y], 1)
        return torch.tanh(self._raised(0, y))
