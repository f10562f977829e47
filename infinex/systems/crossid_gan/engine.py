"""`--engine crossid-gan`: the motion code of the face as it should be, and the content of the portrait, make a picture.

The networks see the portrait in a square around the face; what they draw is laid back with a soft seam. Whose motion it
was the code should not tell, so displacements are handed over as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Engine, Proportions, Setting, Source
from infinex.systems.crossid_gan.model import AT_WORK, Content, Made
from infinex.systems.crossid_gan.recipe import motion_picture
from infinex.systems.crossid_gan.weights import LAYOUT, CrossIdWeights
from infinex.systems.embedded import absolute, inverse, offsets, then
from infinex.systems.outlined import OutlinedFace, seen
from infinex.systems.registry import resolve
from infinex.systems.window import Map

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
BUNDLED = "crossid-gan-face"


class PreparedCrossId(OutlinedFace):
    """One face of a portrait; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: CrossIdEngine) -> None:
        chosen = engine.options.proportions
        split: Proportions = "plain" if chosen == "auto" else chosen
        o = engine.options
        super().__init__(source, engine.size, o.absolute, split, o.detail, o.paint)
        self.engine = engine
        own = seen(source.image, source.face.landmarks, self.size)
        self.content = engine.content(own.image)
        self._field: Map | None = None
        # What the networks see wrongly in a code cancels where the portrait's own is what motion counts from.
        read = engine.draw(own.points, self.content)[1]
        self._back = None if read is None else inverse(read)

    def made(self, points: Array) -> RGB:
        """See `OutlinedFace`."""
        picture, read = self.engine.draw(points, self.content)
        self._field = None if read is None or self._back is None else offsets(then(read, self._back))
        return picture

    def field(self) -> Map | None:
        """See `OutlinedFace`."""
        return self._field

    def outline(self, points: Array) -> RGB:
        """See `OutlinedFace`."""
        drawn, _ = motion_picture(points, self.size, self.engine.lines)
        return np.repeat(np.round(255 * drawn[0]).astype(np.uint8)[..., None], 3, -1)


@dataclass(frozen=True)
class CrossIdOptions:
    """Choices of this engine."""

    absolute: bool = False  # the performer's pose and landmarks as they are
    proportions: Proportions = "auto"  # auto: plain
    detail: bool = True  # the portrait's own pixels, moved by the flows, where the networks agree
    paint: bool = False  # what the networks paint on top of them, too, which after few steps is spots


class CrossIdEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "crossid-gan"
    own_rest = False  # a face at rest is drawn as well

    def __init__(
        self, weights: CrossIdWeights, options: CrossIdOptions | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.options, self.device = options or CrossIdOptions(), torch.device(device)
        self.size, self.lines = weights.config.size, weights.config.lines
        self._motion, self._content, self._generator = (LAYOUT.network(weights, n).to(self.device) for n in AT_WORK)

    def prepare(self, source: Source, setting: Setting = Setting()) -> PreparedCrossId:  # noqa: B008
        """Look at the person once."""
        return PreparedCrossId(source, self)

    @torch.inference_mode()
    def content(self, image: RGB) -> Content:
        """What the networks keep of a picture (S, S, 3)."""
        picture = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        kept: Content = self._content(picture)
        return kept

    @torch.inference_mode()
    def draw(self, points: Array, content: Content) -> tuple[RGB, torch.Tensor | None]:
        """The person (S, S, 3) with landmarks (478, 3) in pixels of the square, and where the mean face is read
        (1, f, f, 2), in -1..1."""
        drawn, place = (
            torch.from_numpy(a)[None].to(self.device) for a in motion_picture(points, self.size, self.lines)
        )
        made: Made = self._generator(self._motion(drawn), place, content)
        picture = ((made.image[0].float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        return picture, None if made.flow is None else absolute(made.flow)


OPTIONS = CrossIdOptions


def open_engine(options: CrossIdOptions, weights: str) -> CrossIdEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError for weights that are none."""
    path = resolve(weights or BUNDLED, "crossid-gan")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return CrossIdEngine(LAYOUT.read(path), options, device)
