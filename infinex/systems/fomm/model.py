"""First Order Motion Model for Image Animation (Siarohin et al., NeurIPS 2019): the networks.

    driving ─► KeypointDetector ─┐
    source  ─► KeypointDetector ─┴► DenseMotion ─► where to read the source, and what it cannot show
    source  ─► encoder ─► warp, × occlusion ─► residual blocks ─► decoder ─► prediction

Pictures are RGB in 0..1, keypoints (x, y) in -1..1 (see `infinex.nn.geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import MultiScaleDiscriminator
from infinex.nn.geometry import bent, coordinate_grid, gaussian_heatmaps, inverse_2x2, resize_field, soft_argmax, warp
from infinex.nn.hourglass import Hourglass
from infinex.nn.layers import AntiAliasDown, ConvBlock, DownBlock, ResBlock, UpBlock


@dataclass(frozen=True)
class FommConfig:
    """Sizes of the networks; the defaults are the published ones for faces at 256 pixels."""

    size: int = 256  # side of the pictures the networks are trained on
    channels: int = 3
    keypoints: int = 10
    scale: float = 0.25  # of the pictures on which motion is estimated
    variance: float = 0.01  # of the Gaussian around a keypoint
    # keypoint detector
    detector_width: int = 32
    detector_max: int = 1024
    detector_levels: int = 5
    temperature: float = 0.1  # of the softmax over a heatmap
    # dense motion
    motion_width: int = 64
    motion_max: int = 1024
    motion_levels: int = 5
    # generator
    generator_width: int = 64
    generator_max: int = 512
    generator_downs: int = 2
    generator_blocks: int = 6
    # discriminator
    critic_width: int = 64
    critic_max: int = 512
    critic_blocks: int = 4
    critic_scales: tuple[float, ...] = (1.0,)
    critic_keypoints: bool = True
    critic_spectral: bool = False


CONFIGS: dict[str, FommConfig] = {
    # The two published ones differ in the discriminator alone.
    "vox-256": FommConfig(critic_keypoints=False, critic_spectral=True),
    "vox-adv-256": FommConfig(),
    # About two thirds of the width and a quarter of the parameters, for one GPU.
    "fomm-medium": FommConfig(
        detector_width=24, detector_max=384, motion_width=32, motion_max=384,
        generator_width=40, generator_max=192, critic_width=48, critic_max=384,
    ),
    "fomm-small": FommConfig(
        size=128, detector_width=16, detector_max=192, detector_levels=4, motion_width=32, motion_max=256,
        motion_levels=4, generator_width=32, generator_max=128, generator_blocks=5, critic_width=32,
        critic_max=256,
    ),
    # Minutes on a laptop; also fit for 64 pixels.
    "fomm-tiny": FommConfig(
        size=128, detector_width=16, detector_max=96, detector_levels=4, motion_width=24, motion_max=128,
        motion_levels=4, generator_width=24, generator_max=96, generator_blocks=3, critic_width=24,
        critic_max=128, critic_blocks=3,
    ),
    # The one above with better eyes, for faces anywhere in the picture: what ships.
    "fomm-face": FommConfig(
        size=128, detector_width=24, detector_max=192, detector_levels=4, motion_width=24, motion_max=128,
        motion_levels=4, generator_width=24, generator_max=96, generator_blocks=3, critic_width=24,
        critic_max=128, critic_blocks=3,
    ),
}  # fmt: skip


class Keypoints(NamedTuple):
    """Where K points are, and how the picture is stretched and turned around each."""

    value: Tensor  # (B, K, 2) in -1..1
    jacobian: Tensor  # (B, K, 2, 2), d(picture) / d(reference frame)


class Motion(NamedTuple):
    """How the driving frame is read from the source, at the scale of the motion network."""

    mask: Tensor  # (B, K + 1, h, w) share of each sparse motion, background first, sums to 1
    sparse_deformed: Tensor  # (B, K + 1, 3, h, w) the source under each sparse motion alone
    field: Tensor  # (B, h, w, 2) dense deformation, where to read the source, in -1..1
    occlusion: Tensor  # (B, 1, h, w) 0 where the source shows nothing of use, 1 where it does


class Rendering(NamedTuple):
    """Everything the generator makes of one source and one motion."""

    prediction: Tensor  # (B, 3, H, W) in 0..1
    deformed: Tensor  # (B, 3, H, W) the source picture itself under the dense deformation
    motion: Motion


class KeypointDetector(nn.Module):
    """Unsupervised keypoints with local affine frames (section 3.1).

    A heatmap per keypoint, normalised by a softmax, gives the position as its mean; the four entries of the
    Jacobian are maps of their own, averaged under the same heatmap.
    """

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        c = config
        self.temperature, self.count = c.temperature, c.keypoints
        self.shrink = AntiAliasDown(c.channels, c.scale)
        self.hourglass = Hourglass(c.channels, c.detector_width, c.detector_levels, c.detector_max)
        # No padding: the heatmap is 6 pixels smaller, and the border, where padding lies, cannot win.
        self.heatmap = nn.Conv2d(self.hourglass.outputs, c.keypoints, 7)
        self.jacobian = nn.Conv2d(self.hourglass.outputs, 4 * c.keypoints, 7)
        # Training starts from pure translation: the identity everywhere.
        nn.init.zeros_(self.jacobian.weight)
        self.jacobian.bias = nn.Parameter(torch.eye(2).flatten().repeat(c.keypoints))

    def forward(self, image: Tensor) -> Keypoints:
        """(B, 3, H, W) in 0..1 to keypoints."""
        features = self.hourglass(self.shrink(image))
        return self.read(self.heatmap(features), self.jacobian(features))

    def read(self, logits: Tensor, maps: Tensor) -> Keypoints:
        """Keypoints of heatmap logits (B, K, h, w) and Jacobian maps (B, 4K, h, w), in float32."""
        b, k, h, w = logits.shape
        heat = F.softmax(logits.float().reshape(b, k, h * w) / self.temperature, dim=-1)
        entries = maps.float().reshape(b, k, 4, h * w)  # 4: row by row of the 2×2 matrix
        jacobian = torch.einsum("bkn,bkjn->bkj", heat, entries).reshape(b, k, 2, 2)
        return Keypoints(soft_argmax(heat.reshape(b, k, h, w)), jacobian)


def sparse_motions(source: Keypoints, driving: Keypoints, height: int, width: int) -> Tensor:
    """The first-order approximation around every keypoint (equation 4): (B, K + 1, height, width, 2).

    T(z) = p_source + J_source · J_driving⁻¹ · (z - p_driving). Slot 0 is the background, which stays.
    """
    b, k = driving.value.shape[:2]
    grid = coordinate_grid(height, width, driving.value).reshape(1, 1, -1, 2)  # (1, 1, hw, 2)
    turn = source.jacobian.float() @ inverse_2x2(driving.jacobian)  # (B, K, 2, 2)
    around = grid - driving.value.float()[:, :, None]  # (B, K, hw, 2)
    moved = around @ turn.transpose(-1, -2) + source.value.float()[:, :, None]
    still = grid.expand(b, 1, -1, -1)
    return torch.cat([still, moved], dim=1).reshape(b, k + 1, height, width, 2)


class DenseMotion(nn.Module):
    """Combines the sparse motions into one deformation and says what it cannot show (section 3.2)."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        c = config
        self.variance = c.variance
        slots = c.keypoints + 1
        self.shrink = AntiAliasDown(c.channels, c.scale)
        # Per slot: a heatmap difference, and the source moved by that slot.
        self.hourglass = Hourglass(slots * (1 + c.channels), c.motion_width, c.motion_levels, c.motion_max)
        self.mask = nn.Conv2d(self.hourglass.outputs, slots, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.outputs, 1, 7, padding=3)

    def forward(self, image: Tensor, source: Keypoints, driving: Keypoints) -> Motion:
        """Source picture (B, 3, H, W) and both keypoints to the motion at `scale` of it."""
        small = self.shrink(image)
        h, w = small.shape[2:]
        heat = gaussian_heatmaps(source.value, h, w, self.variance)
        sparse, stack = self.inputs(small, heat, source, driving)
        features = self.hourglass(stack.flatten(1, 2))
        return self.combine(sparse, stack, self.mask(features), self.occlusion(features))

    def inputs(self, small: Tensor, heat: Tensor, source: Keypoints, driving: Keypoints) -> tuple[Tensor, Tensor]:
        """Sparse motions (B, K + 1, h, w, 2) and the stack (B, K + 1, 1 + 3, h, w) the hourglass reads.

        `small` is the shrunk source (B, 3, h, w), `heat` (B, K, h, w) the heatmaps of its keypoints.
        """
        b, c, h, w = small.shape
        sparse = sparse_motions(source, driving, h, w)
        slots = sparse.shape[1]
        difference = gaussian_heatmaps(driving.value, h, w, self.variance) - heat
        difference = F.pad(difference, (0, 0, 0, 0, 1, 0))  # the background has no keypoint: zeros
        # The slots of one picture lie below each other in one tall field, so that the picture is not copied.
        moved = warp(small, sparse.reshape(b, slots * h, w, 2))
        moved = moved.reshape(b, c, slots, h, w).transpose(1, 2)
        return sparse, torch.cat([difference[:, :, None].to(moved.dtype), moved], dim=2)

    @staticmethod
    def combine(sparse: Tensor, stack: Tensor, mask: Tensor, occlusion: Tensor) -> Motion:
        """Motion from the sparse motions and the logits (B, K + 1, h, w) and (B, 1, h, w)."""
        mask = F.softmax(mask.float(), dim=1)
        field = torch.einsum("bkhw,bkhwc->bhwc", mask, sparse)
        return Motion(mask, stack[:, :, 1:], field, torch.sigmoid(occlusion.float()))


