"""The person cut out of the picture and moved with it: transparent frames, or another background behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.face.surroundings import smoothstep
from infinex.mesh.beyond import Beyond
from infinex.mesh.fill import push_pull
from infinex.mesh.layers import person_matte, polygon_mask
from infinex.mesh.matting import foreground

Image = NDArray[np.uint8]
FAINT = 8  # alpha in 0..255 below which a cut-out's colours say nothing
SEAM = 0.25  # over which the matte of a face's surroundings passes into that of the whole picture; IOD


def bled(cutout: Image) -> Image:
    """A cut-out (H, W, 4) whose colours go on where nothing of them shows: what lies there may be black."""
    seen = cutout[..., 3] >= FAINT
    if seen.all() or not seen.any():
        return cutout
    spread = push_pull(cutout[..., :3], np.where(seen, cutout[..., 3] / np.float32(255), 0).astype(np.float32))
    out = cutout.copy()
    out[~seen, :3] = np.clip(np.round(spread[~seen]), 0, 255)
    return out


def whole_matte(image: Image, faces: Sequence[Any]) -> NDArray[np.float32]:
    """Alpha (H, W) in 0..1 of everybody in the picture, near each face the one it is drawn with."""
    h, w = image.shape[:2]
    first = faces[0].face
    alpha = person_matte(image, first, first.points[:, :2], everybody=True)
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
    for face in faces:
        oval = polygon_mask(h, w, face.face.points[top.OVAL][:, :2], face.face.pose.scale * 0.02)
        np.maximum(alpha, oval, out=alpha)
    return alpha


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


@compiled(inner=True)
def _colour(drawn: int, layer: int, alpha: int) -> int:
    """What was drawn where the person is opaque; towards its edge, where that shows the old background too, its
    own colour."""
    if alpha == 255:
        return drawn
    share = max(0, alpha - 225)
    return (drawn * share + layer * (30 - share) + 15) // 30


@compiled()
def _settle(canvas: NDArray, moved: NDArray, out: NDArray) -> None:
    """`out` (H, W, 4) from what was drawn, `canvas` (H, W, 3), and the moved layer (H, W, 4)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a = np.int32(moved[i, j, 3])
            out[i, j, 3] = a
            for c in range(3):
                out[i, j, c] = _colour(np.int32(canvas[i, j, c]), np.int32(moved[i, j, c]), a)


@compiled()
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
