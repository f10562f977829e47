"""What engines have in common that draw a face from its landmarks: the window, where the landmarks go, the way back."""

from __future__ import annotations

from dataclasses import dataclass

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
BLUR, LIGHT = 1.2, 0.12  # of pictures that are compared, in pixels; of light, as a share of the square
DETAIL = 0.03, 0.10  # difference (0..1) up to which the portrait's pixels are shown, and over which they go
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
        self, source: Source, size: int, absolute: bool, proportions: Proportions, detail: bool = False
    ) -> None:
        """`detail`: the portrait's own pixels are shown where networks that move them agree; see `_composed`."""
        self.source, self.size, self.absolute, self.proportions = source, size, absolute, proportions
        self.detail = detail
        self.face = SourceFace(source.face.landmarks)
        self.window = Square(source.image, source.face.landmarks)
        self.box = self.window.box
        self._full = self.window.full(source.image)
        self._seam = self.window.seam(SEAM)[..., None]
        self._rim = self.window.rim(RIM)
        self._own_reach = self._reach(self.window.points(source.face.landmarks, size))
        self._retarget: Retarget | None = None

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
        picture = self._composed(self.made(points), points)
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

    def _composed(self, made: RGB, points: Array) -> Map:
        """The networks' picture `made` at the portrait's resolution (side, side, 3), of landmarks `points`.

        Where they say from where they moved the portrait, and it looks there as they painted it but for its light, its
        own pixels are shown, moved so; away from the head, before and after, unmoved."""
        side = self.window.side
        picture = resized(made, side).astype(np.float32)
        field = self.field() if self.detail else None
        if field is None:
            return picture
        y, x = np.mgrid[:side, :side].astype(np.float32)
        half = (self.size - 1) / 2
        cells = [((v + 0.5) * (self.size / side) - 0.5) / half * (field.shape[0] - 1) / 2 for v in (x, y)]
        shift = cv2.remap(field, *cells, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        head = np.maximum(self._own_reach, self._reach(points))
        shift *= (self._rim * resized(head, side) * np.float32(half * side / self.size))[..., None]
        at = x + shift[..., 0], y + shift[..., 1]
        moved = cv2.remap(self._full, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        # What is blurred is compared with what is not, and light does not matter.
        off = cv2.GaussianBlur((resized(moved, self.size).astype(np.float32) - made) / 255, (0, 0), BLUR)
        off = np.abs(off - cv2.GaussianBlur(off, (0, 0), LIGHT * self.size)).max(2)
        share = np.exp(-((np.maximum(0, off - DETAIL[0]) / DETAIL[1]) ** 2))
        share = resized(1 - head * (1 - share), side)[..., None]
        return np.asarray(picture + (moved.astype(np.float32) - picture) * np.clip(share, 0, 1), np.float32)

    def _shown(self, points: Array) -> RGB:
        """The outline where it lies on the portrait's canvas (H, W, 3)."""
        x0, y0, x1, y1 = self.box
        out = np.zeros_like(self.source.image)
        out[y0:y1, x0:x1] = self.window.inside(resized(self.outline(points), self.window.side))
        return out
