"""Expressions with GANimation: the face is cut out, edited by Action Units and put back through its attention mask.

The head stays where it is: GANimation changes expressions, not poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import InputError, WeightsError
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose
from infinex.face.topology import mean_face
from infinex.motion import Rest
from infinex.systems.ganimation.crop import crop_matrix
from infinex.systems.ganimation.labels import UNITS, measured
from infinex.systems.ganimation.weights import LAYOUT, GanimationWeights
from infinex.systems.registry import resolve
from infinex.systems.window import Leaning

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
BUNDLED = "ganimation-80"  # in the registry of weights
EDGE = 0.10  # of the crop's side, over which the picture itself takes over again
FADE = 0.10  # intensity by which a face must differ from the source before the network has its full say


@dataclass(frozen=True)
class Masks:
    """What the generator made, at its own resolution."""

    image: RGB  # (S, S, 3) the edited crop
    color: RGB  # (S, S, 3)
    attention: NDArray[np.float32]  # (S, S) in 0..1, how much of the picture stays
    units: Array  # (17,) what was wanted


def interpolated(start: Array, end: Array, frames: int) -> Array:
    """α·y_g + (1 - α)·y_r for α from 0 to 1: intensities (frames, U) of a sequence (section 6.3 of the paper)."""
    if frames < 2:
        raise InputError(f"a sequence has at least 2 frames, not {frames}")
    alpha = np.linspace(0, 1, frames)[:, None]
    return alpha * np.asarray(end) + (1 - alpha) * np.asarray(start)


def still_units(landmarks: Array) -> Array:
    """Intensities (17,) of a face (478, 3) in pixels of which nothing else is known, against the mean face."""
    mean = mean_face()
    return measured((fit_pose(mean, landmarks).to_head(landmarks) - mean)[None], still=True)[0]


class PreparedGanimation:
    """One face of one portrait; see `infinex.engine.Prepared`."""

    def __init__(self, engine: GanimationEngine, source: Source) -> None:
        self.engine, self.source = engine, source
        size = engine.size
        self.window = Leaning(crop_matrix(source.face.landmarks, size), size, source.image.shape)
        self.box = self.window.box
        self.crop = self.window.cut(source.image)
        self.face = SourceFace(source.face.landmarks)
        self.units = still_units(source.face.landmarks)  # what the portrait shows
        self.masks: Masks | None = None  # of the last frame; None where it is the portrait itself
        x0, y0, x1, y1 = self.box
        self._own = source.image[y0:y1, x0:x1]
        self._inside = self.window.seam(EDGE)
        self._rest: Rest | None = None

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance, measured from `rest`."""
        self._rest = rest

    def wanted(self, drive: Drive) -> Array:
        """Intensities (17,) that a drive asks for: the performer's on top of the portrait's own, or as they are
        where the engine's motion is absolute."""
        performed = measured(drive.move.offsets[None], drawn=drive.image is None)[0]
        return performed if self.engine.absolute else np.clip(self.units + performed, 0, 1)

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face under `drive` over its box of `canvas`, in place; a face at rest is the source itself.

        What it shows is the attention mask, bright where the portrait stays, and the colours."""
        assert self._rest is not None, "begin() comes first"
        self.edit(canvas, self.wanted(drive))
        return Shown(occlusion=self._attention, driving=self.colors)

    def _attention(self) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = self.box
        if self.masks is None:
            return np.full((y1 - y0, x1 - x0), 255, np.uint8)
        return np.round(255 * np.clip(self.window.spread(self.masks.attention), 0, 1)).astype(np.uint8)

    def edit(self, canvas: RGB, units: Array) -> Masks | None:
        """Draw the face with intensities `units` (17,) over its box of `canvas` (H, W, 3), in place.

        None where they are the portrait's own, and the box is the source's exactly."""
        x0, y0, x1, y1 = self.box
        say = float(np.clip(np.abs(units - self.units).max() / FADE, 0, 1))
        self.masks = self.engine.masks(self.crop, units) if say else None
        canvas[y0:y1, x0:x1] = self._own if self.masks is None else self._pasted(self.masks, say)
        return self.masks

    def _pasted(self, masks: Masks, say: float) -> RGB:
        """(1 - A)·C + A·I over the box, at the picture's own resolution."""
        change = (1 - masks.attention[..., None]) * (masks.color.astype(np.float32) - self.crop) / 255
        return self.window.changed(self.source.image, self.crop, change * (self._inside * say)[..., None])

    def colors(self) -> RGB:
        """The colour mask of the last frame over the portrait (H, W, 3), for a panel."""
        x0, y0, x1, y1 = self.box
        image = self.source.image.copy()
        if self.masks is not None:
            spread = np.clip(self.window.spread(self.masks.color.astype(np.float32)), 0, 255)
            image[y0:y1, x0:x1] = np.round(spread).astype(np.uint8)
        return image


class GanimationEngine(Engine):
    """See `infinex.engine.Engine`.

    `weights` is a file, a name of the registry, weights already read, or None for those that come with Infinex."""

    name = "ganimation"

    def __init__(
        self,
        weights: GanimationWeights | str | Path | None = None,
        absolute: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        if weights is None or isinstance(weights, (str, Path)):
            weights = LAYOUT.read(resolve(str(weights or BUNDLED), "ganimation"))
        if weights.config.units != len(UNITS):
            raise WeightsError(
                f"{weights.name or 'these weights'} take {weights.config.units} units; the engine gives {len(UNITS)}"
            )
        self.absolute, self.size = absolute, weights.config.size
        self.device = torch.device(device)
        self._generator = LAYOUT.network(weights, "generator").to(self.device)

    def prepare(self, source: Source, setting: Setting = Setting()) -> PreparedGanimation:  # noqa: B008
        """Crop and measure the face of a portrait."""
        return PreparedGanimation(self, source)

    def masks(self, crop: RGB, units: Array) -> Masks:
        """What the generator makes of a crop (S, S, 3) under intensities (17,)."""
        return self.batch([crop], np.asarray(units)[None])[0]

    @torch.inference_mode()
    def batch(self, crops: Sequence[RGB], units: Array) -> list[Masks]:
        """The same for several crops and intensities (B, 17)."""
        stack = np.stack(crops)
        if stack.dtype != np.uint8 or stack.shape[1:] != (self.size, self.size, 3):
            raise InputError(f"crops for this model are {self.size}x{self.size}x3 uint8, not {stack.shape[1:]}")
        image = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        wanted = torch.from_numpy(np.asarray(units, np.float32)).to(self.device)
        out = self._generator(image, wanted)
        pictures = [_pixels(t) for t in (out.image, out.color)]
        attention = out.attention[:, 0].float().cpu().numpy()
        return [Masks(p, c, a, np.asarray(u)) for p, c, a, u in zip(*pictures, attention, units)]


def _pixels(x: torch.Tensor) -> RGB:
    """(B, 3, H, W) in -1..1 to (B, H, W, 3) uint8."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


@dataclass(frozen=True)
class GanimationOptions:
    """Choices of this engine."""

    absolute: bool = False  # the performer's intensities as they are, not on top of the portrait's


OPTIONS = GanimationOptions


def open_engine(options: GanimationOptions, weights: str) -> GanimationEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError for weights that are none."""
    return GanimationEngine(weights or None, options.absolute)
