"""Patch discriminators: one verdict per patch, at one or several scales of the picture, or over time."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from infinex.nn.geometry import gaussian_heatmaps


class Verdict(NamedTuple):
    """What a discriminator says of a batch at one scale."""

    score: Tensor  # (B, 1, h, w) unbounded, high for real
    features: list[Tensor]  # what every block saw, for feature matching


def scale_key(scale: float) -> str:
    """A scale as a module name, which may hold no dot: 1 is "1", 0.5 is "0-5"."""
    return f"{scale:g}".replace(".", "-")


class PatchDiscriminator(nn.Module):
    """4×4 convolutions without padding, instance normalisation, leaky ReLU; all but the last halve the size.

    With `keypoints`, a Gaussian heatmap per keypoint of the driving frame stands beside the colours, which
    lets the verdict depend on whether the motion is right as well as on whether the picture looks real.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,  # channels after the first block
        blocks: int = 4,
        max_width: int = 512,
        keypoints: int = 0,  # number of heatmaps beside the picture
        variance: float = 0.01,  # of the heatmaps
        spectral: bool = False,  # divide every weight by its largest singular value
        halve_last: bool = False,  # the last block halves the size as well
    ) -> None:
        super().__init__()
        self.keypoints, self.variance, self.halve_last = keypoints, variance, halve_last
        sizes = [channels + keypoints] + [min(max_width, width * 2**i) for i in range(blocks)]
        convs: list[nn.Module] = [nn.Conv2d(a, b, 4) for a, b in pairwise(sizes)]
        score: nn.Module = nn.Conv2d(sizes[-1], 1, 1)
        if spectral:
            convs, score = [spectral_norm(c) for c in convs], spectral_norm(score)
        self.convs = nn.ModuleList(convs)
        # The first block sees colours as they are: normalising there would hide brightness and contrast.
        self.norms = nn.ModuleList(
            nn.Identity() if i == 0 else nn.InstanceNorm2d(c, affine=True) for i, c in enumerate(sizes[1:])
        )
        self.score = score

    def forward(self, image: Tensor, points: Tensor | None = None) -> Verdict:
        """`image` (B, channels, H, W) in 0..1, `points` (B, K, 2) in -1..1."""
        x = image
        if self.keypoints:
            if points is None:
                raise ValueError("this discriminator needs keypoints beside the picture")
            maps = gaussian_heatmaps(points, image.shape[2], image.shape[3], self.variance)
            x = torch.cat([x, maps.to(x.dtype)], dim=1)
        features = []
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = F.leaky_relu(norm(conv(x)), 0.2)
            if i < len(self.convs) - 1 or self.halve_last:
                x = F.avg_pool2d(x, 2)
            features.append(x)
        return Verdict(self.score(x), features)


class MultiScaleDiscriminator(nn.Module):
    """One `PatchDiscriminator` per scale of the image pyramid."""

    def __init__(self, scales: tuple[float, ...] = (1.0,), **sizes: int | float | bool) -> None:
        super().__init__()
        self.scales = scales
        self.at = nn.ModuleDict({scale_key(s): PatchDiscriminator(**sizes) for s in scales})  # type: ignore[arg-type]

    def forward(self, pyramid: dict[float, Tensor], points: Tensor | None = None) -> dict[float, Verdict]:
        """`pyramid` {scale: (B, C, H, W)} to {scale: verdict}."""
        return {s: self.at[scale_key(s)](pyramid[s], points) for s in self.scales}


Norm = Literal["batch", "instance", "none"]
_KIND: dict[tuple[str, int], type[nn.Module]] = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,  # without scale and shift
    ("instance", 3): nn.InstanceNorm3d,
}


class PixelPatches(nn.Module):
    """The discriminator of pix2pix (Isola et al. 2017, section 6.1.2): three layers judge patches of 70 pixels.

    4×4 convolutions with a border of one: `layers` that halve the size, one that does not, and the score. Only the
    first and the score have biases beside batch norms, all have beside others. Several systems publish such networks;
    their key names `model.N` fit."""

    def __init__(
        self,
        channels: int = 3,  # of everything it sees, stacked
        width: int = 64,  # channels after the first layer; they double up to eight times as many
        layers: int = 3,
        norm: Norm = "batch",
        spectral: bool = False,  # divide every weight by its largest singular value
        dimensions: Literal[2, 3] = 2,  # 3: films (B, C, T, H, W); time is not halved
    ) -> None:
        super().__init__()
        conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
        kernel, border, step = (4, 1, 2) if dimensions == 2 else ((3, 4, 4), 1, (1, 2, 2))

        def layer(inputs: int, outputs: int, stride: int | tuple[int, ...], bias: bool) -> nn.Module:
            made = conv(inputs, outputs, kernel, stride, border, bias=bias)  # type: ignore[arg-type]
            return spectral_norm(made) if spectral else made

        net: list[nn.Module] = [layer(channels, width, step, True), nn.LeakyReLU(0.2)]
        before = width
        for i in range(1, layers + 1):
            after = width * min(2**i, 8)
            net.append(layer(before, after, step if i < layers else 1, norm != "batch"))
            if norm != "none":
                net.append(_KIND[norm, dimensions](after))
            net.append(nn.LeakyReLU(0.2))
            before = after
        net.append(layer(before, 1, 1, True))
        self.model = nn.Sequential(*net)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, [T,] H, W) to scores (B, 1, [T,] h, w), unbounded, high for real."""
        score: Tensor = self.model(x)
        return score

    def verdict(self, x: Tensor) -> Verdict:
        """The score, and what the layers before it saw."""
        features = []
        for part in self.model:
            x = part(x)
            if isinstance(part, nn.LeakyReLU):
                features.append(x)
        return Verdict(x, features)
