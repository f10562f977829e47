"""The networks of ReenactGAN (Wu et al. 2018): a face to its boundaries, to another person's boundaries, to their face.

Pictures are in -1..1, at `size`; boundary maps are a quarter of that. Modules have the key names of the published
weights. A network in evaluation mode uses the statistics it has gathered; the authors never leave training mode, which
`Evaluation` offers under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, Literal, get_args  # noqa: UP035

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.translation import middle, way_in, way_out

# right: running statistics, no dropout; statistics: those of the picture itself; published: and dropout in the decoder.
Evaluation = Literal["right", "statistics", "published"]
EVALUATIONS: tuple[str, ...] = get_args(Evaluation)
MAP = 4  # pixels of the picture in one of its maps


@dataclass(frozen=True)
class ReenactganConfig:
    """Sizes of the networks; the defaults are the published ones."""

    size: int = 256
    parts: int = 15  # boundary maps
    features: int = 128  # of the hourglass, half of its channels
    stacks: int = 2
    depth: int = 4  # halvings in the hourglass
    transformer: int = 64  # channels after its first layer
    blocks: int = 9
    decoder: int = 64  # channels after its first layer
    levels: int = 8  # halvings in the U-Net
    align: int = 16  # channels of the alignment network's first stage
    align_hidden: int = 128
    points: int = 106  # that it finds

    @property
    def map_size(self) -> int:
        """Side of the boundary maps."""
        return self.size // MAP


CONFIGS: dict[str, ReenactganConfig] = {
    "reenactgan-256": ReenactganConfig(),
    "reenactgan-128": ReenactganConfig(
        size=128, features=32, depth=3, transformer=24, blocks=6, decoder=24, levels=7, align=8, align_hidden=64
    ),
    "reenactgan-64": ReenactganConfig(
        size=64, features=16, depth=2, stacks=1, transformer=12, blocks=3, decoder=16, levels=6, align=8,
        align_hidden=64,
    ),
    "reenactgan-face": ReenactganConfig(
        size=64, features=16, depth=2, stacks=1, transformer=16, blocks=4, decoder=16, levels=6, align=8,
        align_hidden=64,
    ),
}  # fmt: skip


class Bottleneck(nn.Module):
    """Residual block, normalisation first, with a narrow middle: C to 2p channels (He et al. 2016)."""

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, planes, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(planes), nn.Conv2d(planes, planes, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(planes), nn.Conv2d(planes, 2 * planes, 1)
        self.downsample = None if inputs == 2 * planes else nn.Sequential(nn.Conv2d(inputs, 2 * planes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2p, H, W)."""
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(x))


