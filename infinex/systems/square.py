"""Faces that networks draw in a square: cut out, drawn after the performer's square, laid back with a soft seam.

The networks see the square at their own size. What they return is rarely as fine as the portrait. Those that warp say
from where: then the portrait's own pixels are moved so, at full resolution, and what the networks changed beyond that -
light, what was hidden - is added on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Shown, Source
from infinex.face.networks import Segmenter
from infinex.face.portrait import SourceFace
from infinex.mesh.album import View
from infinex.mesh.fill import behind
from infinex.mesh.layers import person_matte
from infinex.mesh.matting import foreground
from infinex.motion import Rest
from infinex.systems.window import Square, resized

RGB = NDArray[np.uint8]
SEAM = 0.14  # width of the seam over the square's side
RIM = 0.05  # of the part of it where the deformation dies away


@dataclass(frozen=True)
class Painted:
    """What networks make of one frame, S their size."""

    picture: RGB  # (S, S, 3)
    deformed: RGB | None = None  # (S, S, 3) the source itself under `field`
    field: NDArray[np.float32] | None = None  # (h, w, 2) where the source is read, x and y in -1..1, corners on centres
    shown: NDArray[np.uint8] | None = None  # (h, w) 255 where the source is shown, 0 where it is made up
    person: NDArray[np.uint8] | None = None  # (S, S) 255 where the person is, for those that paint no background


class Painter(Protocol):
    """Networks at work on squares, for any number of portraits."""

    size: int  # side of the squares

    def prepare(self, squares: list[RGB]) -> Any:
        """Do once what depends on the person alone: the square of the portrait (S, S, 3) and of further pictures."""

    def begin(self, prepared: Any, square: RGB | None, rest: Rest) -> None:
        """Start a performance from its rest, and from the performer's square at rest where there is one."""

    def paint(self, prepared: Any, square: RGB | None, drive: Drive) -> Painted:
        """The person as the performer is in `square` (S, S, 3), or as `drive` says for painters that need no frames."""


