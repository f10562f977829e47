"""What engines have in common that draw a face after the performer's square: both windows, and the way back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Shown, Source
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.window import RGB, Square, resized

SEAM = 0.14  # width of the seam over the square's side


class DrivenFace:
    """One face of a portrait in such an engine; see `infinex.engine.Prepared`. Derive from it."""

    def __init__(self, source: Source) -> None:
        self.face = SourceFace(source.face.landmarks)
        self.window = Square(source.image, source.face.landmarks)
        self.box = self.window.box
        self._full = self.window.full(source.image)
        self._seam = self.window.seam(SEAM)[..., None]
        self._driver: Square | None = None
        self._last: tuple[RGB, RGB] | None = None

    def made(self, square: Square, image: RGB, points: NDArray) -> tuple[RGB, RGB]:
        """The picture (S, S, 3) after a performer's frame, and what stands for the performer in a panel."""
        raise NotImplementedError

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame, which says where the performer's square is."""
        if image is None or points is None:
            raise ValueError("this engine needs the driver's frames")
        self._driver, self._last = Square(image, points), None

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box; while the performer is out of sight the last picture stays."""
        assert self._driver is not None, "begin() comes first"
        if drive.image is not None and drive.points is not None:
            made, shown = self.made(self._driver, drive.image, drive.points)
            picture = resized(made, self.window.side).astype(np.float32)
            picture = picture * self._seam + self._full.astype(np.float32) * (1 - self._seam)
            self._last = np.clip(picture + 0.5, 0, 255).astype(np.uint8), shown
        if self._last is None:
            return Shown()
        full, driving = self._last
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self.window.inside(full)
        return Shown(driving=lambda: driving)
