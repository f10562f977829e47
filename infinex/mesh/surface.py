"""How the surface of a drawn face lies in the picture: its own pixels, its way to another frame, its normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.mesh.kernel import CUBIC, LINEAR, at_border, cover, places
from infinex.mesh.raster import affines

if TYPE_CHECKING:
    from infinex.mesh.engine import MeshShown, PreparedFace

Floats = NDArray[np.float32]
Array = NDArray[np.float64]
LARGEST = 30_000.0  # pixels; the fixed point of sampling holds no more


class Surface:
    """The mesh of one face as it was drawn in one frame.

    `box` (x0, y0, x1, y1) is the part of the picture it may have changed, and all maps have its size (h, w); `x` and
    `y` are the places in the picture that its pixels come from; `points` (478, 3) are its landmarks in pixels."""

    def __init__(self, face: PreparedFace, shown: MeshShown) -> None:
        self.box = x0, y0, x1, y1 = face.box
        self._corner, self._size = np.array([x0, y0], np.float64), (y1 - y0, x1 - x0)
        self.points: Array = shown.target.points
        warp, flow = face.warp, shown.flow
        own_x, own_y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)
        self._own = np.stack(np.meshgrid(own_x, own_y), -1)
        if flow is None:
            self.x, self.y = self._own[..., 0], self._own[..., 1]
        else:
            self.x, self.y = flow.map_x + np.float32(x0), flow.map_y + np.float32(y0)
        _, moved, depth = warp.vertices(shown.target)
        self.vertices: Array = np.ascontiguousarray(warp.source if flow is None else moved)
        self._tris, outer = warp.tris, warp.surface.start
        key = -depth[self._tris].mean(1)
        key[:outer] -= 1e6  # the surroundings lie behind the face
        self._ids = self._covered(self.vertices, self._tris, np.argsort(key))

    def _covered(self, points: Array, tris: NDArray[np.int64], order: NDArray[np.intp]) -> NDArray[np.int16]:
        """Which triangle each pixel of the box shows, (h, w), -1 for none."""
        ids, area = np.full(self._size, -1, np.int16), _maps(points, points, tris)[1]
        h, w = ids.shape
        cover(points, tris, order, area, *map(float, self._corner), 1.0, ids, 0, 0, w, h)
        return ids

    def _spread(self, ids: NDArray[np.int16], points: Array, values: Array, tris: NDArray[np.int64]) -> Floats:
        """Two `values` (N, 2) of the vertices over the pixels they cover, (h, w, 2); a pixel's own place elsewhere."""
        affine, _ = _maps(points, values, tris)
        out = np.empty((2, *self._size), np.float32)
        places(ids, affine, *map(int, self._corner), 0, 0, 1, out[0], out[1])
        return np.ascontiguousarray(out.transpose(1, 2, 0))

    def way(self, vertices: Array) -> Floats:
        """Which way what each pixel shows has to another frame's `vertices` (N, 2): (h, w, 2) pixels right and down."""
        to = self._spread(self._ids, self.vertices, np.ascontiguousarray(vertices - self._corner), self._tris)
        return np.asarray(to - (self._own - self._corner.astype(np.float32)), np.float32)

    def normals(self) -> Floats:
        """Unit normals of the face (h, w, 4): right, up, to the viewer, and 1 where there is skin of it."""
        tris = top.triangles().astype(np.int64)
        p = self.points * [1, -1, -1]
        a, b, c = (p[tris[:, n]] for n in range(3))
        each = np.cross(b - a, c - a)
        each *= np.sign(each[:, 2].sum()) or 1.0  # the triangles' sense of rotation is the topology's own
        smooth = np.zeros_like(p)
        for n in range(3):
            np.add.at(smooth, tris[:, n], each)
        smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)
        flat = np.ascontiguousarray(self.points[:, :2])
        ids = self._covered(flat, tris, np.argsort(-self.points[:, 2][tris].mean(1)))
        xy = self._spread(ids, flat, np.ascontiguousarray(smooth[:, :2]), tris)
        z = self._spread(ids, flat, np.ascontiguousarray(smooth[:, [2, 2]]), tris)[..., :1]
        out = np.concatenate([xy, z], -1)
        out /= np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-9)
        skin = (ids >= 0).astype(np.float32)[..., None]
        return np.concatenate([out * skin, skin], -1)


def _maps(points: Array, values: Array, tris: NDArray[np.int64]) -> tuple[Array, Array]:
    """Affine maps (T, 6) from places to values within triangles, and the triangles' area (T,)."""
    affine, area = np.zeros((len(tris), 6)), np.zeros(len(tris))
    affines(points, values, tris, affine, area)
    return affine, area


def sampled(image: NDArray[np.uint8], x: Floats, y: Floats, cubic: bool = True) -> NDArray[np.uint8]:
    """A picture (H, W, 3) at places x, y (h, w): (h, w, 3), by Keys' cubic convolution (a = -0.75) or linearly, and
    beyond its borders as at them."""
    four = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    out = np.empty((*x.shape, 3), np.uint8)
    x, y = (np.ascontiguousarray(np.clip(v, -LARGEST, LARGEST)) for v in (x, y))
    _sample(four, x, y, CUBIC if cubic else LINEAR, out)
    return out


@compiled()
def _sample(picture: NDArray, x: NDArray, y: NDArray, table: NDArray, out: NDArray) -> None:
    data, h, w, weights = picture.ctypes.data, picture.shape[0], picture.shape[1], table.ctypes.data
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sx, sy = np.int64(np.floor(x[i, j] * 65536.0 + 32.5)), np.int64(np.floor(y[i, j] * 65536.0 + 32.5))
            packed = np.int64(at_border(data, h, w, sx, sy, weights, False))
            for c in range(3):
                out[i, j, c] = (packed >> (8 * c)) & 255
