"""Where the tracker's points lie on any face mesh: it is drawn from several sides and tracked as a portrait is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from infinex.errors import FaceNotFoundError
from infinex.face import topology as top
from infinex.face.morphable.model import Camera, euler
from infinex.face.morphable.skin import midpoints
from infinex.face.morphable.surface import Indices, normals, rasterise, rings
from infinex.face.pose import similarity
from infinex.face.tracker import find_faces

Array = NDArray[np.floating]
SIDE = 400  # pixels of a drawing
VIEWS = tuple((p, y) for y in (0, -30, 30) for p in (0, -18, 18))  # degrees that the head is turned
LIPS = sorted({*top.LIPS_INNER, *top.LIPS_OUTER})


def drawn(vertices: Array, triangles: Indices, colour: Array, turn: tuple[float, float]) -> tuple[NDArray, ...]:
    """A mesh as a portrait under soft light: picture (SIDE, SIDE, 3), triangle ids and weights, facing (V,)."""
    low, high = vertices.min(0), vertices.max(0)
    rotation = euler(np.radians([*turn, 0.0]))
    reach = float(np.linalg.norm(high - low)) / 2
    seen = ((vertices - (low + high) / 2) @ rotation.T) * [1, -1, -1] + [0, 0, 6 * reach]
    n = normals(vertices, triangles, rings(triangles, len(vertices))) @ rotation.T
    points = Camera(2.6 * SIDE, (SIDE / 2, SIDE / 2)).project(seen)
    ids, weights = rasterise(points, seen[:, 2], triangles, (SIDE, SIDE), both=True)
    lit = colour * (0.4 + 0.6 * np.clip(n @ [0.2, 0.4, 0.89], 0, None))[:, None]
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    at = ids >= 0
    image[at] = np.clip(np.einsum("nk,nkc->nc", weights[at], lit[triangles[ids[at]]]) * 255, 0, 255).astype(np.uint8)
    return image, ids, weights, n[:, 2]


class Places:
    """Points fixed to a mesh: `vertices` (N, 3) of it with `weights` (N, 3)."""

    def __init__(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self.vertices, self.weights = vertices, weights

    def of(self, values: Array) -> NDArray[np.float64]:
        """Values at the points, (..., N, C), of values at the mesh's vertices (..., V, C)."""
        return np.asarray(np.einsum("...nkc,nk->...nc", values[..., self.vertices, :], self.weights))


def nearest(points: Array, vertices: Array, triangles: Indices, skin: NDArray[np.bool_]) -> Places:
    """The places of the surface next to `points` (N, 3), on triangles all of whose vertices are `skin` (V,)."""
    mine = triangles[skin[triangles].all(1)]
    used = np.unique(mine)
    around = rings(mine, len(vertices))
    _, near = cKDTree(vertices[used]).query(points, k=min(10, len(used)))
    tris, weights = np.zeros((len(points), 3), np.int64), np.zeros((len(points), 3))
    for i, p in enumerate(points):
        candidates = np.unique(around[used[near[i]]])
        corners = mine[candidates[candidates >= 0]]
        w = _closest(p, vertices[corners])
        away = np.linalg.norm(np.einsum("nk,nkc->nc", w, vertices[corners]) - p, axis=1)
        best = int(away.argmin())
        tris[i], weights[i] = corners[best], w[best]
    return Places(tris, weights)


def _closest(p: Array, corners: Array) -> NDArray[np.float64]:
    """Weights (N, 3) of the place in each triangle (N, 3, 3) that is nearest to `p` (3,)."""
    a = corners[:, 0]
    u, v, w = corners[:, 1] - a, corners[:, 2] - a, p - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    det = np.maximum(uu * vv - uv * uv, 1e-18)
    s, t = (vv * uw - uv * vw) / det, (uu * vw - uv * uw) / det
    inside = np.stack([1 - s - t, s, t], 1)
    options = [inside]
    for i, j in ((0, 1), (1, 2), (2, 0)):  # else the nearest of its sides
        d = corners[:, j] - corners[:, i]
        k = np.clip(((p - corners[:, i]) * d).sum(1) / np.maximum((d * d).sum(1), 1e-18), 0, 1)
        side = np.zeros_like(inside)
        side[:, i], side[:, j] = 1 - k, k
        options.append(side)
    stack = np.stack(options)
    away = np.linalg.norm(np.einsum("onk,nkc->onc", stack, corners) - p, axis=2)
    away[0][(inside < 0).any(1)] = np.inf
    return stack[away.argmin(0), np.arange(len(corners))]


def find_places(
    neutral: Array, opened: Array, triangles: Indices, colour: Array, skin: NDArray[np.bool_], what: str
) -> Places:
    """Where the vertices of our skin mesh lie on a mesh in its published axes, of which `skin` (V,) may be taken.

    `opened` (V, 3) is the same face with its mouth open, which tells upper from lower lip.
    Raises FaceNotFoundError, which names `what`, where no face is seen in it."""
    first = _seen(neutral, triangles, colour, what)
    apart = _seen(opened, triangles, colour, what)
    near = nearest(first, neutral, triangles, skin)
    wide = nearest(apart[LIPS], opened, triangles, skin)
    near.vertices[LIPS], near.weights[LIPS] = wide.vertices, wide.weights
    on = near.of(opened)
    a, b = midpoints().T
    between = nearest((on[a] + on[b]) / 2, opened, triangles, skin)
    return Places(np.concatenate([near.vertices, between.vertices]), np.concatenate([near.weights, between.weights]))


def _seen(vertices: Array, triangles: Indices, colour: Array, what: str) -> NDArray[np.float64]:
    """The tracker's surface points (468, 3) on a mesh, each from where it is seen best."""
    total, weight = np.zeros((top.SURFACE, 3)), np.zeros(top.SURFACE)
    for turn in VIEWS:
        image, ids, weights, facing = drawn(vertices, triangles, colour, turn)
        faces = find_faces(image)
        if not faces:
            continue
        at = np.round(faces[0].landmarks[: top.SURFACE, :2]).astype(int)
        x, y = np.clip(at.T, 0, SIDE - 1)
        t = ids[y, x]
        hit = t >= 0
        corners = triangles[np.where(hit, t, 0)]
        w = weights[y, x]
        good = np.where(hit, np.clip((facing[corners] * w).sum(1), 0, None) ** 3, 0)
        total += good[:, None] * np.einsum("nk,nkc->nc", w, vertices[corners])
        weight += good
    if not (weight > 0).any():
        raise FaceNotFoundError(f"no face is seen in the model {what}; a face is wanted that looks along z with y up")
    found = weight > 0.05
    points = total / np.maximum(weight, 1e-9)[:, None]
    mean = top.mean_face()[: top.SURFACE] * [1, -1, -1]
    pose = similarity(mean[found], points[found])
    # What is seen at a grazing angle, or slides along the outline as a head turns, goes along with what is seen well.
    edge = np.clip((np.abs(mean[:, 0]) - 0.5) / 0.2, 0, 1)
    guess, loose = pose.to_image(mean), 0.08 / np.maximum(weight * (1 - 0.97 * edge), 0.02)[found] ** 2
    smooth = RBFInterpolator(mean[found], (points - guess)[found], smoothing=loose, neighbors=80)
    return np.asarray(guess + smooth(mean))
