"""Keeping the mesh whole: displacements that would flip or crush triangles are relaxed."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top

Array = NDArray[np.float64]
LIDS = top.RIGHT_EYE + top.LEFT_EYE
RIMS = top.LIPS_INNER + LIDS
RED = [*top.LIPS_OUTER, 62, 76, 292, 306]
SMALL, BESIDE = 1.5e-3, 0.06  # twice the area of small triangles of the lips, and how far from those they lie, IOD
TINY = 2e-5  # twice the area of those that have none to speak of
STIFF = 0.25  # how much less than skin the rims of lids and lips give way where a triangle is turned back


@cache
def _neighbours() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Neighbours of all surface points one after the other, and where those of each point begin (N + 1,)."""
    near: list[set[int]] = [set() for _ in range(top.SURFACE)]
    for tri in top.triangles().tolist():
        for a in tri:
            near[a].update(x for x in tri if x != a)
    flat = [b for mine in near for b in sorted(mine)]
    return np.array(flat), np.cumsum([0, *(len(mine) for mine in near)])


def areas(p: Array) -> Array:
    """Twice the signed area in front view of each surface triangle of points (468, 2 or 3)."""
    tris = top.triangles()
    a, b, c = p[tris[:, 0]], p[tris[:, 1]], p[tris[:, 2]]
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


class Relax:
    """Relaxes displacements of one face (478, 3)."""

    def __init__(self, face: Array) -> None:
        self._face = np.ascontiguousarray(face[: top.SURFACE], np.float64)
        self._area = areas(self._face)
        # What gives way, 0 or 1, in the three parts of the smoothing: the red of the lips last, lids never.
        self._free = np.ones((3, top.SURFACE))
        self._free[0, RED + RIMS] = self._free[1, RIMS] = self._free[2, LIDS] = 0
        corners = self._face[top.triangles(), :2].mean(1)
        lips = self._face[top.LIPS_OUTER + top.LIPS_INNER, :2]
        away = np.linalg.norm(corners[:, None] - lips[None], axis=2).min(1)
        self._lips = (away < BESIDE) & (np.abs(self._area) <= SMALL)
        self._give = np.ones(top.SURFACE)
        self._give[RIMS] = STIFF

    def __call__(self, face: Array, passes: int = 18, least: float = 0.12, filmed: bool = False) -> None:
        """Smooth `face` - the displaced one - where triangles flip or keep less than the share `least` of their area in
        front view; the rims of lids hold, those of lips as long as they can. What is still turned over then, every
        point near it gives way for. In place.

        Of `filmed` faces small triangles of the lips are left to the latter, and a smile keeps its corners. What is
        written is measured with them smoothed."""
        tris, n = top.triangles(), top.SURFACE
        sign = np.sign(self._area)
        counts = (np.abs(self._area) > TINY) & ~(self._lips & filmed)
        wanted = np.where(counts, least * np.abs(self._area), -np.inf)
        moved = face[:n] - self._face
        _smooth(
            moved, self._face, tris, sign, wanted, self._free, *_neighbours(), passes, np.empty(n), np.empty((n, 3))
        )
        face[:n] = self._face + moved
        self.turn_back(face, self._give, 0.25 * least)

    def turn_back(self, face: Array, give: Array | None = None, least: float = 0.03) -> None:
        """Move what lies around triangles smaller than the share `least` of their area, until none is turned over.

        `give` (468,) is the ease with which points move; by default the rims of lids and lips stay where they are.
        In place."""
        give = (self._give == 1).astype(float) if give is None else give
        wanted = np.where(np.abs(self._area) > TINY, least * np.abs(self._area), -np.inf)
        _unfold(face, top.triangles(), np.sign(self._area), wanted, give, 200)


