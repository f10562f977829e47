"""Triangles to sampling maps, layers to pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.mesh.kernel import cover, places


@compiled(fast=True)
def affines(dst: NDArray, src: NDArray, tris: NDArray, out: NDArray, area: NDArray) -> None:
    """Backward affine of each triangle: source = out[t] · (x, y, 1).

    `dst`, `src` (N, 2) pixels; `tris` (T, 3); `out` (T, 6); `area` (T,) twice the signed target area."""
    for t in range(tris.shape[0]):
        a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
        ux, uy = dst[b, 0] - dst[a, 0], dst[b, 1] - dst[a, 1]
        vx, vy = dst[c, 0] - dst[a, 0], dst[c, 1] - dst[a, 1]
        det = ux * vy - uy * vx
        area[t] = det
        if abs(det) < 1e-6:
            area[t] = 0.0
            continue
        for k in range(2):
            p = src[b, k] - src[a, k]
            q = src[c, k] - src[a, k]
            gx = (p * vy - q * uy) / det
            gy = (q * ux - p * vx) / det
            out[t, 3 * k] = gx
            out[t, 3 * k + 1] = gy
            out[t, 3 * k + 2] = src[a, k] - gx * dst[a, 0] - gy * dst[a, 1]


def drawn(
    dst: NDArray, src: NDArray, tris: NDArray, x0: int, y0: int, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Where pixels of a box of that shape, which begins at (x0, y0) of the plane of `dst` (N, 2), come from in that of
    `src` (N, 2): maps x and y (H, W), and whether a triangle covers them. Later triangles lie over earlier ones."""
    dst, src = (np.ascontiguousarray(p, np.float64) for p in (dst, src))
    affine, area = np.zeros((len(tris), 6)), np.zeros(len(tris))
    affines(dst, src, tris, affine, area)
    ids = np.full(shape, -1, np.int16)
    cover(dst, tris, np.arange(len(tris)), area, float(x0), float(y0), 1.0, ids, 0, 0, shape[1], shape[0])
    x, y = np.empty((2, *shape), np.float32)
    places(ids, affine, int(x0), int(y0), 0, 0, 1, x, y)
    return x, y, ids >= 0


@compiled(fast=True)
def blend(out: NDArray, layer: NDArray, mask: NDArray, x0: int, y0: int) -> None:
    """Lay a float layer (h, w, 3) in 0..255 over `out` (H, W, 3) uint8 at (x0, y0) by a mask (h, w) in 0..1."""
    h, w = mask.shape
    for i in range(h):
        for j in range(w):
            m = mask[i, j]
            if m <= 0.0:
                continue
            for c in range(3):
                v = out[y0 + i, x0 + j, c] * (1.0 - m) + layer[i, j, c] * m
                out[y0 + i, x0 + j, c] = np.uint8(min(255.0, max(0.0, v + 0.5)))
