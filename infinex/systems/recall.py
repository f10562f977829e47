"""What was seen of a person, moved onto what is wanted of them: of learned frames those most like it.

The face moves as its tracked points do. What surrounds it moves with the head and, beyond that, as two affine fields
say (`infinex.face.outline`), which are measured against one learned frame, the ground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.outline import Outline
from infinex.face.pose import Pose, fit_pose
from infinex.face.surroundings import Surroundings, SurroundingsShape
from infinex.mesh.kernel import cover, places
from infinex.mesh.raster import affines

RGB = NDArray[np.uint8]
Array = NDArray[np.floating]

PICTURES = 9  # channels: frames alike at the mouth, frames alike as a whole, both moved, and the latter as they were
CELLS = 32  # of the surroundings' grid along the square's side ...
BEYOND = 4  # ... and further ones on each side
LIPS = [*top.LIPS_INNER, *top.LIPS_OUTER]
LIDS = [*top.RIGHT_EYE, *top.LEFT_EYE]
# What makes frames alike: where the head is, lips and lids beside it, irises, and where the shoulders are.
MOUTH = (0.3, 2.0, 0.5, 0.0)
WHOLE = (1.0, 0.5, 0.3, 1.0)
COUNTS = (16, 8)  # frames that are mixed, of those alike at the mouth and of those alike as a whole


class Ground:
    """The learned frame from which surroundings are measured, with a grid laid over it."""

    def __init__(self, image: RGB, points: Array) -> None:
        """`points` (N, 3) in pixels of `image` (S, S, 3), the 468 of the surface first."""
        side = image.shape[0]
        points = np.asarray(points, np.float64)[: top.SURFACE]
        pose = fit_pose(top.mean_face()[: top.SURFACE], points)
        self.side, self._face = side, pose.to_head(points)
        self._outline = Outline(image, self._face, pose)
        line = np.arange(-BEYOND, CELLS + BEYOND + 1) * (side / CELLS)
        places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        oval = points[top.OVAL, :2]
        contour = oval.astype(np.float32).reshape(-1, 1, 2)
        outside = np.array([-cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in places])
        self._around = Surroundings(
            self._face, pose, places, np.maximum(outside, 0) / pose.scale, oval, SurroundingsShape()
        )
        self.body = top.SURFACE + np.flatnonzero(self._around.body > 0.5)
        at = np.arange(len(places)).reshape(len(line), len(line)) + top.SURFACE
        a, b, c, d = (at[i : i - 1 or None, j : j - 1 or None].ravel() for i in (0, 1) for j in (0, 1))
        around = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
        self.triangles = np.concatenate([around, top.triangles(), top.opening_triangles()]).astype(np.int64)
        self.around, self.skin = len(around), len(around) + len(top.triangles())

    def pose(self, points: Array) -> Pose:
        """Of the head with surface points (468, 3)."""
        return fit_pose(self._face, np.asarray(points, np.float64))

    def measured(self, image: RGB, points: Array, guess: NDArray | None = None) -> NDArray[np.float64]:
        """The fields (2, 2, 3) of a frame (S, S, 3) with surface points (468, 3); `guess` are those of one nearby."""
        return self._outline.measure(image, self.pose(points), guess)

    def vertices(self, points: Array, outline: Array) -> NDArray[np.float64]:
        """Surface points (468, 3) and the grid under the fields, (V, 2)."""
        pose, a = self.pose(points), self._around
        moved = (a.rigidly(pose)[:, :2] - a.points) * a.rigid[:, None]
        grid = a.points + moved + pose.scale * a.beyond(self._outline.settled(np.asarray(outline, np.float64)))
        return np.concatenate([np.asarray(points, np.float64)[:, :2], grid])


class Onto:
    """Frames moved onto one instant."""

    def __init__(self, ground: Ground, points: Array, vertices: Array) -> None:
        """`points` (468, 3) of the instant, `vertices` (V, 2) by `Ground.vertices`."""
        self._ground, self._to = ground, np.ascontiguousarray(vertices, np.float64)
        depth = np.asarray(points)[:, 2][ground.triangles[ground.around :]].mean(1)
        self._order = np.concatenate([np.arange(ground.around), ground.around + np.argsort(-depth)])

    def __call__(self, image: RGB, vertices: Array) -> RGB:
        """A frame (S, S, 3) with its own `vertices`."""
        g, n = self._ground, len(self._ground.triangles)
        affine, area = np.zeros((n, 6)), np.zeros(n)
        affines(self._to, np.ascontiguousarray(vertices, np.float64), g.triangles, affine, area)
        skin = area[g.around : g.skin]
        skin[np.sign(skin) != np.sign(np.median(skin))] = 0  # their backs
        ids, (x, y) = np.full((g.side, g.side), -1, np.int16), np.empty((2, g.side, g.side), np.float32)
        cover(self._to, g.triangles, self._order, area, 0.0, 0.0, 1.0, ids, 0, 0, g.side, g.side)
        places(ids, affine, 0, 0, 0, 0, 1, x, y)
        return np.asarray(cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


@dataclass(frozen=True)
class Recall:
    """Learned frames of a person: `pictures` (M, S, S, 3), surface `points` (M, 468, 3) in their pixels, the fields
    `outline` (M, 2, 2, 3) around, where the irises are, `eyes` (M, 2, 2), and which of them is the `ground`."""

    pictures: RGB
    points: NDArray[np.float32]
    outline: NDArray[np.float32]
    eyes: NDArray[np.float32]
    ground: int

    def arrays(self) -> dict[str, NDArray]:
        """Everything by name, to be kept with weights."""
        return {"pictures": self.pictures, "points": self.points, "outline": self.outline, "eyes": self.eyes,
                "ground": np.array([self.ground], np.int64)}  # fmt: skip

    @staticmethod
    def of(a: Mapping[str, NDArray]) -> Recall:
        """The inverse of `arrays`. Raises KeyError or ValueError for what is none."""
        pictures = a["pictures"]
        shape = pictures.shape
        if pictures.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or not shape[0]:
            raise ValueError("no pictures")
        wanted = {"points": (shape[0], top.SURFACE, 3), "outline": (shape[0], 2, 2, 3), "eyes": (shape[0], 2, 2)}
        if any(a[name].shape != size for name, size in wanted.items()):
            raise ValueError("not the same number of frames")
        ground = int(a["ground"][0])
        if not 0 <= ground < shape[0]:
            raise ValueError("no ground")
        return Recall(pictures, a["points"], a["outline"], a["eyes"], ground)


class Recaller:
    """Asked for what a person would look like, by frames that were learned."""

    def __init__(self, kept: Recall) -> None:
        self.kept = kept
        self.ground = Ground(kept.pictures[kept.ground], kept.points[kept.ground])
        self._vertices = np.stack([self.ground.vertices(p, o) for p, o in zip(kept.points, kept.outline)])
        self._unit = self.ground.pose(kept.points[kept.ground]).scale
        parts = [self._described(p, v, e) for p, v, e in zip(kept.points, self._vertices, kept.eyes)]
        self._traits = [np.stack(part) for part in zip(*parts)]

    def _described(self, points: Array, vertices: Array, eyes: Array) -> tuple[Array, Array, Array, Array]:
        head = points[top.RIGID, :2] / self._unit
        middle = head.mean(0)
        lips, lids = points[LIPS, :2] / self._unit - middle, points[LIDS, :2] / self._unit - middle
        irises = np.tile(0.3 * np.asarray(eyes).ravel(), 5)  # eyes are about as wide
        body = vertices[self.ground.body] / self._unit
        return head.ravel(), lips.ravel(), np.concatenate([lids.ravel(), irises]), body.ravel()

    def __call__(
        self, points: Array, outline: Array, eyes: Array, barred: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint8]:
        """Pictures (S, S, 9) for surface points (468, 3) in pixels of the square, fields (2, 2, 3) and irises (2, 2).

        `barred` (M,) are not used: beside themselves frames would be copied."""
        vertices = self.ground.vertices(points, outline)
        traits = self._described(np.asarray(points, np.float64), vertices, eyes)
        apart = [np.abs(a - b).mean(1) if a.shape[1] else np.zeros(len(a)) for a, b in zip(self._traits, traits)]
        onto = Onto(self.ground, points, vertices)
        out = np.zeros((self.ground.side, self.ground.side, PICTURES), np.uint8)
        moved: dict[int, RGB] = {}
        for n, (weights, count) in enumerate(zip((MOUTH, WHOLE), COUNTS)):
            off = sum((w * a for w, a in zip(weights, apart)), np.zeros(len(apart[0])))
            if barred is not None and not barred.all():
                off[barred] = np.inf
            at, share = nearest(off, count)
            for m in at.tolist():
                if m not in moved:
                    moved[m] = onto(self.kept.pictures[m], self._vertices[m])
            out[..., 3 * n : 3 * n + 3] = mixed([moved[m] for m in at.tolist()], share)
        out[..., 6:] = mixed([self.kept.pictures[m] for m in at.tolist()], share)
        return out


def nearest(off: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The `count` that are least `off`, best first, and their shares, which sum to 1: one that is as much worse than
    the best as that is off has 1/e of its share."""
    at = np.argsort(off)[:count]
    at = at[np.isfinite(off[at])]
    share = np.exp(-(((off[at] - off[at[0]]) / max(float(off[at[0]]), 1e-6)) ** 2))
    return at, share / share.sum()


def mixed(pictures: list[RGB], shares: NDArray[np.float64]) -> RGB:
    """The weighted mean of pictures (S, S, C)."""
    total = np.zeros(pictures[0].shape, np.float32)
    for picture, share in zip(pictures, shares):
        total += np.float32(share) * picture
    return np.clip(total + 0.5, 0, 255).astype(np.uint8)
