"""Inference with the First Order Motion Model: one portrait, many driving frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.errors import InputError
from infinex.nn.fast import accelerate
from infinex.nn.geometry import bent, gaussian_heatmaps, hull_area, resize_field, warp
from infinex.systems.fomm.model import (
    DenseMotion,
    FommModel,
    Generator,
    KeypointDetector,
    Keypoints,
    Motion,
    Rendering,
    relative_motion,
)
from infinex.systems.fomm.weights import LAYOUT, FommWeights, model_of

Image = NDArray[np.uint8]


def movement_scale(source: Keypoints, reference: Keypoints) -> float:
    """Size of the source's face over the driver's, by the roots of the areas their keypoints span."""
    areas = [hull_area(k.value[0].detach().float().cpu().numpy()) for k in (source, reference)]
    if min(areas) < 1e-8:
        return 1.0  # keypoints on a line or a point measure no size
    return float(np.sqrt(areas[0] / areas[1]))


def best_frame(source: NDArray[np.floating], driving: NDArray[np.floating]) -> int:
    """The driving frame whose face is posed most like the source's: the best reference for relative motion.

    `source` (N, 2) and `driving` (T, N, 2) are the same landmarks in pixels; rows of NaN are frames without
    a face. Faces are compared after removing position and size (centroid, root of the hull's area).
    """

    def normal(points: NDArray[np.floating]) -> NDArray[np.floating]:
        size = np.sqrt(hull_area(points))
        return (points - points.mean(0)) / max(size, 1e-6)

    usable = np.isfinite(driving).all(axis=(1, 2))
    if not usable.any():
        raise InputError("no frame of the driver shows a face")
    wanted = normal(source)
    distance = [np.square(normal(p) - wanted).sum() if ok else np.inf for p, ok in zip(driving, usable)]
    return int(np.argmin(distance))


@dataclass
class Encoded:
    """What depends on the source alone, and the frame from which the driver's motion counts."""

    image: Tensor  # (1, 3, H, W) in 0..1
    keypoints: Keypoints
    small: Tensor  # (1, 3, h, w) the source at the scale of the motion network
    heat: Tensor  # (1, K, h, w) heatmaps of the source's keypoints
    features: Tensor  # (1, C, h, w) of the generator's encoder
    reference: Keypoints | None = None
    scale: float = 1.0


class Rendered(TypedDict):
    """A batch of frames on the CPU."""

    prediction: Image  # (B, H, W, 3) RGB
    occlusion: Image  # (B, h, w) 255 where the source is shown, 0 where it is made up
    deformed: Image  # (B, H, W, 3) RGB, the source itself under the deformation
    field: NDArray[np.float32]  # (B, h, w, 2) where the source is read, x and y in -1..1
    keypoints: NDArray[np.float32]  # (B, K, 2) in -1..1, those the source was given


class FastFomm(nn.Module):
    """`FommModel` cut where an engine needs it, its blocks in their fast form (`infinex.nn.fast`)."""

    def __init__(self, model: FommModel, winograd: bool) -> None:
        super().__init__()
        self.config = model.config
        detector, generator = model.detector, model.generator
        self.detector = cast(KeypointDetector, accelerate(detector, winograd=False))
        self.generator = cast(Generator, accelerate(generator, winograd))
        # The motion network is an hourglass like the detector, whose waist is no place for Winograd.
        self.generator.motion = cast(DenseMotion, accelerate(generator.motion, winograd=False))
        # Two heads over the same features are one convolution.
        self.points = _joined(detector.heatmap, detector.jacobian)
        self.heads = _joined(generator.motion.mask, generator.motion.occlusion)

    def keypoints(self, image: Tensor) -> Keypoints:
        """(B, 3, H, W) in 0..1 to keypoints in float32."""
        features = self.detector.hourglass(self.detector.shrink(image))
        logits, maps = self.points(features).split([self.config.keypoints, 4 * self.config.keypoints], dim=1)
        return self.detector.read(logits, maps)

    def prepare(self, image: Tensor) -> Encoded:
        """One source (1, 3, H, W) in 0..1."""
        keypoints = self.keypoints(image)
        small = self.generator.motion.shrink(image)
        heat = gaussian_heatmaps(keypoints.value, small.shape[2], small.shape[3], self.config.variance)
        return Encoded(image, keypoints, small, heat, self.generator.encode(image))

    def render(self, source: Encoded, driving: Keypoints, picture: bool = True) -> Rendering:
        """The source with the keypoints `driving` of B frames; without `picture` as its deformation shows it."""
        b, network = len(driving.value), self.generator.motion
        own = Keypoints(*(t.expand(b, *t.shape[1:]) for t in source.keypoints))
        small = source.small.expand(b, -1, -1, -1)
        sparse, stack = network.inputs(small, source.heat, own, driving)
        features = network.hourglass(stack.flatten(1, 2).contiguous(memory_format=torch.channels_last))
        mask, occlusion = self.heads(features).split([self.config.keypoints + 1, 1], dim=1)
        motion = network.combine(sparse, stack, mask, occlusion)
        height, width = source.image.shape[2:]
        if not picture:
            deformed = bent(source.image.expand(b, -1, -1, -1), motion.field)
            return Rendering(deformed, deformed, motion._replace(occlusion=torch.ones_like(motion.occlusion)))
        deformed = warp(source.image.expand(b, -1, -1, -1), resize_field(motion.field, height, width))
        if source.image.device.type == "cpu":
            # One frame at a time at full size: its maps stay in the cache, and nothing is gained by more.
            frames = [self.generator.decode(source.features, Motion(*(t[i : i + 1] for t in motion))) for i in range(b)]
            prediction = torch.cat(frames)
        else:
            prediction = self.generator.decode(source.features.expand(b, -1, -1, -1), motion)
        return Rendering(prediction, deformed, motion)


def _joined(a: nn.Conv2d, b: nn.Conv2d) -> nn.Conv2d:
    """One convolution with the outputs of both."""
    assert a.bias is not None and b.bias is not None
    out = nn.Conv2d(a.in_channels, a.out_channels + b.out_channels, a.kernel_size, padding=a.padding)  # type: ignore[arg-type]
    out.weight.data = torch.cat([a.weight.data, b.weight.data]).contiguous(memory_format=torch.channels_last)
    out.bias.data = torch.cat([a.bias.data, b.bias.data])  # type: ignore[union-attr]
    return out


class FommAnimator:
    """Animates a portrait by driving frames, both cropped to the face.

    `motion` is "relative" (the driver's movement since its reference frame, scaled to the source's face) or
    "absolute" (the driver's keypoints as they are, for self-reenactment).
    """

    def __init__(
        self,
        model: FommModel,
        motion: Literal["relative", "absolute"] = "relative",
        adapt_scale: bool = True,
        device: str | torch.device = "cpu",
        batch: int = 0,  # driving frames per pass; 0 chooses by device
        picture: bool = True,  # whether the generator paints; else the deformed source is the picture
    ) -> None:
        self.config = model.config
        self.relative, self.adapt_scale, self.picture = motion == "relative", adapt_scale, picture
        self.device = torch.device(device)
        on_cpu = self.device.type == "cpu"
        self.batch = batch or (4 if on_cpu else 16)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self._fast = FastFomm(model, winograd=on_cpu).eval().requires_grad_(False).to(self.device, self.dtype)
        # To fall back to when half precision overflows.
        self._exact = model if self.dtype == torch.float16 else None

    @classmethod
    def from_weights(cls, weights: FommWeights | str | Path, **options: Any) -> FommAnimator:
        """From our own weights file, an official checkpoint, or weights already read."""
        if isinstance(weights, (str, Path)):
            weights = LAYOUT.read(weights)
        # Weights whose generator was not trained say so.
        return cls(model_of(weights), picture=weights.origin.get("picture") != "deformed", **options)

    @torch.inference_mode()
    def prepare(self, source: Image) -> Encoded:
        """Do once what depends on the portrait (H, W, 3) alone."""
        image = self._tensor(self._checked(source)[None])
        prepared = self._fast.prepare(image)
        if self._exact is not None and not self._finite(prepared):
            # Some GPUs and some weights overflow in half precision; a black video would be the result.
            self.dtype = torch.float32
            self._fast = FastFomm(self._exact, winograd=False).eval().requires_grad_(False).to(self.device)
            self._exact = None
            prepared = self._fast.prepare(image.float())
        return prepared

    @torch.inference_mode()
    def begin(self, prepared: Encoded, reference: Image) -> None:
        """Count relative motion from the driving frame `reference` (H, W, 3); see `best_frame`."""
        prepared.reference = self._fast.keypoints(self._tensor(self._checked(reference)[None]))
        prepared.scale = movement_scale(prepared.keypoints, prepared.reference) if self.adapt_scale else 1.0

    @torch.inference_mode()
    def render(self, prepared: Encoded, driving: Image) -> Rendered:
        """The portrait under driving frames (B, H, W, 3), or one (H, W, 3).

        Relative motion counts from the first frame ever given, unless `begin` chose another.
        """
        frames = self._checked(driving if driving.ndim == 4 else driving[None])
        if self.relative and prepared.reference is None:
            self.begin(prepared, frames[0])
        parts = [self._render(prepared, frames[i : i + self.batch]) for i in range(0, len(frames), self.batch)]
        return Rendered(
            prediction=np.concatenate([p["prediction"] for p in parts]),
            occlusion=np.concatenate([p["occlusion"] for p in parts]),
            deformed=np.concatenate([p["deformed"] for p in parts]),
            field=np.concatenate([p["field"] for p in parts]),
            keypoints=np.concatenate([p["keypoints"] for p in parts]),
        )

    def stream(self, prepared: Encoded, frames: Iterable[Image]) -> Iterator[Image]:
        """Frames (H, W, 3) in, animated frames out, in batches, with memory that does not grow."""
        frames = iter(frames)
        while batch := list(islice(frames, self.batch)):
            yield from self.render(prepared, np.stack(batch))["prediction"]

    def _render(self, prepared: Encoded, frames: Image) -> Rendered:
        driving = self._fast.keypoints(self._tensor(frames))
        if self.relative and prepared.reference is not None:
            driving = relative_motion(prepared.keypoints, driving, prepared.reference, prepared.scale)
        out = self._fast.render(prepared, driving, self.picture)
        return Rendered(
            prediction=_pixels(out.prediction),
            occlusion=_pixels(out.motion.occlusion)[..., 0],
            deformed=_pixels(out.deformed),
            field=out.motion.field.float().cpu().numpy(),
            keypoints=driving.value.float().cpu().numpy(),
        )

    def _checked(self, images: Image) -> Image:
        # The hourglasses halve the shrunk picture `levels` times.
        c = self.config
        unit = round(1 / c.scale) * 2 ** max(c.detector_levels, c.motion_levels)
        h, w, channels = images.shape[-3:] if images.ndim >= 3 else (0, 0, 0)
        if images.dtype != np.uint8 or channels != c.channels or min(h, w) < unit or h % unit or w % unit:
            raise InputError(
                f"pictures for this model are {c.size}×{c.size}×{c.channels} uint8 "
                f"(sides a multiple of {unit}), not {'×'.join(map(str, images.shape))} {images.dtype}"
            )
        return images

    def _tensor(self, images: Image) -> Tensor:
        """(B, H, W, 3) uint8 to (B, 3, H, W) in 0..1; already channels last in memory."""
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return (x.permute(0, 3, 1, 2).to(torch.float32) / 255).to(self.dtype)

    def _finite(self, prepared: Encoded) -> bool:
        prediction = self._fast.render(prepared, prepared.keypoints).prediction
        return all(bool(torch.isfinite(t).all()) for t in (prediction, *prepared.keypoints))


def _pixels(x: Tensor) -> Image:
    """(B, C, H, W) in 0..1 to (B, H, W, C) uint8, rounded."""
    whole = (x.float() * 255).round_().clamp_(0, 255).to(torch.uint8)
    return whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()
