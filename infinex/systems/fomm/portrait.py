"""`--engine fomm`: the face is cut out, animated by the networks, and laid back into the portrait with a soft seam.

The networks see a square around the face, at their own size. What they return is rarely as fine as the portrait, so
its own pixels are moved by the deformation the networks found, at full resolution, and what the networks changed
beyond that - light, what was hidden - is added on top. Where a network says that the source shows nothing of use,
its own picture stands alone.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Source
from infinex.errors import FaceNotFoundError
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.fomm.engine import FommEngine, Prepared

RGB = NDArray[np.uint8]
BUNDLED = "fomm-face"  # in the registry of weights
ROOM = 1.55  # side of the square over the face's, as in the training clips
FRAMED = 0.55  # a square picture whose face takes up this much of it (with the room) is such a square already
SEAM = 0.14  # width of the seam over the square's side
RIM = 0.05  # of the part of it where the deformation dies away


class Crop:
    """A square of a picture, in part outside it where the face is near the border."""

    def __init__(self, image: RGB, points: NDArray) -> None:
        h, w = image.shape[:2]
        lo, hi = points[:468, :2].min(0), points[:468, :2].max(0)
        side = ROOM * float((hi - lo).max())
        self.whole = abs(w - h) <= 0.02 * max(w, h) and side >= FRAMED * max(w, h)
        x, y = (lo + hi) / 2
        if self.whole:
            side, x, y = max(w, h), w / 2, h / 2
        self.side = max(16, round(side))
        self.x, self.y = round(x - self.side / 2), round(y - self.side / 2)

    def cut(self, image: RGB, size: int) -> RGB:
        """The square at `size`; beyond the border the picture's edge goes on."""
        return _resized(self.full(image), size)

    def full(self, image: RGB) -> RGB:
        """The square at the picture's own resolution."""
        x, y, s = self.x, self.y, self.side
        part = image[max(0, y) : max(0, y + s), max(0, x) : max(0, x + s)]
        top, left = max(0, -y), max(0, -x)
        bottom, right = s - part.shape[0] - top, s - part.shape[1] - left
        if part.size == 0:
            raise FaceNotFoundError("the face left the picture")
        if max(top, left, bottom, right) > 0:
            part = cv2.copyMakeBorder(part, top, max(0, bottom), left, max(0, right), cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(part)

    def box(self, image: RGB) -> tuple[int, int, int, int]:
        """What of the square lies inside the picture."""
        h, w = image.shape[:2]
        return max(0, self.x), max(0, self.y), min(w, self.x + self.side), min(h, self.y + self.side)

    def ramp(self, width: float) -> NDArray[np.float32]:
        """(side,) from 0 at an edge to 1 at `width` of the side inside."""
        ramp = np.clip((np.arange(self.side) + 0.5) / max(1.0, width * self.side), 0, 1)
        return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)

    def rim(self) -> NDArray[np.float32]:
        """(side, side) 1 inside, falling to 0 towards all edges."""
        line = self.ramp(RIM) * self.ramp(RIM)[::-1]
        rim: NDArray[np.float32] = np.outer(line, line)
        return rim

    def seam(self, image: RGB) -> NDArray[np.float32]:
        """(side, side) 1 inside, falling to 0 towards edges behind which the picture goes on."""
        h, w = image.shape[:2]
        across, down = np.ones(self.side, np.float32), np.ones(self.side, np.float32)
        for line, goes_on in (
            (across, self.x > 0), (across[::-1], self.x + self.side < w),
            (down, self.y > 0), (down[::-1], self.y + self.side < h),
        ):  # fmt: skip
            if goes_on:
                line *= self.ramp(SEAM)
        seam: NDArray[np.float32] = down[:, None] * across
        return seam


def _resized(image: NDArray, size: int) -> NDArray:
    if image.shape[0] == size:
        return image
    inter = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=inter)


def _ramp(size: int) -> NDArray[np.float32]:
    """(size, size, 2) x and y of pixel centres, where the picture's border is -1 and 1."""
    line = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return np.stack(np.meshgrid(line, line), -1)


