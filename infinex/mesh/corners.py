"""Corners of the mouth: lips that open unroll the crease between them, which would stand as a spike beside the opening.

Once for each portrait it is found what the picture would be without the line that goes on from where the lips meet, out
into the cheek: what is narrow and darker, or lighter, than all around (the top-hat transforms of Meyer, 1979) takes the
colour of what is beside it. Lengths in IOD.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.mesh.fill import push_pull
from infinex.mesh.layers import polygon_mask
from infinex.mesh.retarget import Target
from infinex.mesh.warp import Flow

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
ENDS = ((61, 78), (291, 308))  # outer and inner corner, right and left
OUTLINES = ((61, 185, 146), (291, 409, 375))  # outer corners, and the next points of the outlines above and below
BLUNT = (75.0, 105.0)  # degrees between both outlines over which what ends there are lips, and no line
LINE = 0.11  # width of the widest dark line that is a crease
AHEAD, BESIDE, SOFT = 0.15, 0.035, 0.05  # how far it is followed outward, and to its sides; over which that fades
UNROLLED = (0.025, 0.09)  # opening of the lips over which it goes
NARROWED = (0.06, 0.22)  # ... or share of its width that the mouth has lost
SMILING = 0.7  # share that goes in a mouth which opens and stays wide: corners are dark
FOLD = 2.2  # times as wide as creases are the folds of cheeks that go with a mouth which narrows
ROOM, REACH = 0.36, 0.60  # around a corner of what is read, and of what is drawn
DEEP, BEARD = 0.3, (0.18, 0.30)  # log lightness of what is dark; share of it that lines have at most, and that is hair
HAIR = 2.0  # times as dark as what is dark around: less is texture, or a beard
EVEN, RELAXED = 0.02, 24  # width of the Gaussian that evens a filling, and how often it does
COARSE = 96.0  # pixels an IOD's width in which that is done at most
GRAIN = 0.015  # up to which detail is grain
GROWN = 0.02  # by which more than what is found goes, over as much again
RIND = 0.012  # by which the outline of lips is taken for none of them
LIPS = 0.03  # beside lips, from where on there is skin
PLAIN, RIM = 0.10, 0.6  # log lightness by which a crease stands out; weight of what is light beside it


def _continued(part: NDArray, gone: NDArray, known: NDArray, unit: float) -> NDArray[np.float32]:
    """Skin (H, W, 3) that goes on from all around into where something is `gone` (H, W), with its grain; `known` (H, W)
    is where there is skin at all."""
    hole, h, w = gone > 0.02, *gone.shape
    if not hole.any():
        return part
    around, k = (known * ~hole).astype(np.float32), min(1.0, COARSE / unit)
    small, wide = (max(2, round(k * w)), max(2, round(k * h))), max(0.6, EVEN * k * unit)
    seen, total = (cv2.resize(v, small, interpolation=cv2.INTER_AREA) for v in (around, part * around[..., None]))
    smooth = cv2.GaussianBlur(total, (0, 0), wide)
    smooth = push_pull(smooth / np.maximum(cv2.GaussianBlur(seen, (0, 0), wide), 1e-3)[..., None], seen > 0.99)
    filled = smooth
    for _ in range(RELAXED):  # towards the evenest surface that meets what is around
        filled = np.where(seen[..., None] > 0.99, smooth, cv2.GaussianBlur(filled, (0, 0), wide))
    filled = cv2.resize(filled, (w, h), interpolation=cv2.INTER_CUBIC)
    grain = part - cv2.GaussianBlur(part, (0, 0), max(0.6, GRAIN * unit))
    most = 2 * float(np.median(np.abs(grain[around > 0.5]))) if (around > 0.5).any() else 0.0
    return np.where(hole[..., None], filled + np.clip(grain, -most, most), part).astype(np.float32)


def _square(reach: float) -> NDArray[np.uint8]:
    """What widens or narrows a mask by so many pixels."""
    size = 2 * round(reach) + 1
    return np.ones((size, size), np.uint8)


def _angle(face: Array) -> float:
    """Degrees between the outlines of both lips where they meet, the mean of both corners of a face (478, 3)."""
    angles = []
    for corner, *beside in OUTLINES:
        (a, b), (c, d) = (face[k, :2] - face[corner, :2] for k in beside)
        angles.append(abs(np.degrees(np.arctan2(a * d - b * c, a * c + b * d))))
    return float(np.mean(angles))


class Corners:
    """What creases of one portrait's mouth darken, laid on again as they unroll."""

    def __init__(self, image: Image, face: SourceFace, origin: tuple[int, int]) -> None:
        """`image` (H, W, 3) is the part of the picture that begins at `origin`."""
        self._face, self._shut = face, float(np.clip(1 - max(face.gaps[4], 0) / 0.06, 0, 1))
        self._blunt = float(np.clip((_angle(face.face) - BLUNT[0]) / (BLUNT[1] - BLUNT[0]), 0, 1))
        self._width = float(np.linalg.norm(face.face[61, :2] - face.face[291, :2]))
        # The creases of lips that part, and what goes where a mouth narrows: beside the lips, and of them.
        opened = [] if self._shut == 0 else [(ends, *self._crease(image, face, origin, *ends, 1.0)) for ends in ENDS]
        folds = [(ends, *self._crease(image, face, origin, *ends, FOLD)) for ends in ENDS]
        self._parts = [
            [(ends, corner, change) for ends, corner, change, _ in opened],
            [(ends, corner, change * (1 - lips)) for ends, corner, change, lips in folds],
            [(ends, corner, change * lips) for ends, corner, change, lips in folds],
        ]

    def _crease(
        self, image: Image, face: SourceFace, origin: tuple[int, int], outer: int, inner: int, times: float
    ) -> tuple[tuple[int, int], NDArray[np.float32], NDArray[np.float32]]:
        """The corner in the part, by how much (H, W, 3) its colours would change, and where lips are, (H, W, 1)."""
        unit = face.pose.scale
        p = face.points[:, :2] - np.array(origin)
        lo = np.maximum(np.floor(p[outer] - ROOM * unit), 0).astype(int)
        hi = np.minimum(np.ceil(p[outer] + ROOM * unit), image.shape[1::-1]).astype(int)
        if (hi - lo < 8).any():
            return (0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((0, 0, 1), np.float32)
        part = image[lo[1] : hi[1], lo[0] : hi[0]].astype(np.float32)
        smooth = cv2.GaussianBlur(part, (0, 0), max(0.6, 0.006 * unit))
        light = np.log(smooth @ np.array([0.3, 0.59, 0.11], np.float32) + 12)
        wide, kernel = (
            cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
            for size in (2 * max(1, round(LINE * k * unit / 2)) + 1 for k in (FOLD, times))
        )
        y, x = np.mgrid[lo[1] : hi[1], lo[0] : hi[0]]
        along = p[outer] - p[291 if outer == 61 else 61]
        along = along / max(float(np.linalg.norm(along)), 1e-6)
        away = np.stack([x, y], -1) - p[inner]
        ahead, aside = away @ along / unit, np.abs(away @ [-along[1], along[0]]) / unit
        reach = AHEAD + float(np.linalg.norm(p[outer] - p[inner])) / unit
        near = np.clip(1 - (ahead - reach) / SOFT, 0, 1) * np.clip(1 - (aside - times * BESIDE) / SOFT, 0, 1)
        near *= np.clip(1 + ahead / 0.02, 0, 1)
        around = (aside > times * BESIDE + SOFT) & (ahead > 0.02) & (ahead < reach + SOFT)
        face_alone = polygon_mask(light.shape[0], light.shape[1], p[top.OVAL] - lo)
        near, around = near * face_alone, around & (face_alone > 0.5)
        if not around.any() or not near.any():
            return (0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((0, 0, 1), np.float32)
        plain = np.zeros_like(light)
        rim = RIM if times == 1 else 0.0  # what is light and wide is a cheek
        for way, weight in ((cv2.MORPH_BLACKHAT, 1.0), (cv2.MORPH_TOPHAT, rim)):  # a crease has a light rim
            stands = cv2.morphologyEx(light, way, kernel)
            rough = float(np.percentile(stands[around], 70))
            if way == cv2.MORPH_BLACKHAT:
                deep = cv2.morphologyEx(light, way, wide) > DEEP
                hair = float((deep * near).sum() / near.sum())
                near *= np.clip((BEARD[1] - hair) / (BEARD[1] - BEARD[0]), 0, 1)
            plain += weight * np.clip((stands - HAIR * rough) / PLAIN, 0, 1)
        found = (np.clip(plain, 0, 1) * near).astype(np.float32)
        gone = np.clip(1.5 * cv2.GaussianBlur(found, (0, 0), max(0.6, 0.01 * unit)), 0, 1)
        lips = polygon_mask(light.shape[0], light.shape[1], p[top.LIPS_OUTER] - lo)
        at = int(lo[0]), int(lo[1])
        if times == 1:  # where lips stay as wide, skin and lips go over into one another
            weight, wide = face_alone * (1 - gone) ** 2 + 1e-3, 0.03 * unit
            filled = cv2.GaussianBlur(part * weight[..., None], (0, 0), wide)
            filled /= cv2.GaussianBlur(weight, (0, 0), wide)[..., None]
            return at, (filled - part) * gone[..., None], lips[..., None]
        # Lips that narrow are elsewhere then, and show nothing of what is beside them here.
        skin = face_alone * (cv2.dilate((lips > 0).astype(np.uint8), _square(LIPS * unit)) == 0)
        grown = cv2.GaussianBlur(cv2.dilate(found, _square(GROWN * unit)), (0, 0), max(0.6, GROWN * unit))
        gone = np.maximum(gone, grown * (1 - lips)) * face_alone
        filled = _continued(part, gone, skin, unit)
        if self._blunt > 0:
            red = cv2.erode((lips > 0.9).astype(np.uint8), _square(1)) * face_alone
            filled += self._blunt * lips[..., None] * (_continued(part, gone, red, unit) - filled)
        within = cv2.erode((lips > 0.5).astype(np.float32), _square(RIND * unit))
        within = cv2.GaussianBlur(within, (0, 0), max(0.6, RIND * unit))
        return at, (filled - part) * gone[..., None], within[..., None]

    def shares(self, target: Target) -> tuple[float, float, float]:
        """How far creases are unrolled, the folds that smiles have beside them, and the ends of lips, 0..1."""
        opened = float(np.clip((target.gap[4] - UNROLLED[0]) / (UNROLLED[1] - UNROLLED[0]), 0, 1))
        wide = float(np.linalg.norm(target.face[61, :2] - target.face[291, :2]))
        narrowed = (1 - wide / self._width - NARROWED[0]) / (NARROWED[1] - NARROWED[0])
        narrowed = float(np.clip(narrowed, 0, 1))
        return self._shut * max(SMILING * opened, narrowed) * (1 - narrowed), narrowed, narrowed * opened

    def draw(self, out: Image, origin: tuple[int, int], flow: Flow, target: Target) -> None:
        """Smooth what has unrolled in `out`, which begins at `origin` as the source's part does, in place."""
        for share, parts in zip(self.shares(target), self._parts):
            if share > 0.01:
                for ends, corner, change in parts:
                    self._lay(out, target.points[list(ends), :2] - np.array(origin), flow, corner, share * change)

    def _lay(self, out: Image, p: Array, flow: Flow, corner: tuple[int, int], change: NDArray[np.float32]) -> None:
        unit = self._face.pose.scale
        x0, y0 = np.maximum(np.floor(p.min(0) - REACH * unit), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(p.max(0) + REACH * unit), out.shape[1::-1]).astype(int)
        if not change.size or x1 <= x0 or y1 <= y0:
            return
        map_x, map_y = flow.maps(1, (int(x0), int(y0)), (int(x1), int(y1)))
        map_x -= corner[0]
        map_y -= corner[1]
        change = cv2.remap(change, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        part = out[y0:y1, x0:x1]
        part[:] = np.clip(part + change + 0.5, 0, 255)
