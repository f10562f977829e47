"""What engines have in common that draw a face from its landmarks: the window, where the landmarks go, the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Proportions, Shown, Source
from infinex.face.portrait import SourceFace
from infinex.mesh.retarget import Retarget
from infinex.motion import Rest
from infinex.systems.window import Map, Square, resized

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
SEAM = 0.14  # width of the seam over the square's side
RIM = 0.05  # of the part of it where what the networks move dies away
HAIR = 0.35  # above a face, of half its height
NEAR, FAR = 1.2, 2.0  # of a head's radii, between which what they move dies away


@dataclass(frozen=True)
class Seen:
    """What a network sees of a person: the square (S, S, 3) around the face, and landmarks (478, 3) in its pixels."""

    image: RGB
    points: Array


def seen(image: RGB, points: Array, size: int) -> Seen:
    """The square around a face at `size`."""
    window = Square(image, points)
    return Seen(window.cut(image, size), window.points(points, size))


class OutlinedFace:
    """One face of a portrait in such an engine; see `infinex.engine.Prepared`. Derive from it."""

    def __init__(
        self, source: Source, size: int, absolute: bool, proportions: Proportions, detail: bool = False,
        paint: bool = True,
    ) -> None:  # fmt: skip
        """`detail`: the portrait's own pixels are moved, by networks that say how, and with `paint` painted over; see
        `_composed`."""
        self.source, self.size, self.absolute, self.proportions = source, size, absolute, proportions
        self.detail, self.paint = detail, paint
        self.face = SourceFace(source.face.landmarks)
        self.window = Square(source.image, source.face.landmarks)
        self.box = self.window.box
        self._full = self.window.full(source.image)
        self._seam = self.window.seam(SEAM)[..., None]
        self._rim = self.window.rim(RIM)
        self._own_reach = self._reach(self.window.points(source.face.landmarks, size))
        self._retarget: Retarget | None = None
        self._still: Map | None = None

    def made(self, points: Array) -> RGB:
        """The picture (S, S, 3) of the portrait's person with landmarks (478, 3) in pixels of the window."""
        raise NotImplementedError

    def field(self) -> Map | None:
        """Where the picture made last reads the portrait's window (f, f, 2): how far off, x and y, in units that put
        the centres of its outer pixels at the networks' size, and of the field, at -1 and 1. None: they move none."""
        return None

    def outline(self, points: Array) -> RGB:
        """What the network is shown of such landmarks (S, S, 3), for a panel."""
        raise NotImplementedError

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance, measured from `rest`."""
        self._retarget = Retarget(self.face, rest, self.absolute, self.proportions)

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face under `drive` over its box of `canvas`, in place."""
        assert self._retarget is not None, "begin() comes first"
        target = self._retarget(drive.move)
        points = self.window.points(target.points, self.size)
        picture = self._composed(points)
        picture = picture * self._seam + self._full * (1 - self._seam)
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self.window.inside(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
        return Shown(target.points, driving=lambda: self._shown(points))

    def _reach(self, points: Array) -> Map:
        """(S, S) 1 around the head that has landmarks (478, 3), in pixels of it, falling to 0 away from it."""
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        middle, radii = (low + high) / 2, (high - low) / 2
        middle, radii = middle - [0, HAIR * radii[1]], radii * [1, 1 + HAIR]
        y, x = np.mgrid[: self.size, : self.size]
        away = np.hypot((x - middle[0]) / radii[0], (y - middle[1]) / radii[1])
        share = np.clip((FAR - away) / (FAR - NEAR), 0, 1)
        return np.asarray(share * share * (3 - 2 * share), np.float32)

    def _composed(self, points: Array) -> Map:
        """The networks' picture of landmarks `points` at the portrait's resolution (side, side, 3).

        Where they say from where they moved the portrait, its own pixels are moved so, and what they paint is added as
        far as it differs from what they paint of the portrait as it is, moved alike: what they paint badly cancels."""
        side = self.window.side
        made: Any = self.made(points).astype(np.float32)
        field = self.field() if self.detail else None
        if field is None:
            return resized(made, side)
        if self._still is None and self.paint:
            self._still = self.made(self.window.points(self.source.face.landmarks, self.size)).astype(np.float32)
        head: Map = np.maximum(self._own_reach, self._reach(points))
        away: Any = _spread(field, self.size) * (head * (self.size - 1) / 2)[..., None]
        far: Any = resized(away, side) * (self._rim * side / self.size)[..., None]
        moved = _read(self._full.astype(np.float32), far)
        if self._still is None:
            return moved
        change: Any = (made - _read(self._still, away)) * head[..., None]
        return moved + resized(change, side)

    def _shown(self, points: Array) -> RGB:
        """The outline where it lies on the portrait's canvas (H, W, 3)."""
        x0, y0, x1, y1 = self.box
        out = np.zeros_like(self.source.image)
        out[y0:y1, x0:x1] = self.window.inside(resized(self.outline(points), self.window.side))
        return out


def _spread(field: Map, size: int) -> Map:
    """A field (f, f, 2) at `size`, outer values at the centres of outer pixels."""
    place = np.linspace(0, field.shape[0] - 1, size, dtype=np.float32)
    x, y = np.meshgrid(place, place)
    return np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _read(image: Map, away: Map) -> Map:
    """A picture (S, S, 3) read so many pixels `away` (S, S, 2) from each place."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    at = x + away[..., 0].astype(np.float32), y + away[..., 1].astype(np.float32)
    return np.asarray(cv2.remap(image, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)