class FommFace:
    """One face of a portrait inside the engine; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: FommEngine, detail: bool) -> None:
        self.source, self.engine, self.detail = source, engine, detail
        self.face = SourceFace(source.face.landmarks)
        self.size = engine.config.size
        self.crop = Crop(source.image, source.face.landmarks)
        self.box = self.crop.box(source.image)
        self._full = self.crop.full(source.image)
        self._seam = self.crop.seam(source.image)[..., None]
        self._rim = self.crop.rim()[..., None]
        self._prepared: Prepared = engine.prepare(_resized(self._full, self.size))
        self._driver: Crop | None = None
        self._last: tuple[RGB, NDArray[np.uint8]] | None = None
        self._still: NDArray[np.int16] | None = None

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame."""
        if image is None or points is None:
            raise ValueError("this engine needs the driver's frames")
        self._driver, self._last = Crop(image, points), None
        self._prepared.reference = None
        self.engine.begin(self._prepared, self._driver.cut(image, self.size))

    def draw(self, canvas: RGB, drive: Drive) -> tuple[NDArray | None, NDArray[np.uint8] | None]:
        """Draw the face over its box; while the performer is out of sight the last picture stays."""
        assert self._driver is not None, "begin() comes first"
        if drive.image is not None:
            out = self.engine.render(self._prepared, self._driver.cut(drive.image, self.size))
            full = self._composed(out["prediction"][0], out["deformed"][0], out["occlusion"][0], out["field"][0])
            occlusion = cv2.resize(out["occlusion"][0], (self.crop.side,) * 2, interpolation=cv2.INTER_LINEAR)
            self._last = full, occlusion
        if self._last is None:
            return None, None
        full, occlusion = self._last
        x0, y0, x1, y1 = self.box
        rows, columns = slice(y0 - self.crop.y, y1 - self.crop.y), slice(x0 - self.crop.x, x1 - self.crop.x)
        canvas[y0:y1, x0:x1] = full[rows, columns]
        return None, np.ascontiguousarray(occlusion[rows, columns])

    def _composed(self, made: RGB, deformed: RGB, shown: NDArray[np.uint8], field: NDArray[np.float32]) -> RGB:
        """The networks' picture (S, S, 3) at the portrait's resolution, inside the seam."""
        side, base = self.crop.side, self._full
        if self.detail and side > self.size:
            # Only the displacement is interpolated: cubic weights do not keep a ramp straight.
            shift = cv2.resize(field - _ramp(field.shape[0]), (side, side), interpolation=cv2.INTER_CUBIC)
            # Towards the edges it dies away, lest what lies beyond them is drawn into the picture as stripes.
            grid = (shift * self._rim + _ramp(side) + 1) * np.float32((side - 1) / 2)
            moved = cv2.remap(base, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            change = _resized(made.astype(np.float32) - deformed.astype(np.float32), side)
            sharp = moved.astype(np.float32) + change
            # Fine detail is right where the source is shown, and wrong where something else was behind it.
            trust = cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
            trust = np.clip((trust - 0.15) / 0.35, 0, 1)
            picture = sharp * trust + _resized(made, side).astype(np.float32) * (1 - trust)
        else:
            picture = _resized(made, side).astype(np.float32)
        picture = picture * self._seam + base.astype(np.float32) * (1 - self._seam)
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


class FommPortraits:
    """The engine; see `infinex.engine.Engine`."""

    name = "fomm"
    needs: Literal["frames"] = "frames"

    def __init__(self, engine: FommEngine, detail: bool = True) -> None:
        self.engine, self.detail = engine, detail

    def prepare(self, source: Source) -> FommFace:
        """Everything that depends on the portrait alone."""
        return FommFace(source, self.engine, self.detail)


def open_engine(options: Any, weights: str) -> FommPortraits:
    """For `infinex.engine.load_engine`."""
    import torch

    from infinex.systems.registry import resolve

    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = resolve(weights or BUNDLED, "fomm")
    motion: Literal["relative", "absolute"] = "absolute" if options.absolute else "relative"
    return FommPortraits(FommEngine.from_weights(path, motion=motion, device=device))
