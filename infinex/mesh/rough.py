"""Where somebody is, roughly: a network that knows people and one that knows what stands out, each where it errs less.

The first takes lamps, shadows and dark backgrounds beside a person for hair, and gives up at hats and loose strands;
the second has these, but may take a whole card for the thing that stands out, or a face without its body.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.networks import Salient
from infinex.face.surroundings import smoothstep
from infinex.face.tracker import segmenter

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
CHIN, BROW = 152, 10  # lowest and highest point of the face
SURE = 0.9  # of what knows people, from where on somebody is there ...
NOBODY = 0.1  # ... and up to where nobody is
LEAK = (0.2, 0.4)  # share of what stands out where nobody is: a hat, some other thing
WHOLE = (0.5, 0.8)  # share of a neck that stands out: the face alone was seen, all of her
NECK = (0.15, 0.9, 0.45)  # where a neck is: from and to so far below the chin, and on each side of it; IOD
DOUBT = (0.1, 0.4)  # of what stands out: it is nobody, it could be dark hair before the dark
CERTAIN = 0.85  # of what knows people, from which on somebody's clothes are seen
RISING = 0.15  # share of them above the chin, from which on they are none
LEAST = 0.02  # of a neck, to judge by it; squared IOD


def rough_matte(image: Image, points: NDArray, sure: NDArray[np.bool_], unit: float) -> Map:
    """How likely somebody is in each pixel (H, W), 0..1, of `image` (H, W, 3).

    `points` (478, 2) are the landmarks in its pixels, `sure` (H, W) the face, `unit` the inter-ocular distance."""
    seen, mirrored = segmenter(), np.ascontiguousarray(image[:, ::-1])
    people = np.asarray((seen(image) + seen(mirrored)[:, ::-1]) / 2, np.float32)
    return fused(people, Salient()(image), points, sure, unit)


def fused(people: Map, stands: Map, points: NDArray, sure: NDArray[np.bool_], unit: float) -> Map:
    """One map (H, W) of where `people` (H, W) are seen and of what `stands` (H, W) out, both 0..1; else as above."""
    chin, up = points[CHIN], points[BROW] - points[CHIN]
    up = up / max(float(np.linalg.norm(up)), 1e-6) / unit
    y, x = np.mgrid[0 : sure.shape[0], 0 : sure.shape[1]].astype(np.float32)
    below = -((x - chin[0]) * up[0] + (y - chin[1]) * up[1])
    beside = np.abs((y - chin[1]) * up[0] - (x - chin[0]) * up[1])
    there = (people > SURE) & ~sure
    neck = there & (below > NECK[0]) & (below < NECK[1]) & (beside < NECK[2])
    whole = _mean(stands, neck if np.count_nonzero(neck) > LEAST * unit**2 else there)
    leak = _mean(people < NOBODY, stands > 0.5)
    change = stands - people
    more = 1 - _ramp(leak, *LEAK)
    less = _ramp(whole, *WHOLE) * (1 - _ramp(stands, *DOUBT)) * (1 - _clothes(people, stands, below))
    change *= np.where(change > 0, more, less)
    return np.asarray(people + change, np.float32)


def _clothes(people: Map, stands: Map, below: Map) -> Map:
    """Where what stands out has lost shoulders (H, W), 0..1: what rises beside the head is something else."""
    _, labels = cv2.connectedComponents(((people > CERTAIN) & (stands < 0.5)).astype(np.uint8))
    rising = np.bincount(labels.ravel(), below.ravel() < 0) / np.maximum(np.bincount(labels.ravel()), 1)
    lost = ((labels > 0) & (rising[labels] < RISING)).astype(np.float32)
    return np.asarray(cv2.blur(cv2.dilate(lost, np.ones((5, 5), np.uint8)), (3, 3)), np.float32)


def _mean(values: NDArray, where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else 0.0


def _ramp(values: NDArray | float, low: float, high: float) -> NDArray[np.float64]:
    return smoothstep((np.asarray(values, np.float64) - low) / (high - low))
