"""The networks of CrossID-GAN (Huang, Yang and Wang, CVPR 2020): motion without its owner, and a face to wear it.

The paper names the parts and what each is taught, not their layers: every size, how the two codes meet in the
generator, and the reader that finds the motion in a generated picture are our choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import PixelPatches

PLACE = 3  # numbers that say where in the picture a head is and how large
TOLD = 64  # numbers that say who it is, to flows


@dataclass(frozen=True)
class CrossIdConfig:
    """Sizes of the networks; all are ours."""

    size: int = 128  # pictures
    lines: int = 64  # pictures of landmarks
    code: int = 128  # of motion
    width: int = 64  # channels at full size; they double up to `most`
    most: int = 512
    levels: int = 3  # halvings of the content encoder
    blocks: int = 4  # of the generator that motion bends
    people: int = 0  # classes of the identity classifier
    critic: int = 64
    critic_layers: int = 3
    flow: int = 0  # cells across of the flows by which content and picture are moved; 0: none


CONFIGS: dict[str, CrossIdConfig] = {
    "crossid-gan": CrossIdConfig(),
    "crossid-gan-small": CrossIdConfig(size=96, code=64, width=16, most=96, critic=16),
    "crossid-gan-face": CrossIdConfig(
        size=64, lines=48, code=48, width=16, most=64, levels=2, blocks=2, critic=16, flow=16
    ),
    "crossid-gan-tiny": CrossIdConfig(
        size=32, lines=32, code=16, width=4, most=16, levels=2, blocks=2, critic=4, critic_layers=2
    ),
}


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, instance normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()
    )


class MotionEncoder(nn.Module):
    """E_L: a picture of landmarks (B, inputs, H, W) in 0..1 to a motion code (B, code).

    The reader is the same network for photographs. Nothing is normalised: how open a mouth is lies in the contrast."""

    def __init__(self, config: CrossIdConfig, inputs: int, size: int) -> None:
        super().__init__()
        widths = [inputs] + [min(config.most, config.width * 2**i) for i in range(4)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.last = nn.Linear(widths[-1] * (size // 16) ** 2, config.code)
        self.norm = nn.BatchNorm1d(config.code, affine=False) if config.flow else None
        if config.flow:  # else fresh codes hardly differ, and flows do not heed them
            for conv in self.convs:
                nn.init.kaiming_normal_(cast(Tensor, conv.weight), 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """See above."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        out: Tensor = self.last(x.flatten(1))
        return out if self.norm is None else self.norm(out)


class Content(NamedTuple):
    """What is kept of pictures: a map (B, C, S/2ⁿ, S/2ⁿ) of who it is and what it shows; and with flows the picture
    (B, 3, S, S), who it is (B, TOLD), and where the mean face, seen from the front, is read in it (B, 2, f, f), as how
    far off, in -1..1."""

    map: Tensor
    image: Tensor | None = None
    who: Tensor | None = None
    flow: Tensor | None = None

    def each(self, count: int) -> Content:
        """Everybody `count` times in a row."""
        return Content(*(None if t is None else t.repeat_interleave(count, 0) for t in self))  # type: ignore[arg-type]


