"""Compiled inner loops: triangles to sampling maps, layers to pixels. They release the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, fastmath=True)
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


@njit(cache=True, nogil=True, fastmath=True)
def placed(dst: NDArray, tris: NDArray, t: int, x0: float, y0: float, inv: float, height: int, width: int) -> Any:
    """Corners of a triangle in pixels of a map (`height`, `width`), as x, y, x, y, x, y, and its first and last row.

    The map samples the plane of `dst` (N, 2) from (x0, y0) on, `inv` pixels for each of the plane's; of a triangle
    beside it the first row comes after the last."""
    ax, ay = (dst[tris[t, 0], 0] - x0) * inv, (dst[tris[t, 0], 1] - y0) * inv
    bx, by = (dst[tris[t, 1], 0] - x0) * inv, (dst[tris[t, 1], 1] - y0) * inv
    cx, cy = (dst[tris[t, 2], 0] - x0) * inv, (dst[tris[t, 2], 1] - y0) * inv
    i0 = max(0, int(np.ceil(min(ay, by, cy) - 1e-3)))
    i1 = min(height - 1, int(np.floor(max(ay, by, cy) + 1e-3)))
    if max(ax, bx, cx) < -1e-3 or min(ax, bx, cx) > width - 1 + 1e-3:
        i1 = i0 - 1
    return ax, ay, bx, by, cx, cy, i0, i1


@njit(cache=True, nogil=True, fastmath=True)
def span(i: int, ax: float, ay: float, bx: float, by: float, cx: float, cy: float, width: int) -> Any:
    """First and last pixel of row `i` inside a triangle, from its three edges; they are inclusive, so that neighbours
    leave no crack."""
    lo, hi = 1e9, -1e9
    for e in range(3):
        if e == 0:
            px, py, qx, qy = ax, ay, bx, by
        elif e == 1:
            px, py, qx, qy = bx, by, cx, cy
        else:
            px, py, qx, qy = cx, cy, ax, ay
        if py > qy:
            px, py, qx, qy = qx, qy, px, py
        if i < py - 1e-3 or i > qy + 1e-3:
            continue
        if qy - py < 1e-6:
            lo, hi = min(lo, px, qx), max(hi, px, qx)
            continue
        f = min(1.0, max(0.0, (i - py) / (qy - py)))
        x = px + (qx - px) * f
        lo, hi = min(lo, x), max(hi, x)
    return max(0, int(np.ceil(lo - 1e-3))), min(width - 1, int(np.floor(hi + 1e-3)))


@njit(cache=True, nogil=True, fastmath=True)
def draw(
    dst: NDArray,
    tris: NDArray,
    order: NDArray,
    affine: NDArray,
    area: NDArray,
    x0: float,
    y0: float,
    step: float,
    map_x: NDArray,
    map_y: NDArray,
    ids: NDArray,
) -> None:
    """Paint triangles in `order`, later ones over earlier ones, into sampling maps.

    Pixel (j, i) of the maps (H, W) samples the target plane at (x0 + j·step, y0 + i·step); `ids` (H, W)
    gets the triangle's number."""
    H, W = map_x.shape
    inv = 1.0 / step
    for n in range(order.shape[0]):
        t = order[n]
        if area[t] == 0.0:
            continue
        ax, ay, bx, by, cx, cy, i0, i1 = placed(dst, tris, t, x0, y0, inv, H, W)
        gx, hx, kx = affine[t, 0], affine[t, 1], affine[t, 2]
        gy, hy, ky = affine[t, 3], affine[t, 4], affine[t, 5]
        step_x, step_y = np.float32(gx * step), np.float32(gy * step)
        for i in range(i0, i1 + 1):
            j0, j1 = span(i, ax, ay, bx, by, cx, cy, W)
            if j1 < j0:
                continue
            y = y0 + i * step
            bx_, by_ = hx * y + kx, hy * y + ky
            # From the start of the span on in single precision: twice as many pixels at once.
            first = x0 + j0 * step
            from_x, from_y = np.float32(gx * first + bx_), np.float32(gy * first + by_)
            row_x, row_y, row = map_x[i], map_y[i], ids[i]
            for j in range(np.uintp(j0), np.uintp(j1 + 1)):
                row_x[j] = from_x + step_x * np.float32(np.intp(j) - j0)
                row_y[j] = from_y + step_y * np.float32(np.intp(j) - j0)
                row[j] = t


@njit(cache=True, nogil=True, fastmath=True)
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
