"""X2Face (Wiles et al., ECCV 2018): the networks.

    sources ─► embedding network ─► warp of each ─► weighted mean: the embedded face
    driving ─► driving network ─► bottleneck ─► warp that reads the result from the embedded face

The bottleneck can be written as well as read: by the angles of a head, or by a voice. Pictures are RGB in 0..1,
coordinates as in `infinex.nn.geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.geometry import coordinate_grid, warp

LEAST = 0.1  # share of a source picture that nobody is confident of


@dataclass(frozen=True)
class X2FaceConfig:
    """Sizes of the networks; the defaults are the published ones."""

    size: int = 256  # side of the pictures: 2^levels makes the bottleneck one pixel
    levels: int = 8
    width: int = 64  # channels after the first convolution; doubled three times
    waist: int = 128  # numbers in the driving network's bottleneck
    heard: int = 256  # numbers that describe a moment of sound


CONFIGS: dict[str, X2FaceConfig] = {
    "x2face": X2FaceConfig(),
    "x2face-small": X2FaceConfig(size=128, levels=7, width=24, heard=288),
    # Minutes on a laptop.
    "x2face-tiny": X2FaceConfig(size=64, levels=6, width=12, waist=64, heard=288),
    # What a CPU trains within the hour, taught by the face tracker.
    "x2face-face": X2FaceConfig(size=64, levels=6, width=24, waist=192, heard=288),
}


class Ladder(nn.Module):
    """Down to one pixel by strided convolutions, up again by bilinear doubling, with or without skip connections."""

    def __init__(self, outputs: int, levels: int, width: int, waist: int = 0, skips: bool = True) -> None:
        """`waist`: channels of the one pixel; 0: as many as there are above it."""
        super().__init__()
        self.skips = skips
        sizes = [width * min(8, 2**i) for i in range(levels)]
        lowest = [*sizes[:-1], waist or sizes[-1]]
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False) for a, b in pairwise([3, *lowest])
        )
        # Neither the first nor the last convolution is normalised.
        self.down_norm = nn.ModuleList(nn.BatchNorm2d(n) for n in sizes[1:-1])
        self.up = nn.ModuleList()
        for i in range(levels):
            inputs = lowest[-1] if i == levels - 1 else sizes[i] * (2 if skips else 1)
            self.up.append(nn.Conv2d(inputs, outputs if i == 0 else sizes[i - 1], 3, padding=1, bias=False))
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(n) for n in sizes[:-1])
        for conv in (*self.down, *self.up):
            nn.init.xavier_normal_(conv.weight)

    def encode(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the maps of all levels; the last is (B, waist, 1, 1), before any rectifier."""
        maps = [self.down[0](image)]
        for i, conv in enumerate(self.down[1:], 1):
            x = conv(F.leaky_relu(maps[-1], 0.2))
            maps.append(x if i == len(self.down) - 1 else self.down_norm[i - 1](x))
        return maps

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps as `encode` gives them to (B, outputs, H, W); without skip connections only the last is looked at."""
        x = maps[-1]
        for i in reversed(range(len(self.up))):
            x = F.interpolate(F.relu(x), scale_factor=2.0, mode="bilinear", align_corners=True)
            x = self.up[i](x)
            if i:
                x = self.up_norm[i - 1](x)
                x = torch.cat([x, maps[i - 1]], dim=1) if self.skips else x
        return x


def grid_of(flow: Tensor) -> Tensor:
    """Where to read (B, H, W, 2), of the networks' flow (B, 2, H, W): at most one half width away."""
    offset = torch.tanh(flow[:, :2].float()).permute(0, 2, 3, 1)
    return offset + coordinate_grid(flow.shape[2], flow.shape[3], flow)


class Embedding(Ladder):
    """Turns every source picture into the common, embedded face, and says how far it is to be trusted there."""

    def __init__(self, config: X2FaceConfig) -> None:
        super().__init__(3, config.levels, config.width)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) to where to read it (B, H, W, 2) and its confidence, unbounded (B, 1, H, W)."""
        out = self.decode(self.encode(image))
        return grid_of(out), out[:, 2:3].float()

    def face(self, sources: Tensor, least: float = LEAST) -> Tensor:
        """One embedded face (B, 3, H, W) of N pictures (B, N, 3, H, W) of each person.

        Pictures are weighed by exp(confidence) + `least`; one alone is taken as it is."""
        b, n = sources.shape[:2]
        grid, confidence = self(sources.flatten(0, 1))
        moved = warp(sources.flatten(0, 1), grid).unflatten(0, (b, n))
        if n == 1:
            return moved[:, 0]
        weight = (torch.exp(confidence) + least).unflatten(0, (b, n))
        return (moved * weight).sum(1) / weight.sum(1)


class Driving(Ladder):
    """Sees the driving frame through a narrow waist and says from where to read the embedded face."""

    def __init__(self, config: X2FaceConfig) -> None:
        super().__init__(2, config.levels, config.width, config.waist, skips=False)

    def bottleneck(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, waist), before any rectifier."""
        return self.encode(image)[-1].flatten(1)

    def flow(self, bottleneck: Tensor) -> Tensor:
        """(B, waist) to (B, 2, H, W) in -1..1."""
        return torch.tanh(self.decode([bottleneck[..., None, None]]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) to where to read the embedded face (B, H, W, 2), and the bottleneck (B, waist)."""
        bottleneck = self.bottleneck(image)
        # Both the network and whoever reads it take a hyperbolic tangent: offsets stay within 0.76.
        return grid_of(self.flow(bottleneck)), bottleneck


def networks_of(config: X2FaceConfig) -> dict[str, nn.Module]:
    """Fresh networks by name. The linear ones begin at zero, which says that they were not trained."""
    networks: dict[str, nn.Module] = {
        "embedding": Embedding(config),
        "driving": Driving(config),
        "reader": nn.Linear(config.waist, 3),  # angles of a bottleneck
        "writer": nn.Sequential(nn.Linear(3, config.waist, bias=False), nn.BatchNorm1d(config.waist)),  # and back
        "voice": nn.Linear(config.heard, config.waist),
    }
    for name in ("reader", "voice"):
        for parameter in networks[name].parameters():
            nn.init.zeros_(parameter)
    return networks


def posed(bottleneck: Tensor, angles: Tensor, reader: nn.Module, writer: nn.Module) -> Tensor:
    """A bottleneck (B, waist) whose pose is exchanged for `angles` (B, 3), radians: roll, pitch, yaw."""
    return bottleneck - writer(reader(bottleneck)) + writer(angles)


def spoken(
    bottleneck: Tensor, heard: Tensor, at_rest: Tensor, voice: nn.Module, reader: nn.Module, writer: nn.Module
) -> Tensor:
    """A rectified bottleneck (B, waist) moved by what is heard (B, heard) beside what is `at_rest`, pose kept."""
    new = bottleneck + voice(heard) - voice(at_rest)
    return new + writer(reader(bottleneck)) - writer(reader(new))