@compiled(inner=True)
def _area(p: Array, moved: Array, tri: NDArray) -> float:
    """Twice the signed area of one triangle over points (N, 3) plus displacements (N, 3)."""
    a, b, c = tri[0], tri[1], tri[2]
    ax, ay = p[a, 0] + moved[a, 0], p[a, 1] + moved[a, 1]
    ux, uy = p[b, 0] + moved[b, 0] - ax, p[b, 1] + moved[b, 1] - ay
    vx, vy = p[c, 0] + moved[c, 0] - ax, p[c, 1] + moved[c, 1] - ay
    return ux * vy - uy * vx


@compiled()
def _smooth(
    moved: Array,
    face: Array,
    tris: NDArray,
    sign: Array,
    wanted: Array,
    free: Array,
    near: NDArray,
    begin: NDArray,
    passes: int,
    hit: Array,
    new: Array,
) -> None:
    """Take displacements (N, 3) towards their neighbours' mean at the corners of triangles smaller than `wanted`,
    half as far beside them, in place; `hit` (N,) and `new` (N, 3) are room."""
    # Numbers alone: operations on arrays make this ten seconds of compiling.
    n = moved.shape[0]
    for k in range(passes):
        calm = True
        for i in range(n):
            hit[i] = 0.0
        for t in range(tris.shape[0]):
            if sign[t] * _area(face, moved, tris[t]) < wanted[t]:
                hit[tris[t, 0]] = hit[tris[t, 1]] = hit[tris[t, 2]] = 1.0
                calm = False
        if calm:
            break
        stage = 0 if k < passes // 2 else (1 if k < 0.75 * passes else 2)
        for i in range(n):
            share = 0.0 if free[stage, i] == 0.0 else hit[i]
            x, y, z = 0.0, 0.0, 0.0
            for m in range(begin[i], begin[i + 1]):
                j = near[m]
                x += moved[j, 0]
                y += moved[j, 1]
                z += moved[j, 2]
                if hit[j] > 0 and share == 0.0 and free[stage, i] != 0.0:
                    share = 0.5
            count = max(begin[i + 1] - begin[i], 1)
            new[i, 0] = moved[i, 0] + 0.8 * share * (x / count - moved[i, 0])
            new[i, 1] = moved[i, 1] + 0.8 * share * (y / count - moved[i, 1])
            new[i, 2] = moved[i, 2] + 0.8 * share * (z / count - moved[i, 2])
        for i in range(n):
            for a in range(3):
                moved[i, a] = new[i, a]


@compiled()
def _unfold(face: Array, tris: NDArray, sign: Array, wanted: Array, give: Array, sweeps: int) -> None:
    """Move the corners of every triangle that is smaller than `wanted`, or turned over, just so far that it is
    not, one after the other until none is left: area constraints by position based dynamics (Mueller et al. 2007).

    `face` (N, 3) is moved in x and y, in place; `sign` and `wanted` (T,) are of twice the area, `give` (N,) is
    the ease with which points move."""
    for _ in range(sweeps):
        calm = True
        for t in range(tris.shape[0]):
            a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
            ax, ay, bx, by, cx, cy = face[a, 0], face[a, 1], face[b, 0], face[b, 1], face[c, 0], face[c, 1]
            area = sign[t] * ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            if area >= wanted[t]:
                continue
            calm = False
            # Gradient of the area by each corner: the opposite edge, turned by a right angle.
            gax, gay, gbx, gby, gcx, gcy = by - cy, cx - bx, cy - ay, ax - cx, ay - by, bx - ax
            size = give[a] * (gax**2 + gay**2) + give[b] * (gbx**2 + gby**2) + give[c] * (gcx**2 + gcy**2)
            if size < 1e-12:
                continue
            step = sign[t] * (1.1 * wanted[t] - area) / size
            face[a, 0] += give[a] * step * gax
            face[a, 1] += give[a] * step * gay
            face[b, 0] += give[b] * step * gbx
            face[b, 1] += give[b] * step * gby
            face[c, 0] += give[c] * step * gcx
            face[c, 1] += give[c] * step * gcy
        if calm:
            break
