"""The hourglass: a U-Net of `ConvBlock`s whose output also carries its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infinex.nn.layers import DownBlock, UpBlock


class Hourglass(nn.Module):
    """Encoder and decoder with skip connections at every size.

    Level i has min(max_width, width · 2^i) channels. The input itself is the last skip connection, therefore
    the output has `width + inputs` channels, in `outputs`.
    """

    def __init__(self, inputs: int, width: int, levels: int, max_width: int) -> None:
        super().__init__()
        sizes = [min(max_width, width * 2**i) for i in range(levels + 1)]
        self.down = nn.ModuleList(DownBlock(inputs if i == 0 else sizes[i], sizes[i + 1]) for i in range(levels))
        # Every step up but the first takes the result of the step before beside the skip of its size.
        self.up = nn.ModuleList(
            UpBlock(sizes[i + 1] * (1 if i == levels - 1 else 2), sizes[i]) for i in reversed(range(levels))
        )
        self.outputs = width + inputs
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, width + inputs, H, W); H and W multiples of 2^levels."""
        skips = [x]
        for down in self.down:
            skips.append(down(skips[-1]))
        y = skips.pop()
        for up in self.up:
            y = torch.cat([up(y), skips.pop()], dim=1)
        return y
