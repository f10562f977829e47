"""The hourglass: a U-Net of `ConvBlock`s whose output also carries its input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infinex.nn.layers import DownBlock, UpBlock


class Hourglass(nn.Module):
    """Encoder and decoder with skip connections at every size.

    Level i has min(max_width, width · 2^i) channels. The input itself is the last skip connection, therefore
    the output has `width + inputs + beside` channels, in `outputs`.
    """

    def __init__(self, inputs: int, width: int, levels: int, max_width: int, beside: int = 0) -> None:
        """`beside`: how many further channels every skip connection has when it comes to `decode`."""
        super().__init__()
        sizes = [min(max_width, width * 2**i) for i in range(levels + 1)]
        self.down = nn.ModuleList(DownBlock(inputs if i == 0 else sizes[i], sizes[i + 1]) for i in range(levels))
        # Every step up but the first takes the result of the step before beside the skip of its size.
        self.up = nn.ModuleList(
            UpBlock(sizes[i + 1] * (1 if i == levels - 1 else 2) + beside, sizes[i]) for i in reversed(range(levels))
        )
        self.outputs = width + inputs + beside
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W); H and W multiples of 2^levels."""
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> list[Tensor]:
        """The input and what every level makes of it, fine to coarse."""
        skips = [x]
        for down in self.down:
            skips.append(down(skips[-1]))
        return skips

    def decode(self, skips: Sequence[Tensor]) -> Tensor:
        """Maps as `encode` gives them, each with `beside` channels more, to (B, outputs, H, W)."""
        y = skips[-1]
        for up, skip in zip(self.up, reversed(skips[:-1])):
            y = torch.cat([up(y), skip], dim=1)
        return y
