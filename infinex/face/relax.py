"""Keeping the mesh whole: displacements that would flip or crush triangles are relaxed."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
LIDS = top.RIGHT_EYE + top.LEFT_EYE
RIMS = top.LIPS_INNER + LIDS
RED = [*top.LIPS_OUTER, 62, 76, 292, 306]


@cache
def neighbour_mean() -> Array:
    """Matrix (468, 468) that takes each surface point to the mean of its neighbours."""
    tris = top.triangles()
    near = np.zeros((top.SURFACE, top.SURFACE))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        near[tris[:, a], tris[:, b]] = near[tris[:, b], tris[:, a]] = 1
    return near / np.maximum(near.sum(1, keepdims=True), 1)


def areas(p: Array) -> Array:
    """Twice the signed area in front view of each surface triangle of points (468, 2 or 3)."""
    tris = top.triangles()
    a, b, c = p[tris[:, 0]], p[tris[:, 1]], p[tris[:, 2]]
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


class Relax:
    """Relaxes displacements of one face (478, 3)."""

    def __init__(self, face: Array) -> None:
        self._face = face[: top.SURFACE]
        self._area = areas(self._face)

    def __call__(self, face: Array, passes: int = 18, least: float = 0.12) -> None:
        """Smooth `face` - the displaced one - where triangles flip or keep less than the share `least` of their
        area in front view; the rims of lids hold, those of lips
        as long as they can. In place."""
        tris, n, mean = top.triangles(), top.SURFACE, neighbour_mean()
        moved = face[:n] - self._face
        sign, seen = np.sign(self._area), np.abs(self._area) > 2e-5
        for k in range(passes):
            bad = seen & (areas(self._face + moved) * sign < least * np.abs(self._area))
            if not bad.any():
                break
            v = np.zeros(n)
            v[tris[bad].ravel()] = 1
            v = np.maximum(v, 0.5 * (mean @ v > 0))
            v[RIMS if k < 0.75 * passes else LIDS] = 0
            if k < passes // 2:  # the red of the lips gives way last
                v[RED] = 0
            moved += 0.8 * v[:, None] * (mean @ moved - moved)
        face[:n] = self._face + moved
