"""`--engine marionette`: the outline of the face as it should be is drawn, and the networks make a picture of it.

They see the portrait, and further pictures of the person where there are any, in a square around the face; what they
draw is laid back with a soft seam. The performer's own proportions stay out by the landmark transformer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Engine, Proportions, Setting, Source
from infinex.mesh.album import cut_out, read_album
from infinex.systems.embedded import absolute, inverse, offsets, then
from infinex.systems.marionette.model import Known, Marionette
from infinex.systems.marionette.recipe import outline
from infinex.systems.marionette.weights import LAYOUT, MarionetteWeights
from infinex.systems.outlined import OutlinedFace, Seen, seen
from infinex.systems.registry import resolve
from infinex.systems.window import Map

BUNDLED = "marionette-face"  # in the registry of weights
RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
PICTURES = 8  # of the person that are looked at, at most


class PreparedMarionette(OutlinedFace):
    """One face of a portrait; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: MarionetteEngine, album: list[Seen]) -> None:
        chosen = engine.options.proportions
        split: Proportions = "landmark-transformer" if chosen == "auto" else chosen
        super().__init__(source, engine.size, engine.options.absolute, split, engine.options.detail)
        views = [seen(v.image, v.face.landmarks, self.size) for v in (source, *source.views)]
        views = [*views, *album][: max(PICTURES, 1 + len(source.views))]
        self.engine, self.known = engine, engine.know(views)
        self._field: Map | None = None
        # What the networks see wrongly in outlines cancels where the portrait's own is what motion counts from.
        own = engine.draw(views[0].points, self.known)[1]
        self._back = None if own is None else inverse(own)

    def made(self, points: Array) -> RGB:
        """See `OutlinedFace`."""
        picture, read = self.engine.draw(points, self.known)
        self._field = None if read is None or self._back is None else offsets(then(read, self._back))
        return picture

    def field(self) -> Map | None:
        """See `OutlinedFace`."""
        return self._field

    def outline(self, points: Array) -> RGB:
        """See `OutlinedFace`."""
        return outline(points, self.size)


@dataclass(frozen=True)
class MarionetteOptions:
    """Choices of this engine."""

    absolute: bool = False  # the performer's pose and expression as they are
    album: str = ""  # a folder or a clip with more of the same person
    proportions: Proportions = "auto"  # auto: landmark-transformer; plain: the ablation without it
    detail: bool = True  # the portrait's own pixels, moved by flows that were taught, where the networks agree


class MarionetteEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "marionette"
    own_rest = False  # a face at rest is drawn as well

    def __init__(
        self, weights: MarionetteWeights, options: MarionetteOptions | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.options = options or MarionetteOptions()
        self.size, self.device = weights.config.size, torch.device(device)
        self.taught = "taught" in weights.origin
        self._generator: Marionette = LAYOUT.network(weights, "generator").to(self.device)

    def prepare(self, source: Source, setting: Setting = Setting()) -> PreparedMarionette:  # noqa: B008
        """Look at the person once."""
        album: list[Seen] = []
        if self.options.album:
            views = read_album(self.options.album, source, partial(cut_out, room=1.55))
            some = np.unique(np.linspace(0, len(views) - 1, PICTURES - 1).astype(int))
            album = [seen(views[i].image, views[i].points, self.size) for i in some]
        return PreparedMarionette(source, self, album)

    def _tensor(self, pictures: list[RGB]) -> torch.Tensor:
        """(N, 3, S, S) in -1..1."""
        stack = torch.from_numpy(np.stack(pictures)).to(self.device)
        return stack.permute(0, 3, 1, 2).float() / 127.5 - 1

    @torch.inference_mode()
    def know(self, views: list[Seen]) -> Known:
        """What the networks keep of the person."""
        images = self._tensor([v.image for v in views])
        outlines = self._tensor([outline(v.points, self.size) for v in views])
        return self._generator.know(images[None], outlines[None])

    @torch.inference_mode()
    def draw(self, points: Array, known: Known) -> tuple[RGB, torch.Tensor | None]:
        """The person (S, S, 3) with landmarks (478, 3) in pixels of the square, and of weights whose flows were taught
        where the mean face is read (1, h, w, 2), in -1..1."""
        drawn = self._generator.drawn(self._tensor([outline(points, self.size)]), known)
        picture = ((drawn.image[0].float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        if not (self.taught and drawn.flows):
            return picture, None
        return picture, absolute(drawn.flows[-1])


OPTIONS = MarionetteOptions


def open_engine(options: MarionetteOptions, weights: str) -> MarionetteEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError for weights that are none."""
    path = resolve(weights or BUNDLED, "marionette")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return MarionetteEngine(LAYOUT.read(path), options, device)
