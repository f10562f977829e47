"""Monkey-Net (Siarohin et al., CVPR 2019): the networks.

    driving ─► KeypointDetector ─┐
    source  ─► KeypointDetector ─┴► DenseMotion ─► where to read the source
    source  ─► encoder ─► every skip warped, keypoint differences beside it ─► decoder ─► residual blocks ─► prediction

Pictures are RGB in 0..1, keypoints (x, y) in -1..1 with a covariance (see `infinex.nn.geometry`). The authors' tensors
have a dimension of time, over which nothing is convolved; here frames lie along the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.discriminators import PatchDiscriminator, Verdict
from infinex.nn.geometry import bent, coordinate_grid, hull_area, inverse_2x2, resize_field, soft_argmax, warp
from infinex.nn.hourglass import Hourglass
from infinex.nn.layers import ResBlock

FLOOR = 1e-7  # added to every pixel of a normalised heatmap


@dataclass(frozen=True)
class MonkeyConfig:
    """Sizes of the networks; the defaults are the published ones for faces at 256 pixels (`vox`)."""

    size: int = 256  # side of the pictures the networks are trained on
    channels: int = 3
    keypoints: int = 10
    covariance: Literal["matrix", "single"] = "matrix"
    clip_variance: float = 0.001  # least singular value of a covariance; 0: none
    temperature: float = 0.1  # of the softmax over a heatmap
    scale: float = 0.25  # of the pictures on which keypoints and motion are estimated
    norm: float = 100.0  # heatmaps are divided by it; 0: by their sum
    # keypoint detector
    detector_width: int = 32
    detector_max: int = 1024
    detector_levels: int = 5
    # dense motion
    motion_width: int = 32
    motion_max: int = 1024
    motion_levels: int = 5
    motion_groups: int = 2  # blocks of convolutions that see one keypoint alone
    motion_shift: bool = False  # the displacement itself beside heatmap and deformed source
    # generator
    generator_width: int = 32
    generator_max: int = 1024
    generator_levels: int = 7
    generator_blocks: int = 4
    smooth: bool = True  # the deformation is enlarged bilinearly, else by repeating
    # discriminator
    critic_width: int = 32
    critic_max: int = 256
    critic_blocks: int = 4


CONFIGS: dict[str, MonkeyConfig] = {
    "monkey-net-vox": MonkeyConfig(),
    "monkey-net-small": MonkeyConfig(
        size=128, scale=0.5, norm=10.0, detector_width=16, detector_max=192, detector_levels=4, motion_width=24,
        motion_max=192, motion_levels=4, generator_width=24, generator_max=192, generator_levels=5,
        generator_blocks=3, critic_width=16, critic_max=128,
    ),
    # Minutes on a laptop.
    "monkey-net-tiny": MonkeyConfig(
        size=64, scale=0.5, norm=10.0, detector_width=12, detector_max=96, detector_levels=3, motion_width=16,
        motion_max=96, motion_levels=3, generator_width=16, generator_max=96, generator_levels=4,
        generator_blocks=2, critic_width=16, critic_max=96, critic_blocks=3,
    ),
    # Taught by a face tracker: what ships. Heatmaps wide and high enough to be seen at once, displacements beside them.
    "monkey-net-face": MonkeyConfig(
        size=64, scale=0.5, norm=1.0, clip_variance=0.01, detector_width=16, detector_max=96, detector_levels=4,
        motion_width=24, motion_max=96, motion_levels=4, motion_groups=0, motion_shift=True, generator_width=16,
        generator_max=96, generator_levels=4, generator_blocks=2, critic_width=16, critic_max=96, critic_blocks=3,
    ),
}  # fmt: skip


class Keypoints(NamedTuple):
    """Where K points are, and how far each is spread."""

    mean: Tensor  # (B, K, 2) in -1..1
    variance: Tensor  # (B, K, 2, 2) covariance, or (B, K, 1, 1) one number for both axes


class Motion(NamedTuple):
    """How the driving frame is read from the source, at the scale of the motion network."""

    mask: Tensor  # (B, K + 1, h, w) share of each keypoint's displacement, background first
    correction: Tensor  # (B, 2, h, w) added to their mixture
    field: Tensor  # (B, h, w, 2) where to read the source, in -1..1


class Rendering(NamedTuple):
    """What the generator makes of one source and one motion."""

    prediction: Tensor  # (B, 3, H, W) in 0..1
    deformed: Tensor  # (B, 3, H, W) the source picture itself under the deformation
    motion: Motion


def least_singular_value(matrix: Tensor) -> Tensor:
    """Of (..., 2, 2), in closed form: (...,), never below 0.

    The two halves of the difference nearly cancel for a flat matrix, and rounding may leave less than nothing."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    whole = a * a + b * b + c * c + d * d
    part = ((a * a + b * b - c * c - d * d).square() + 4 * (a * c + b * d).square()).clamp_min(0)
    # The gradient of a square root has no limit at 0.
    return ((whole - (part + 1e-20).sqrt()) / 2).clamp_min(1e-12).sqrt()


