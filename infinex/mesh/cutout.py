"""The person cut out of the picture and moved with it: transparent frames, or another background behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.surroundings import smoothstep
from infinex.mesh.beyond import Beyond
from infinex.mesh.fill import push_pull
from infinex.mesh.guided import guided_filter
from infinex.mesh.layers import person_matte, polygon_mask

Image = NDArray[np.uint8]
FAINT = 8  # alpha in 0..255 below which a cut-out's colours say nothing
SEAM = 0.25  # over which the matte of a face's surroundings passes into that of the whole picture; IOD
BAND = 0.04  # about the edge of a soft matte, where it is doubted; IOD
FAR = 0.25  # soft alpha below which the person is thinner than that
EDGE = 1e-3  # variance of colours, in 0..1, from which a change of them is an edge
TELLING = 30.0  # levels by which person and background must differ for a pixel's colour to count half
REACHES = (90, 6)  # pixels of a picture of 1000 in which colours of person and background are looked for


def bled(cutout: Image) -> Image:
    """A cut-out (H, W, 4) whose colours go on where nothing of them shows: what lies there may be black."""
    seen = cutout[..., 3] >= FAINT
    if seen.all() or not seen.any():
        return cutout
    spread = push_pull(cutout[..., :3], np.where(seen, cutout[..., 3] / np.float32(255), 0).astype(np.float32))
    out = cutout.copy()
    out[~seen, :3] = np.clip(np.round(spread[~seen]), 0, 255)
    return out


def foreground(image: Image, alpha: NDArray[np.float32]) -> Image:
    """Colours (H, W, 3) of the person alone where `image` (H, W, 3) mixes it with what is behind by `alpha` (H, W).

    Local means of both, then what is left shared out (Forte 2021)."""
    seen = image.astype(np.float32)
    a = alpha[..., None].astype(np.float32)
    person, behind = seen, seen
    for reach in REACHES:
        size = 2 * max(2, round(reach * max(image.shape[:2]) / 1000)) + 1
        weight, other = cv2.blur(a, (size, size))[..., None], cv2.blur(1 - a, (size, size))[..., None]
        mean = cv2.blur(person * a, (size, size)) / (weight + 1e-5)
        back = cv2.blur(behind * (1 - a), (size, size)) / (other + 1e-5)
        person = np.clip(mean + a * (seen - a * mean - (1 - a) * back), 0, 255)
        behind = back
    person = np.where(a > 1e-3, person, push_pull(np.round(person).astype(np.uint8), alpha))
    return np.where(a >= 1, image, np.clip(np.round(person), 0, 255)).astype(np.uint8)


def sharpened(image: Image, alpha: NDArray[np.float32], unit: float) -> NDArray[np.float32]:
    """A soft matte (H, W) in 0..1 made as sharp as the picture: where person and background differ in colour, each
    pixel between them says by its own how much of both it shows. `unit` is the inter-ocular distance in pixels."""
    size = max(1, round(BAND * unit))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
    person, behind = cv2.erode((alpha > 0.9).astype(np.uint8), disc), cv2.erode((alpha < 0.1).astype(np.uint8), disc)
    band = (person == 0) & (behind == 0)
    if not person.any() or not behind.any() or not band.any():
        return alpha
    seen = cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.float32)
    a = _local(seen, person, 2 * size)
    b = _local(seen, behind, 2 * size)
    apart = ((a - b) ** 2).sum(-1)
    own = ((seen - b) * (a - b)).sum(-1) / np.maximum(apart, 1)
    # Of like colours nothing can be told: there the old edge stays, only narrower.
    trust = apart / (apart + TELLING**2)
    guess = trust * np.clip(own, 0, 1) + (1 - trust) * smoothstep((alpha.astype(np.float64) - 0.3) / 0.4)
    guess = np.where(band, guess, person).astype(np.float32)
    fine = guided_filter(image.astype(np.float32) / 255, guess, max(2, size // 2), EDGE)  # type: ignore[arg-type]
    fine = np.clip((fine - 0.08) / 0.84, 0, 1)
    # What the matte was sure of stays, and where it hardly saw anybody nothing bright may turn up.
    return np.where(alpha > 0.995, 1, np.minimum(fine, alpha / FAR)).astype(np.float32)


def _local(image: NDArray[np.float32], where: NDArray[np.uint8], reach: int) -> NDArray[np.float32]:
    """The mean colour (H, W, 3) of the nearest pixels of a mask."""
    out = np.zeros_like(image)
    left = np.ones(where.shape, bool)
    mask = where.astype(np.float32)
    for k in (1, 2, 6):
        weight = cv2.blur(mask, (2 * k * reach + 1, 2 * k * reach + 1))
        mean = cv2.blur(image * mask[..., None], (2 * k * reach + 1, 2 * k * reach + 1))
        found = left & (weight > 0.02)
        out[found] = mean[found] / weight[found][:, None]
        left &= ~found
    out[left] = image[where > 0].mean(0)
    return cv2.GaussianBlur(out, (0, 0), reach / 2)


def whole_matte(image: Image, faces: Sequence[Any]) -> NDArray[np.float32]:
    """Alpha (H, W) in 0..1 of everybody in the picture, near each face the one it is drawn with."""
    h, w = image.shape[:2]
    first = faces[0].face
    alpha = person_matte(image, first, first.points[top.OVAL][:, :2])
    for face in faces:
        x0, y0, x1, y1 = face.box
        seam = max(2.0, SEAM * face.face.pose.scale)
        x, y = np.arange(x1 - x0, dtype=np.float64), np.arange(y1 - y0, dtype=np.float64)
        far = max(w, h)  # the picture's own borders are no seams
        across = np.minimum(x + far * (x0 <= 0), x[::-1] + far * (x1 >= w))
        down = np.minimum(y + far * (y0 <= 0), y[::-1] + far * (y1 >= h))
        share = smoothstep(np.minimum(across[None], down[:, None]) / seam).astype(np.float32)
        view = alpha[y0:y1, x0:x1]
        view += share * (face.layers.alpha - view)
    sharp = sharpened(image, alpha, min(f.face.pose.scale for f in faces))
    for face in faces:
        oval = polygon_mask(h, w, face.face.points[top.OVAL][:, :2], face.face.pose.scale * 0.02)
        np.maximum(sharp, oval, out=sharp)
    return sharp


def face_matte(cutout: Image, face: Any, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Alpha in 0..1 of a cut-out (H, W, 4) in a box; the face itself is there whatever it says."""
    x0, y0, x1, y1 = box
    oval = face.points[top.OVAL][:, :2] - [x0, y0]
    part = cutout[y0:y1, x0:x1, 3].astype(np.float32) / 255
    return np.maximum(part, polygon_mask(y1 - y0, x1 - x0, oval, face.pose.scale * 0.05)).astype(np.float32)


