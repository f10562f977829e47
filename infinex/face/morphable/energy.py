"""What a fit minimises: colour, landmarks and how usual a face is (Thies et al., Face2Face, CVPR 2016)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

COLOUR, LANDMARKS, PRIOR = 1.0, 10.0, 2.5e-5  # the published weights
FLOOR = 1e-3  # of a colour distance (0..1) in reweighting: a pixel that fits must not take all the weight


def colour(synthetic: Array, image: Array) -> float:
    """Mean distance of colours (N, 3) in 0..1: not squared, so that hair before a face counts little."""
    return float(np.linalg.norm(np.asarray(synthetic, np.float64) - image, axis=1).mean())


def landmarks(projected: Array, seen: Array, confidence: Array) -> float:
    """Mean squared distance of points (N, 2), each weighted by its `confidence` (N,)."""
    return float((confidence * ((np.asarray(projected, np.float64) - seen) ** 2).sum(1)).mean())


def prior(*terms: tuple[Array, Array]) -> float:
    """How unusual coefficients are: the sum of squares of each pair (coefficients, their standard deviations)."""
    return float(sum(((np.asarray(c, np.float64) / s) ** 2).sum() for c, s in terms))


def reweights(residuals: Array, floor: float = 0.0) -> NDArray[np.float64]:
    """Weights (N,) by which squared residuals (N, 3) stand for their lengths: of an iteratively reweighted step."""
    length = np.linalg.norm(np.asarray(residuals, np.float64), axis=1)
    return np.asarray(1 / np.maximum(length, max(floor, 1e-12)))
