"""Convolution blocks shared by the hourglasses, generators and detectors.

All tensors are (B, C, H, W). Normalisation is plain batch normalisation; a trainer on several GPUs turns it
into the synchronised kind with `nn.SyncBatchNorm.convert_sync_batchnorm`, which keeps the parameter names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Convolution that keeps the size, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), not negative."""
        return F.relu(self.norm(self.conv(x)))


class DownBlock(ConvBlock):
    """`ConvBlock`, then the mean of every 2×2 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H/2, W/2)."""
        return F.avg_pool2d(super().forward(x), 2)


class UpBlock(ConvBlock):
    """Every pixel repeated 2×2, then `ConvBlock`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, 2H, 2W)."""
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResBlock(nn.Module):
    """Residual block, normalisation first: x + conv(relu(norm(conv(relu(norm(x))))))."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class AntiAliasDown(nn.Module):
    """Gaussian blur, then every n-th pixel: shrinking by 1/n without aliasing.

    The standard deviation is (n - 1) / 2 pixels and the kernel covers four of them on either side. Borders
    are padded with zeros, so they darken a little: the published networks were trained that way.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.step = round(1 / scale)
        if scale > 1 or abs(self.step * scale - 1) > 1e-6:
            raise ValueError(f"scale is one over a whole number, not {scale}")
        sigma = (self.step - 1) / 2
        radius = round(4 * sigma)
        at = torch.arange(-radius, radius + 1, dtype=torch.float64)
        line = torch.exp(-(at**2) / (2 * sigma**2)) if sigma else torch.ones(1, dtype=torch.float64)
        kernel = torch.outer(line, line)
        kernel = (kernel / kernel.sum()).float()
        # One copy of the kernel per channel: a grouped convolution of (channels, 1, k, k).
        self.register_buffer("weight", kernel.expand(channels, 1, -1, -1).clone())
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H/n), ceil(W/n)), same range."""
        if self.step == 1:
            return x
        # The stride skips the pixels that subsampling would throw away.
        return F.conv2d(x, self.weight, stride=self.step, padding=self.radius, groups=x.shape[1])


class ImagePyramid(nn.Module):
    """The same picture at several scales, each shrunk from the original by `AntiAliasDown`."""

    def __init__(self, scales: tuple[float, ...], channels: int = 3) -> None:
        super().__init__()
        self.scales = scales
        self.levels = nn.ModuleList(AntiAliasDown(channels, s) for s in scales)

    def forward(self, x: Tensor) -> dict[float, Tensor]:
        """(B, C, H, W) to {scale: (B, C, scale·H, scale·W)}."""
        return {s: level(x) for s, level in zip(self.scales, self.levels)}


def normal_(network: nn.Module, spread: float = 0.02) -> nn.Module:
    """Start as pix2pix and its many relatives do: weights N(0, spread), scales of norms N(1, spread), biases 0."""
    for part in network.modules():
        weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
        if isinstance(weight, nn.Parameter):
            nn.init.normal_(weight, 1.0 if isinstance(part, nn.modules.batchnorm._NormBase) else 0.0, spread)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
    return network
