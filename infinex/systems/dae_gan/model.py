"""DAE-GAN (Zeng et al., AAAI 2020): the networks, all sizes of which are ours, for the paper gives none.

    frames of a person ─► deforming autoencoder ─► textures, mean: the embedded face (no pose)
    frame ─► pose encoder ─► pose code ─► warp of the embedded face
    embedded face, pose code ─► generator ─► frame;  discriminator

Pictures are RGB in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import PatchDiscriminator, Verdict
from infinex.nn.geometry import warp
from infinex.systems.dae_gan.deforming import Decoder, Decoders, DeformingConfig, Encoders, Mixer, encoder_of, summed


@dataclass(frozen=True)
class DaeConfig:
    """Sizes of the networks."""

    size: int = 128
    width: int = 32  # of the deforming autoencoders
    code: int = 128
    texture: int = 64  # numbers that say who: more than in an autoencoder of single pictures
    warp: int = 128  # numbers that say how
    generator_width: int = 32
    generator_max: int = 256
    critic_width: int = 32
    critic_max: int = 256
    critic_blocks: int = 4
    kind: Literal["dense", "small"] = "dense"  # of the autoencoders; small ones have batch norms here
    strided: tuple[int, ...] = ()  # widths of encoders of strided convolutions, in place of the autoencoders'

    @property
    def deforming(self) -> DeformingConfig:
        """Those of an autoencoder, without the layers that nothing reaches."""
        return DeformingConfig(
            self.size, self.kind, "batch" if self.kind == "small" else "instance", self.width, self.code, self.texture,
            self.warp, strided=self.strided, kept=1,
        )  # fmt: skip


CONFIGS: dict[str, DaeConfig] = {
    "dae-gan": DaeConfig(),
    "dae-gan-small": DaeConfig(width=16, generator_width=16, generator_max=128, critic_width=16, critic_max=128),
    # Minutes on a laptop.
    "dae-gan-tiny": DaeConfig(
        size=64, width=12, code=96, texture=48, warp=64, generator_width=16, generator_max=96, critic_width=16,
        critic_max=96, critic_blocks=3,
    ),
    # What a CPU trains within the hour, taught by the face tracker; generator and critic are only there. Encoders are
    # those of latent-pose-face.
    "dae-gan-face": DaeConfig(
        size=64, width=16, code=64, texture=16, warp=96, generator_width=8, generator_max=32, critic_width=16,
        critic_max=96, critic_blocks=3, kind="small", strided=(24, 48, 96, 128, 192),
    ),
}  # fmt: skip


class FaceEmbedder(nn.Module):
    """The multi-frame deforming autoencoder: what several frames share is one texture."""

    def __init__(self, config: DaeConfig) -> None:
        super().__init__()
        self.encoders, self.decoders = Encoders(config.deforming), Decoders(config.deforming)

    def forward(self, frames: Tensor, textured: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (B, N, 3, S, S) to the embedded face (B, 3, S, S), every frame's warp of it (B·N, S, S, 2), and the
        frames made again (B·N, 3, S, S). Not `textured`: first frames in place of faces, and frames as they are."""
        b, n = frames.shape[:2]
        flat = frames.flatten(0, 1)
        codes = self.encoders(flat)
        if not textured:
            return frames[:, 0], summed(self.decoders.decoderW(codes["W"])), flat
        face = self.decoders.texture(codes).unflatten(0, (b, n)).mean(1)
        grid = summed(self.decoders.decoderW(codes["W"]))
        return face, grid, warp(face.repeat_interleave(n, 0), grid)


class PoseEmbedder(nn.Module):
    """The multi-scale deforming autoencoder, whose texture is somebody's embedded face."""

    def __init__(self, config: DaeConfig) -> None:
        super().__init__()
        c = config.deforming
        self.encoder, self.mixer = encoder_of(c), Mixer(c.code, c.warp)
        self.decoder = Decoder(c.warp, 2, c, moves=True)

    def pose(self, frame: Tensor) -> Tensor:
        """(B, 3, S, S) to the pose code (B, warp)."""
        return self.mixer(self.encoder(frame))

    def forward(self, face: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """An embedded face and a pose code to the warp (B, S, S, 2) and what it reads (B, 3, S, S)."""
        grid = summed(self.decoder(pose))
        return grid, warp(face, grid)


class Spade(nn.Module):
    """Normalisation whose weight and bias are maps made of a picture (Park et al. 2019)."""

    def __init__(self, channels: int, seen: int, hidden: int = 32) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(seen, hidden, 3, padding=1), nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, channels, H, W) and (B, seen, S, S) to the former's shape."""
        small = F.interpolate(seen, size=x.shape[2:], mode="bilinear", align_corners=False)
        weight, bias = self.second(F.relu(self.first(small))).chunk(2, dim=1)
        return F.instance_norm(x) * (1 + weight) + bias


class SpadeBlock(nn.Module):
    """Twice as large, then a residual block with `Spade`."""

    def __init__(self, inputs: int, outputs: int, seen: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = Spade(inputs, seen), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = Spade(outputs, seen), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, 2H, 2W)."""
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        y = self.conv1(F.leaky_relu(self.norm1(x, seen), 0.2))
        return self.skip(x) + self.conv2(F.leaky_relu(self.norm2(y, seen), 0.2))


class Generator(nn.Module):
    """From the pose code, told at every size what the embedded face looks like, and warped as the pose is."""

    def __init__(self, config: DaeConfig) -> None:
        super().__init__()
        c = config
        count = round(log2(c.size)) - 2
        sizes = [min(c.generator_max, c.generator_width * 2 ** (count - i)) for i in range(count + 1)]
        self.wide = sizes[0]
        self.first = nn.Linear(c.warp, 16 * sizes[0])
        self.blocks = nn.ModuleList(SpadeBlock(a, b, 6) for a, b in pairwise(sizes))
        self.last = nn.Conv2d(sizes[-1], 3, 3, padding=1)

    def forward(self, face: Tensor, deformed: Tensor, pose: Tensor) -> Tensor:
        """Embedded face and its warp (B, 3, S, S), pose code (B, warp): a picture (B, 3, S, S)."""
        x = self.first(pose).reshape(-1, self.wide, 4, 4)
        seen = torch.cat([face, deformed], dim=1)
        for block in self.blocks:
            x = block(x, seen)
        return torch.sigmoid(self.last(F.leaky_relu(x, 0.2)))


class Discriminator(nn.Module):
    """Verdict on patches of a picture beside the embedded face that it should be of."""

    def __init__(self, config: DaeConfig) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(
            6, config.critic_width, config.critic_blocks, config.critic_max, spectral=True
        )

    def forward(self, image: Tensor, face: Tensor) -> Verdict:
        """Both (B, 3, S, S) in 0..1."""
        return Verdict(*self.patches(torch.cat([image, face], dim=1)))


class Made(NamedTuple):
    """What is made of some frames of a person and of a frame with another pose."""

    face: Tensor  # (B, 3, S, S) embedded
    deformed: Tensor  # (B, 3, S, S) the same in the pose
    picture: Tensor  # (B, 3, S, S)


def networks_of(config: DaeConfig) -> dict[str, nn.Module]:
    """Fresh networks by name; convolutions of the autoencoders begin as published, N(0, 0.02)."""
    networks: dict[str, nn.Module] = {
        "face": FaceEmbedder(config), "pose": PoseEmbedder(config), "generator": Generator(config),
        "discriminator": Discriminator(config),
    }  # fmt: skip
    for name in ("face", "pose"):
        for module in networks[name].modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0, 0.02)
    return networks