def keypoints_of(heat: Tensor, covariance: Literal["matrix", "single"] = "matrix", clip: float = 0.001) -> Keypoints:
    """Mean and covariance under `heat` (B, K, h, w), which sums to 1 over space.

    A covariance whose least singular value is below `clip` is enlarged until it has it."""
    heat = heat + FLOOR
    mean = soft_argmax(heat)
    offset = coordinate_grid(heat.shape[2], heat.shape[3], heat) - mean[:, :, None, None]  # (B, K, h, w, 2)
    # In bfloat16 the least singular value would be noise, and what it divides anything.
    with torch.autocast(heat.device.type, enabled=False):
        variance = torch.einsum("bkhw,bkhwi,bkhwj->bkij", heat, offset, offset)
    if covariance == "single":
        return Keypoints(mean, (variance[..., 0, 0] + variance[..., 1, 1])[..., None, None] / 2)
    if clip:
        least = least_singular_value(variance)
        variance = variance * (least.clamp_min(clip) / least)[..., None, None]
    return Keypoints(mean, variance)


def gaussians(points: Keypoints, height: int, width: int) -> Tensor:
    """exp(-½ dᵀ Σ⁻¹ d) around every keypoint: (B, K, height, width), 1 at its mean."""
    offset = coordinate_grid(height, width, points.mean) - points.mean.float()[:, :, None, None]
    if points.variance.shape[-1] == 1:
        distance = offset.square().sum(-1) / points.variance
    else:
        # A covariance clipped to 0.001 has a determinant of 1e-6, which `inverse_2x2` leaves alone.
        distance = torch.einsum("bkhwi,bkij,bkhwj->bkhw", offset, _inverse(points.variance), offset)
    return torch.exp(-0.5 * distance)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of covariances, scaled to a size at which `inverse_2x2` does not bend them."""
    scale = matrix.float().diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-9)[..., None, None]
    return inverse_2x2(matrix / scale) / scale


def normal_heatmaps(points: Keypoints, height: int, width: int, norm: float) -> Tensor:
    """`gaussians` divided by `norm`, or for 0 each by its sum: (B, K, height, width)."""
    heat = gaussians(points, height, width)
    return heat / norm if norm else heat / heat.sum((2, 3), keepdim=True)


def shrunk(image: Tensor, scale: float) -> Tensor:
    """Every n-th pixel of (B, C, H, W), without a filter: the published networks were trained so."""
    step = round(1 / scale)
    return image if step == 1 else image[..., ::step, ::step]


class KeypointDetector(nn.Module):
    """Unsupervised keypoints, each with a covariance (section 3.1)."""

    def __init__(self, config: MonkeyConfig) -> None:
        super().__init__()
        self.config = config
        self.hourglass = Hourglass(config.channels, config.detector_width, config.detector_levels, config.detector_max)
        self.heatmap = nn.Conv2d(self.hourglass.outputs, config.keypoints, 3, padding=1)

    def forward(self, image: Tensor) -> Keypoints:
        """(B, 3, H, W) in 0..1 to keypoints in float32."""
        c = self.config
        logits = self.heatmap(self.hourglass(shrunk(image, c.scale).contiguous())).float()
        heat = F.softmax(logits.flatten(2) / c.temperature, dim=-1).reshape(logits.shape)
        return keypoints_of(heat, c.covariance, c.clip_variance)


class GroupBlock(nn.Module):
    """Convolution that sees one slot at a time, batch normalisation, ReLU."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, groups=groups)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same, not negative."""
        return F.relu(self.norm(self.conv(x)))