class Generator(nn.Module):
    """Occlusion-aware generator (section 3.2): encode the source, move its features, fill in, decode."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        c = config
        sizes = [min(c.generator_max, c.generator_width * 2**i) for i in range(c.generator_downs + 1)]
        self.motion = DenseMotion(c)
        self.first = ConvBlock(c.channels, sizes[0], kernel=7)
        self.down = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(sizes))
        self.middle = nn.Sequential(*(ResBlock(sizes[-1]) for _ in range(c.generator_blocks)))
        self.up = nn.ModuleList(UpBlock(a, b) for a, b in pairwise(sizes[::-1]))
        self.last = nn.Conv2d(sizes[0], c.channels, 7, padding=3)

    def forward(self, image: Tensor, source: Keypoints, driving: Keypoints, picture: bool = True) -> Rendering:
        """Source picture (B, 3, H, W) in 0..1 with its keypoints, and the keypoints it is to have.

        Without `picture` the deformed source stands for the prediction, and nothing is encoded or decoded."""
        motion = self.motion(image, source, driving)
        if not picture:
            deformed = bent(image, motion.field)
            return Rendering(deformed, deformed, motion)
        deformed = warp(image, resize_field(motion.field, *image.shape[2:]))
        return Rendering(self.decode(self.encode(image), motion), deformed, motion)

    def encode(self, image: Tensor) -> Tensor:
        """Features of the source (B, C, h, w), independent of the motion."""
        x = self.first(image)
        for down in self.down:
            x = down(x)
        return x

    def decode(self, features: Tensor, motion: Motion) -> Tensor:
        """Features of the source moved and completed: (B, 3, H, W) in 0..1."""
        h, w = features.shape[2:]
        x = warp(features, resize_field(motion.field, h, w))
        shown = motion.occlusion
        if shown.shape[2:] != (h, w):
            shown = F.interpolate(shown, size=(h, w), mode="bilinear", align_corners=False)
        x = self.middle(x * shown.to(x.dtype))
        for up in self.up:
            x = up(x)
        return torch.sigmoid(self.last(x))


class FommModel(nn.Module):
    """What inference needs: the keypoint detector, and the generator with the motion network in it."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        self.config = config
        self.detector = KeypointDetector(config)
        self.generator = Generator(config)

    def forward(self, source: Tensor, driving: Tensor) -> Rendering:
        """Absolute motion: `source` (B, 3, H, W) takes the keypoints of `driving` as they are."""
        return self.generator(source, self.detector(source), self.detector(driving))


def build_discriminator(config: FommConfig) -> MultiScaleDiscriminator:
    """The multi-scale patch discriminator of `config`."""
    return MultiScaleDiscriminator(
        config.critic_scales,
        channels=config.channels,
        width=config.critic_width,
        blocks=config.critic_blocks,
        max_width=config.critic_max,
        keypoints=config.keypoints if config.critic_keypoints else 0,
        variance=config.variance,
        spectral=config.critic_spectral,
    )


def relative_motion(
    source: Keypoints, driving: Keypoints, reference: Keypoints, scale: Tensor | float = 1.0
) -> Keypoints:
    """Move the source as the driver moved since its `reference` frame (section 3.3, testing stage).

    value = p_source + scale·(p_driving - p_reference), jacobian = J_driving · J_reference⁻¹ · J_source.
    """
    value = source.value + scale * (driving.value - reference.value)
    jacobian = driving.jacobian @ inverse_2x2(reference.jacobian) @ source.jacobian
    return Keypoints(value, jacobian)
