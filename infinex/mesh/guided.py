"""The guided filter (He, Sun and Tang 2010): a rough map made to follow the edges of a picture."""

from __future__ import annotations

from itertools import combinations_with_replacement

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
FLAT = 1e-6  # determinant of the covariances of colours below which a square says nothing but its mean
BAND = 128  # rows and columns worked on at a time: most squares of a matte are all of it or nothing


def guided_filter(guide: Map, values: Map, radius: int, eps: float) -> Map:
    """`values` (H, W), in every square of side 2 `radius` + 1 as near as may be to a linear function of the colours of
    `guide` (H, W, 3) in 0..1; `eps` is the variance of colours below which nothing counts as an edge.

    Where colours do not vary in all directions (`FLAT`), as along most soft outlines, it only smooths."""
    height, halo = guide.shape[0], 2 * radius
    out = np.empty(values.shape, np.float32)
    for y in range(0, height, BAND):
        low, high = max(0, y - halo), min(height, y + BAND + halo)
        for x in range(0, guide.shape[1], BAND):
            left, right = max(0, x - halo), min(guide.shape[1], x + BAND + halo)
            part = values[low:high, left:right]
            if part.min() == part.max():  # what does not vary stays as it is
                out[y : y + BAND, x : x + BAND] = part[0, 0]
                continue
            band = _filtered(guide[low:high, left:right], part, radius, eps)
            out[y : y + BAND, x : x + BAND] = band[y - low : y - low + BAND, x - left : x - left + BAND]
    return out


def _filtered(guide: Map, values: Map, radius: int, eps: float) -> Map:
    def mean(x: Map) -> Map:
        side = 2 * radius + 1
        return np.asarray(cv2.boxFilter(x, -1, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)

    colours = [np.ascontiguousarray(guide[..., c], np.float32) for c in range(3)]
    values = np.ascontiguousarray(values, np.float32)
    middles, middle = [mean(c) for c in colours], mean(values)
    with_values = [mean(c * values) - m * middle for c, m in zip(colours, middles)]
    s = {
        (i, j): mean(colours[i] * colours[j]) - middles[i] * middles[j] + np.float32(eps if i == j else 0)
        for i, j in combinations_with_replacement(range(3), 2)
    }
    # The inverse of the symmetric matrix of covariances, by its cofactors.
    rows = (
        (
            s[1, 1] * s[2, 2] - s[1, 2] ** 2,
            s[0, 2] * s[1, 2] - s[0, 1] * s[2, 2],
            s[0, 1] * s[1, 2] - s[0, 2] * s[1, 1],
        ),
        (s[0, 0] * s[2, 2] - s[0, 2] ** 2, s[0, 1] * s[0, 2] - s[0, 0] * s[1, 2]),
        (s[0, 0] * s[1, 1] - s[0, 1] ** 2,),
    )
    determinant = s[0, 0] * rows[0][0] + s[0, 1] * rows[0][1] + s[0, 2] * rows[0][2]
    cofactors = {(i, i + k): c for i, row in enumerate(rows) for k, c in enumerate(row)}
    determinant = np.where(np.abs(determinant) < FLAT, np.float32(1), determinant)  # slopes that are next to nothing
    slopes = [sum(cofactors[min(i, j), max(i, j)] * with_values[j] for j in range(3)) / determinant for i in range(3)]
    offset = middle - sum(a * m for a, m in zip(slopes, middles))
    return np.asarray(sum(mean(a) * c for a, c in zip(slopes, colours)) + mean(offset), np.float32)