class DenseMotion(nn.Module):
    """Mixes the keypoints' displacements into one deformation (section 3.2)."""

    def __init__(self, config: MonkeyConfig) -> None:
        super().__init__()
        self.config = c = config
        slots = c.keypoints + 1
        inputs = slots * (1 + 2 * c.motion_shift + c.channels)
        self.groups = nn.ModuleList(GroupBlock(inputs, slots) for _ in range(c.motion_groups))
        self.hourglass = Hourglass(inputs, c.motion_width, c.motion_levels, c.motion_max)
        self.mixture = nn.Conv2d(self.hourglass.outputs, slots + 2, 3, padding=1)
        # Training starts from a picture that stays: the background's share is the largest everywhere.
        nn.init.zeros_(self.mixture.weight)
        nn.init.zeros_(self.mixture.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.mixture.bias[0] = 2.0  # type: ignore[index]

    def embedding(self, image: Tensor, source: Keypoints, driving: Keypoints) -> tuple[Tensor, Tensor]:
        """Displacements (B, K + 1, 2), and what is known of every slot, slot by slot (B, (K + 1)·C, h, w).

        The background comes first: no heatmap, no displacement. `image` (B, 3, H, W) is the source."""
        c = self.config
        small = shrunk(image, c.scale).contiguous()
        b, channels, h, w = small.shape
        heat = normal_heatmaps(driving, h, w, c.norm) - normal_heatmaps(source, h, w, c.norm)
        heat = F.pad(heat, (0, 0, 0, 0, 1, 0))
        shift = F.pad((source.mean - driving.mean).float(), (0, 0, 1, 0))
        slots = shift.shape[1]
        grid = coordinate_grid(h, w, shift) + shift[:, :, None, None]  # (B, K + 1, h, w, 2)
        moved = warp(small, grid.reshape(b, slots * h, w, 2)).reshape(b, channels, slots, h, w).transpose(1, 2)
        parts = [heat[:, :, None].to(moved.dtype), moved]
        if c.motion_shift:
            parts.insert(1, shift[..., None, None].expand(-1, -1, -1, h, w).to(moved.dtype))
        return shift, torch.cat(parts, dim=2).flatten(1, 2)

    def forward(self, image: Tensor, source: Keypoints, driving: Keypoints) -> Motion:
        """Source picture (B, 3, H, W) and both keypoints to the motion at `scale` of it."""
        shift, x = self.embedding(image, source, driving)
        for group in self.groups:
            x = group(x)
        mixture = self.mixture(self.hourglass(x)).float()
        mask, correction = F.softmax(mixture[:, :-2], dim=1), mixture[:, -2:]
        relative = torch.einsum("bkhw,bkc->bchw", mask, shift) + correction
        field = relative.permute(0, 2, 3, 1) + coordinate_grid(mixture.shape[2], mixture.shape[3], mixture)
        return Motion(mask, correction, field)


class Generator(nn.Module):
    """Encoder and decoder between which every map of the source is moved (section 3.3)."""

    def __init__(self, config: MonkeyConfig) -> None:
        super().__init__()
        self.config = c = config
        self.motion = DenseMotion(c)
        self.body = Hourglass(c.channels, c.generator_width, c.generator_levels, c.generator_max, beside=c.keypoints)
        self.refine = nn.Sequential(*(ResBlock(self.body.outputs) for _ in range(c.generator_blocks)))
        self.last = nn.Conv2d(self.body.outputs, c.channels, 1)

    def differences(self, source: Keypoints, driving: Keypoints, height: int, width: int) -> Tensor:
        """Heatmaps of the driving keypoints less those of the source's (B, K, height, width)."""
        norm = self.config.norm
        return normal_heatmaps(driving, height, width, norm) - normal_heatmaps(source, height, width, norm)

    def resized(self, field: Tensor, height: int, width: int) -> Tensor:
        """A field (B, h, w, 2) at the size of a map."""
        if self.config.smooth or field.shape[1:3] == (height, width):
            return resize_field(field, height, width)
        return F.interpolate(field.permute(0, 3, 1, 2), size=(height, width), mode="nearest").permute(0, 2, 3, 1)

    def forward(self, image: Tensor, source: Keypoints, driving: Keypoints, picture: bool = True) -> Rendering:
        """Source picture (B, 3, H, W) in 0..1 with its keypoints, and the keypoints it is to have.

        Without `picture` the deformed source stands for the prediction, and nothing is encoded or decoded."""
        motion = self.motion(image, source, driving)
        if not picture:
            deformed = bent(image, motion.field)
            return Rendering(deformed, deformed, motion)
        return self.decode(self.body.encode(image), source, driving, motion)

    def decode(self, skips: list[Tensor], source: Keypoints, driving: Keypoints, motion: Motion) -> Rendering:
        """The maps of the encoder, the source itself first, moved and put together again."""
        height, width = motion.field.shape[1:3]
        beside = self.differences(source, driving, height, width)
        deformed = skips[0]
        moved: list[Tensor] = []
        for skip in skips:
            h, w = skip.shape[2:]
            x = warp(skip, self.resized(motion.field, h, w))
            deformed = x if not moved else deformed
            hints = self.resized(beside.permute(0, 2, 3, 1), h, w).permute(0, 3, 1, 2)
            moved.append(torch.cat([x, hints.to(x.dtype)], dim=1))
        return Rendering(torch.sigmoid(self.last(self.refine(self.body.decode(moved)))), deformed, motion)


class Discriminator(nn.Module):
    """Verdict on patches, told where the driving keypoints are (section 3.4)."""

    def __init__(self, config: MonkeyConfig) -> None:
        super().__init__()
        self.norm = config.norm
        self.patches = PatchDiscriminator(
            config.channels + config.keypoints, 2 * config.critic_width, config.critic_blocks, config.critic_max,
            halve_last=True,
        )  # fmt: skip

    def forward(self, image: Tensor, points: Keypoints) -> Verdict:
        """`image` (B, 3, H, W) in 0..1 and its keypoints."""
        heat = normal_heatmaps(points, image.shape[2], image.shape[3], self.norm)
        return Verdict(*self.patches(torch.cat([image, heat.to(image.dtype)], dim=1)))


class Foresight(nn.Module):
    """Guesses the keypoints of frames to come from those of the first ones (supplementary material of the paper)."""

    def __init__(self, keypoints: int, width: int = 1024) -> None:
        super().__init__()
        self.rnn = nn.GRU(6 * keypoints, width, batch_first=True)
        self.linear = nn.Linear(width, 6 * keypoints)

    def forward(self, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
        """Means (B, T, K, 2) and covariances (B, T, K, 2, 2), zero in frames to come, to those of all frames."""
        b, t, k = means.shape[:3]
        out, _ = self.rnn(torch.cat([means.flatten(2), variances.flatten(2)], dim=-1))
        out = self.linear(out).reshape(b, t, k, 6)
        root = out[..., 2:].reshape(b, t, k, 2, 2)
        return torch.tanh(out[..., :2]), root.transpose(-1, -2) @ root


def networks_of(config: MonkeyConfig) -> dict[str, nn.Module]:
    """Fresh networks by name."""
    return {
        "detector": KeypointDetector(config), "generator": Generator(config), "discriminator": Discriminator(config),
    }  # fmt: skip


def movement_scale(source: Keypoints, reference: Keypoints) -> float:
    """Size of the source's object over the driver's, by the roots of the areas that their keypoints span."""
    areas = [hull_area(k.mean[0].detach().float().cpu().numpy()) for k in (source, reference)]
    return 1.0 if min(areas) < 1e-8 else (areas[0] / areas[1]) ** 0.5


def relative_motion(
    source: Keypoints, driving: Keypoints, reference: Keypoints, scale: float = 1.0, shape: bool = False
) -> Keypoints:
    """Move the source as the driver moved since its `reference` frame.

    The covariances stay the driver's; with `shape` the source's change as the driver's did: Σ = Σ_t Σ₀⁻¹ Σ_source,
    made symmetric and positive."""
    mean = source.mean + scale * (driving.mean - reference.mean)
    if not shape or driving.variance.shape[-1] == 1:
        return Keypoints(mean, driving.variance)
    changed = driving.variance @ _inverse(reference.variance) @ source.variance
    changed = (changed + changed.transpose(-1, -2)) / 2
    values, vectors = torch.linalg.eigh(changed)
    values = torch.where(values <= 0, torch.full_like(values, 1e-6), values)
    return Keypoints(mean, vectors @ torch.diag_embed(values) @ vectors.transpose(-1, -2))
