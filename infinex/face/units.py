"""Facial Action Units as displacement fields on the mesh, and their estimation from tracked faces.

Each unit is a sum of smooth fields around landmark sets, mirrored across the face, in inter-ocular
distances at full intensity (FACS level E); 26 and 27 turn the jaw about the ears.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
JAW_HINGE = np.array([0.0, -0.02, 0.10])

# unit: [(landmarks of the subject's right half, (outward, down, back), reach)], all in IOD
FIELDS: dict[str, list[tuple[list[int], tuple[float, float, float], float]]] = {
    "AU01": [([107, 55, 66, 65], (0, -0.12, 0), 0.13), ([109, 108, 69], (0, -0.06, 0), 0.16)],
    "AU02": [([70, 63, 46, 53, 105], (0.015, -0.13, 0), 0.13), ([68, 104, 54], (0, -0.05, 0), 0.16)],
    "AU04": [([107, 55, 66, 65, 105, 52], (-0.055, 0.085, 0), 0.11), ([9, 8, 168], (0, 0.035, -0.005), 0.10)],
    "AU05": [([159, 158, 160, 161, 157], (0, -0.035, 0.005), 0.05)],
    "AU06": [([117, 118, 50, 101, 123], (0, -0.055, -0.01), 0.15), ([110, 24, 23, 22, 26, 112], (0, -0.03, 0), 0.07)],
    "AU07": [([145, 144, 153, 163, 154], (0, -0.022, 0), 0.05), ([159, 158, 160], (0, 0.018, 0), 0.05)],
    "AU09": [([129, 98, 64, 102, 49, 203], (0.012, -0.065, 0), 0.09), ([55, 193, 122, 8], (-0.02, 0.05, 0), 0.09),
             ([40, 39, 37], (0, -0.03, 0), 0.09)],
    "AU10": [([40, 39, 37, 185, 0], (0, -0.075, -0.01), 0.075), ([165, 92, 167, 203], (0.01, -0.05, 0), 0.09)],
    "AU12": [([61, 76, 78, 62], (0.10, -0.075, 0.05), 0.125), ([40, 185, 91, 146], (0.05, -0.035, 0.025), 0.08),
             ([216, 207, 187], (0.055, -0.07, -0.01), 0.14), ([118, 50, 117], (0.01, -0.045, -0.015), 0.14),
             ([17, 181, 84, 14, 87], (0, -0.012, 0), 0.06)],
    "AU14": [([61, 76, 78, 62], (0.055, 0.0, 0.045), 0.10), ([216, 57, 186], (0.02, 0.0, 0.03), 0.10)],
    "AU15": [([61, 76, 78, 62], (0.015, 0.055, 0.01), 0.16), ([91, 146, 57, 43, 106], (0.0, 0.04, 0), 0.14),
             ([182, 194, 204], (0, 0.012, 0), 0.12)],
    "AU17": [([17, 84, 18, 83, 200, 201, 199], (0, -0.075, -0.015), 0.12), ([14, 87, 0, 37], (0, -0.02, -0.01), 0.07)],
    "AU20": [([61, 76, 78, 62], (0.10, 0.02, 0.05), 0.15), ([91, 40, 146, 185], (0.06, 0.012, 0.02), 0.11),
             ([216, 207, 43, 57], (0.05, 0.01, 0.01), 0.16)],
    "AU23": [([40, 39, 37, 0, 267], (-0.01, 0.026, 0.012), 0.05), ([91, 181, 84, 17], (-0.01, -0.026, 0.012), 0.05),
             ([61, 78], (-0.045, 0, 0), 0.07)],
    "AU25": [([14, 87, 178, 88, 17, 84, 181], (0, 0.055, 0), 0.07),
             ([13, 82, 81, 80, 0, 37, 39], (0, -0.025, 0), 0.06)],
    "AU45": [([159, 158, 160, 161, 157], (0, 0.105, 0), 0.045), ([145, 144, 153], (0, -0.012, 0), 0.04)],
}  # fmt: skip
UPPER_LIP_RED = [184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12, 268, 271, 272, 407]
JAW = {"AU26": 0.26}  # radians at full intensity


@dataclass(frozen=True)
class Basis:
    """Unit names and their displacement fields (U, 478, 3) at full intensity."""

    names: tuple[str, ...]
    fields: Array

    def offsets(self, amounts: Array) -> Array:
        """Displacement (478, 3) of unit intensities (U,)."""
        return np.tensordot(amounts, self.fields, 1)

    def estimate(self, offsets: Array, ridge: float = 2e-3, passes: int = 300) -> Array:
        """Non-negative intensities (T, U) in 0..1 that best explain displacements (T, 478, 3).

        Least squares over x and y, eyes and lips weighted up, by projected accelerated gradient."""
        weight = _weights()
        A = (self.fields[:, : top.SURFACE, :2] * weight[None, :, None]).reshape(len(self.names), -1)
        b = (np.asarray(offsets, np.float64)[:, : top.SURFACE, :2] * weight[None, :, None]).reshape(len(offsets), -1)
        gram = A @ A.T
        gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        aim = b @ A.T
        step = 1 / np.linalg.norm(gram, 2)
        x = y = np.zeros_like(aim)
        for k in range(passes):
            new = np.clip(y - step * (y @ gram - aim), 0, 1)
            y = new + k / (k + 3) * (new - x)
            x = new
        return x


def _weights() -> Array:
    w = np.ones(top.SURFACE)
    w[top.RIGHT_EYE + top.LEFT_EYE] = 3
    w[top.LIPS_INNER + top.LIPS_OUTER] = 2
    w[top.RIGHT_BROW + top.LEFT_BROW] = 2
    return w


def _side_of_mouth(ids: list[int]) -> Array:
    """Mask (468,) that keeps a lip's field off the other lip; ones where `ids` are not on one lip."""
    face = top.mean_face()[: top.SURFACE]
    upper = set(top.LIPS_INNER_UPPER[1:-1] + top.LIPS_OUTER_UPPER[1:-1])
    lower = set(top.LIPS_INNER_LOWER[1:-1] + top.LIPS_OUTER_LOWER[1:-1])
    middle = (face[13, 1] + face[14, 1]) / 2
    mask = np.ones(top.SURFACE)
    for mine, other, below in ((upper, lower, False), (lower, upper, True)):
        if mine.intersection(ids) and not other.intersection(ids) and 61 not in ids and 291 not in ids:
            far = face[:, 1] < middle if below else face[:, 1] > middle
            mask[far] = 0
            mask[list(other)], mask[list(mine)] = 0, 1
    return mask


