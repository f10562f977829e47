"""The window kit: the part of a picture that a network sees, and the way back with a soft seam.

`Square` is cut along the picture's own pixels, so that nothing is resampled where the sizes agree; `Leaning` is an
affine window, upright in the face's own frame. Both know their `box`, the part of the picture that they may change."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError
from infinex.face.pose import fit_pose
from infinex.face.topology import SURFACE, mean_face

RGB = NDArray[np.uint8]
Map = NDArray[np.float32]
Array = NDArray[np.float64]
DETAIL = 0.02, 0.07  # change of colour (0..1) up to which a picture's fine detail fits, and over which it goes
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels


def resized(image: NDArray, size: int) -> NDArray:
    """A square picture or map at another size."""
    if image.shape[0] == size:
        return image
    inter = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=inter)


class Square:
    """A square around a face, in part outside the picture where the face is near its border.

    `room` is its side over the face's; where the picture is square and the face fills `framed` of it, with that room,
    the picture is such a window already and is taken whole."""

    def __init__(self, image: RGB, points: NDArray, room: float = 1.55, framed: float = 0.55) -> None:
        """`points` (478, 3) in pixels of `image` (H, W, 3)."""
        h, w = image.shape[:2]
        lo, hi = points[:SURFACE, :2].min(0), points[:SURFACE, :2].max(0)
        side = room * float((hi - lo).max())
        self.whole = abs(w - h) <= 0.02 * max(w, h) and side >= framed * max(w, h)
        x, y = (lo + hi) / 2
        if self.whole:
            side, x, y = max(w, h), w / 2, h / 2
        self.side = max(16, round(side))
        self.x, self.y = round(x - self.side / 2), round(y - self.side / 2)
        self.box: Box = max(0, self.x), max(0, self.y), min(w, self.x + self.side), min(h, self.y + self.side)
        self._shape = h, w

    def full(self, image: RGB) -> RGB:
        """The square at the picture's own resolution; beyond the border the picture's edge goes on.

        Raises FaceNotFoundError where the square lies outside of it."""
        x, y, s = self.x, self.y, self.side
        part = image[max(0, y) : max(0, y + s), max(0, x) : max(0, x + s)]
        top, left = max(0, -y), max(0, -x)
        bottom, right = s - part.shape[0] - top, s - part.shape[1] - left
        if part.size == 0:
            raise FaceNotFoundError("the face left the picture")
        if max(top, left, bottom, right) > 0:
            part = cv2.copyMakeBorder(part, top, max(0, bottom), left, max(0, right), cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(part)

    def cut(self, image: RGB, size: int) -> RGB:
        """The square at `size`."""
        return resized(self.full(image), size)

    def points(self, points: NDArray, size: int) -> Array:
        """Points (N, 3) in pixels of the picture as in those of the square at `size`; depth in the same unit."""
        k = size / self.side
        moved = (np.asarray(points, np.float64) - [self.x, self.y, 0]) * k
        moved[:, :2] += (k - 1) / 2
        return np.asarray(moved)

    def inside(self, picture: NDArray) -> NDArray:
        """What of a picture of the square (side, side, ...) lies in the box."""
        x0, y0, x1, y1 = self.box
        return picture[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]

    def _ramp(self, width: float) -> Map:
        """(side,) from 0 at an edge to 1 at `width` of the side inside."""
        ramp = np.clip((np.arange(self.side) + 0.5) / max(1.0, width * self.side), 0, 1)
        return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)

    def rim(self, width: float) -> Map:
        """(side, side) 1 inside, falling to 0 over `width` of the side towards all edges."""
        line = self._ramp(width) * self._ramp(width)[::-1]
        rim: Map = np.outer(line, line)
        return rim

    def seam(self, width: float) -> Map:
        """(side, side) 1 inside, falling to 0 over `width` towards edges behind which the picture goes on."""
        h, w = self._shape
        across, down = np.ones(self.side, np.float32), np.ones(self.side, np.float32)
        for line, goes_on in (
            (across, self.x > 0), (across[::-1], self.x + self.side < w),
            (down, self.y > 0), (down[::-1], self.y + self.side < h),
        ):  # fmt: skip
            if goes_on:
                line *= self._ramp(width)
        seam: Map = down[:, None] * across
        return seam


class Leaning:
    """A square that leans as the head leans, by a matrix (2, 3) from the picture's pixels to the window's."""

    def __init__(self, matrix: Array, size: int, shape: tuple[int, ...]) -> None:
        """`shape` is that of the picture, (H, W, ...)."""
        self.matrix, self.size = matrix, size
        h, w = shape[:2]
        corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float64) - 0.5
        back = cv2.invertAffineTransform(matrix)
        corners = corners @ back[:, :2].T + back[:, 2]
        lo, hi = np.floor(corners.min(0)), np.ceil(corners.max(0)) + 1
        x0, y0 = (int(np.clip(v, 0, m - 1)) for v, m in zip(lo, (w, h)))
        x1, y1 = (int(np.clip(v, a + 1, m)) for v, a, m in zip(hi, (x0, y0), (w, h)))
        self.box: Box = x0, y0, x1, y1
        # From pixels of the box to those of the window, for laying pictures of it back.
        self._from_box = matrix + np.column_stack([np.zeros((2, 2)), matrix[:, :2] @ [x0, y0]])

    def cut(self, image: RGB) -> RGB:
        """The window (size, size, 3) of a picture; what lies outside repeats its edge."""
        return cut(image, self.matrix, self.size)

    def spread(self, picture: Map) -> Map:
        """A picture or map of the window (size, size[, C]) over the box."""
        x0, y0, x1, y1 = self.box
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, self._from_box, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def changed(self, image: RGB, crop: RGB, change: Map) -> RGB:
        """The box of a picture (H, W, 3) after its window `crop` changed by `change` (size, size, 3), in shares of 1.

        The window is small beside many portraits. What changes is spread from it; the portrait's fine detail comes
        back on top wherever little changed, so that skin keeps its pores and only what moved is soft. Where nothing
        changed the pixels are the picture's own."""
        size = np.abs(change).max(2)
        keep = np.exp(-((np.maximum(0, cv2.GaussianBlur(size, (0, 0), 1.0) - DETAIL[0]) / DETAIL[1]) ** 2))
        spread, kept = self.spread(change), np.clip(self.spread(keep.astype(np.float32)), 0, 1)[..., None]
        x0, y0, x1, y1 = self.box
        own = image[y0:y1, x0:x1]
        low = self.spread(np.asarray(crop / 255, np.float32))
        out = low + spread + (own.astype(np.float32) / 255 - low) * kept
        still = np.abs(spread).max(2) < 0.5 / 255  # free of rounding
        result = np.round(np.clip(out, 0, 1) * 255).astype(np.uint8)
        result[still] = own[still]
        return np.asarray(result)

    def seam(self, width: float) -> Map:
        """(size, size) 1 inside, falling softly to 0 over `width` of the side towards the edges."""
        edge = np.zeros((self.size, self.size), np.float32)
        margin = max(2, round(width * self.size / 2))
        edge[margin:-margin, margin:-margin] = 1
        return cv2.GaussianBlur(edge, (0, 0), margin / 2.5)


