"""Compiled geometry of a triangle mesh: normals and how they change, and which triangle every pixel shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled

Array = NDArray[np.floating]
Indices = NDArray[np.int32]


def rings(triangles: Indices, vertices: int) -> Indices:
    """For each vertex the triangles around it, (vertices, n), padded with -1."""
    order = np.argsort(triangles.ravel(), kind="stable")
    owner = triangles.ravel()[order]
    count = np.bincount(owner, minlength=vertices)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    out = np.full((vertices, max(1, int(count.max(initial=0)))), -1, np.int32)
    out[owner, np.arange(len(owner)) - first[owner]] = order // 3
    return out


def normals(vertices: Array, triangles: Indices, around: Indices) -> NDArray[np.float64]:
    """Unit normals (V, 3) of `vertices` (V, 3): the sums of the unit normals of the triangles `around` them.

    They point to where a triangle runs counter-clockwise, in right-handed coordinates."""
    return _normals(np.ascontiguousarray(vertices, np.float64), triangles, around)[0]


@compiled()
def _normals(X: Array, tris: Indices, around: Indices):  # type: ignore[no-untyped-def]
    F, V = len(tris), len(X)
    face = np.zeros((F, 3))
    length = np.zeros(F)
    for f in range(F):
        a, b, c = tris[f, 0], tris[f, 1], tris[f, 2]
        # As published: (v1 - v2) x (v2 - v3).
        ux, uy, uz = X[a, 0] - X[b, 0], X[a, 1] - X[b, 1], X[a, 2] - X[b, 2]
        vx, vy, vz = X[b, 0] - X[c, 0], X[b, 1] - X[c, 1], X[b, 2] - X[c, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        n = np.sqrt(x * x + y * y + z * z)
        length[f] = n
        if n > 0:
            face[f, 0], face[f, 1], face[f, 2] = x / n, y / n, z / n
    out = np.zeros((V, 3))
    total = np.zeros(V)
    for i in range(V):
        for k in range(around.shape[1]):
            f = around[i, k]
            if f < 0:
                break
            for c in range(3):
                out[i, c] += face[f, c]
        n = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2)
        total[i] = n
        if n > 0:
            for c in range(3):
                out[i, c] /= n
    return out, face, length, total


def normal_changes(vertices: Array, triangles: Indices, around: Indices, basis: Array) -> NDArray[np.float32]:
    """Derivatives (V, 3, K) of `normals` by the weights of a `basis` (K, V, 3) that moves the vertices."""
    return changes(vertices, triangles, around, np.ascontiguousarray(np.moveaxis(basis, 0, 2), np.float32))


def changes(vertices: Array, triangles: Indices, around: Indices, moved: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same for a basis (V, 3, K) that lies as the result does."""
    X = np.ascontiguousarray(vertices, np.float64)
    n, face, length, total = _normals(X, triangles, around)
    out: NDArray[np.float32] = _changes(X, triangles, around, moved, n, face, length, total)
    return out


@compiled(fast=True)
def _changes(X, tris, around, B, n, face, length, total):  # type: ignore[no-untyped-def]
    F, V, K = len(tris), len(X), B.shape[2]
    change = np.zeros((F, 3, K), np.float32)
    for f in range(F):
        if length[f] <= 0:
            continue
        a, b, c = tris[f, 0], tris[f, 1], tris[f, 2]
        u0, u1, u2 = np.float32(X[a, 0] - X[b, 0]), np.float32(X[a, 1] - X[b, 1]), np.float32(X[a, 2] - X[b, 2])
        v0, v1, v2 = np.float32(X[b, 0] - X[c, 0]), np.float32(X[b, 1] - X[c, 1]), np.float32(X[b, 2] - X[c, 2])
        f0, f1, f2 = np.float32(face[f, 0]), np.float32(face[f, 1]), np.float32(face[f, 2])
        inv = np.float32(1.0 / length[f])
        for k in range(K):
            p0, p1, p2 = B[a, 0, k] - B[b, 0, k], B[a, 1, k] - B[b, 1, k], B[a, 2, k] - B[b, 2, k]
            q0, q1, q2 = B[b, 0, k] - B[c, 0, k], B[b, 1, k] - B[c, 1, k], B[b, 2, k] - B[c, 2, k]
            x = (p1 * v2 - p2 * v1 + u1 * q2 - u2 * q1) * inv
            y = (p2 * v0 - p0 * v2 + u2 * q0 - u0 * q2) * inv
            z = (p0 * v1 - p1 * v0 + u0 * q1 - u1 * q0) * inv
            along = x * f0 + y * f1 + z * f2
            change[f, 0, k], change[f, 1, k], change[f, 2, k] = x - along * f0, y - along * f1, z - along * f2
    out = np.zeros((V, 3, K), np.float32)
    for i in range(V):
        if total[i] <= 0:
            continue
        for j in range(around.shape[1]):
            f = around[i, j]
            if f < 0:
                break
            for c in range(3):
                for k in range(K):
                    out[i, c, k] += change[f, c, k]
        n0, n1, n2 = np.float32(n[i, 0]), np.float32(n[i, 1]), np.float32(n[i, 2])
        inv = np.float32(1.0 / total[i])
        for k in range(K):
            x, y, z = out[i, 0, k] * inv, out[i, 1, k] * inv, out[i, 2, k] * inv
            along = x * n0 + y * n1 + z * n2
            out[i, 0, k], out[i, 1, k], out[i, 2, k] = x - along * n0, y - along * n1, z - along * n2
    return out


def rasterise(
    points: Array, depth: Array, triangles: Indices, size: tuple[int, int], both: bool = False
) -> tuple[Indices, NDArray[np.float32]]:
    """Which triangle every pixel of a picture (H, W) shows, (H, W), -1 for none, and where in it: (H, W, 3) weights.

    `points` (V, 2) in pixels, whose middles have whole coordinates; the nearest by `depth` (V,) wins. Triangles that
    show their back, which run clockwise on the screen, are left out unless `both`."""
    ids = np.full(size, -1, np.int32)
    weights = np.zeros((*size, 3), np.float32)
    near = np.full(size, np.inf, np.float32)
    _fill(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(depth, np.float64), triangles, both, ids,
          weights, near)  # fmt: skip
    return ids, weights


@compiled()
def _fill(P, depth, tris, both, ids, weights, near):  # type: ignore[no-untyped-def]
    H, W = ids.shape
    for t in range(len(tris)):
        a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
        if depth[a] <= 0 or depth[b] <= 0 or depth[c] <= 0:
            continue
        ax, ay, bx, by, cx, cy = P[a, 0], P[a, 1], P[b, 0], P[b, 1], P[c, 0], P[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0 or (area > 0 and not both):
            continue
        i0, i1 = max(0, int(np.ceil(min(ay, by, cy)))), min(H - 1, int(np.floor(max(ay, by, cy))))
        j0, j1 = max(0, int(np.ceil(min(ax, bx, cx)))), min(W - 1, int(np.floor(max(ax, bx, cx))))
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                wb = ((j - ax) * (cy - ay) - (i - ay) * (cx - ax)) / area
                wc = ((bx - ax) * (i - ay) - (by - ay) * (j - ax)) / area
                wa = 1.0 - wb - wc
                if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:
                    continue
                z = wa * depth[a] + wb * depth[b] + wc * depth[c]
                if z < near[i, j]:
                    near[i, j], ids[i, j] = z, t
                    weights[i, j, 0], weights[i, j, 1], weights[i, j, 2] = wa, wb, wc
