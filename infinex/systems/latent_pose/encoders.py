"""The two encoders: ResNeXt-50 for who is seen, MobileNetV2 for how; names and sizes as torchvision has them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Residual block of a ResNeXt (Xie et al. 2017): narrow, grouped, wide."""

    def __init__(self, inputs: int, planes: int, stride: int, groups: int, per_group: int) -> None:
        super().__init__()
        width = int(planes * per_group / 64) * groups
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != 4 * planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 4·planes, H/stride, W/stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNeXt(nn.Module):
    """A picture to a vector; `widths` are those of the stem and of the four stages before they are quadrupled."""

    def __init__(self, outputs: int, widths: Sequence[int], depths: Sequence[int], groups: int, per_group: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for i, (planes, depth) in enumerate(zip(widths[1:], depths)):
            blocks = []
            for n in range(depth):
                blocks.append(Bottleneck(inputs, planes, 2 if i and not n else 1, groups, per_group))
                inputs = 4 * planes
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1, as it is, to (B, outputs)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


def _divisible(value: float, by: int) -> int:
    """The multiple of `by` nearest to `value`, at most a tenth below it."""
    out = max(by, int(value + by / 2) // by * by)
    return out + by if out < 0.9 * value else out


def _normed(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class Inverted(nn.Module):
    """Inverted residual block (Sandler et al. 2018): wide, each channel alone, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_normed(inputs, width)]
        layers += [_normed(width, width, 3, stride, width), nn.Conv2d(width, outputs, 1, bias=False)]
        self.conv = nn.Sequential(*layers, nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


# Expansion, channels, blocks and first stride of each stage.
MOBILE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNet(nn.Module):
    """A picture to a vector, MobileNetV2."""

    def __init__(self, outputs: int, multiplier: float, by: int, last: int, dropout: float = 0.2) -> None:
        super().__init__()
        inputs = _divisible(32 * multiplier, by)
        features: list[nn.Module] = [_normed(3, inputs, 3, 2)]
        for expansion, channels, count, first in MOBILE:
            width = _divisible(channels * multiplier, by)
            for n in range(count):
                features.append(Inverted(inputs, width, 1 if n else first, expansion))
                inputs = width
        features.append(_normed(inputs, last))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, outputs))

    def forward(self, image: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1, as it is, to (B, outputs)."""
        return self.classifier(self.features(image).mean((2, 3)))
