"""`--engine fomm`: the face is cut out, animated by the networks, and laid back into the portrait with a soft seam.

The networks see a square around the face, at their own size. What they return is rarely as fine as the portrait, so
its own pixels are moved by the deformation the networks found, at full resolution, and what the networks changed
beyond that - light, what was hidden - is added on top. Where a network says that the source shows nothing of use,
its own picture stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.fomm.animator import Encoded, FommAnimator
from infinex.systems.window import Square, resized

RGB = NDArray[np.uint8]
BUNDLED = "fomm-face"  # in the registry of weights
SEAM = 0.14  # width of the seam over the square's side
RIM = 0.05  # of the part of it where the deformation dies away


def _ramp(size: int) -> NDArray[np.float32]:
    """(size, size, 2) x and y of pixel centres, where the picture's border is -1 and 1."""
    line = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return np.stack(np.meshgrid(line, line), -1)


class FommFace:
    """One face of a portrait inside the engine; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: FommAnimator, detail: bool) -> None:
        self.source, self.engine, self.detail = source, engine, detail
        self.face = SourceFace(source.face.landmarks)
        self.size = engine.config.size
        self.crop = Square(source.image, source.face.landmarks)
        self.box = self.crop.box
        self._full = self.crop.full(source.image)
        self._seam = self.crop.seam(SEAM)[..., None]
        self._rim = self.crop.rim(RIM)[..., None]
        self._prepared: Encoded = engine.prepare(resized(self._full, self.size))
        self._driver: Square | None = None
        self._last: tuple[RGB, NDArray[np.uint8]] | None = None
        self._still: NDArray[np.int16] | None = None

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame."""
        if image is None or points is None:
            raise ValueError("this engine needs the driver's frames")
        self._driver, self._last = Square(image, points), None
        self._prepared.reference = None
        self.engine.begin(self._prepared, self._driver.cut(image, self.size))

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box; while the performer is out of sight the last picture stays."""
        assert self._driver is not None, "begin() comes first"
        if drive.image is not None:
            out = self.engine.render(self._prepared, self._driver.cut(drive.image, self.size))
            full = self._composed(out["prediction"][0], out["deformed"][0], out["occlusion"][0], out["field"][0])
            occlusion = cv2.resize(out["occlusion"][0], (self.crop.side,) * 2, interpolation=cv2.INTER_LINEAR)
            self._last = full, occlusion
        if self._last is None:
            return Shown()
        full, occlusion = self._last
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self.crop.inside(full)
        return Shown(occlusion=lambda: np.ascontiguousarray(self.crop.inside(occlusion)))

    def _composed(self, made: RGB, deformed: RGB, shown: NDArray[np.uint8], field: NDArray[np.float32]) -> RGB:
        """The networks' picture (S, S, 3) at the portrait's resolution, inside the seam."""
        side, base = self.crop.side, self._full
        if self.detail and side > self.size:
            # Only the displacement is interpolated: cubic weights do not keep a ramp straight.
            shift = cv2.resize(field - _ramp(field.shape[0]), (side, side), interpolation=cv2.INTER_CUBIC)
            # Towards the edges it dies away, lest what lies beyond them is drawn into the picture as stripes.
            grid = (shift * self._rim + _ramp(side) + 1) * np.float32((side - 1) / 2)
            moved = cv2.remap(base, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            change = resized(made.astype(np.float32) - deformed.astype(np.float32), side)
            sharp = moved.astype(np.float32) + change
            # Fine detail is right where the source is shown, and wrong where something else was behind it.
            trust = cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
            trust = np.clip((trust - 0.15) / 0.35, 0, 1)
            picture = sharp * trust + resized(made, side).astype(np.float32) * (1 - trust)
        else:
            picture = resized(made, side).astype(np.float32)
        picture = picture * self._seam + base.astype(np.float32) * (1 - self._seam)
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class FommOptions:
    """Choices of this engine."""

    absolute: bool = False  # the keypoints' own places instead of their movement


class FommEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "fomm"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, engine: FommAnimator, detail: bool = True) -> None:
        self.engine, self.detail = engine, detail

    def prepare(self, source: Source, setting: Setting = Setting()) -> FommFace:  # noqa: B008
        """Everything that depends on the portrait alone."""
        return FommFace(source, self.engine, self.detail)


OPTIONS = FommOptions


def open_engine(options: FommOptions, weights: str) -> FommEngine:
    """For `infinex.engine.load_engine`."""
    import torch

    from infinex.systems.registry import resolve

    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = resolve(weights or BUNDLED, "fomm")
    motion: Literal["relative", "absolute"] = "absolute" if options.absolute else "relative"
    return FommEngine(FommAnimator.from_weights(path, motion=motion, device=device))