def cut(image: RGB, matrix: Array, size: int, border: int = cv2.BORDER_REPLICATE, flags: int = cv2.INTER_LINEAR) -> RGB:
    """The window (size, size, 3) that `matrix` (2, 3) takes out of a picture; blurred first where it is far smaller."""
    k = float(np.hypot(*matrix[:, 0]))
    if k < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / k), np.uint8)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border), np.uint8)


def by_head(landmarks: Array, size: int, side: float, between: tuple[int, int], lift: float) -> Array:
    """Matrix (2, 3) of a window `side` inter-ocular distances wide, which turning the head does not change.

    `landmarks` are (478, 3) in pixels. Its centre lies between two landmarks of the mean head in the portrait's pose,
    `lift` of their distance above the middle."""
    pose = fit_pose(mean_face(), landmarks)
    a, b = (pose.to_image(mean_face()[i][None])[0, :2] for i in between)
    centre = a + (0.5 - lift) * (b - a)
    right = pose.rotation[:2, 0] / max(1e-6, float(np.linalg.norm(pose.rotation[:2, 0])))
    k = size / (side * pose.scale)
    turn = k * np.array([[right[0], right[1]], [-right[1], right[0]]])
    return np.column_stack([turn, (size - 1) / 2 - turn @ centre])


def as_ffhq(landmarks: NDArray[np.floating], size: int) -> Array:
    """Matrix (2, 3) of the window of FFHQ (Karras et al. 2019), which is laid out by eyes and mouth."""
    p = np.asarray(landmarks, np.float64)[:, :2]
    right, left = p[[33, 133]].mean(0), p[[362, 263]].mean(0)
    mouth = p[[61, 291]].mean(0)
    eyes = (right + left) / 2
    across = (left - right) - (mouth - eyes)[::-1] * [-1, 1]
    across /= np.hypot(*across)
    across *= max(np.hypot(*(left - right)) * 2.0, np.hypot(*(mouth - eyes)) * 1.8)
    down = across[::-1] * [-1, 1]
    centre = eyes + (mouth - eyes) * 0.1
    corners = np.array([centre - across - down, centre - across + down, centre + across + down], np.float32)
    target = np.array([[0, 0], [0, size], [size, size]], np.float32)
    return np.asarray(cv2.getAffineTransform(corners, target), np.float64)
