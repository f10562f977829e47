"""Landmarks made to agree with the picture: what they miss of a face's motion is measured by dense optical flow.

A tracker finds landmarks anew in every frame, and what it calls the corner of an eye wanders over the skin by a pixel
or two as heads turn and faces move. Carried onto a portrait, its eyes and brows wander with it. Here a reference frame
is laid over each other frame by the landmarks of both; the optical flow that is left says by how much they are off.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.delaunay import delaunay
from infinex.face.pose import Pose, fit_pose
from infinex.face.unwarp import make_flow, unwarped
from infinex.media.grey import Grey

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

UNIT = 64  # pixels between the eyes at which the flow is measured
STEP = 0.035  # IOD between the places where it is read
SPREAD = 0.035  # IOD: flow is averaged around each landmark by a Gaussian of this deviation
STIFF = 3.0  # places' worth of belief that a landmark is right
ALIKE = 14.0  # grey levels by which skin may look different, apart from its light, and still count
PLAIN = 4.0  # grey levels of texture below which skin says little
KNOWN = (0.30, 0.50)  # share of the skin found alike: from the second on it is believed, under the first not at all
QUIET = 4e-4  # IOD that compression alone seems to move skin by; taken off
MOST = 0.06  # IOD by which a landmark may be off
TURN = np.radians([18.0, 32.0])  # from the first on faces look too different; from the second nothing is believed


class Registration:
    """One performer's face in a reference frame, which others are compared with."""

    def __init__(self, image: Image | Grey, points: Array) -> None:
        """`image` (H, W[, 3]) shows landmarks `points` (478, 3) in pixels."""
        self._mean = top.mean_face()
        self._pose = pose = fit_pose(self._mean, points)
        self._flat = np.linalg.pinv(pose.rotation[:2, :2])
        unit = pose.scale
        flat = points[: top.SURFACE, :2]
        lo, hi = flat.min(0) - 0.03 * unit, flat.max(0) + 0.03 * unit
        columns, rows = (max(8, round(n)) for n in (hi - lo) / (STEP * unit))
        x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
        places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2) * (hi - lo) + lo
        self._grid = rows, columns
        k = min(1.0, UNIT / unit)
        self._size = max(16, round((hi - lo)[0] * k)), max(16, round((hi - lo)[1] * k))
        self._pixel = (hi - lo) / self._size  # picture pixels that a pixel of the view spans
        at = np.stack(np.meshgrid(x * self._size[0] - 0.5, y * self._size[1] - 0.5))
        self._at = at.reshape(2, -1).astype(np.float32)  # the places in the view
        # Each place as a mean of three landmarks; what lies outside the face follows the nearest.
        tris = delaunay(flat)
        found = self._covered((flat - lo) / (hi - lo) * [columns, rows], tris)
        share = _shares(places, flat[tris[found]])
        for n in np.flatnonzero((found >= 0) & (share.min(1) < -1e-9)):  # beside an edge
            each = _shares(places[n], flat[tris])
            found[n] = best = each.min(1).argmax()
            share[n] = each[best]
        inside = (found >= 0) & (share.min(1) > -1e-6)
        nearest = _apart(places, flat).argmin(1)
        corner = np.where(inside[:, None], tris[found], nearest[:, None])
        share = np.where(inside[:, None], share, [1.0, 0.0, 0.0])
        self._within = corner.T.copy(), share.T[..., None].copy()
        self._beside = np.where(inside[:, None], 0.0, places - flat[nearest])
        self._rest = self._view(image, points, pose)
        texture = cv2.GaussianBlur(np.abs(cv2.Laplacian(self._rest, cv2.CV_32F)), (0, 0), 2.0)
        contour = flat[top.OVAL].astype(np.float32).reshape(-1, 1, 2)
        lips = flat[top.LIPS_INNER].astype(np.float32).reshape(-1, 1, 2)
        edge = np.array([cv2.pointPolygonTest(contour, (float(a), float(b)), True) for a, b in places]) / unit
        mouth = np.array([cv2.pointPolygonTest(lips, (float(a), float(b)), True) for a, b in places]) / unit
        self._weight = np.clip(edge / 0.05, 0, 1) * (mouth < -0.02) * np.clip(self._read(texture) / PLAIN, 0, 1)
        near = _apart(points[:, :2] / unit, places / unit)
        # Landmarks and the places about each: one at least, which weighs nothing where it is far.
        which, place = np.nonzero((near < (3 * SPREAD) ** 2) | (near == near.min(1, keepdims=True)))
        share = np.exp(near[which, place] / np.float32(-2 * SPREAD**2))
        self._near = np.searchsorted(which, np.arange(top.POINTS)), place, share[:, None]
        self._pixels = np.stack(np.meshgrid(*map(np.arange, self._size)), -1).astype(np.float32)
        self._flow = make_flow()

    def _covered(self, points: Array, tris: NDArray[np.int64]) -> NDArray[np.int32]:
        """Which triangle over `points` (N, 2), in cells of the grid, each place lies in or beside; -1 where in none."""
        k = 8  # parts of a cell
        out = np.full((k * self._grid[0], k * self._grid[1]), -1, np.int32)
        for n, corners in enumerate(np.round((points[tris] * k - 0.5) * 16).astype(np.int32)):
            cv2.fillConvexPoly(out, corners, n, cv2.LINE_8, 4)  # type: ignore[call-overload]
        return out[k // 2 :: k, k // 2 :: k].ravel()

    def _read(self, picture: NDArray) -> NDArray:
        """A picture of the view's size (H, W[, C]) at the places, (N[, C])."""
        return cv2.remap(picture, self._at[:1], self._at[1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]

    def _view(self, image: Image | Grey, points: Array, pose: Pose) -> Image:
        """A picture (H, W[, 3]) with its landmarks `points` where the reference has its own."""
        turn = self._turn(pose)
        corners, shares = self._within
        places = sum(s * points[c, :2] for c, s in zip(corners, shares)) + self._beside @ turn.T
        return unwarped(image, places, self._grid, self._size, pose.scale, UNIT)

    def _turn(self, pose: Pose) -> Array:
        """What takes a step in the reference's picture to one in a picture with the head at `pose`, (2, 2)."""
        return pose.rotation[:2, :2] @ self._flat * (pose.scale / self._pose.scale)

    def __call__(self, image: Image | Grey, points: Array) -> Array:
        """The landmarks (478, 3) of `image`, where the picture says that they are."""
        pose = fit_pose(self._mean, points)
        apart = self._pose.rotation.T @ pose.rotation
        angle = float(np.arccos(np.clip((np.trace(apart) - 1) / 2, -1, 1)))
        trust = float(np.clip((TURN[1] - angle) / (TURN[1] - TURN[0]), 0, 1))
        if trust == 0:
            return points
        view = self._view(image, points, pose)
        flow = self._flow.calc(self._rest, view, None)
        then = cv2.remap(view, self._pixels + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        unlike = cv2.subtract(then, self._rest, dtype=cv2.CV_32F)
        unlike -= cv2.GaussianBlur(unlike, (0, 0), 0.12 * UNIT)
        alike = cv2.GaussianBlur(cv2.absdiff(unlike, 0.0), (0, 0), 1.5)
        alike = cv2.exp(cv2.multiply(alike, alike, scale=-1 / ALIKE**2))
        weight = (self._weight * self._read(alike)).astype(np.float32)
        found = float(weight.sum() / max(self._weight.sum(), 1e-6))  # a face that is hidden, or another's, is not
        trust *= float(np.clip((found - KNOWN[0]) / (KNOWN[1] - KNOWN[0]), 0, 1))
        off = self._read(flow) * self._pixel
        weighed = np.empty((len(off), 3), np.float32)
        weighed[:, :2], weighed[:, 2] = weight[:, None] * off, weight
        begin, place, share = self._near
        around = np.add.reduceat(weighed[place] * share, begin)
        mean = around[:, :2] / (around[:, 2:] + STIFF)
        size = np.sqrt((mean * mean).sum(1, keepdims=True)) / (MOST * self._pose.scale)
        kept = np.tanh(np.maximum(size - QUIET / MOST, 0))
        mean *= trust * kept / np.maximum(size, 1e-6)
        out = points.copy()
        out[:, :2] += mean @ self._turn(pose).T
        return out


def _shares(points: Array, corners: Array) -> Array:
    """What points (N, 2) or (2,) are as means of the three corners of triangles (N, 3, 2): shares (N, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v, w = a - c, b - c, points - c
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    one, two = w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0], u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]
    return np.stack([one, two, area - one - two], 1) / area[:, None]


def _apart(one: Array, other: Array) -> NDArray[np.float32]:
    """Squared distances (N, M) between points (N, 2) and (M, 2)."""
    middle = other.mean(0)
    a, b = (one - middle).astype(np.float32), (other - middle).astype(np.float32)
    return np.asarray((a[:, :1] - b[:, 0]) ** 2 + (a[:, 1:] - b[:, 1]) ** 2)