class SquareFace:
    """One face of a portrait inside an engine; see `infinex.engine.Prepared`."""

    def __init__(
        self, source: Source, painter: Painter, detail: bool = True, frames: bool = True, views: Sequence[RGB] = ()
    ) -> None:
        """`detail`: the portrait's own pixels are moved where it is finer than the networks. `frames`: whether the
        painter looks at the performer. `views` are squares of further pictures of the person (S, S, 3)."""
        self.source, self.painter, self.detail, self.frames = source, painter, detail, frames
        self.face = SourceFace(source.face.landmarks)
        self.crop = Square(source.image, source.face.landmarks)
        self.box = self.crop.box
        self._full = self.crop.full(source.image)
        self.seam = self.crop.seam(SEAM)[..., None]
        self._rim = self.crop.rim(RIM)[..., None]
        own = [square_view(painter.size, v.image, v.face.landmarks).image for v in source.views]
        self.prepared = painter.prepare([resized(self._full, painter.size), *own, *views])
        self._driver: Square | None = None
        self._last: tuple[RGB, NDArray[np.uint8] | None] | None = None
        self._behind: NDArray[np.float32] | None = None
        self.layer: NDArray[np.uint8] | None = None  # (side, side, 4) the person last drawn, of those who say where

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame."""
        self._last = None
        if not self.frames:
            self.painter.begin(self.prepared, None, rest)
            return
        if image is None or points is None:
            raise ValueError("this engine needs the driver's frames")
        self._driver = Square(image, points)
        self.painter.begin(self.prepared, self._driver.cut(image, self.painter.size), rest)

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box; while the performer is out of sight the last picture stays."""
        square = None
        if self.frames:
            assert self._driver is not None, "begin() comes first"
            square = None if drive.image is None else self._driver.cut(drive.image, self.painter.size)
        if square is not None or not self.frames:
            made = self.painter.paint(self.prepared, square, drive)
            shown = made.shown
            if shown is not None:
                shown = cv2.resize(shown, (self.crop.side,) * 2, interpolation=cv2.INTER_LINEAR)
            self._last = self._composed(made), shown
        if self._last is None:
            return Shown()
        full, shown = self._last
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self.crop.inside(full)
        if shown is None:
            return Shown()
        occlusion = shown
        return Shown(occlusion=lambda: np.ascontiguousarray(self.crop.inside(occlusion)))

    def _composed(self, made: Painted) -> RGB:
        """The networks' picture at the portrait's resolution (side, side, 3), inside the seam."""
        side, base = self.crop.side, self._full
        if made.person is not None:
            picture = self._before(made.picture, made.person)
        elif self.detail and side > self.painter.size and made.field is not None and made.deformed is not None:
            picture = self._detailed(made.picture, made.deformed, made.field, made.shown)
        else:
            picture = resized(made.picture, side).astype(np.float32)
        picture = picture * self.seam + base.astype(np.float32) * (1 - self.seam)
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)

    def _before(self, made: RGB, person: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A person on black over the portrait's background (side, side, 3), where hers is filled from around her."""
        side = self.crop.side
        if self._behind is None:
            alpha = np.asarray(Segmenter()(self._full), np.float32)
            self._behind = behind(self._full, alpha, self.face.pose.scale).astype(np.float32)
        share = resized(person, side).astype(np.float32)[..., None] / 255
        colour = resized(made, side).astype(np.float32)
        plain = np.clip(colour / np.maximum(share, 0.05) + 0.5, 0, 255)
        self.layer = np.dstack([plain, share * 255 + 0.5]).astype(np.uint8)
        return np.asarray(colour + self._behind * (1 - share), np.float32)

    def _detailed(
        self, made: RGB, deformed: RGB, field: NDArray[np.float32], shown: NDArray[np.uint8] | None
    ) -> NDArray[np.float32]:
        """The portrait's own pixels under `field`, with what the networks changed beyond it."""
        side = self.crop.side
        # Only the displacement is interpolated: cubic weights do not keep a ramp straight.
        shift = cv2.resize(field - ramp(field.shape[0]), (side, side), interpolation=cv2.INTER_CUBIC)
        # Towards the edges it dies away, lest what lies beyond them is drawn into the picture as stripes.
        grid = (shift * self._rim + ramp(side) + 1) * np.float32((side - 1) / 2)
        moved = cv2.remap(self._full, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        change = resized(made.astype(np.float32) - deformed.astype(np.float32), side)
        sharp: NDArray[np.float32] = moved.astype(np.float32) + change
        if shown is None:
            return sharp
        # Fine detail is right where the source is shown, and wrong where something else was behind it.
        trust = cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
        trust = np.clip((trust - 0.15) / 0.35, 0, 1)
        return np.asarray(sharp * trust + resized(made, side).astype(np.float32) * (1 - trust), np.float32)


class PersonLayer:
    """Persons whose painter says where they are, with alpha, or over another background; see `engine.Layered`."""

    def __init__(self, image: RGB, faces: Sequence[SquareFace], cutout: RGB | None, under: RGB | None) -> None:
        """`cutout` (H, W, 4) is the picture with its own transparency, `under` (H, W, 3) what is laid behind."""
        self.faces, self.under = faces, under
        if cutout is None:
            first = faces[0].face
            alpha: NDArray[np.float32] = person_matte(image, first, first.points[:, :2], everybody=True)
        else:
            alpha = np.asarray(cutout[..., 3] / 255, np.float32)
        self._alpha = np.round(alpha * 255).astype(np.float32)
        self._colour = foreground(image, alpha) if cutout is None else cutout[..., :3]
        self.frame = np.empty((*image.shape[:2], 4 if under is None else 3), np.uint8)

    def compose(self, canvas: RGB, drawn: Sequence[Any]) -> NDArray[np.uint8]:
        """Outside of the squares the picture's own matte, inside what was painted, with the same soft seam."""
        colour, alpha = self._colour.astype(np.float32), self._alpha.copy()
        for face in self.faces:
            if face.layer is None:
                continue
            x0, y0, x1, y1 = face.box
            layer, seam = face.crop.inside(face.layer).astype(np.float32), face.crop.inside(face.seam)
            alpha[y0:y1, x0:x1] += seam[..., 0] * (layer[..., 3] - alpha[y0:y1, x0:x1])
            colour[y0:y1, x0:x1] += seam * (layer[..., :3] - colour[y0:y1, x0:x1])
        if self.under is None:
            self.frame[..., :3], self.frame[..., 3] = np.round(colour), np.round(alpha)
        else:
            share = alpha[..., None] / 255
            self.frame[:] = np.round(colour * share + self.under * (1 - share))
        return self.frame


def square_view(size: int, image: RGB, points: NDArray) -> View:
    """A picture's square (size, size, 3) with the landmarks `points` (478, 3) in it."""
    square = Square(image, points)
    return View(square.cut(image, size), square.points(points, size))


def ramp(size: int) -> NDArray[np.float32]:
    """(size, size, 2) x and y of pixel centres, where the picture's border is -1 and 1."""
    line = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return np.stack(np.meshgrid(line, line), -1)
