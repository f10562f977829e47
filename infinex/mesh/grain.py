"""Grain, weave and brushwork for a guessed background, which lacks them: the mean of many patches is smooth.

A smooth band around a head before a grainy wall is seen at once. What shows beside the guess is mirrored into it, less
its larger forms, as much as the guess has too little of it; only texture, whose values lie about evenly to both sides,
no lines and edges.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.surroundings import smoothstep
from infinex.mesh.fill import blurred, push_pull

Map = NDArray[np.float32]
FINE = 0.05  # up to which detail is texture; IOD
ABOUT = 0.25  # in which it is told how strong it is; IOD
COARSE = 8.0  # pixels that this is made of, at most
SPOT = 0.05  # in which it is told where single things are stronger; IOD
EVEN = (0.68, 0.76)  # mean of its size by the root of its mean square: of single lines, and of texture (0.80 of noise)
STRONG = (10.0, 18.0)  # levels of it up to which it may be texture, and from which it is none


def regrained(back: Map, guessed: NDArray[np.bool_], unit: float) -> Map:
    """`back` (H, W, 3) in levels with the texture of what shows where it was `guessed` (H, W).

    `unit` is the inter-ocular distance in pixels."""
    if guessed.all() or not guessed.any():
        return back
    detail = back - blurred(back, max(1.0, FINE * unit), 2.5)
    size = cv2.transform(np.abs(detail), np.full((1, 3), 1 / 3, np.float32))
    known = (~guessed).astype(np.float32)
    root, share = _strength(size, known, ABOUT * unit)
    # Every place takes the detail of the one as far outside of the guess as it lies inside.
    _, labels = cv2.distanceTransformWithLabels(
        guessed.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(~guessed)
    place = np.zeros((int(labels.max()) + 1, 2), np.int32)
    place[labels[rows, columns]] = np.column_stack([rows, columns])
    y, x = np.nonzero(guessed)
    beside = place[labels[y, x]]
    v = np.clip(2 * beside[:, 0] - y, 0, guessed.shape[0] - 1)
    u = np.clip(2 * beside[:, 1] - x, 0, guessed.shape[1] - 1)
    # Single strong things beside the guess are toned down to the rest.
    local = blurred(size**2, SPOT * unit)
    even = np.minimum(1, root[y, x] / np.sqrt(np.maximum(local[v, u], 1e-4)))
    out = back.copy()
    out[y, x] += (share[y, x] * known[v, u] * even)[:, None] * detail[v, u]
    return np.clip(out, 0, 255)


def _strength(size: Map, known: Map, about: float) -> tuple[Map, Map]:
    """How strong texture of `size` (H, W) is by what is `known` (H, W) within `about` pixels, and which share of it the
    rest lacks, both (H, W)."""
    h, w = size.shape
    k = min(1.0, COARSE / about)  # both are about large parts
    small = max(4, round(k * w)), max(4, round(k * h))
    parts = known, *(v * part for part in (known, 1 - known) for v in (size, size**2))
    weight, *means = (cv2.resize(v, small, interpolation=cv2.INTER_AREA) for v in parts)
    wanted = _near(means[:2], weight, k * about)
    own = _near(means[2:], 1 - weight, k * about / 2)[..., 1]
    root = np.sqrt(np.maximum(wanted[..., 1], 1e-4))
    lack = np.clip(1 - own / np.maximum(wanted[..., 1], 1e-4), 0, 1)
    share = np.sqrt(lack) * _ramp(wanted[..., 0] / root, *EVEN) * (1 - _ramp(root, *STRONG))
    return cv2.resize(root, (w, h)), cv2.resize(share, (w, h))


def _near(sums: list[Map], weight: Map, reach: float) -> Map:
    """Means (H, W, 3) over about `reach` pixels by two sums and their weight (H, W), spread to where nothing is."""
    total = blurred(weight, reach)
    mean = blurred(cv2.merge([*sums, np.zeros_like(weight)]), reach) / np.maximum(total, 1e-4)[..., None]
    return push_pull(mean, np.minimum(1, total / 0.05))


def _ramp(values: NDArray, low: float, high: float) -> Map:
    return smoothstep((values - np.float32(low)) / np.float32(high - low))  # type: ignore[arg-type,return-value]
