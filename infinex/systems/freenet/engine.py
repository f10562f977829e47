"""`--engine freenet`: the performer's landmarks are converted to the portrait's, and the portrait is drawn under them.

The networks see a square around each face. The converter is told the performer's landmarks and those of the portrait as
it is; the generator sees the portrait and what the converter says. Its picture is laid back with a soft seam."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Engine, Setting, Source
from infinex.motion import Rest
from infinex.systems.driven import DrivenFace
from infinex.systems.freenet.landmarks import discs, in_unit
from infinex.systems.freenet.model import Drawn, between
from infinex.systems.freenet.weights import LAYOUT, FreenetWeights, network
from infinex.systems.registry import resolve
from infinex.systems.window import RGB, Square, resized

FINE = 256  # side up to which landmarks say how pixels move
BUNDLED = "freenet-face"  # in the registry of weights


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
        self._rest = self._neutral  # of the performer

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """See `DrivenFace`."""
        super().begin(rest, image, points)
        assert self._driver is not None and points is not None
        self._rest = self.engine.points(self._driver, points)

    def made(self, square: Square, image: RGB, points: NDArray) -> tuple[RGB, RGB]:
        """See `DrivenFace`; the networks see no frame."""
        performed = self.engine.points(square, points)
        return self.engine.drawn(self._full, self._image, self._neutral, performed, self._rest)


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
    def drawn(
        self, full: RGB, image: torch.Tensor, neutral: torch.Tensor, performed: torch.Tensor, rest: torch.Tensor
    ) -> tuple[RGB, RGB]:
        """The face `full` (side, side, 3), as `image` (1, 3, S, S) for the networks, under a performer's landmarks, at
        either size, and the landmarks that it was drawn under. `neutral` and `rest` are both people's at rest."""
        wanted = performed if self.converter is None else self.converter(performed, neutral, rest)
        marks = discs(wanted, self.config)
        shown = torch.nn.functional.interpolate(marks, (self.size, self.size))[0]
        if self.config.moves:
            side = min(FINE, len(full))
            landmarks = between(neutral, wanted, side)  # these say more than the networks see
            face = composed(full, self.generator(image, neutral, wanted), landmarks)
        else:
            face = as_picture(self.generator(image, marks)[0])
        return face, np.ascontiguousarray(as_picture(shown))


def as_picture(x: torch.Tensor) -> RGB:
    """(3, H, W) in -1..1 to (H, W, 3)."""
    return np.asarray(((x.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy())


def composed(full: RGB, made: Drawn, landmarks: torch.Tensor) -> RGB:
    """What a `MovingGenerator` made of a face, at the face's own size (side, side, 3); `landmarks` is what these say of
    the movement, finer than the networks see it."""
    side = len(full)

    def spread(x: torch.Tensor) -> NDArray[np.float32]:
        y = x[0].permute(1, 2, 0).float().cpu().numpy()
        return np.asarray(cv2.resize(y, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)

    flow = (spread(landmarks) + spread(made.correction)) * (side / 2)
    colours, mask = (spread(made.colours) + 1) * 127.5, spread(made.mask)
    line = np.arange(side, dtype=np.float32)
    x, y = flow[..., 0] + line, flow[..., 1] + line[:, None]
    moved = cv2.remap(full, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    return np.asarray(np.clip(moved + mask[..., None] * (colours - moved) + 0.5, 0, 255), np.uint8)


OPTIONS = FreenetOptions


def open_engine(options: FreenetOptions, weights: str) -> FreenetEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError for weights that are none."""
    theirs = Path(weights)
    authors = bool(weights) and (theirs / "latest_net_G.pth").is_file()
    stored = LAYOUT.read(theirs if authors else resolve(weights or BUNDLED, "freenet"))
    asked = options.converter if options.converter != "auto" else stored.origin.get("converter", "yes")
    return FreenetEngine(stored, asked == "yes", "cuda" if torch.cuda.is_available() else "cpu")
