"""Deforming autoencoders (Shu et al., ECCV 2018): a picture as a texture without pose and a warp that only moves on.

    picture ─► encoder ─► code ─┬► texture code ─► decoder ─► texture (or shading × albedo) ─┐
                                └► warp code ─► decoder ─► offsets, summed up ───────────────┴► picture

Names inside the modules are those of the authors' files, whose weights load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.geometry import coordinate_grid, warp
from infinex.nn.strided import Strided

COUNTS = (6, 12, 24, 16)  # convolutions of the dense blocks, as published, at 64 pixels
REACH = 5.0  # pixels that one step of a warp goes at most
START = 1.2  # where a warp begins, beyond the border


@dataclass(frozen=True)
class DeformingConfig:
    """Sizes of a deforming autoencoder; the defaults are the published ones."""

    size: int = 64
    kind: Literal["dense", "small"] = "dense"
    norm: Literal["instance", "batch"] = "instance"  # batch: of small ones only
    width: int = 32
    code: int = 128
    texture: int = 16  # numbers of a texture; in parts shading and albedo, each
    warp: int = 128  # numbers of a warp
    shading: int = 0  # numbers of a shading; 0: textures are one thing
    strided: tuple[int, ...] = ()  # widths of an encoder of strided convolutions that is none of the published ones
    kept: int = 0  # layers of a dense block that are there; only the first is ever used; 0: all, as published


def _norm(channels: int, kind: str) -> nn.Module:
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


class DenseBlock(nn.Module):
    """A dense block as published: a loop adds up earlier results and applies no layer but the first."""

    def __init__(self, channels: int, count: int, kept: int, up: bool = False) -> None:
        """`up`: of a decoder, whose convolutions are transposed."""
        super().__init__()
        kind: type[nn.Module] = nn.ConvTranspose2d if up else nn.Conv2d
        self.factor = 2.0 ** (count - 2)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.InstanceNorm2d(channels), nn.ReLU(), kind(channels, channels, 3, 1, 1, bias=False))
            for _ in range(kept or count)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same: the first layer, doubled at every turn of the loop."""
        return self.factor * self.layers[0](x)


class Transition(nn.Module):
    """Between two dense blocks: smaller by the largest of neighbours, or larger by a transposed convolution."""

    def __init__(self, inputs: int, outputs: int, down: int = 0) -> None:
        """`down`: times smaller; 0: twice as large."""
        super().__init__()
        layers: list[nn.Module] = [nn.InstanceNorm2d(inputs)]
        if down:
            layers += [nn.LeakyReLU(0.2), nn.Conv2d(inputs, outputs, 1, bias=False), nn.MaxPool2d(down)]
        else:
            layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, smaller or larger)."""
        return self.main(x)


def _stages(config: DeformingConfig) -> tuple[list[int], list[int]]:
    """Widths and dense blocks from fine to coarse: larger pictures than 64 have more of the finest."""
    extra = round(log2(config.size)) - 6
    widths = [config.width * 2 ** max(0, i - extra) for i in range(4 + extra)]
    return widths, [COUNTS[0]] * extra + list(COUNTS)


class Encoder(nn.Module):
    """A picture to its code, in 0..1."""

    def __init__(self, config: DeformingConfig) -> None:
        super().__init__()
        c, (widths, counts) = config, _stages(config)
        layers: list[nn.Module]
        if c.kind == "dense":
            layers = [nn.Conv2d(3, widths[0], 4, 2, 1)]
            for i, (width, count) in enumerate(zip(widths, counts)):
                last = i == len(widths) - 1
                layers += [DenseBlock(width, count, c.kept),
                           Transition(width, c.code if last else widths[i + 1], 4 if last else 2)]  # fmt: skip
        else:
            layers = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
            for a, b in pairwise(widths):
                layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), _norm(b, c.norm), nn.LeakyReLU(0.2)]
            layers.append(nn.Conv2d(widths[-1], c.code, 4, 4, 0, bias=False))
        self.main = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..1 to (B, code)."""
        return self.main(image).flatten(1)


def encoder_of(config: DeformingConfig) -> nn.Module:
    """The encoder, published or strided; codes (B, code) of the latter are unbounded."""
    return Strided(config.code, config.strided, config.size) if config.strided else Encoder(config)


