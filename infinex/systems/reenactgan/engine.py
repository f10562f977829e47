"""`--engine reenactgan --weights PERSON`: boundaries of a performer become a person's, and their face.

The networks see a square around the performer's face and draw one of the person that their decoder has learned, who
should be the person of the portrait: nothing of the portrait but its surroundings is used. The square is laid over the
portrait's face with a soft seam."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Engine, Setting, Source
from infinex.errors import WeightsError, option
from infinex.systems.driven import DrivenFace
from infinex.systems.reenactgan.model import Evaluation, ReenactGAN
from infinex.systems.reenactgan.samples import boundary_maps
from infinex.systems.reenactgan.weights import LAYOUT, model_of
from infinex.systems.registry import resolve
from infinex.systems.window import RGB, Square

FEWEST = (
    "the engine reenactgan draws one trained person and has none yet: train one "
    "(infinex train reenactgan-128-boundary, -decoder, -transformer) and name the run's folder with"
)


@dataclass(frozen=True)
class ReenactganOptions:
    """Choices of this engine."""

    evaluation: Evaluation = "right"  # published: statistics of every picture, and dropout; statistics: without it
    maps: Literal["auto", "network", "mesh"] = "auto"  # where boundaries come from; auto: as in training


class ReenactganFace(DrivenFace):
    """See `DrivenFace`. What stands for the performer are the boundaries that the face was drawn from."""

    def __init__(self, source: Source, engine: ReenactganEngine) -> None:
        super().__init__(source)
        self.engine = engine

    def made(self, square: Square, image: RGB, points: NDArray) -> tuple[RGB, RGB]:
        """See `DrivenFace`."""
        return self.engine.drawn(square, image, points)


class ReenactganEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "reenactgan"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, model: ReenactGAN, options: ReenactganOptions, drawn_maps: bool) -> None:
        self.model, self.options, self.drawn_maps = model, options, drawn_maps

    def prepare(self, source: Source, setting: Setting = Setting()) -> ReenactganFace:  # noqa: B008
        """Everything that depends on the portrait alone."""
        return ReenactganFace(source, self)

    @torch.no_grad()
    def drawn(self, square: Square, image: RGB, points: NDArray) -> tuple[RGB, RGB]:
        """The person's face (S, S, 3) under a performer's expression, and the boundaries that it was drawn from."""
        config = self.model.config
        evaluation = self.options.evaluation
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # dropout, where it is wanted, is the same in every frame
            if self.drawn_maps:
                zoom = config.size / square.side
                window = np.array([[zoom, 0, zoom * (0.5 - square.x) - 0.5], [0, zoom, zoom * (0.5 - square.y) - 0.5]])
                maps = torch.from_numpy(boundary_maps(points, config, window))[None].to(self._device())
                own, face = self.model(maps, evaluation, of_maps=True)
            else:
                own, face = self.model(self._tensor(square.cut(image, config.size)), evaluation)
        shown = (255 * own[0].amax(0).clamp(0, 1)).round().byte().cpu().numpy()
        shown = cv2.resize(shown, (config.size, config.size), interpolation=cv2.INTER_LINEAR)
        made = ((face[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
        return made, np.repeat(shown[..., None], 3, axis=2)

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _tensor(self, image: RGB) -> torch.Tensor:
        return torch.from_numpy(image).to(self._device()).permute(2, 0, 1)[None].float() / 127.5 - 1


OPTIONS = ReenactganOptions


def open_engine(options: ReenactganOptions, weights: str) -> ReenactganEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError without weights, and for weights that are none."""
    if not weights:
        raise WeightsError(f"{FEWEST} {option('weights')}")
    theirs = Path(weights)
    authors = theirs.is_dir() and any(theirs.glob("*net_decoder.pth"))
    stored = LAYOUT.read(theirs if authors else resolve(weights, "reenactgan"))
    model = model_of(stored).to("cuda" if torch.cuda.is_available() else "cpu")
    asked = options.maps if options.maps != "auto" else stored.origin.get("maps", "network")
    return ReenactganEngine(model, options, asked == "mesh")
