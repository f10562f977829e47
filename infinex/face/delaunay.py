"""Triangles over points of a plane."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def delaunay(points: NDArray) -> NDArray[np.int64]:
    """Delaunay's triangles (T, 3) over points (N, 2) in pixels that all differ, turning from x to y."""
    flat = np.asarray(points, np.float32)
    low, high = np.floor(flat.min(0)) - 1, np.ceil(flat.max(0)) + 1
    plane = cv2.Subdiv2D((int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])))
    plane.insert(flat.tolist())
    number = {(x, y): n for n, (x, y) in enumerate(flat.tolist())}
    corners = np.asarray(plane.getTriangleList()).reshape(-1, 3, 2)
    tris = np.array([[number[x, y] for x, y in tri] for tri in corners.tolist()], np.int64)
    a, b, c = (flat[tris[:, k]].astype(np.float64) for k in range(3))
    u, v = b - a, c - a
    turned = u[:, 0] * v[:, 1] < u[:, 1] * v[:, 0]
    tris[turned] = tris[turned][:, ::-1]
    return tris
