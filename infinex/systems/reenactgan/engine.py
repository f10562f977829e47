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

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import WeightsError, option
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.reenactgan.model import Evaluation, ReenactGAN
from infinex.systems.reenactgan.samples import boundary_maps
from infinex.systems.reenactgan.weights import read
from infinex.systems.registry import resolve
from infinex.systems.window import RGB, Square, resized

SEAM = 0.14  # width of the seam over the square's side
FEWEST = (
    "the engine reenactgan draws one trained person and has none yet: train one "
    "(infinex train reenactgan-128-boundary, -decoder, -transformer) and name the run's folder with"
)


@dataclass(frozen=True)
class ReenactganOptions:
    """Choices of this engine."""

    evaluation: Evaluation = "right"  # published: statistics of every picture, and dropout; statistics: without it
    maps: Literal["auto", "network", "mesh"] = "auto"  # where boundaries come from; auto: as in training


class ReenactganFace:
    """One face of a portrait inside the engine; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: ReenactganEngine) -> None:
        self.engine, self.face = engine, SourceFace(source.face.landmarks)
        self.window = Square(source.image, source.face.landmarks)
        self.box = self.window.box
        self._full = self.window.full(source.image).astype(np.float32)
        self._seam = self.window.seam(SEAM)[..., None]
        self._driver: Square | None = None
        self._last: tuple[RGB, RGB] | None = None

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame, which says where the performer's square is."""
        if image is None or points is None:
            raise ValueError("this engine needs the driver's frames")
        self._driver, self._last = Square(image, points), None

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box; while the performer is out of sight the last picture stays.

        What stands for the performer are the boundaries that the face was drawn from."""
        assert self._driver is not None, "begin() comes first"
        if drive.image is not None and drive.points is not None:
            face, maps = self.engine.drawn(self._driver, drive.image, drive.points)
            side = self.window.side
            picture = resized(face, side).astype(np.float32)
            picture = picture * self._seam + self._full * (1 - self._seam)
            self._last = np.clip(picture + 0.5, 0, 255).astype(np.uint8), maps
        if self._last is None:
            return Shown()
        full, maps = self._last
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self.window.inside(full)
        return Shown(driving=lambda: maps)


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
    stored = read(theirs if authors else resolve(weights, "reenactgan"))
    model = stored.model().to("cuda" if torch.cuda.is_available() else "cpu")
    asked = options.maps if options.maps != "auto" else stored.origin.get("maps", "network")
    return ReenactganEngine(model, options, asked == "mesh")
