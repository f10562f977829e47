"""How what lies around a face follows its head: hair, ears, neck and shoulders, for which there are no landmarks.

Points near the head move rigidly with it, each at a guessed depth; towards the shoulders that fades out. What the
outline of the head and the shoulders really do beyond that is measured where there are frames to measure it in
(`infinex.face.outline`) and comes as two affine fields. Lengths in IOD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.pose import Pose

Array = NDArray[np.float64]
NECK_BASE = (0.35, 0.15)  # where the neck leaves the shoulders: below the chin, behind the ears
SKULL_FROM = 0.9  # above the head's origin from where on the face goes on as a skull ...
SKULL_BEND = 1.2  # ... and how fast that curves away, by the square of the length
HAT = 0.5  # share of the way on which a head fades to still on which its own hair does not, from the brows upwards
HAT_FROM = -0.5  # where brows are in the head
SKULL = 0.2  # from the face's edge, which is tracked, outwards the measured field of the head rises over this length


@dataclass(frozen=True)
class SurroundingsShape:
    """How the surroundings of the face follow it; lengths in IOD."""

    depth: float = 0.15  # depth of hair and background of the head, behind the ears
    depth_reach: float = 0.45  # distance over which depth goes from the oval's to `depth`
    neck: float = 0.80  # below the chin the head's motion fades out over this length
    head: float = 0.50  # inside this ellipse the head is rigid ...
    head_fade: float = 0.90  # ... and over this much more it fades to still


def smoothstep(x: Array) -> Array:
    """Cubic ramp from 0 at 0 to 1 at 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def head_reach(face: Array, pose: Pose, width: int, height: int, s: SurroundingsShape) -> tuple[int, int, int, int]:
    """The part of a picture that a head, canonical `face` (478, 3) at `pose`, can move: x0, y0, x1, y1."""
    corners = []
    side, up = 2.1 * (s.head + s.head_fade) * 0.95, 2.3 * (s.head + s.head_fade) * 0.95
    low = float(face[152, 1]) + s.neck + 0.25
    for x in (-side, side):
        for y in (-0.35 - up, low):
            corners.append([x, y, 0.0])
    px = pose.to_image(np.array(corners))[:, :2]
    lo = np.maximum(np.floor(px.min(0)), 0).astype(int) // 2 * 2
    hi = np.minimum(np.ceil(px.max(0)), [width, height]).astype(int)
    return int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])


def _steepness(turned: Array) -> Array:
    """How steeply a face (478, 3), turned as in its picture, falls away at its edge: depth by length, (36,)."""
    oval = turned[top.OVAL]
    apart = np.linalg.norm(oval[:, None, :2] - turned[None, : top.SURFACE, :2], axis=2)
    inner = np.exp(-(((apart - 0.2) / 0.06) ** 2)) + 1e-9
    inner = inner / inner.sum(1, keepdims=True) @ turned[: top.SURFACE]
    slope = (oval - inner)[:, 2] / np.maximum(np.linalg.norm((oval - inner)[:, :2], axis=1), 0.05)
    return np.maximum((np.roll(slope, 1) + 2 * slope + np.roll(slope, -1)) / 4, 0)


class Surroundings:
    """Points of one picture around one face, and where they go with the head."""

    def __init__(
        self, face: Array, pose: Pose, points: Array, outside: Array, oval: Array, shape: SurroundingsShape
    ) -> None:
        """`face` (478, 3) canonical at `pose`; `points` (N, 2) in pixels, `outside` (N,) their distance from the
        face's edge `oval` (M, 2 in pixels) in IOD."""
        s, unit = shape, pose.scale
        self.points = points
        # Canonical place of each point: its pixel at a depth that leaves the oval's for the head's back.
        apart = np.linalg.norm(points[:, None] - oval[None], axis=2) / unit
        near = np.exp(-(apart - apart.min(1, keepdims=True)) / 0.12)
        self.near = near / near.sum(1, keepdims=True)  # (N, M) share of each point of the oval in each point
        rim = self.near @ (face[top.OVAL] @ pose.rotation.T)[:, 2]
        # Above, the forehead goes on as a skull does, curving away from its own slope; hair does not fold where the
        # face's mesh ends. Below, what follows the jaw lies behind it.
        high = smoothstep(-(self.near @ face[top.OVAL][:, 1]) / SKULL_FROM)
        slope = self.near @ _steepness(face @ pose.rotation.T)
        steep = np.clip(slope / np.maximum(s.depth - rim, 0.1), 0, 1 / s.depth_reach)
        fall = high * (steep * outside + SKULL_BEND * outside**2) + (1 - high) * outside / s.depth_reach
        z = rim + (s.depth - rim) * (1 - np.exp(-fall))
        flat = (points - pose.translation[:2]) / unit
        self.canonical = np.concatenate([flat, z[:, None]], 1) @ pose.rotation
        self.down = self.canonical[:, 1] - (face[152, 1] - 0.05)
        far = np.hypot(self.canonical[:, 0] / 2.1, (self.canonical[:, 1] + 0.35) / 2.3)
        self._far, self._beside = far, 1 - np.exp(-outside / SKULL)
        self._basis = np.column_stack([flat, np.ones(len(flat))])
        self._settle(1 - smoothstep((far - s.head) / s.head_fade), s)

    def _settle(self, follows: Array, s: SurroundingsShape) -> None:
        self.rigid = (1 - smoothstep(self.down / s.neck)) * follows
        self.skull = self.rigid * self._beside  # share of the measured field of the head ...
        self.body = smoothstep(self.down / 0.3) * (1 - self.rigid)  # ... and of the shoulders

    def stiffen(self, person: Array, s: SurroundingsShape) -> None:
        """Hair and hats are known: what is of the `person` (N,) in 0..1 does not bend with the background about it."""
        near = 1 - smoothstep((self._far - s.head) / s.head_fade)
        firm = 1 - smoothstep((self._far - s.head - HAT * s.head_fade) / ((1 - HAT) * s.head_fade))
        above = smoothstep((HAT_FROM - self.canonical[:, 1]) / 0.7)
        self._settle(near + person * above * (firm - near), s)

    def rigidly(self, pose: Pose) -> Array:
        """Where the points would be if all were part of a head at `pose` (N, 3), in pixels and depth."""
        return pose.to_image(self.canonical)

    def beyond(self, outline: Array, body: Array | float = 1.0) -> Array:
        """The measured fields (2, 2, 3: head and shoulders, dx and dy, by x, y, 1) at the points, (N, 2) in IOD.

        `body`, (N, 2) or one number, scales the shoulders' part."""
        head, shoulders = self._basis @ outline[0].T, self._basis @ outline[1].T
        return head * self.skull[:, None] + shoulders * (self.body[:, None] * body)

    def design(self) -> Array:
        """What `beyond` is linear in: (N, 6), the head's x, y, 1 and the shoulders', weighted."""
        return np.hstack([self._basis * self.skull[:, None], self._basis * self.body[:, None]])