class CutOut:
    """The person of a picture as a layer with alpha, which follows what the engine draws."""

    def __init__(
        self, image: Image, faces: Sequence[Any], cutout: Image | None = None, behind: Image | None = None
    ) -> None:
        """`cutout` (H, W, 4) is the picture with its own transparency, where it has some; `behind` (H, W, 3) is laid
        under the person, None leaves it transparent."""
        if cutout is None:
            alpha = whole_matte(image, faces)
            cutout = np.dstack([foreground(image, alpha), np.round(alpha * 255).astype(np.uint8)])
            cutout[cutout[..., 3] == 255, :3] = image[cutout[..., 3] == 255]
        else:
            cutout = bled(cutout)
        self._front, self._behind, self._faces = np.ascontiguousarray(cutout), behind, faces
        h, w = image.shape[:2]
        self._beyond = []
        for face in faces:
            x0, y0, x1, y1 = face.box
            part = np.ascontiguousarray(self._front[y0:y1, x0:x1])
            borders = x0 <= 0, y0 <= 0, x1 >= w, y1 >= h
            self._beyond.append(Beyond(part, face.face.points[:, :2] - [x0, y0], face.face.pose.scale, borders))
        boxes = np.array([f.box for f in faces])
        (x0, y0), (x1, y1) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        self._box = slice(int(y0), int(y1)), slice(int(x0), int(x1))
        self._moved = self._front.copy()
        self.frame = np.empty((h, w, 4 if behind is None else 3), np.uint8)
        self._finish(image, (slice(0, h), slice(0, w)))

    def compose(self, canvas: Image, drawn: Sequence[Any]) -> Image:
        """The frame for what was drawn on `canvas` (H, W, 3), by what was shown of each face: the same array every
        time, (H, W, 4) with alpha, not premultiplied, or (H, W, 3)."""
        moved = self._moved
        moved[self._box] = self._front[self._box]
        for face, beyond, shown in zip(self._faces, self._beyond, drawn):
            flow = shown.flow
            if flow is None:
                continue
            a, b, c, d = flow.box
            if c <= a or d <= b:
                continue
            x0, y0, x1, y1 = face.box
            mx, my = (np.ascontiguousarray(m[b:d, a:c]) for m in (flow.map_x, flow.map_y))
            front = np.ascontiguousarray(self._front[y0:y1, x0:x1])
            layer = cv2.remap(front, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            beyond.lay(layer, mx, my)
            view = moved[y0 + b : y0 + d, x0 + a : x0 + c]
            if len(self._faces) == 1:
                view[:] = layer
            else:  # another face may have moved what this one leaves alone
                changed = (layer != front[b:d, a:c]).any(-1)
                view[changed] = layer[changed]
        self._finish(canvas, self._box)
        return self.frame

    def _finish(self, canvas: Image, at: tuple[slice, slice]) -> None:
        if self._behind is None:
            _settle(canvas[at], self._moved[at], self.frame[at])
        else:
            _lay(canvas[at], self._moved[at], self._behind[at], self.frame[at])


@njit(cache=True, nogil=True)
def _colour(drawn: int, layer: int, alpha: int) -> int:
    """What was drawn where the person is opaque; towards its edge, where that shows the old background too, its
    own colour."""
    if alpha == 255:
        return drawn
    share = max(0, alpha - 225)
    return (drawn * share + layer * (30 - share) + 15) // 30


@njit(cache=True, nogil=True)
def _settle(canvas: NDArray, moved: NDArray, out: NDArray) -> None:
    """`out` (H, W, 4) from what was drawn, `canvas` (H, W, 3), and the moved layer (H, W, 4)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a = np.int32(moved[i, j, 3])
            out[i, j, 3] = a
            for c in range(3):
                out[i, j, c] = _colour(np.int32(canvas[i, j, c]), np.int32(moved[i, j, c]), a)


@njit(cache=True, nogil=True)
def _lay(canvas: NDArray, moved: NDArray, behind: NDArray, out: NDArray) -> None:
    """The same over `behind` (H, W, 3) into `out` (H, W, 3)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a = np.int32(moved[i, j, 3])
            for c in range(3):
                if a == 0:
                    out[i, j, c] = behind[i, j, c]
                    continue
                v = _colour(np.int32(canvas[i, j, c]), np.int32(moved[i, j, c]), a)
                out[i, j, c] = (v * a + np.int32(behind[i, j, c]) * (255 - a) + 127) // 255
