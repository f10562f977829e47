"""Which of many frames of a person shows the mouth that is wanted (Thies et al., Face2Face, 2016, section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

CLUSTERS = 10
BINS = 59  # of uniform local binary patterns


@dataclass(frozen=True)
class Descriptor:
    """A mouth: head `rotation` (3, 3), `expression` (E,), `landmarks` (L, 2) in sizes of the face, `texture` (59,)."""

    rotation: NDArray[np.float64]
    expression: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    texture: NDArray[np.float64]


def pose_distances(expression: Array, rotation: Array, expressions: Array, rotations: Array) -> NDArray[np.float64]:
    """Of one frame to n: squared differences of expressions (n, E) and rotations (n, 3, 3)."""
    return np.asarray(((expressions - expression) ** 2).sum(1) + ((rotations - rotation) ** 2).sum((1, 2)))


def shape_distances(landmarks: Array, others: Array, pairs: NDArray[np.integer]) -> NDArray[np.float64]:
    """Of landmarks (L, 2) to n (n, L, 2): squared differences of the distances between chosen `pairs` (p, 2)."""
    a, b = pairs.T

    def lengths(p: Array) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(p[..., a, :] - p[..., b, :], axis=-1))

    return np.asarray(((lengths(others) - lengths(landmarks)) ** 2).sum(1))


def texture_distances(texture: Array, others: Array) -> NDArray[np.float64]:
    """Chi squared of a histogram (b,) to n (n, b)."""
    total = others + texture
    return np.asarray(((others - texture) ** 2 / np.where(total > 0, total, 1)).sum(1))


def colour_weights(shape: Array) -> NDArray[np.float64]:
    """How much the last frame's colours count where mouths differ by `shape` (n,): the nearer, the more."""
    return np.asarray(np.exp(-(np.asarray(shape) ** 2)))


def binary_patterns(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histogram (59,) of the uniform patterns of eight neighbours (Ojala et al. 2002), which sums to 1."""
    g = grey.astype(np.int16)
    middle, code = g[1:-1, 1:-1], np.zeros((g.shape[0] - 2, g.shape[1] - 2), np.uint8)
    h, w = g.shape
    for bit, (dy, dx) in enumerate(((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))):
        code |= (g[dy : h - 2 + dy, dx : w - 2 + dx] >= middle).astype(np.uint8) << bit
    out = np.bincount(_UNIFORM[code].ravel(), minlength=BINS).astype(np.float64)
    return out / max(1.0, out.sum())


def _uniform() -> NDArray[np.uint8]:
    """For each pattern its bin: those with up to two changes around the circle have one each, the others one."""
    out, n = np.full(256, BINS - 1, np.uint8), 0
    for code in range(256):
        if bin(code ^ ((code >> 1) | ((code & 1) << 7))).count("1") <= 2:
            out[code], n = n, n + 1
    return out


_UNIFORM = _uniform()


class Retrieval:
    """The frames of a person, grouped by what mouths do; asked frame after frame."""

    def __init__(self, frames: list[Descriptor], looks: list[NDArray[np.uint8]], pairs: NDArray[np.integer]) -> None:
        """`looks` are the mouths (h, w, 3), all of one size and at one place, for comparing colours."""
        self.pairs = pairs
        self.rotations = np.stack([f.rotation for f in frames])
        self.expressions = np.stack([f.expression for f in frames])
        self.landmarks = np.stack([f.landmarks for f in frames])
        self.textures = np.stack([f.texture for f in frames])
        small = [cv2.resize(k, (24, 16), interpolation=cv2.INTER_AREA).astype(np.float64).reshape(-1) for k in looks]
        flat = np.stack(small)
        flat -= flat.mean(1, keepdims=True)
        self._colours = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        shapes = np.stack([shape_distances(p, self.landmarks, pairs) for p in self.landmarks])
        poses = np.stack(
            [pose_distances(e, r, self.expressions, self.rotations) for e, r in zip(self.expressions, self.rotations)]
        )
        # How far frames look from one another: the edges of the appearance graph.
        textures = np.stack([texture_distances(t, self.textures) for t in self.textures])
        unlike = (1 - self._colours @ self._colours.T) / 2
        self.appearance = textures + colour_weights(shapes) * unlike
        self.group, self.middle = _medoids(poses + shapes + textures, min(CLUSTERS, len(frames)))
        self.last: int | None = None

    def distances(self, wanted: Descriptor) -> NDArray[np.float64]:
        """Of a mouth to every frame (n,), by pose and shape."""
        near = pose_distances(wanted.expression, wanted.rotation, self.expressions, self.rotations)
        return np.asarray(near + shape_distances(wanted.landmarks, self.landmarks, self.pairs))

    def __call__(self, wanted: Descriptor) -> int:
        """The frame for a mouth: of the group whose middle is nearest the one that is also near what was shown last."""
        near = self.distances(wanted)
        group = int(np.argmin(near[self.middle]))
        cost = np.where(self.group == group, near, np.inf)
        if self.last is not None:
            cost = cost + self.appearance[self.last]
            # Staying is always allowed: the last frame is nearest to itself.
            if near[self.last] + 0.0 < cost.min():
                return self.last
        self.last = int(np.argmin(cost))
        return self.last


def _medoids(distances: Array, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups (n,) by their nearest of `count` middles, which are frames themselves (count,)."""
    middle = [int(distances.sum(1).argmin())]
    while len(middle) < count:
        middle.append(int(distances[:, middle].min(1).argmax()))
    at = np.array(middle)
    for _ in range(20):
        group = distances[:, at].argmin(1)
        new = at.copy()
        for k in range(count):
            mine = np.flatnonzero(group == k)
            if len(mine):
                new[k] = mine[distances[np.ix_(mine, mine)].sum(1).argmin()]
        if (new == at).all():
            break
        at = new
    return distances[:, at].argmin(1), at