class StackHourglass(nn.Module):
    """One hourglass of the stack: `hg.D.K` is the block K of level D, the outermost level last."""

    def __init__(self, planes: int, depth: int) -> None:
        super().__init__()

        def block() -> nn.Sequential:
            return nn.Sequential(Bottleneck(2 * planes, planes))

        self.hg = nn.ModuleList(nn.ModuleList(block() for _ in range(4 if d == 0 else 3)) for d in range(depth))

    def _level(self, d: int, x: Tensor) -> Tensor:
        level = self.hg[d]
        assert isinstance(level, nn.ModuleList)
        low = level[1](F.max_pool2d(x, 2))
        low = self._level(d - 1, low) if d else level[3](low)
        return level[0](x) + F.interpolate(level[2](low), scale_factor=2.0, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same; H and W multiples of 2^depth."""
        return self._level(len(self.hg) - 1, x)


class BoundaryNet(nn.Module):
    """A face to its boundaries: a stack of hourglasses (Newell et al. 2016)."""

    def __init__(self, config: ReenactganConfig) -> None:
        super().__init__()
        p, channels = config.features, 2 * config.features
        self.stacks = config.stacks
        self.conv1, self.bn1 = nn.Conv2d(3, p // 2, 7, 2, 3), nn.BatchNorm2d(p // 2)
        self.layer1 = nn.Sequential(Bottleneck(p // 2, p // 2))
        self.layer2 = nn.Sequential(Bottleneck(p, p))
        self.layer3 = nn.Sequential(Bottleneck(channels, p))

        def line() -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())

        each, between = range(config.stacks), range(config.stacks - 1)
        self.hg = nn.ModuleList(StackHourglass(p, config.depth) for _ in each)
        self.res = nn.ModuleList(nn.Sequential(Bottleneck(channels, p)) for _ in each)
        self.fc = nn.ModuleList(line() for _ in each)
        self.score = nn.ModuleList(nn.Conv2d(channels, config.parts, 1) for _ in each)
        self.fc_ = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in between)
        self.score_ = nn.ModuleList(nn.Conv2d(config.parts, channels, 1) for _ in between)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) to the maps (B, parts, S/4, S/4) after every hourglass, unbounded; the last ones count."""
        x = self.layer1(F.relu(self.bn1(self.conv1(image))))
        x = self.layer3(self.layer2(F.max_pool2d(x, 2)))
        out = []
        for i in range(self.stacks):
            y = self.fc[i](self.res[i](self.hg[i](x)))
            out.append(self.score[i](y))
            if i < self.stacks - 1:
                x = x + self.fc_[i](y) + self.score_[i](out[-1])
        return out


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*middle(width, width, nn.BatchNorm2d, False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same, not rectified."""
        return x + self.conv_block(x)


class Transformer(nn.Module):
    """Boundaries of one person to those of another, in 0..1."""

    def __init__(self, config: ReenactganConfig) -> None:
        super().__init__()
        w, parts = config.transformer, config.parts
        blocks = [_Residual(4 * w) for _ in range(config.blocks)]
        self.model = nn.Sequential(
            *way_in(parts, w, nn.BatchNorm2d, False), *blocks, *way_out(w, parts, nn.BatchNorm2d, False, nn.Sigmoid())
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, parts, h, w) to the same."""
        out: Tensor = self.model(maps)
        return out


class _Skip(nn.Module):
    """A level of the U-Net and all below it; its input stands before what it made."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2C, H, W)."""
        return torch.cat([x, self.model(x)], 1)


class _Plain(_Skip):
    def forward(self, x: Tensor) -> Tensor:
        """Without the input."""
        out: Tensor = self.model(x)
        return out


def _unet(widths: list[int], dropout: int) -> nn.Module:
    """Levels between channels `widths`, outermost first; half of all pass in `dropout` of them, counted from inside."""
    below: nn.Module | None = None
    for i in range(len(widths) - 1, 0, -1):
        outer, inner = widths[i - 1], widths[i]
        down = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=False)]
        up = nn.ConvTranspose2d(inner * (1 if below is None else 2), outer, 4, 2, 1, bias=False)
        if below is None:
            layers = [*down, nn.ReLU(), up, nn.BatchNorm2d(outer)]
        else:
            layers = [*down, nn.BatchNorm2d(inner), below, nn.ReLU(), up, nn.BatchNorm2d(outer)]
            if outer == inner and dropout:
                layers.append(nn.Dropout(0.5))
                dropout -= 1
        below = _Skip(layers)
    assert below is not None
    return below


class Decoder(nn.Module):
    """Boundaries to a face: the maps are enlarged four times, then drawn by pix2pix's U-Net (Isola et al. 2017)."""

    def __init__(self, config: ReenactganConfig) -> None:
        super().__init__()
        n, w = config.parts, config.decoder
        first = _Plain([nn.ReLU(), nn.ConvTranspose2d(n, n, 4, 2, 1, bias=False), nn.BatchNorm2d(n)])
        enlarge = _Plain([first, nn.ReLU(), nn.ConvTranspose2d(n, n, 4, 2, 1), nn.Tanh()])
        widths = [w * min(8, 2**i) for i in range(config.levels)]
        body = _unet(widths, 3)
        self.model = _Plain([
            enlarge, nn.Conv2d(n, w, 4, 2, 1, bias=False), body, nn.ReLU(), nn.ConvTranspose2d(2 * w, 3, 4, 2, 1),
            nn.Tanh(),
        ])  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        """(B, parts, S/4, S/4) to (B, 3, S, S) in -1..1."""
        out: Tensor = self.model(maps)
        return out


