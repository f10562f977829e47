"""Maps over the canonical face: gated by how squarely skin faces the viewer, and laid on a portrait."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.mesh.kernel import cover
from infinex.mesh.raster import affines
from infinex.mesh.retarget import Target

Array = NDArray[np.float64]
Map = NDArray[np.float32]


def numbered(points: Array, tris: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int16]:
    """Which triangle of `points` (N, 2) in cells covers each cell of a map of `shape`, -1 where none does."""
    ids = np.full(shape, -1, np.int16)
    cover(points, tris, np.arange(len(tris)), np.ones(len(tris)), 0.0, 0.0, 1.0, ids, 0, 0, shape[1], shape[0])
    return ids


def facing(points: Array, tris: NDArray) -> Array:
    """How squarely each triangle faces the viewer, 0 edge-on to 1, (T,)."""
    out = np.ones(len(tris))
    least_facing(points, tris, out)
    return out


@compiled(fast=True)
def least_facing(points: NDArray, tris: NDArray, out: NDArray) -> None:
    """Lower `out` (T,) to how squarely triangles of `points` (N, 3) face the viewer."""
    for t in range(len(tris)):
        a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        out[t] = min(out[t], abs(nz) / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-9))


@compiled(fast=True)
def gated(seen: NDArray, ids: NDArray, low: float, high: float, out: NDArray) -> None:
    """How much of each cell shows, 0..1: its triangle, in `ids`, faces the viewer (`seen` (T,)) by `low`..`high`."""
    for i in range(ids.shape[0]):
        for j in range(ids.shape[1]):
            t = max(ids[i, j], 0)
            out[i, j] = min(1.0, max(0.0, (seen[t] - low) / (high - low)))


def lay(
    out: NDArray[np.uint8], origin: tuple[int, int], target: Target, tris: NDArray[np.int64], grid: Array, gain: Map,
    tint: Map,
) -> None:  # fmt: skip
    """Multiply `out` (H, W, 3), whose corner lies at `origin`, by the exponential of a map over the canonical face.

    `grid` (478, 2) are the mesh points in the map's cells; what is drawn has the map's own resolution, enlarged.
    `tint` (3,) scales the map for red, green and blue."""
    h, w = out.shape[:2]
    P = np.ascontiguousarray(target.points[:, :2] - np.array(origin))
    (left, up), (right, down) = P[: top.SURFACE].min(0), P[: top.SURFACE].max(0)
    x0, y0, x1, y1 = max(int(np.floor(left)), 0), max(int(np.floor(up)), 0), int(right) + 2, int(down) + 2
    x1, y1 = min(x1, w), min(y1, h)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    step = max(1.0, (x1 - x0) / gain.shape[1])
    shape = (int(np.ceil((y1 - y0) / step)), int(np.ceil((x1 - x0) / step)))
    affine, area = np.zeros((len(tris), 6)), np.zeros(len(tris))
    affines(P, grid, tris, affine, area)
    z = target.points[:, 2]
    order = np.argsort(-(z[tris[:, 0]] + z[tris[:, 1]] + z[tris[:, 2]]))
    first_x, first_y = x0 + step / 2 - 0.5, y0 + step / 2 - 0.5
    ids = np.full(shape, -1, np.int16)
    cover(P, tris, order, area, first_x, first_y, step, ids, 0, 0, shape[1], shape[0])
    _shade(out, x0, y0, x1, y1, ids, affine, first_x, first_y, step, gain, tint, np.zeros(shape, np.float32))


@compiled(fast=True, inner=True)
def _exponential(x: float) -> float:
    """Of a gain, which is small: five terms are right to a twentieth of a grey level."""
    one, half = np.float32(1), np.float32(0.5)
    return one + x * (one + x * half * (one + x * np.float32(1 / 3) * (one + x * np.float32(0.25))))


@compiled(fast=True)
def _shade(
    out: NDArray, x0: int, y0: int, x1: int, y1: int, ids: NDArray, affine: NDArray, first_x: float, first_y: float,
    step: float, gain: NDArray, tint: NDArray, small: NDArray,
) -> None:  # fmt: skip
    """Shade the box x0..y1 of `out` as `lay` says. `ids` (h, w) int16 number the triangle at every `step`-th place from
    (first_x, first_y) on, `affine` (T, 6) takes places to cells of the map, of which `small` (h, w), all 0, gets
    the values."""
    rows, columns = gain.shape
    h, w = ids.shape
    one, half = np.uintp(1), np.float32(0.5)
    for i in range(np.uintp(h)):
        y, line, row = first_y + np.intp(i) * step, ids[i], small[i]
        for j in range(np.uintp(w)):
            if line[j] < 0:
                continue
            a, x = affine[np.uintp(line[j])], first_x + np.intp(j) * step
            u, v = np.float32(a[0] * x + a[1] * y + a[2]), np.float32(a[3] * x + a[4] * y + a[5])
            if u < 0 or v < 0 or u >= columns - 1 or v >= rows - 1:
                continue
            m, n = np.uintp(np.int64(v)), np.uintp(np.int64(u))
            fu, fv = u - np.float32(n), v - np.float32(m)
            upper = gain[m, n] + fu * (gain[m, n + one] - gain[m, n])
            lower = gain[m + one, n] + fu * (gain[m + one, n + one] - gain[m + one, n])
            row[j] = upper + fv * (lower - upper)
    red, green, blue = tint[0], tint[1], tint[2]
    scale = np.float32(1 / step)
    for i in range(y0, y1):
        v = min(max(np.float32(i - first_y) * scale, np.float32(0)), np.float32(h - 1))
        m = np.uintp(min(np.int64(v), max(h - 2, 0)))
        above, below, fv = small[m], small[min(np.intp(m) + 1, h - 1)], v - np.float32(m)
        line = out[i]
        for j in range(np.uintp(x0), np.uintp(x1)):
            u = min(max(np.float32(np.intp(j) - first_x) * scale, np.float32(0)), np.float32(w - 1))
            n = np.uintp(min(np.int64(u), max(w - 2, 0)))
            beside, fu = np.uintp(min(np.int64(n) + 1, w - 1)), u - np.float32(n)
            upper, lower = above[n] + fu * (above[beside] - above[n]), below[n] + fu * (below[beside] - below[n])
            g = upper + fv * (lower - upper)
            if abs(g) < np.float32(1e-3):
                continue
            line[j, 0] = np.uint8(min(np.float32(255), line[j, 0] * _exponential(g * red) + half))
            line[j, 1] = np.uint8(min(np.float32(255), line[j, 1] * _exponential(g * green) + half))
            line[j, 2] = np.uint8(min(np.float32(255), line[j, 2] * _exponential(g * blue) + half))
