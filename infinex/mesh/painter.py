"""The moved person over the background, painted where something moves; the rest of a frame is kept from the last."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.mesh.beyond import Beyond
from infinex.mesh.edges import beside, doubtful, finer
from infinex.mesh.kernel import BLOCK, CUBIC, LINEAR, blocks, paint, paint_fine, shows
from infinex.mesh.layers import COARSE, Layers
from infinex.mesh.warp import Flow

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]
LARGE = 1_200_000  # pixels that move
ABOUT = 0.5  # IOD about a face, and about what moves, within which a frame may be changed: the head's network is coarse


class Painter:
    """Paints the frames of one face, all into one picture."""

    def __init__(self, layers: Layers, beyond: Beyond, corner: tuple[int, int], points: NDArray) -> None:
        """`corner` of the layers in the picture, `points` (N, 2) of the face in it."""
        self._layers, self._corner, self._points = layers, corner, points
        self._part = layers.image.copy()
        self._touched: Box = (0, 0, 0, 0)
        own = points - corner
        self._own = (*own.min(0).tolist(), *own.max(0).tolist())
        self._unit = float(np.linalg.norm(points[33] - points[263]))
        # From the first frame on, whether it shows some of that or not: none may depend on the ones before it.
        self._mirrored = any(beyond.sides)
        self._coarse = np.zeros((1, 1), np.uint8)
        picture, x, y = beyond.continued if self._mirrored else (layers.person, 0, 0)
        self._picture = np.ascontiguousarray(picture), x, y
        kind = shows(np.ascontiguousarray(picture[..., 3]))
        self._shows = kind, blocks(kind, BLOCK, least=True), blocks(kind, BLOCK)
        self._busy = blocks(layers.near | layers.hidden, 1)
        self._beside: NDArray[np.int64] | None = None  # of the triangles, which stay the same
        self._flags = np.zeros(self._part.shape[:2], np.uint8)  # room

    def __call__(self, flow: Flow) -> Image:
        """The frame of a flow (H, W, 3): the same array every time, to draw on near what moves and the face."""
        layers, part = self._layers, self._part
        x0, y0, x1, y1 = self._touched
        part[y0:y1, x0:x1] = layers.image[y0:y1, x0:x1]
        self._touched = self._reach(flow)
        a, b, c, d = flow.box
        if c <= a or d <= b:
            return part
        first = COARSE // 2
        coarse = layers.moved(*flow.maps(COARSE, (a + first, b + first), (c, d)), (a, b))
        if not coarse.size:
            coarse = np.zeros((1, 1), np.uint8)
        # Cubic sampling keeps small pictures sharp; of large ones a pixel is too small to see the difference.
        cubic = (c - a) * (d - b) < LARGE
        self._coarse = coarse
        paint(
            flow.ids, flow.affine, flow.still, *self._corner, a, b, c, d, *self._picture, *self._shows,
            self._mirrored, cubic, CUBIC if cubic else LINEAR, layers.image, layers.fill, layers.near,
            layers.hidden, self._busy, coarse, np.empty(coarse.shape[1] + 1, np.float32),
            np.empty(flow.affine.shape, np.int64), part,
        )  # fmt: skip
        return part

    def smooth(self, flow: Flow, tris: NDArray[np.int64]) -> None:
        """Draw again, finer, where a part of the person hides another; after the frame was painted."""
        a, b, c, d = flow.box
        if c <= a or d <= b:
            return
        rank = np.empty_like(flow.order)
        rank[flow.order] = np.arange(len(flow.order))
        if self._beside is None:
            self._beside = beside(tris, top.POINTS)
        corner, look = np.array(self._corner, np.float64), np.empty((len(flow.ids), 2), np.int64)
        doubtful(flow.points, tris, self._beside, flow.affine, corner, look)
        layers = self._layers
        finer(
            flow.points, tris, rank, flow.affine, look, flow.ids, corner, np.array(flow.box),
            layers.person, layers.image, layers.fill, layers.near, layers.hidden, self._coarse,
            self._flags, np.empty_like(look), np.empty(9, np.int64), self._part,
        )  # fmt: skip

    def _reach(self, flow: Flow) -> Box:
        """What of the picture may be drawn on."""
        h, w = self._part.shape[:2]
        left, up, right, down = self._own
        x, y = flow.points[: len(self._points)].T
        left, up = min(left, x.min() - self._corner[0]), min(up, y.min() - self._corner[1])
        right, down = max(right, x.max() - self._corner[0]), max(down, y.max() - self._corner[1])
        a, b, c, d = flow.box
        if c > a and d > b:
            left, up, right, down = min(left, a), min(up, b), max(right, c), max(down, d)
        room = ABOUT * self._unit
        return max(0, int(left - room)), max(0, int(up - room)), min(w, int(right + room)), min(h, int(down + room))

    def finer(self, flow: Flow, ids: NDArray[np.int16], times: int, box: Box, share: float) -> None:
        """Paint a `box` of the picture (its own pixels) again, from `times`² samples a pixel, softly at its rim.

        `ids` are `Warp.numbers`, `share` in 0..1 is how much of it shows."""
        x0, y0, x1, y1 = box
        across, down = _within(x1 - x0), _within(y1 - y0)
        room = np.empty((x1 - x0, 4), np.uint32)
        paint_fine(
            ids, times, flow.affine, *self._corner, x0 - self._corner[0], y0 - self._corner[1], *self._picture,
            self._mirrored, CUBIC, across, down * np.float32(share), room, self._part,
        )  # fmt: skip


@lru_cache(256)
def _within(n: int) -> NDArray[np.float32]:
    """A line (n,) that is 1 but for its ends, softly."""
    line = np.zeros((1, n), np.float32)
    line[:, 2:-2] = 1
    return np.asarray(cv2.GaussianBlur(line, (0, 0), 1.0), np.float32).ravel()
