"""The networks of FReeNet (Zhang et al. 2020): landmarks to another's, a face to one under landmarks.

Modules have the key names of the published code; no weights were published. Landmarks are x and y in turn, in pixels
of a square of 512, whatever the size of the pictures: the published networks know no other unit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from infinex.nn.discriminators import PixelPatches
from infinex.nn.translation import middle, way_in, way_out

UNIT = 512.0  # side of the square that landmarks are measured in
LANDMARK_SHARE = 4  # pixels of the picture in one of the landmark picture


@dataclass(frozen=True)
class FreenetConfig:
    """Sizes of the networks; the defaults are the published ones."""

    size: int = 256  # of pictures
    points: int = 106
    hidden: int = 512  # of the converter
    critic_hidden: int = 512  # of its critics
    width: int = 64  # of the generator, channels after its first layer
    blocks: int = 9
    branch: tuple[int, int, int] = (8, 16, 16)  # channels of the landmark branch
    dropout: float = 0.5  # in the generator's blocks, while it learns
    critic_width: int = 64

    @property
    def map_size(self) -> int:
        """Side of the landmark pictures."""
        return self.size // LANDMARK_SHARE


CONFIGS: dict[str, FreenetConfig] = {
    "freenet-256": FreenetConfig(),
    "freenet-128": FreenetConfig(size=128, hidden=256, critic_hidden=256, width=24, critic_width=24),
    "freenet-64": FreenetConfig(
        size=64, hidden=64, critic_hidden=64, width=12, blocks=3, branch=(4, 8, 8), critic_width=12
    ),
}


def dense(*widths: int) -> nn.Sequential:
    """Linear layers between `widths`, a leaky rectifier between any two."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def xavier_(network: nn.Module) -> nn.Module:
    """Start as the authors start the converter: Xavier's weights, biases 0."""
    for part in network.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return network


class Converter(nn.Module):
    """The unified landmark converter: somebody's expression on somebody else's face."""

    def __init__(self, config: FreenetConfig) -> None:
        super().__init__()
        n, h = 2 * config.points, config.hidden
        self.emotion = dense(n, *[h] * 6)
        self.calm = dense(n, *[h] * 6)
        self.fusion_flow = dense(2 * h, 2 * h, h, n)

    def offset(self, expression: Tensor, neutral: Tensor) -> Tensor:
        """What is added to the neutral landmarks, (B, 2·points)."""
        both = torch.cat([self.emotion(expression), self.calm(neutral)], 1)
        out: Tensor = self.fusion_flow(both)
        return out

    def forward(self, expression: Tensor, neutral: Tensor) -> Tensor:
        """`expression` of one face and `neutral` of another, (B, 2·points) each, to the other's under it."""
        return neutral + self.offset(expression, neutral)


class PairCritic(nn.Module):
    """Whether two sets of landmarks are of one person, (B, 1)."""

    def __init__(self, config: FreenetConfig) -> None:
        super().__init__()
        n, h = 2 * config.points, config.critic_hidden
        self.layers1, self.layers2 = dense(n, h, h, 64), dense(n, h, h, 64)
        self.layers3 = dense(128, 128, 32, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 2·points) twice to (B, 1), unbounded, high for real pairs."""
        out: Tensor = self.layers3(torch.cat([self.layers1(first), self.layers2(second)], 1))
        return out


class SingleCritic(nn.Module):
    """Whether landmarks are of a real face, (B, 1)."""

    def __init__(self, config: FreenetConfig) -> None:
        super().__init__()
        h = config.critic_hidden
        self.layers = dense(2 * config.points, h, h, h, h, 64, 1)

    def forward(self, points: Tensor) -> Tensor:
        """(B, 2·points) to (B, 1), unbounded, high for real ones."""
        out: Tensor = self.layers(points)
        return out


class _Block(nn.Module):
    """Residual block whose short cut has a convolution of its own."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*middle(inputs, width, nn.InstanceNorm2d, True, dropout))
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, width, H, W), not rectified."""
        return self.shortcut(x) + self.conv_block(x)


class GeometryAwareGenerator(nn.Module):
    """A face, and the landmarks that it should have, to that picture; every third block is shown the landmarks."""

    def __init__(self, config: FreenetConfig) -> None:
        super().__init__()
        w, (a, b, c), norm = config.width, config.branch, nn.InstanceNorm2d
        self.model1 = nn.Sequential(*way_in(3, w, norm, True))
        self.model2 = nn.ModuleList(
            _Block(4 * w + (c if i % 3 == 2 else 0), 4 * w, config.dropout) for i in range(config.blocks)
        )
        self.model3 = nn.Sequential(*way_out(w, 3, norm, True, nn.Tanh()))
        self.model_landmark_trans = nn.Sequential(
            nn.Conv2d(3, a, 3, padding=1), norm(a), nn.ReLU(), nn.Conv2d(a, b, 3, padding=1), norm(b), nn.ReLU(),
            nn.Conv2d(b, c, 3, padding=1), norm(c),
        )  # fmt: skip

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """(B, 3, S, S) and the landmark picture (B, 3, S/4, S/4), both in -1..1, to (B, 3, S, S) in -1..1."""
        x, seen = self.model1(image), self.model_landmark_trans(landmarks)
        for i, block in enumerate(self.model2):
            x = block(torch.cat([x, seen], 1) if i % 3 == 2 else x)
        out: Tensor = self.model3(x)
        return out


def networks_of(config: FreenetConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names that weights are stored by."""
    return {
        "converter": Converter(config),
        "pair": PairCritic(config),
        "single": SingleCritic(config),
        "generator": GeometryAwareGenerator(config),
        "critic": PixelPatches(6, config.critic_width, norm="instance"),
    }
