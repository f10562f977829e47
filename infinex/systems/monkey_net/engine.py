"""`--engine monkey-net`: a square around the face is animated by the networks and laid back with a soft seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.engine import Drive, Engine, Setting, Source
from infinex.motion import Rest
from infinex.nn.fast import accelerate
from infinex.nn.geometry import bent
from infinex.nn.hourglass import Hourglass
from infinex.systems.monkey_net.model import (
    Generator,
    KeypointDetector,
    Keypoints,
    movement_scale,
    relative_motion,
)
from infinex.systems.monkey_net.weights import LAYOUT, MonkeyWeights
from infinex.systems.registry import resolve
from infinex.systems.square import Painted, SquareFace
from infinex.training.task import pixels

RGB = NDArray[np.uint8]
BUNDLED = "monkey-net-face"  # in the registry of weights


@dataclass
class Encoded:
    """What depends on the source alone, and the frame from which the driver's motion counts."""

    image: Tensor  # (1, 3, S, S) in 0..1
    keypoints: Keypoints
    skips: list[Tensor]  # of the generator's encoder
    reference: Keypoints | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class MonkeyOptions:
    """Choices of this engine."""

    absolute: bool = False  # the keypoints' own places instead of their movement
    adapt_scale: bool = True  # the movement is as large as the portrait's face is
    adapt_shape: bool = False  # covariances change as the driver's do, instead of being the driver's


class MonkeyPainter:
    """The networks as `infinex.systems.square` wants them."""

    def __init__(self, weights: MonkeyWeights, options: MonkeyOptions, device: str = "cpu") -> None:
        networks, self.o = LAYOUT.networks(weights), options
        self.picture = weights.origin.get("picture") != "deformed"  # whether the generator was trained
        self.size, self.device = weights.config.size, torch.device(device)
        self.detector = cast(KeypointDetector, accelerate(networks["detector"], winograd=False)).to(self.device)
        self.generator = cast(Generator, accelerate(networks["generator"], winograd=False)).to(self.device)

    def _tensor(self, square: RGB) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(square)).to(self.device)
        return x.permute(2, 0, 1)[None].float() / 255

    @torch.inference_mode()
    def prepare(self, squares: list[RGB]) -> Encoded:
        """See `Painter`."""
        image = self._tensor(squares[0])
        body: Hourglass = self.generator.body
        return Encoded(image, self.detector(image), body.encode(image) if self.picture else [])

    @torch.inference_mode()
    def begin(self, prepared: Encoded, square: RGB | None, rest: Rest) -> None:
        """See `Painter`."""
        assert square is not None
        prepared.reference = self.detector(self._tensor(square))
        prepared.scale = movement_scale(prepared.keypoints, prepared.reference) if self.o.adapt_scale else 1.0

    @torch.inference_mode()
    def paint(self, prepared: Encoded, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`."""
        assert square is not None and prepared.reference is not None, "begin() comes first"
        driving = self.detector(self._tensor(square))
        if not self.o.absolute:
            driving = relative_motion(
                prepared.keypoints, driving, prepared.reference, prepared.scale, self.o.adapt_shape
            )
        motion = self.generator.motion(prepared.image, prepared.keypoints, driving)
        if not self.picture:
            deformed = pixels(bent(prepared.image, motion.field))[0]
            return Painted(deformed, deformed, motion.field[0].float().cpu().numpy())
        out = self.generator.decode(prepared.skips, prepared.keypoints, driving, motion)
        field = motion.field[0].float().cpu().numpy()
        return Painted(pixels(out.prediction)[0], pixels(out.deformed)[0], field)


class MonkeyEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "monkey-net"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, painter: MonkeyPainter) -> None:
        self.painter = painter

    def prepare(self, source: Source, setting: Setting = Setting()) -> SquareFace:  # noqa: B008
        """Everything that depends on the portrait alone."""
        return SquareFace(source, self.painter)


OPTIONS = MonkeyOptions


def open_engine(options: MonkeyOptions, weights: str) -> MonkeyEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError."""
    path = resolve(weights or BUNDLED, "monkey-net")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return MonkeyEngine(MonkeyPainter(LAYOUT.read(path), options, device))
