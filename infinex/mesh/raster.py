"""Compiled inner loops: triangles to sampling maps, layers to pixels. They release the GIL."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

SAMPLES = 4  # along each side of a pixel that is drawn again


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
    gets the triangle's number. Edges are inclusive, so neighbours leave no crack."""
    H, W = map_x.shape
    inv = 1.0 / step
    for n in range(order.shape[0]):
        t = order[n]
        if area[t] == 0.0:
            continue
        ax, ay = (dst[tris[t, 0], 0] - x0) * inv, (dst[tris[t, 0], 1] - y0) * inv
        bx, by = (dst[tris[t, 1], 0] - x0) * inv, (dst[tris[t, 1], 1] - y0) * inv
        cx, cy = (dst[tris[t, 2], 0] - x0) * inv, (dst[tris[t, 2], 1] - y0) * inv
        i0 = max(0, int(np.ceil(min(ay, by, cy) - 1e-3)))
        i1 = min(H - 1, int(np.floor(max(ay, by, cy) + 1e-3)))
        if i0 > i1 or max(ax, bx, cx) < -1e-3 or min(ax, bx, cx) > W - 1 + 1e-3:
            continue
        gx, hx, kx = affine[t, 0], affine[t, 1], affine[t, 2]
        gy, hy, ky = affine[t, 3], affine[t, 4], affine[t, 5]
        step_x, step_y = np.float32(gx * step), np.float32(gy * step)
        for i in range(i0, i1 + 1):
            # The span of this row inside the triangle, from its three edges.
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
            j0 = max(0, int(np.ceil(lo - 1e-3)))
            j1 = min(W - 1, int(np.floor(hi + 1e-3)))
            y = y0 + i * step
            bx_, by_ = hx * y + kx, hy * y + ky
            # From the start of the span on in single precision: twice as many pixels at once.
            first = x0 + j0 * step
            from_x, from_y = np.float32(gx * first + bx_), np.float32(gy * first + by_)
            for k in range(j1 - j0 + 1):
                map_x[i, j0 + k] = from_x + step_x * np.float32(k)
                map_y[i, j0 + k] = from_y + step_y * np.float32(k)
            ids[i, j0 : j1 + 1] = t


@njit(cache=True, nogil=True, fastmath=True)
def finer(
    dst: NDArray,
    tris: NDArray,
    rank: NDArray,
    affine: NDArray,
    ids: NDArray,
    map_x: NDArray,
    map_y: NDArray,
    corner: NDArray,
    box: NDArray,
    apart: float,
    person: NDArray,
    source: NDArray,
    fill: NDArray,
    gate: NDArray,
    out: NDArray,
) -> int:
    """Draw again, from `SAMPLES`^2 places each, the pixels at which one part hides another; how many there were.

    Such are those whose neighbour in `map_x`, `map_y` (H, W) lies more than `apart` pixels off where their own triangle
    would have it. `rank` (T,) is the place of each triangle in the order of drawing, `corner` (2,) the target pixel of
    the maps' first one, `box` (4,) the part of the maps to look at; the pictures (H, W, C) as in `composite`."""
    H, W = ids.shape
    many = 0
    near = np.empty(9, np.int64)
    for i in range(max(box[1], 1), min(box[3], H - 1)):
        for j in range(max(box[0], 1), min(box[2], W - 1)):
            t = ids[i, j]
            if t < 0 or (ids[i, j - 1] == t and ids[i, j + 1] == t and ids[i - 1, j] == t and ids[i + 1, j] == t):
                continue
            broken = False
            for k in range(4):
                p, q = (0, 1) if k == 0 else (1, 0) if k == 1 else (0, -1) if k == 2 else (-1, 0)
                if ids[i + p, j + q] == t or ids[i + p, j + q] < 0:
                    continue
                ex = map_x[i + p, j + q] - map_x[i, j] - affine[t, 0] * q - affine[t, 1] * p
                ey = map_y[i + p, j + q] - map_y[i, j] - affine[t, 3] * q - affine[t, 4] * p
                if ex * ex + ey * ey > apart * apart:
                    broken = True
            if not broken:
                continue
            # The triangles about it, the last drawn first.
            count = 0
            for p in range(-1, 2):
                for q in range(-1, 2):
                    u = ids[i + p, j + q]
                    if u < 0:
                        continue
                    known = False
                    for k in range(count):
                        known |= near[k] == u
                    if known:
                        continue
                    k = count
                    while k > 0 and rank[near[k - 1]] < rank[u]:
                        near[k] = near[k - 1]
                        k -= 1
                    near[k] = u
                    count += 1
            total = np.zeros(3)
            inside = True
            g = gate[i, j]
            for p in range(SAMPLES):
                for q in range(SAMPLES):
                    y = i + corner[1] + (p + 0.5) / SAMPLES - 0.5
                    x = j + corner[0] + (q + 0.5) / SAMPLES - 0.5
                    chosen = -1
                    for k in range(count):
                        a, b, c = tris[near[k], 0], tris[near[k], 1], tris[near[k], 2]
                        ab = (dst[b, 0] - dst[a, 0]) * (y - dst[a, 1]) - (dst[b, 1] - dst[a, 1]) * (x - dst[a, 0])
                        bc = (dst[c, 0] - dst[b, 0]) * (y - dst[b, 1]) - (dst[c, 1] - dst[b, 1]) * (x - dst[b, 0])
                        ca = (dst[a, 0] - dst[c, 0]) * (y - dst[c, 1]) - (dst[a, 1] - dst[c, 1]) * (x - dst[c, 0])
                        if (ab >= 0 and bc >= 0 and ca >= 0) or (ab <= 0 and bc <= 0 and ca <= 0):
                            chosen = near[k]
                            break
                    sx, sy = float(map_x[i, j]), float(map_y[i, j])
                    if chosen >= 0:
                        sx = affine[chosen, 0] * x + affine[chosen, 1] * y + affine[chosen, 2]
                        sy = affine[chosen, 3] * x + affine[chosen, 4] * y + affine[chosen, 5]
                    u, v = int(np.floor(sx)), int(np.floor(sy))
                    if u < 0 or v < 0 or u >= W - 1 or v >= H - 1:
                        inside = False
                        break
                    fx, fy = sx - u, sy - v
                    w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
                    alpha = (
                        w00 * person[v, u, 3] + w01 * person[v, u + 1, 3]
                        + w10 * person[v + 1, u, 3] + w11 * person[v + 1, u + 1, 3]
                    ) / 255  # fmt: skip
                    for c in range(3):
                        own = (
                            w00 * person[v, u, c] + w01 * person[v, u + 1, c]
                            + w10 * person[v + 1, u, c] + w11 * person[v + 1, u + 1, c]
                        )  # fmt: skip
                        back = (source[i, j, c] * (255.0 - g) + fill[i, j, c] * float(g)) / 255
                        total[c] += own * alpha + back * (1 - alpha)
                if not inside:
                    break
            if inside:
                many += 1
                for c in range(3):
                    out[i, j, c] = np.uint8(min(255.0, total[c] / (SAMPLES * SAMPLES) + 0.5))
    return many


