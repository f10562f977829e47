"""Expression from one face to another by the deformation of its triangles (Sumner and Popovic 2004, Face2Face)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def edges(vertices: Array, triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """Two edges of each triangle as columns, (..., F, 3, 2), of vertices (..., V, 3)."""
    v = np.asarray(vertices, np.float64)
    a, b, c = (v[..., triangles[:, k], :] for k in range(3))
    return np.stack([b - a, c - a], -1)


class Transfer:
    """From a source's expression to a target's coefficients: solved once, a frame is two products."""

    def __init__(self, neutral: Array, target: Array, basis: Array, triangles: NDArray[np.int32], ridge: float = 0.0):
        """`neutral` (V, 3) is the source's, `target` (V, 3) the other's face without expression, `basis` (E, V, 3) what
        the target's coefficients move; `ridge` is added to the diagonal of the normal equations."""
        self.triangles = triangles
        self._inverse = np.linalg.pinv(edges(neutral, triangles))
        self._target = edges(target, triangles)
        self.system: NDArray[np.float64] = edges(basis, triangles).reshape(len(basis), -1).T  # (6 F, E)
        normal = self.system.T @ self.system + ridge * np.eye(len(basis))
        self._solve = np.linalg.solve(normal, self.system.T) if ridge else np.linalg.pinv(self.system)

    def gradients(self, source: Array) -> NDArray[np.float64]:
        """How each triangle of the `source` (V, 3) is deformed against its neutral face, (F, 3, 3)."""
        return np.asarray(edges(source, self.triangles) @ self._inverse)

    def right_hand_side(self, source: Array) -> NDArray[np.float64]:
        """What the target's triangles should do, (6 F,)."""
        return np.asarray((self.gradients(source) @ self._target - self._target).ravel())

    def __call__(self, source: Array) -> NDArray[np.float64]:
        """The target's coefficients (E,) for the `source` (V, 3)."""
        return np.asarray(self._solve @ self.right_hand_side(source))