class Mixer(nn.Module):
    """A part of a code, in 0..1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Linear(inputs, outputs), nn.Sigmoid())

    def forward(self, code: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        return self.main(code)


class Decoder(nn.Module):
    """A part of a code to a map: a texture in 0..1, or the offsets of a warp in 0..1."""

    def __init__(self, inputs: int, outputs: int, config: DeformingConfig, moves: bool = False) -> None:
        super().__init__()
        c, (widths, counts) = config, _stages(config)
        widths, counts = widths[::-1], counts[::-1]
        # Dense textures go through the same numbers of layers as the encoder, coarse to fine.
        act: type[nn.Module] = nn.Tanh if moves else nn.ReLU
        layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, widths[0], 4, 1, 0, bias=False)]
        if c.kind == "dense":
            for i, (width, count) in enumerate(zip(widths, counts)):
                layers += [
                    DenseBlock(width, count, c.kept, up=True),
                    Transition(width, widths[min(i + 1, len(widths) - 1)]),
                ]
            layers += [_norm(widths[-1], "instance"), act()]
        else:
            layers += [_norm(widths[0], c.norm), act()]
            for a, b in zip(widths, [*widths[1:], widths[-1]]):
                layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), _norm(b, c.norm), act()]
        layers.append(nn.ConvTranspose2d(widths[-1], outputs, 3, 1, 1, bias=False))
        self.main = nn.Sequential(*layers, nn.Sigmoid() if moves else nn.Hardtanh(0, 1))
        self.moves = moves

    def forward(self, code: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs, S, S)."""
        x = self.main[:-1](code[..., None, None])
        # Offsets are summed up over the whole picture: half precision would be pixels off at its far side.
        return self.main[-1](x.float() if self.moves else x)


def summed(offsets: Tensor) -> Tensor:
    """Where to read (B, S, S, 2), x and y in -1..1, of offsets (B, 2, S, S) in 0..1: steps that never go back."""
    step = offsets * (REACH / offsets.shape[-1])
    grid = torch.stack([step[:, 0].cumsum(-1), step[:, 1].cumsum(-2)], dim=-1) - START
    return grid.clamp(-1, 1)


def residual(grid: Tensor) -> Tensor:
    """How far a warp (B, S, S, 2) is from reading in place: (B, 2, S, S)."""
    return (grid - coordinate_grid(grid.shape[1], grid.shape[2], grid)).permute(0, 3, 1, 2)


class Encoders(nn.Module):
    """Encoder and the parts of its code."""

    def __init__(self, config: DeformingConfig) -> None:
        super().__init__()
        self.encoder = encoder_of(config)
        self.parts = ("S", "T", "W") if config.shading else ("I", "W")
        sizes = {"S": config.shading, "T": config.texture, "I": config.texture, "W": config.warp}
        for part in self.parts:
            setattr(self, f"z{part}mixer", Mixer(config.code, sizes[part]))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) to the code `z` and its parts by their letters: I texture, S shading, T albedo, W warp."""
        code = self.encoder(image)
        return {"z": code} | {part: getattr(self, f"z{part}mixer")(code) for part in self.parts}


class Decoders(nn.Module):
    """What the parts of a code stand for."""

    def __init__(self, config: DeformingConfig) -> None:
        super().__init__()
        self.decoderW = Decoder(config.warp, 2, config, moves=True)
        if config.shading:
            self.decoderS = Decoder(config.shading, 1, config)
            self.decoderT = Decoder(config.texture, 3, config)
        else:
            self.decoderI = Decoder(config.texture, 3, config)

    def texture(self, codes: dict[str, Tensor]) -> Tensor:
        """The texture (B, 3, S, S) in 0..1."""
        if "I" in codes:
            return self.decoderI(codes["I"])
        return self.decoderS(codes["S"]) * self.decoderT(codes["T"])

    def forward(self, codes: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Texture, where it is read (B, S, S, 2), and the picture (B, 3, S, S)."""
        texture, grid = self.texture(codes), summed(self.decoderW(codes["W"]))
        return texture, grid, warp(texture, grid)


def smoothness(grid: Tensor) -> Tensor:
    """Sum of the absolute differences between neighbours of a residual warp (B, 2, S, S); a scalar."""
    return grid.diff(dim=2).abs().sum() + grid.diff(dim=3).abs().sum()


def shading_smoothness(shading: Tensor) -> Tensor:
    """Sum of the squared differences between neighbours of a shading (B, 1, S, S); a scalar."""
    return shading.diff(dim=2).square().sum() + shading.diff(dim=3).square().sum()


def bias(grid: Tensor) -> Tensor:
    """Mean square of the batch's mean residual warp (B, 2, S, S): on the whole, nothing moves."""
    return F.mse_loss(grid.mean(0), torch.zeros_like(grid[0]))


def warp_terms(grid: Tensor, smooth: float = 1e-6, centred: float = 1e-2) -> dict[str, Tensor]:
    """What keeps warps (B, S, S, 2) from being anything at all, weighted as published."""
    away = residual(grid)
    return {"smoothness": smooth * smoothness(away), "bias": centred * bias(away)}