@njit(cache=True, nogil=True, fastmath=True)
def composite(warped: NDArray, source: NDArray, fill: NDArray, gate: NDArray, out: NDArray) -> None:
    """Person over background: out = a·warp + (1 - a)·[g·fill + (1 - g)·source].

    `warped` (H, W, 4) uint8 with alpha; `source`, `fill`, `out` (H, W, 3) uint8; `gate` (H, W) uint8 says
    where the background behind the person's old place must be filled. All-zero gates keep source pixels."""
    H, W = gate.shape
    for i in range(H):
        for j in range(W):
            a = warped[i, j, 3]
            if a == 255:
                out[i, j, 0], out[i, j, 1], out[i, j, 2] = warped[i, j, 0], warped[i, j, 1], warped[i, j, 2]
                continue
            g = gate[i, j]
            if a == 0 and g == 0:
                out[i, j, 0], out[i, j, 1], out[i, j, 2] = source[i, j, 0], source[i, j, 1], source[i, j, 2]
                continue
            for c in range(3):
                b = source[i, j, c] * 255 + g * (np.int32(fill[i, j, c]) - np.int32(source[i, j, c]))
                v = warped[i, j, c] * 255 * a + b * (255 - a)
                out[i, j, c] = (v + 32512) // 65025


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


@njit(cache=True, nogil=True, fastmath=True)
def modulate(out: NDArray, gain: NDArray, x0: int, y0: int) -> None:
    """Multiply `out` (H, W, 3) uint8 at (x0, y0) by a gain (h, w)."""
    h, w = gain.shape
    for i in range(h):
        for j in range(w):
            g = gain[i, j]
            if abs(g - 1.0) < 1e-3:
                continue
            for c in range(3):
                v = out[y0 + i, x0 + j, c] * g
                out[y0 + i, x0 + j, c] = np.uint8(min(255.0, v + 0.5))


@njit(cache=True, nogil=True, fastmath=True)
def shade(out: NDArray, gain: NDArray, tint: NDArray, x0: int, y0: int) -> None:
    """Multiply `out` (H, W, 3) uint8 at (x0, y0) by exp(gain · tint), gain (h, w), tint (3,) of each channel."""
    h, w = gain.shape
    for i in range(h):
        for j in range(w):
            g = gain[i, j]
            if abs(g) < 1e-3:
                continue
            for c in range(3):
                v = out[y0 + i, x0 + j, c] * np.exp(g * tint[c])
                out[y0 + i, x0 + j, c] = np.uint8(min(255.0, v + 0.5))