class Field(nn.Module):
    """Numbers (B, inputs) to a flow (B, 2, f, f) of offsets, none at first."""

    def __init__(self, inputs: int, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.inner, self.bent = nn.Linear(inputs, 2 * TOLD), nn.Linear(2 * TOLD, 2 * cells**2)
        self.straight = nn.Linear(inputs, 2 * cells**2)
        for layer in (self.bent, self.straight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """See above."""
        flow: Tensor = self.straight(x) + self.bent(F.relu(self.inner(x)))
        return flow.unflatten(1, (2, self.cells, self.cells))


def read(maps: Tensor, flow: Tensor) -> Tensor:
    """`maps` (B, C, h, w) where a flow (B, 2, f, f) of offsets says, at the size of the maps."""
    b, size = len(maps), list(maps.shape[2:])
    grid = F.interpolate(flow.float(), size=size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    still = torch.eye(2, 3, device=maps.device)[None].expand(b, -1, -1)
    grid = grid + F.affine_grid(still, [b, 1, *size], True)
    return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=True).to(maps.dtype)


def through(first: Tensor, then: Tensor) -> Tensor:
    """The flow (B, 2, f, f) that reads by `then` what was read by `first`."""
    return then.float() + read(first.float(), then)


class ContentEncoder(nn.Module):
    """E_C: pictures (B, 3, S, S) of people in -1..1 to their content."""

    def __init__(self, config: CrossIdConfig) -> None:
        super().__init__()
        widths = [min(config.most, config.width * 2**i) for i in range(config.levels + 1)]
        self.first = _conv(3, widths[0], 7)
        self.down = nn.Sequential(*(_conv(a, b, 4, 2) for a, b in pairwise(widths)))
        self.flow: Field | None = None
        if config.flow:
            side, last = config.size // 2**config.levels // 4, widths[-1]
            self.convs = nn.ModuleList(nn.Conv2d(last, last, 4, 2, 1) for _ in range(2))
            self.who = nn.Linear(last * side**2, TOLD)
            self.flow = Field(TOLD, config.flow)

    def forward(self, image: Tensor) -> Content:
        """See above."""
        x = self.first(image)
        for conv in self.down:
            # An even kernel leaves one pixel too many.
            x = conv(x)[..., : x.shape[2] // 2, : x.shape[3] // 2]
        if self.flow is None:
            return Content(x)
        y = x
        for conv in self.convs:
            y = F.leaky_relu(conv(y), 0.2)
        who = self.who(y.flatten(1))
        return Content(x, image, who, self.flow(who))


class Bent(nn.Module):
    """A residual block whose normalised maps are scaled and shifted as motion wants (Huang and Belongie 2017)."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.bends = nn.ModuleList(nn.Linear(told, 2 * channels) for _ in range(2))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, C, h, w) and (B, told) to the same."""
        y = x
        for conv, bend in zip(self.convs, self.bends):
            scale, shift = bend(told)[..., None, None].chunk(2, 1)
            y = conv(F.relu(F.instance_norm(y) * (1 + scale) + shift))
        return x + y


class Made(NamedTuple):
    """Pictures (B, 3, S, S) in -1..1, and with flows where the mean face is read for each place (B, 2, f, f), and where
    the content's picture (B, 2, f, f); both as how far off."""

    image: Tensor
    flow: Tensor | None = None
    whole: Tensor | None = None


class Generator(nn.Module):
    """G: a motion code, where the head is to be, and the content of a picture to that person's picture in -1..1.

    What is told besides is where every cell of the map lies: without it a bent block could move nothing. With flows the
    code, and who it is, say where the mean face is read, and the content where that is in its picture: map and picture
    are moved, and what moving cannot show is painted over them."""

    def __init__(self, config: CrossIdConfig) -> None:
        super().__init__()
        widths = [min(config.most, config.width * 2**i) for i in range(config.levels + 1)][::-1]
        told = config.code + PLACE
        self.joined = nn.Conv2d(widths[0] + told + 2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(Bent(widths[0], told) for _ in range(config.blocks))
        self.up = nn.ModuleList(_conv(a, b) for a, b in pairwise(widths))
        self.flow = Field(told + TOLD, config.flow) if config.flow else None
        # With flows: how much of every place is painted, next to nothing at first.
        self.last = nn.Conv2d(widths[-1] + (3 if config.flow else 0), 4 if config.flow else 3, 7, padding=3)

    def forward(self, motion: Tensor, place: Tensor, content: Content) -> Made:
        """`motion` (B, code), `place` (B, 3), `content` of `ContentEncoder`."""
        told, known = torch.cat([motion, place], 1), content.map
        flow = whole = moved = None
        if self.flow is not None:
            assert content.who is not None and content.flow is not None and content.image is not None
            flow = self.flow(torch.cat([told, content.who], 1))
            whole = through(content.flow, flow)
            known, moved = read(known, whole), read(content.image, whole)
        b, _, h, w = known.shape
        y = torch.linspace(-1, 1, h, device=known.device)[None, None, :, None].expand(b, 1, h, w)
        x = torch.linspace(-1, 1, w, device=known.device)[None, None, None].expand(b, 1, h, w)
        spread = told[..., None, None].expand(-1, -1, h, w)
        maps = self.joined(torch.cat([known, spread, x, y], 1))
        for block in self.blocks:
            maps = block(maps, told)
        for conv in self.up:
            maps = conv(F.interpolate(maps, scale_factor=2.0, mode="nearest"))
        if moved is None:
            return Made(torch.tanh(self.last(maps)))
        last = self.last(torch.cat([maps, moved.to(maps.dtype)], 1)).float()
        share = torch.sigmoid(last[:, 3:] - 2)
        return Made(moved.float() * (1 - share) + torch.tanh(last[:, :3]) * share, flow, whole)


class Classifier(nn.Module):
    """D_C: whose motion a code (B, code) is, as scores (B, people)."""

    def __init__(self, config: CrossIdConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.code, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, max(1, config.people)),
        )

    def forward(self, code: Tensor) -> Tensor:
        """See above."""
        out: Tensor = self.layers(code)
        return out


def networks_of(config: CrossIdConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks by the names they are stored by."""
    return {
        "motion": MotionEncoder(config, 1, config.lines),
        "content": ContentEncoder(config),
        "generator": Generator(config),
        "reader": MotionEncoder(config, 3, config.size),
        "classifier": Classifier(config),
        "critic": PixelPatches(3, config.critic, config.critic_layers, norm="instance"),
        "film_critic": PixelPatches(3, config.critic, config.critic_layers, norm="instance", dimensions=3),
    }


AT_WORK = ("motion", "content", "generator")  # what animating needs
