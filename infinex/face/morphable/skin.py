"""The skin mesh that every face model is brought to: the tracker's surface points, and as many again between them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.floating]


@cache
def midpoints() -> NDArray[np.int32]:
    """The pairs of surface points (E, 2) between which a vertex stands; that of pair i is vertex 468 + i."""
    t = top.triangles()
    sides = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    return np.unique(np.sort(sides, 1), axis=0).astype(np.int32)


@cache
def triangles() -> NDArray[np.int32]:
    """The triangles (3416, 3), counter-clockwise from outside where y points up."""
    number = {(int(a), int(b)): top.SURFACE + i for i, (a, b) in enumerate(midpoints())}
    out = []
    for a, b, c in top.triangles().tolist():
        ab, bc, ca = (number[min(p), max(p)] for p in ((a, b), (b, c), (c, a)))
        out += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    tris = np.array(out, np.int32)
    # The right way round is the one that shows the nose to the viewer.
    v = spread(top.mean_face()[: top.SURFACE]) * [1, -1, -1]
    n = np.cross(v[tris[:, 1]] - v[tris[:, 0]], v[tris[:, 2]] - v[tris[:, 0]])
    return tris if n[:, 2].sum() > 0 else np.ascontiguousarray(tris[:, ::-1])


def spread(points: Array) -> NDArray[np.float64]:
    """Surface points (468, C) with the middles between them, (V, C)."""
    a, b = midpoints().T
    return np.concatenate([points, (points[a] + points[b]) / 2])


@cache
def mirrored() -> NDArray[np.int64]:
    """For each vertex its mirror image on the other side, (V,)."""
    other = top.mirror()[: top.SURFACE].astype(np.int64)
    number = {(int(a), int(b)): top.SURFACE + i for i, (a, b) in enumerate(midpoints())}
    middles = [number.get((min(p, q), max(p, q)), -1) for p, q in other[midpoints()].tolist()]
    out = np.concatenate([other, middles])
    lone = np.flatnonzero(out < 0)  # the mesh is not its own mirror image everywhere: the nearest stands for it
    if len(lone):
        mean = spread(top.mean_face()[: top.SURFACE])
        away = np.linalg.norm(mean[lone, None] * [-1, 1, 1] - mean[None], axis=2)
        out[lone] = away.argmin(1)
    return out
