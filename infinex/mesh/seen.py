"""Mouths and shut lids as another picture of the same person shows them, in the portrait's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import blend, drawn

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

REACH = 0.16  # IOD around the lips in which skin is taken along
INNER = 0.03  # ... and up to which it is the picture's alone
LID_REACH, LID_INNER = 0.19, 0.11  # the same around the lids: an upper one is as high
EDGE = 0.05  # IOD over which it ends where the face does
LIGHT, BROAD = 0.10, 0.4  # IOD: deviation of the Gaussian that tells light and colour, of a part and of bare skin
COARSE = (1.3, 2.0)  # times the size of the face in the picture, from where on and up to which less of it is shown
STRIP = np.array(top.strip(top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER), np.int64)
EYES = (  # ring, and what its lids close, right and left
    (top.RIGHT_EYE, np.array(top.strip(top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER), np.int64)),
    (top.LEFT_EYE, np.array(top.strip(top.LEFT_LID_UPPER, top.LEFT_LID_LOWER), np.int64)),
)


def facing(points: NDArray) -> Array:
    """How much skin at landmarks (478, 3) faces whoever looks: (468,) cosines in 0..1, 0 where it is hidden."""
    p, tris = np.asarray(points, np.float64), top.triangles()
    normal = np.cross(p[tris[:, 1]] - p[tris[:, 0]], p[tris[:, 2]] - p[tris[:, 0]])
    total = np.zeros((top.SURFACE, 3))
    for k in range(3):
        np.add.at(total, tris[:, k], normal)
    return np.maximum(total[:, 2] / np.maximum(np.linalg.norm(total, axis=1), 1e-9), 0)


def _around(ring: Sequence[int], reach: float) -> NDArray[np.int64]:
    """Triangles of all skin within a reach of a ring of the mean face, IOD."""
    face = top.mean_face()[: top.SURFACE, :2]
    away = np.linalg.norm(face[:, None] - face[None, list(ring)], axis=2).min(1)
    skin = top.triangles()
    return np.asarray(skin[(away[skin] < reach).all(1)], np.int64)


@cache
def mouth_triangles(wide: float = 4.0) -> NDArray[np.int64]:
    """The opening of the mouth, then lips and all skin of which something may show, if it stretches `wide` times."""
    return np.concatenate([STRIP, _around(top.LIPS_OUTER, wide * REACH)])


@dataclass(frozen=True)
class Part:
    """What is laid on: skin that is the picture's alone up to `inner` from a `ring`, and ends at `far`, IOD."""

    ring: Sequence[int]
    hole: Sequence[int]  # in it colours tell nothing of the light
    triangles: NDArray[np.int64]
    inner: float
    far: float


@cache
def _mouth() -> Part:
    return Part(top.LIPS_OUTER, top.LIPS_INNER, mouth_triangles(), INNER, REACH)


@cache
def _eyes() -> tuple[Part, ...]:
    """Right and left."""
    return tuple(
        Part(ring, (), np.concatenate([opening, _around(ring, 2 * LID_REACH)]), LID_INNER, LID_REACH)
        for ring, opening in EYES
    )


def draw_seen_mouth(
    out: Image, origin: tuple[int, int], points: Array, unit: float, image: Image, seen: Array, share: float
) -> None:
    """Lay the mouth of `image`, landmarks `seen` (478, 3), over that of `out`, which begins at `origin` and whose
    landmarks are `points` (478, 3), `unit` pixels from eye to eye; `share` 0..1 is how much of it."""
    _lay(out, origin, points, unit, image, seen, share, _mouth())


def draw_seen_lids(
    out: Image, origin: tuple[int, int], points: Array, unit: float, image: Image, seen: Array, shares: Array
) -> None:
    """The same of both eyes' shut lids; `shares` (2,), right and left."""
    for share, part in zip(shares.tolist(), _eyes()):
        _lay(out, origin, points, unit, image, seen, share, part)