class _Basic(nn.Module):
    """The basic block of a ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        plain = inputs == outputs and stride == 1
        self.downsample = (
            None if plain else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H/stride, W/stride), not negative."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AlignNet(nn.Module):
    """Boundary maps to landmarks, for the shape loss alone."""

    def __init__(self, config: ReenactganConfig) -> None:
        super().__init__()
        w, hidden = config.align, config.align_hidden
        stages, before = [], w
        for i in range(4):
            after = w * 2**i
            stages.append(nn.Sequential(_Basic(before, after, 1 if i == 0 else 2), _Basic(after, after, 1)))
            before = after
        self.model = nn.Sequential(
            nn.Conv2d(config.parts, 3, 3, 1, 1), nn.Conv2d(3, w, 7, 2, 3, bias=False), nn.BatchNorm2d(w), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1), *stages,
        )  # fmt: skip
        side = -(-config.map_size // 32)  # five halvings, each rounded up
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(8 * w * side**2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 2 * config.points),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        """(B, parts, h, w) to (B, 2·points): x and y in turn, in pixels of the maps."""
        out: Tensor = self.mlp(self.model(maps))
        return out


class Components(nn.Module):
    """Landmarks in the axes of a principal component analysis, the strongest first."""

    def __init__(self, config: ReenactganConfig) -> None:
        super().__init__()
        self.pca = nn.Sequential(nn.Linear(2 * config.points, 2 * config.points))

    def forward(self, points: Tensor) -> Tensor:
        """(B, 2·points) to the same."""
        out: Tensor = self.pca(points)
        return out


def networks_of(config: ReenactganConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks of a person under the names that weights are stored by."""
    return {
        "boundary": BoundaryNet(config),
        "align": AlignNet(config),
        "pca": Components(config),
        "transformer": Transformer(config),
        "decoder": Decoder(config),
    }


@contextmanager
def as_evaluated(networks: Mapping[str, nn.Module], evaluation: Evaluation) -> Iterator[None]:
    """The networks compute as `evaluation` says inside this block; what they gathered in training stays as it is.

    Raises ValueError for an evaluation that is not known."""
    if evaluation not in EVALUATIONS:
        raise ValueError(f"unknown evaluation {evaluation!r}; known: {', '.join(EVALUATIONS)}")
    parts = [p for n in networks.values() for p in n.modules()]
    norms = [p for p in parts if isinstance(p, nn.BatchNorm2d)]
    before = [(p, p.training) for p in parts]
    for part in parts:
        part.training = evaluation == "published" and isinstance(part, nn.Dropout)
    for norm in norms if evaluation != "right" else ():
        norm.training, norm.track_running_stats = True, False  # statistics of this batch, and none gathered
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for part, mode in before:
            part.training = mode


class ReenactGAN(nn.Module):
    """The chain at work: a performer's face to that of the person whose decoder it is."""

    def __init__(self, config: ReenactganConfig, networks: Mapping[str, nn.Module]) -> None:
        """Without `transformer` boundaries go to the decoder as they are: the person by themselves."""
        super().__init__()
        self.config = config
        self.networks = nn.ModuleDict(networks)

    def maps(self, image: Tensor) -> Tensor:
        """Boundaries (B, parts, S/4, S/4) of faces (B, 3, S, S)."""
        maps: Tensor = self.networks["boundary"](image)[-1]
        return maps

    def drawn(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The person's own boundaries and face from the performer's boundaries."""
        own = self.networks["transformer"](maps) if "transformer" in self.networks else maps
        return own, self.networks["decoder"](own)

    @torch.no_grad()
    def forward(self, image: Tensor, evaluation: Evaluation = "right", of_maps: bool = False) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in -1..1: the person's boundaries and face under the same expression and pose.

        With `of_maps` boundaries (B, parts, S/4, S/4) are given in place of the face."""
        with as_evaluated(dict(self.networks), evaluation):
            return self.drawn(image if of_maps else self.maps(image))