def _field(parts: list[tuple[list[int], tuple[float, float, float], float]]) -> Array:
    face, mirror = top.mean_face()[: top.SURFACE], top.mirror()
    out = np.zeros((top.POINTS, 3))
    for ids, (outward, down, back), reach in parts:
        sides = []
        for side, members in ((-1, ids), (1, [int(mirror[i]) for i in ids])):
            d = np.linalg.norm(face[:, None, :2] - face[None, members, :2], axis=2).min(1)
            w = np.exp(-((d / reach) ** 2)) * _side_of_mouth(members)
            out[: top.SURFACE] += w[:, None] * np.array([side * outward, down, back])
            sides.append(w)
        twice = np.minimum(*sides)  # points that both sides reach move once
        out[: top.SURFACE, 1] -= twice * down
        out[: top.SURFACE, 2] -= twice * back
    return out


def _jaw(angle: float) -> Array:
    face = top.mean_face()
    c, s = np.cos(angle), np.sin(angle)
    turned = (face - JAW_HINGE) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) + JAW_HINGE
    middle = (face[78, 1] + face[308, 1]) / 2

    def ramp(x: Array) -> Array:
        x = np.clip(x, 0, 1)
        return x * x * (3 - 2 * x)

    lower = ramp((face[:, 1] - middle) / 0.10 + 0.5)
    aside = np.clip(1 - np.maximum(0, np.abs(face[:, 0]) - 0.28) / 0.38, 0, 1)
    w = np.maximum(lower * aside, 0.9 * ramp((face[:, 1] - middle + 0.05) / 0.35))
    w[top.LIPS_INNER_UPPER + top.LIPS_OUTER_UPPER + UPPER_LIP_RED] = 0
    w[[61, 291, 78, 308]] = 0.45
    lips = top.LIPS_INNER_LOWER[1:-1] + top.LIPS_OUTER_LOWER[1:-1]
    w[lips] = np.maximum(w[lips], 1 - 0.55 * (np.abs(face[lips, 0]) / abs(face[308, 0])) ** 2)
    w[468:] = 0
    return np.clip(w, 0, 1)[:, None] * (turned - face)


@cache
def basis() -> Basis:
    """The one basis of Action Units, both sides of the face together."""
    names = tuple(sorted([*FIELDS, *JAW]))
    return Basis(names, np.stack([_field(FIELDS[n]) if n in FIELDS else _jaw(JAW[n]) for n in names]))
