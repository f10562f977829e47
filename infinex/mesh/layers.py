"""Splitting a portrait into person and background, and guessing what the person hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.media.kept import kept
from infinex.mesh.grain import regrained
from infinex.mesh.guided import guided_filter
from infinex.mesh.matting import parted, refined
from infinex.mesh.plate import plate
from infinex.mesh.rough import rough_matte

Image = NDArray[np.uint8]
SURE = 0.98  # of the segmentation, from where on there is somebody
LARGEST = 1024  # pixels of the longer side at which a matte is made
COARSE = 4  # pixels for each of which it is decided together whether they moved
SHOWS = 0.05  # share of the guess in a background up to which it is what shows
EDGE = 1e-4  # variance of colours, in 0..1, from which a change of them is an edge of the matte


def polygon_mask(height: int, width: int, points: NDArray, feather: float = 0.0) -> NDArray[np.float32]:
    """Antialiased filled polygon (H, W) in 0..1, blurred by `feather` pixels."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points[:, :2] * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    out = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(out, (0, 0), feather) if feather > 0 else out  # type: ignore[return-value]


def person_matte(image: Image, face: SourceFace, points: NDArray, everybody: bool = False) -> NDArray[np.float32]:
    """Alpha of the person (H, W) in 0..1: segmentation made exact by the picture's own colours and edges.

    `points` (478, 2) are her landmarks in it; `everybody` takes all people in for her."""
    oval = points[top.OVAL]
    h, w = image.shape[:2]
    k = min(1.0, LARGEST / max(h, w))
    small = image if k == 1 else cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    sure = polygon_mask(small.shape[0], small.shape[1], oval * k)
    rough = rough_matte(small, points * k, sure > 0.5, face.pose.scale * k)
    alpha = refined(small, rough, (sure > 0.5) | (everybody & (rough > SURE)), face.pose.scale * k)
    if k < 1:  # one more pass at full size sharpens the enlarged edge where the picture has one
        alpha = cv2.resize(alpha, (w, h), interpolation=cv2.INTER_LINEAR)
        if max(h, w) <= 2600:
            fine = guided_filter(image.astype(np.float32) / 255, alpha, max(2, round(1.5 / k)), EDGE)  # type: ignore[arg-type]
            alpha = np.clip((fine - 0.03) / 0.94, 0, 1)
    return np.maximum(alpha, polygon_mask(h, w, oval, face.pose.scale * 0.02)).astype(np.float32)


class Layers:
    """The person with alpha, and the background without the person; all over one part of the picture."""

    def __init__(self, image: Image, face: SourceFace, alpha: NDArray[np.float32] | None) -> None:
        """`image` (H, W, 3) is the part that moves, `alpha` (H, W) the person in it; None takes all for it."""
        unit = face.pose.scale
        self._unit = unit
        self.image = np.ascontiguousarray(image)
        if alpha is None:
            self.alpha = np.ones(image.shape[:2], np.float32)
            self.person = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
            self.fill, self.near = self.image, np.zeros(image.shape[:2], np.uint8)
            self.hidden = self.near
            return
        parts = kept("layers", lambda: _told_apart(self.image, alpha, unit), self.image, alpha, unit)
        self.alpha, self.person, self.fill, self.near, self.hidden = parts

    def gate(
        self, map_x: NDArray[np.float32], map_y: NDArray[np.float32], corner: tuple[int, int] = (0, 0)
    ) -> NDArray[np.uint8]:
        """Where the background behind the person's old place shows, (H, W) 0..255: only where it moved.

        The maps may cover a part of the layers that starts at `corner`."""
        x, y = corner
        h, w = map_x.shape
        first = slice(COARSE // 2, None, COARSE)
        gate = self.moved(map_x[first, first], map_y[first, first], corner)
        gate = cv2.resize(gate, (w, h), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(gate, self.near[y : y + h, x : x + w], scale=1 / 255))

    def moved(
        self, map_x: NDArray[np.float32], map_y: NDArray[np.float32], corner: tuple[int, int] = (0, 0)
    ) -> NDArray[np.uint8]:
        """How far things moved, 0..255, about every `COARSE`-th pixel: what `gate` enlarges. Maps as coarse as that."""
        columns, rows = (np.arange(n, dtype=np.float32) * COARSE + COARSE // 2 for n in map_x.shape[::-1])
        off = cv2.magnitude(map_x - (columns + corner[0]), map_y - (rows[:, None] + corner[1]))
        moved = cv2.GaussianBlur(cv2.dilate(off, np.ones((5, 5), np.uint8)), (0, 0), 3)
        k = 255 / (self._unit * 0.025)
        return np.asarray(cv2.addWeighted(moved, k, moved, 0, -0.3 * 255, dtype=cv2.CV_8U), np.uint8)


def _told_apart(image: Image, alpha: NDArray[np.float32], unit: float) -> tuple[NDArray, ...]:
    """Alpha, the person (H, W, 4), the background (H, W, 3), where that is guessed and where she hid it (H, W)."""
    guess, near, sure = plate(image, alpha, unit)
    back = np.asarray(image + near[..., None] * (guess - image), np.float32)
    back = regrained(back, near > SHOWS, unit)
    exact, colours, fill = parted(image, alpha, back, near, sure, unit)
    person = np.dstack([colours, np.round(exact * 255).astype(np.uint8)])
    # What stands still shows as it is: only where the person was can the background be unknown. The faint rim of
    # the matte belongs to that: it is tinted by hair, and would stay behind as a line.
    hers = np.maximum(exact, alpha) > 0
    hidden = cv2.GaussianBlur(hers.astype(np.float32), (0, 0), 0.7)
    hidden = np.where(hers, 255, np.round(255 * hidden)).astype(np.uint8)
    return exact, person, fill, np.round(255 * near).astype(np.uint8), hidden
