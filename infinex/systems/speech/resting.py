"""Where a mouth is while its owner speaks, as far as a face at rest tells: regression towards the mouths of talkers.

Lips that speak are on the average not where they are in a portrait: parted, pressed or crooked ones return towards the
mouths people have when they speak. What a voice moves is added to that place. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.shape import lip_gaps
from infinex.motion import part_weights

Array = NDArray[np.float64]
LIPS = top.LIPS_INNER + top.LIPS_OUTER
FAR = 1.0  # units of a coefficient: rests further from the average than talkers' are taken to be no further


def point_weights() -> Array:
    """Weight (478, 3) of the mesh in the distance on mouths: the lower face, lips three times, depth little."""
    w = np.ones((top.POINTS, 3))
    w[LIPS] = 3
    w[:, 2] *= 0.3
    w[top.SURFACE :] = 0
    return w * part_weights(["lips"])[:, None]


def symmetric(offsets: NDArray) -> NDArray:
    """Displacements (..., 478, 3) with both sides of the face averaged: what is one-sided is habit or tracking."""
    return (offsets + offsets[..., top.mirror(), :] * np.array([-1, 1, 1])) / 2


def coefficients_of(offsets: NDArray, shapes: Array) -> Array:
    """What displacements (..., 478, 3) are in mouth shapes (K, 478, 3), which are orthogonal on the weighted mesh."""
    weight = point_weights()
    basis = (shapes * weight).reshape(len(shapes), -1)
    flat = (symmetric(offsets) * weight).reshape(*offsets.shape[:-2], -1)
    return np.asarray(flat @ basis.T / (basis[0] @ basis[0]), np.float64)


def opening_of(shapes: Array) -> Array:
    """How far one unit of each coefficient parts the lips in the middle, IOD (K,)."""
    return np.asarray(lip_gaps(shapes)[:, 3:6].mean(1), np.float64)


@dataclass(frozen=True)
class Resting:
    """`usual` (K,) coefficients of a speaking mouth's mean from an average rest, `back` (K, K) how a rest of other
    coefficients changes it, `even` the share of its crookedness that lips lose while they speak."""

    shapes: Array  # (K, 478, 3)
    usual: Array
    back: Array
    even: float

    def __call__(self, face: Array | None = None) -> Array:
        """The mean displacement (478, 3) of the speaking mouth of a portrait at rest, canonical `face` (478, 3).

        How far lips part is left as it is usual: engines set it from the voice alone, however the portrait's are."""
        if face is None:
            return np.tensordot(self.usual, self.shapes, 1)
        rest = np.clip(coefficients_of(face - top.mean_face(), self.shapes), -FAR, FAR)
        gap = opening_of(self.shapes)
        change = rest @ self.back
        change -= gap * (change @ gap) / (gap @ gap)
        crooked = (face - symmetric(face)) * part_weights(["lips"])[:, None] * [1, 1, 0]
        return np.tensordot(self.usual + change, self.shapes, 1) - self.even * crooked


def fit_resting(
    rests: list[Array], means: list[Array], weights: list[float], shapes: Array, stiff: float = 0.1
) -> Resting:
    """Ridge regression of mean displacements (478, 3) on the faces at rest (478, 3) that they are measured from.

    `weights` are of the samples; `stiff` is the ridge, in squared units of a coefficient."""
    mean = top.mean_face()
    w = np.asarray(weights) / np.sum(weights)
    x = np.stack([np.r_[1, coefficients_of(face - mean, shapes)] for face in rests])
    y = np.stack([coefficients_of(offsets, shapes) for offsets in means])
    ridge = stiff * np.eye(x.shape[1])
    ridge[0, 0] = 0
    found = np.linalg.solve((x * w[:, None]).T @ x + ridge, (x * w[:, None]).T @ y)
    part = np.array([(face - symmetric(face))[LIPS, :2].ravel() for face in rests])
    moved = np.array([(offsets - symmetric(offsets))[LIPS, :2].ravel() for offsets in means])
    even = -float((w**2) @ (part * moved).sum(1)) / max(float((w**2) @ (part**2).sum(1)), 1e-12)
    return Resting(shapes, found[0], found[1:], float(np.clip(even, 0, 1)))
