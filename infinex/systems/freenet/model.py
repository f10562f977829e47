"""The networks of FReeNet (Zhang et al. 2020): landmarks to another's, a face to one under landmarks.

Modules have the key names of the published code; no weights were published. Landmarks are x and y in turn, in pixels
of a square of 512, whatever the size of the pictures: the published networks know no other unit. `freenet-face` is
ours: its converter is told how the performer's landmarks differ from their own at rest, and its generator moves the
portrait's pixels before it paints."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
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
    layers: int = 6  # of its branches
    critic_hidden: int = 512  # of its critics
    width: int = 64  # of the generator, channels after its first layer
    blocks: int = 9
    branch: tuple[int, int, int] = (8, 16, 16)  # channels of the landmark branch
    dropout: float = 0.5  # in the generator's blocks, while it learns
    critic_width: int = 64
    relative: bool = False  # the converter counts from both faces at rest: ours
    moves: bool = False  # the generator is a `MovingGenerator`: ours

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
    "freenet-face": FreenetConfig(
        size=64, hidden=256, layers=2, critic_hidden=128, width=16, blocks=5, branch=(24, 32, 32), dropout=0.0,
        critic_width=16, relative=True, moves=True,
    ),
}  # fmt: skip


def dense(*widths: int) -> nn.Sequential:
    """Linear layers between `widths`, a leaky rectifier between any two."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def xavier_(network: nn.Module) -> nn.Module:
    """Start as the authors start the converter: Xavier's weights, biases 0. One that counts from rest adds nothing."""
    for part in network.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    if isinstance(network, Converter) and network.relative:
        nn.init.zeros_(network.fusion_flow[-1].weight)  # type: ignore[arg-type]
    return network


class Converter(nn.Module):
    """The unified landmark converter: somebody's expression on somebody else's face."""

    def __init__(self, config: FreenetConfig) -> None:
        super().__init__()
        n, h = 2 * config.points, config.hidden
        self.relative = config.relative
        self.emotion = dense(n, *[h] * config.layers)
        self.calm = dense(2 * n if self.relative else n, *[h] * config.layers)
        self.fusion_flow = dense(2 * h, 2 * h, h, n)

    def offset(self, expression: Tensor, neutral: Tensor) -> Tensor:
        """What is added to the neutral landmarks, (B, 2·points)."""
        both = torch.cat([self.emotion(expression), self.calm(neutral)], 1)
        out: Tensor = self.fusion_flow(both)
        return out

    def forward(self, expression: Tensor, neutral: Tensor, rest: Tensor | None = None) -> Tensor:
        """`expression` of one face and `neutral` of another, (B, 2·points) each, to the other's under it.

        `rest` is the first face's neutral, which the published converter is not told. Ours begins with what changed
        against it, in the other face's size, and learns what is wrong with that from the change and both faces' shapes,
        whose place and size it does not see: of absolute numbers, as the published, it would first have to learn
        where faces are."""
        if not self.relative:
            return neutral + self.offset(expression, neutral)
        assert rest is not None, "this converter counts from rest"
        size = spread(neutral)
        change = (expression - rest) * (size / spread(rest).clamp(min=1.0))
        own, other = shape(neutral), shape(rest)
        return neutral + change + 0.1 * size * self.offset(4 * change / size, torch.cat([own, 4 * (own - other)], 1))


def shape(points: Tensor) -> Tensor:
    """Landmarks (B, 2·points) about their middle, at a mean distance of one from it."""
    x = points.reshape(len(points), -1, 2)
    return (x - x.mean(1, keepdim=True)).flatten(1) / spread(points).clamp(min=1.0)


def spread(points: Tensor) -> Tensor:
    """(B, 1) mean distance of landmarks (B, 2·points) from their middle."""
    x = points.reshape(len(points), -1, 2)
    return (x - x.mean(1, keepdim=True)).norm(dim=2).mean(1, keepdim=True)


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


class Drawn(NamedTuple):
    """What a `MovingGenerator` makes, (B, C, S, S)."""

    image: Tensor  # 3 channels in -1..1: the sum of what follows
    moved: Tensor  # 3: the portrait's own pixels, moved
    colours: Tensor  # 3: what is painted
    mask: Tensor  # 1: how much of that is shown, 0..1
    flow: Tensor  # 2: from where pixels come less where they are, in halves of the side, across and down
    correction: Tensor  # 2: what of that the landmarks alone do not say


