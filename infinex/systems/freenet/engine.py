"""`--engine freenet`: the performer's landmarks are converted to the portrait's, and the portrait is drawn under them.

The networks see a square around each face. The converter is told the performer's landmarks and those of the portrait as
it is; the generator sees the portrait and what the converter says. Its picture is laid back with a soft seam."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Engine, Setting, Source
from infinex.errors import WeightsError, option
from infinex.systems.driven import DrivenFace
from infinex.systems.freenet.landmarks import discs, in_unit
from infinex.systems.freenet.weights import LAYOUT, FreenetWeights, network
from infinex.systems.registry import resolve
from infinex.systems.window import RGB, Square, resized

LACKS = (
    "the engine freenet has no weights of its own: train some "
    "(infinex train freenet-128-converter, then freenet-128) and name the run's folder with"
)


@dataclass(frozen=True)
class FreenetOptions:
    """Choices of this engine."""

    converter: Literal["auto", "yes", "no"] = "auto"  # no: landmarks as they are; auto: as in training


class FreenetFace(DrivenFace):
    """See `DrivenFace`. What stands for the performer are the landmarks that the face was drawn under."""

    def __init__(self, source: Source, engine: FreenetEngine) -> None:
        super().__init__(source)
        self.engine = engine
        self._image = engine.tensor(resized(self._full, engine.size))
        self._neutral = engine.points(self.window, source.face.landmarks)

    def made(self, square: Square, image: RGB, points: NDArray) -> tuple[RGB, RGB]:
        """See `DrivenFace`; the networks see no frame."""
        return self.engine.drawn(self._image, self._neutral, self.engine.points(square, points))


class FreenetEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "freenet"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, weights: FreenetWeights, converter: bool, device: str = "cpu") -> None:
        """Raises WeightsError where the weights lack what is wanted."""
        self.config, self.size, self.device = weights.config, weights.config.size, device
        self.generator = network(weights, "generator").to(device)
        self.converter = network(weights, "converter").to(device) if converter else None

    def prepare(self, source: Source, setting: Setting = Setting()) -> FreenetFace:  # noqa: B008
        """Everything that depends on the portrait alone."""
        return FreenetFace(source, self)

    def tensor(self, image: RGB) -> torch.Tensor:
        """(S, S, 3) to (1, 3, S, S) in -1..1."""
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1

    def points(self, square: Square, landmarks: NDArray) -> torch.Tensor:
        """Landmarks (478, 3) in pixels of the picture, in FReeNet's unit, (1, 2·points)."""
        own = landmarks - np.array([square.x, square.y, 0])
        return torch.from_numpy(in_unit(own, square.side, self.config))[None].to(self.device)

    @torch.no_grad()
    def drawn(self, image: torch.Tensor, neutral: torch.Tensor, performed: torch.Tensor) -> tuple[RGB, RGB]:
        """The face (S, S, 3) under a performer's landmarks, and the landmarks that it was drawn under."""
        wanted = performed if self.converter is None else self.converter(performed, neutral)
        marks = discs(wanted, self.config)
        face, shown = self.generator(image, marks)[0], torch.nn.functional.interpolate(marks, (self.size, self.size))[0]
        made = [((x.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy() for x in (face, shown)]
        return made[0], np.ascontiguousarray(made[1])


OPTIONS = FreenetOptions


def open_engine(options: FreenetOptions, weights: str) -> FreenetEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError without weights, and for weights that are none."""
    if not weights:
        raise WeightsError(f"{LACKS} {option('weights')}")
    theirs = Path(weights)
    authors = (theirs / "latest_net_G.pth").is_file()
    stored = LAYOUT.read(theirs if authors else resolve(weights, "freenet"))
    asked = options.converter if options.converter != "auto" else stored.origin.get("converter", "yes")
    return FreenetEngine(stored, asked == "yes", "cuda" if torch.cuda.is_available() else "cpu")