def draw_seen_skin(
    out: Image,
    origin: tuple[int, int],
    points: Array,
    unit: float,
    image: Image,
    seen: Array,
    shares: Array,
    told: Array,
) -> None:
    """The same of skin that a turn uncovers: `shares` (468,) says how much of it at every landmark, `told` (468,)
    how well the portrait shows its colour."""
    shares = shares * sharpness(unit, seen)
    p = np.ascontiguousarray(points[:, :2] - np.array(origin), np.float64)
    on = np.flatnonzero(shares > 0.02)
    if not len(on):
        return
    x0, y0 = np.maximum(np.floor(p[on].min(0) - LIGHT * unit), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(p[on].max(0) + LIGHT * unit) + 1, [out.shape[1], out.shape[0]]).astype(int)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    shape = (y1 - y0, x1 - x0)
    tris = top.triangles()
    tris = np.ascontiguousarray(tris[np.argsort(-points[tris, 2].mean(1))], np.int64)  # from far to near
    mx, my, covered = drawn(p, seen[:, :2], tris, x0, y0, shape)
    share, known, _ = drawn(p[: top.SURFACE], np.column_stack([shares, told]), tris, x0, y0, shape)
    layer = cv2.remap(image, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    within = cv2.distanceTransform(covered.astype(np.uint8), cv2.DIST_L2, 3) / unit
    mask = np.where(covered, share, 0) * np.clip(within / EDGE, 0, 1)
    known = np.where(covered, known, 0).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), BROAD * unit)
    apart = (out[y0:y1, x0:x1].astype(np.float32) - layer) * known[..., None]
    layer += cv2.GaussianBlur(apart, (0, 0), BROAD * unit) / np.maximum(weight, 1e-3)[..., None]
    blend(out, np.clip(layer, 0, 255), mask.astype(np.float32), int(x0), int(y0))


def sharpness(unit: float, seen: Array) -> float:
    """How much of a picture is shown, 0..1: one much coarser than the portrait would blur lips and skin."""
    coarse = unit / max(float(np.linalg.norm(seen[33, :2] - seen[263, :2])), 1.0)
    return float(np.clip((COARSE[1] - coarse) / (COARSE[1] - COARSE[0]), 0, 1))


def _lay(
    out: Image, origin: tuple[int, int], points: Array, unit: float, image: Image, seen: Array, share: float, part: Part
) -> None:
    """Lay a part over `out`; see `draw_seen_mouth`."""
    share *= sharpness(unit, seen)
    p = np.ascontiguousarray(points[:, :2] - np.array(origin), np.float64)
    edge, inner, far = p[list(part.ring)], part.inner, part.far
    x0, y0 = np.maximum(np.floor(edge.min(0) - far * unit), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(edge.max(0) + far * unit) + 1, [out.shape[1], out.shape[0]]).astype(int)
    if share <= 0 or x1 - x0 < 8 or y1 - y0 < 8:
        return
    shape = (y1 - y0, x1 - x0)
    mx, my, covered = drawn(p, seen[:, :2], part.triangles, x0, y0, shape)
    layer = cv2.remap(image, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    outside = (polygon_mask(*shape, edge - [x0, y0]) < 0.5).astype(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, 3) / unit
    within = cv2.distanceTransform(covered.astype(np.uint8), cv2.DIST_L2, 3) / unit
    mask = np.clip((far - away) / (far - inner), 0, 1) * np.clip(within / EDGE, 0, 1)
    # Light and colour are the portrait's: of lips and skin, which both pictures show, the coarse difference goes over.
    both = mask > 0
    if len(part.hole):
        both &= polygon_mask(*shape, p[list(part.hole)] - [x0, y0]) < 0.5
    weight = cv2.GaussianBlur(both.astype(np.float32), (0, 0), LIGHT * unit)
    apart = (out[y0:y1, x0:x1].astype(np.float32) - layer) * both[..., None]
    layer += cv2.GaussianBlur(apart, (0, 0), LIGHT * unit) / np.maximum(weight, 1e-3)[..., None]
    mask = cv2.GaussianBlur((share * mask * mask * (3 - 2 * mask)).astype(np.float32), (0, 0), 0.01 * unit)
    blend(out, np.clip(layer, 0, 255), mask, int(x0), int(y0))
