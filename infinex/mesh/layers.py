"""Splitting a portrait into person and background, and guessing what the person hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.tracker import segmenter
from infinex.mesh.retarget import SourceFace, smoothstep

Image = NDArray[np.uint8]


def polygon_mask(height: int, width: int, points: NDArray, feather: float = 0.0) -> NDArray[np.float32]:
    """Antialiased filled polygon (H, W) in 0..1, blurred by `feather` pixels."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points[:, :2] * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    out = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(out, (0, 0), feather) if feather > 0 else out


def person_matte(image: Image, face: SourceFace, oval: NDArray) -> NDArray[np.float32]:
    """Alpha of the person (H, W) in 0..1: segmentation refined to the picture's own edges."""
    h, w = image.shape[:2]
    k = min(1.0, 640 / max(h, w))
    small = image if k == 1 else cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    rough = segmenter()(small)
    guide = small.astype(np.float32) / 255
    fine = cv2.ximgproc.guidedFilter(guide, rough, max(4, small.shape[0] // 64), 1e-4)
    if k < 1:  # one more pass at full size sharpens the enlarged edge where the picture has one
        fine = cv2.resize(fine, (w, h), interpolation=cv2.INTER_LINEAR)
        if max(h, w) <= 2600:
            fine = cv2.ximgproc.guidedFilter(image.astype(np.float32) / 255, fine, max(4, round(3 / k)), 1e-4)
    alpha = np.clip((fine - 0.1) / 0.8, 0, 1)
    return np.maximum(alpha, polygon_mask(h, w, oval, face.pose.scale * 0.05)).astype(np.float32)


def push_pull(image: NDArray, weight: NDArray) -> NDArray[np.float32]:
    """Fill pixels of low weight (H, W) from their surroundings, coarse to fine."""
    level = (image.astype(np.float32) * weight[..., None], weight.astype(np.float32))
    pyramid = [level]
    while min(pyramid[-1][1].shape) > 3:
        c, a = (cv2.pyrDown(x) for x in pyramid[-1])
        f = np.minimum(1, 2 * a) / np.maximum(a, 1e-6)
        pyramid.append((c * f[..., None], a * f))
    c, a = pyramid[-1]
    out = c / np.maximum(a, 1e-6)[..., None]
    for c, a in pyramid[-2::-1]:
        up = cv2.pyrUp(out, dstsize=(c.shape[1], c.shape[0]))
        out = c + up * (1 - np.clip(a, 0, 1))[..., None]
    return out


class Layers:
    """The person with alpha, and the background without the person; all over one part of the picture."""

    def __init__(self, image: Image, face: SourceFace, alpha: NDArray[np.float32] | None) -> None:
        """`image` (H, W, 3) is the part that moves, `alpha` (H, W) the person in it; None takes all for it."""
        unit = face.pose.scale
        self._unit = unit
        self.image = np.ascontiguousarray(image)
        if alpha is None:
            self.alpha = np.ones(image.shape[:2], np.float32)
            self.person = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
            self.fill, self._near = self.image, np.zeros(image.shape[:2], np.uint8)
            return
        self.person = np.dstack([image, np.round(alpha * 255).astype(np.uint8)])
        self.alpha = alpha
        # Shut the person out generously, or the fill would smear hair into the background.
        h, w = alpha.shape
        k = min(1.0, 480 / max(h, w))
        small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        a = cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        size = max(1, round(unit * k * 0.06))
        ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
        hidden = cv2.dilate((a > 0.02).astype(np.uint8), ring)
        fill = push_pull(small, 1.0 - hidden.astype(np.float32))
        self.fill = np.clip(cv2.resize(fill, (w, h), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
        self.fill = self._grained(self.fill, alpha)
        # What stands still shows as it is: only where the person was can the background be unknown.
        self._near = np.round(255 * smoothstep((alpha.astype(np.float64) - 0.10) / 0.45)).astype(np.uint8)

    def _grained(self, fill: Image, alpha: NDArray[np.float32]) -> Image:
        """The fill with noise as strong as the visible background's: a smooth patch would show."""
        seen = alpha < 0.02
        if seen.sum() < 500:
            return fill
        residual = self.image.astype(np.float32) - cv2.GaussianBlur(self.image, (0, 0), 1.2)
        strength = min(6.0, 1.4826 * float(np.median(np.abs(residual[seen]))))
        if strength < 0.3:
            return fill
        noise = np.random.default_rng(0).normal(0, 1, fill.shape[:2]).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * (strength / 0.45)
        return np.clip(fill + noise[..., None], 0, 255).astype(np.uint8)

    def gate(
        self, map_x: NDArray[np.float32], map_y: NDArray[np.float32], corner: tuple[int, int] = (0, 0)
    ) -> NDArray[np.uint8]:
        """Where the background behind the person's old place shows, (H, W) 0..255: only where it moved.

        The maps may cover a part of the layers that starts at `corner`."""
        x, y = corner
        h, w = map_x.shape
        q = 4
        rows, columns = np.arange(q // 2, h, q), np.arange(q // 2, w, q)
        dx = map_x[q // 2 :: q, q // 2 :: q] - (columns[None] + x).astype(np.float32)
        dy = map_y[q // 2 :: q, q // 2 :: q] - (rows[:, None] + y).astype(np.float32)
        moved = cv2.dilate(np.hypot(dx, dy), np.ones((5, 5), np.uint8))
        moved = np.clip(cv2.GaussianBlur(moved, (0, 0), 3) / (self._unit * 0.025) - 0.3, 0, 1)
        gate = cv2.resize(np.round(255 * moved).astype(np.uint8), (w, h), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(gate, self._near[y : y + h, x : x + w], scale=1 / 255))