class MovingGenerator(nn.Module):
    """A face, its landmarks and those that it should have, to that picture: pixels are moved, then painted over.

    Ours. The published generator paints everything from features a quarter of the size; that takes more pictures and
    steps than are at hand to keep a face. Here the landmarks say where their own pixels go, in between their weighted
    mean; the network sees the picture moved so, corrects the movement, and paints what moving cannot show."""

    def __init__(self, config: FreenetConfig) -> None:
        super().__init__()
        w, (a, b, c), norm = config.width, config.branch, nn.BatchNorm2d
        self.size, self.map_size = config.size, config.map_size
        self.model1 = nn.Sequential(*way_in(6, w, norm, False))
        self.model2 = nn.ModuleList(_Seen(4 * w, c) for _ in range(config.blocks))
        self.model3 = nn.Sequential(*way_out(w, 6, norm, False, nn.Identity()))
        self.model_landmark_trans = nn.Sequential(
            nn.Conv2d(2 * len(PARTS) + 2, a, 3, padding=1), norm(a), nn.ReLU(), nn.Conv2d(a, b, 3, padding=1), norm(b),
            nn.ReLU(), nn.Conv2d(b, c, 3, padding=1), norm(c),
        )  # fmt: skip

    def forward(self, image: Tensor, own: Tensor, wanted: Tensor) -> Drawn:
        """(B, 3, S, S) in -1..1, its landmarks and those wanted (B, 2·points)."""
        own, wanted = own.float(), wanted.float()
        flow = between(own, wanted, self.size)
        small = F.interpolate(flow, size=(self.map_size, self.map_size), mode="bilinear", align_corners=False)
        marks = torch.cat([parts(wanted, self.map_size), parts(own, self.map_size), 5 * small], 1)
        x, seen = self.model1(torch.cat([image, warped(image, flow)], 1)), self.model_landmark_trans(marks)
        for block in self.model2:
            x = block(x, seen)
        out = self.model3(x).float()
        correction = 0.1 * out[:, 4:]
        flow = flow + correction
        moved, colours, mask = warped(image, flow), torch.tanh(out[:, :3]), torch.sigmoid(out[:, 3:4] - 2)
        return Drawn(moved + mask * (colours - moved), moved, colours, mask, flow, correction)


class _Seen(nn.Module):
    """Residual block that is shown the landmarks."""

    def __init__(self, width: int, seen: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*middle(width + seen, width, nn.BatchNorm2d, False))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        return x + self.conv_block(torch.cat([x, seen], 1))


# Of the 106 points those of every curve: contour, brows, nose, lids, lips, irises; see `infinex.face.drawn.convention`.
PARTS: tuple[tuple[int, ...], ...] = (
    tuple(range(33)), (*range(33, 38), *range(64, 68)), (*range(38, 43), *range(68, 72)), tuple(range(43, 47)),
    tuple(range(47, 52)), (52, 53, 54, 55, 72), (55, 56, 57, 52, 73), (58, 59, 60, 61, 75), (61, 62, 63, 58, 76),
    tuple(range(84, 91)), (90, 91, 92, 93, 94, 95, 84), tuple(range(96, 101)), (100, 101, 102, 103, 96), (104,), (105,),
)  # fmt: skip
NEAR, FAR, HINT = 12.0, 48.0, 0.02  # widths of a landmark's say in pixels of 512; how much less it has far away


def _bells(points: Tensor, size: int, width: float) -> tuple[Tensor, Tensor]:
    """Of landmarks (B, 2·points) Gaussians over columns and rows, (B, points, size) each."""
    line = (torch.arange(size, device=points.device, dtype=points.dtype) + 0.5) * (UNIT / size)
    places = points.reshape(len(points), -1, 2)[..., None] + 0.5 - line
    x, y = torch.exp(-places.square() / (2 * width**2)).unbind(2)
    return x, y


def parts(points: Tensor, size: int) -> Tensor:
    """(B, parts, size, size) in 0..1: landmarks (B, 2·106) as soft dots, every curve on a map of its own."""
    x, y = _bells(points, size, 0.9 * UNIT / size)
    return torch.stack([(y[:, p, :, None] * x[:, p, None, :]).amax(1) for p in map(list, PARTS)], 1)


def between(own: Tensor, wanted: Tensor, size: int) -> Tensor:
    """(B, 2, size, size): how far to go from a pixel under `wanted` landmarks to where it is under `own`, in halves of
    the side: at landmarks what they say, in between their weighted mean, away from all nothing."""
    away = (own - wanted).reshape(len(own), -1, 2) * (2 / UNIT)
    total, weight = own.new_zeros(len(own), 2, size, size), own.new_full((len(own), 1, size, size), 0.25 * HINT)
    for width, share in ((NEAR, 1.0), (FAR, HINT)):
        x, y = _bells(wanted, size, width)
        total = total + share * torch.einsum("bnc,bny,bnx->bcyx", away, y, x)
        weight = weight + share * torch.einsum("bny,bnx->byx", y, x)[:, None]
    return total / weight


def warped(image: Tensor, flow: Tensor) -> Tensor:
    """A picture (B, C, S, S) whose pixels come from `flow` (B, 2, S, S) away, in halves of the side; edges go on."""
    size = image.shape[-1]
    line = (2 * torch.arange(size, device=flow.device, dtype=flow.dtype) + 1) / size - 1
    x, y = flow[:, 0] + line, flow[:, 1] + line[:, None]
    at = torch.stack([x, y], -1)
    return F.grid_sample(image.float(), at, mode="bilinear", padding_mode="border", align_corners=False)


def networks_of(config: FreenetConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names that weights are stored by."""
    return {
        "converter": Converter(config),
        "pair": PairCritic(config),
        "single": SingleCritic(config),
        "generator": MovingGenerator(config) if config.moves else GeometryAwareGenerator(config),
        "critic": PixelPatches(6, config.critic_width, norm="instance"),
    }
