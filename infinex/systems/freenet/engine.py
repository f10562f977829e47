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

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import WeightsError, option
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.freenet.landmarks import discs, in_unit
from infinex.systems.freenet.weights import FreenetWeights, read
from infinex.systems.registry import resolve
from infinex.systems.window import RGB, Square, resized

SEAM = 0.14  # width of the seam over the square's side
LACKS = (
    "the engine freenet has no weights of its own: train some "
    "(infinex train freenet-128-converter, then freenet-128) and name the run's folder with"
)


@dataclass(frozen=True)
class FreenetOptions:
    """Choices of this engine."""

    converter: Literal["auto", "yes", "no"] = "auto"  # no: landmarks as they are; auto: as in training


class FreenetFace:
    """One face of a portrait inside the engine; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: FreenetEngine) -> None:
        self.engine, self.face = engine, SourceFace(source.face.landmarks)
        self.window = Square(source.image, source.face.landmarks)
        self.box = self.window.box
        self._full = self.window.full(source.image)
        self._seam = self.window.seam(SEAM)[..., None]
        self._image = engine.tensor(resized(self._full, engine.size))
        self._neutral = engine.points(self.window, source.face.landmarks)
        self._driver: Square | None = None
        self._last: tuple[RGB, RGB] | None = None

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame, which says where the performer's square is."""
        if image is None or points is None:
            raise ValueError("this engine needs the driver's frames")
        self._driver, self._last = Square(image, points), None

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box; while the performer is out of sight the last picture stays.

        What stands for the performer are the landmarks that the face was drawn under."""
        assert self._driver is not None, "begin() comes first"
        if drive.points is not None:
            made, marks = self.engine.drawn(self._image, self._neutral, self.engine.points(self._driver, drive.points))
            picture = resized(made, self.window.side).astype(np.float32)
            picture = picture * self._seam + self._full.astype(np.float32) * (1 - self._seam)
            self._last = np.clip(picture + 0.5, 0, 255).astype(np.uint8), marks
        if self._last is None:
            return Shown()
        full, marks = self._last
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self.window.inside(full)
        return Shown(driving=lambda: marks)


class FreenetEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "freenet"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, weights: FreenetWeights, converter: bool, device: str = "cpu") -> None:
        """Raises WeightsError where the weights lack what is wanted."""
        self.config, self.size, self.device = weights.config, weights.config.size, device
        self.generator = weights.network("generator").to(device)
        self.converter = weights.network("converter").to(device) if converter else None

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
    stored = read(theirs if authors else resolve(weights, "freenet"))
    asked = options.converter if options.converter != "auto" else stored.origin.get("converter", "yes")
    return FreenetEngine(stored, asked == "yes", "cuda" if torch.cuda.is_available() else "cpu")
