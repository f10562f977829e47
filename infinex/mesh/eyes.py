"""Eyeballs: they stay round under moving lids and turn with the gaze."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.face.interior import lab_of, ramp
from infinex.face.portrait import SourceFace
from infinex.face.shape import GAZE_ANGLE
from infinex.mesh.eyeball import Eyeball
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import blend
from infinex.mesh.retarget import Target

EYES = (
    (top.RIGHT_EYE, top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER, top.RIGHT_IRIS),
    (top.LEFT_EYE, top.LEFT_LID_UPPER, top.LEFT_LID_LOWER, top.LEFT_IRIS),
)
TRAVEL = 0.25  # eye widths that an iris moves at most
KEPT = 0.35  # of its radius by which its centre stays inside the lids, however the performer rolls the eyes
SIDE = 0.55  # ... and beside the corners
DRAWN = 0.12  # ... where what surrounds it is drawn along with it
GLANCE = (0.03, 0.09)  # eye widths an iris moves over which it comes to be drawn by itself
SMALLEST = 12.0  # pixels between the corners of an eye that is taken apart
BLANK = (0.50, 0.62)  # lightness of the dark of an iris, of the white's, from painted eyes to balls of stone


def _complex(points: NDArray) -> NDArray:
    return points[..., 0] + 1j * points[..., 1]


def _local(points: NDArray, a: Any, e: Any) -> NDArray:
    """Points (N, 2) in an eye's coordinates: 0 and 1 at the corners of its lids."""
    return (_complex(points) - a) / e


def _travel(face: SourceFace, target: Target, most: float = TRAVEL) -> NDArray[np.float64]:
    """By how much both irises move, eye widths right and down in the picture: as far as each can, and `most`."""
    shift = np.clip(target.gaze / GAZE_ANGLE, -most, most)
    for k, (_, upper, lower, iris) in enumerate(EYES):
        if target.openness[k] < 0.25:
            continue
        corners = face.points[[upper[0], upper[-1]], :2]
        a, e = _complex(corners[0]), _complex(corners[1]) - _complex(corners[0])
        turn = 1.0 if e.real > 0 else -1.0
        disc = _local(face.points[iris, :2], a, e)
        centre, radius = turn * disc[0], float(np.abs(disc[1:] - disc[0]).mean())
        middle = len(upper) // 2
        q = target.points[[upper[0], upper[-1], upper[middle], lower[middle]], :2]
        lids = turn * _local(q[2:], _complex(q[0]), _complex(q[1]) - _complex(q[0])).imag
        ends = sorted((0.0, turn))
        for axis, low, high, at, room in (
            (0, ends[0], ends[1], centre.real, SIDE * radius),
            (1, lids[0], lids[1], centre.imag, KEPT * radius),
        ):
            shift[axis] = np.clip(shift[axis], min(0.0, low + room - at), max(0.0, high - room - at))
    return shift


def _parts(image: NDArray[np.uint8], points: NDArray) -> list[tuple[NDArray, NDArray]]:
    """Lightness of the iris (N,) and of the white beside it (M,) of each eye that is large enough to tell."""
    parts = []
    for ring, _, _, iris in EYES:
        lo = np.clip(np.floor(points[ring, :2].min(0)), 0, None).astype(int)
        hi = np.ceil(points[ring, :2].max(0)).astype(int) + 1
        part = image[lo[1] : hi[1], lo[0] : hi[0]]
        if min(part.shape[:2]) < 3:
            continue
        light = lab_of(part)[..., 0]
        h, w = light.shape
        inside = polygon_mask(h, w, points[ring, :2] - lo) > 0.7
        yy, xx = np.mgrid[:h, :w]
        centre = points[iris[0], :2] - lo
        radius = float(np.linalg.norm(points[iris[1:], :2] - points[iris[0], :2], axis=1).mean())
        away = np.hypot(xx - centre[0], yy - centre[1]) / max(radius, 1e-6)
        disc, white = light[inside & (away < 0.8)], light[inside & (away > 1.15)]
        if len(disc) > 3 and len(white) > 3:
            parts.append((disc, white))
    return parts


def irises(image: NDArray[np.uint8], points: NDArray) -> float:
    """How surely `image` (H, W, 3) with landmarks (478, 3) shows irises, 0..1: a ball of stone has none that could
    turn, and its corners would be drawn along."""
    shares = [
        float(np.percentile(disc, 25) / max(np.percentile(white, 60), 1.0)) for disc, white in _parts(image, points)
    ]
    return float(1 - ramp(np.array(min(shares)), *BLANK)) if shares else 1.0


def white_of(image: NDArray[np.uint8], points: NDArray) -> float | None:
    """Lightness (Lab) of the eyes' whites in `image` (H, W, 3) with landmarks (478, 3); None where none is seen."""
    whites = [white for _, white in _parts(image, points)]
    return float(np.percentile(np.concatenate(whites), 88)) if whites else None


@compiled(fast=True)
def _look_from(
    first: complex, step: complex, keep: float, rise: float, centre: complex, radius: float, reach: float, du: float,
    dv: float, along: complex, corner: complex, map_x: NDArray, map_y: NDArray,
) -> None:  # fmt: skip
    """Where the pixels of an eye come from, into maps (h, w).

    The first pixel lies at `first` and each is as wide as `step` in the eye's coordinates, whose heights are scaled by
    `keep` and raised; the iris at `centre` has moved by (du, dv), and over `reach` beyond its `radius` that fades.
    `along` and `corner` are those of the eye in the source."""
    for i in range(map_x.shape[0]):
        for j in range(map_x.shape[1]):
            z = (first + complex(j, i)) * step
            u, v = z.real, z.imag * keep + rise
            away = np.hypot(u - centre.real - du, v - centre.imag - dv) - radius
            f = min(1.0, max(0.0, away / reach))
            pull = (1 - f) ** 2 * (1 + 2 * f)
            at = complex(u - du * pull, v - dv * pull) * along + corner
            map_x[i, j], map_y[i, j] = at.real, at.imag


def _turned(
    ball: Eyeball, first: complex, step: complex, keep: float, rise: float, moved: complex, maps: NDArray
) -> NDArray[np.float32]:
    """An eye whose iris has `moved` over its white, for the pixels that `maps` (2, h, w) hold; the rest as in
    `_look_from`."""
    layers = []
    for picture, corner in (
        (ball.white, ball.corner), (ball.disc, ball.middle - (ball.iris + moved) * ball.scale),
    ):  # fmt: skip
        _look_from(
            first, step, keep, rise, 0j, 0.0, 1.0, 0.0, 0.0, complex(ball.scale), complex(corner), maps[0], maps[1]
        )
        layers.append(cv2.remap(picture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    white, disc = layers
    return np.asarray(white + disc[..., 3:] * (disc[..., :3] - white), np.float32)


def eyeballs(image: NDArray[np.uint8], origin: tuple[int, int], face: SourceFace) -> list[Eyeball | None]:
    """Both eyes of a source `image` that starts at `origin`; None for such as cannot be taken apart."""
    S = face.points[:, :2] - np.array(origin, np.float64)
    balls: list[Eyeball | None] = []
    for ring, upper, _, iris in EYES:
        a = _complex(S[upper[0]])
        e = _complex(S[upper[-1]]) - a
        if abs(e) < SMALLEST:
            balls.append(None)
            continue
        disc = _local(S[iris], a, e)
        ball = Eyeball(
            image, S[ring], complex(a), complex(e), complex(disc[0]), float(np.abs(disc[1:] - disc[0]).mean())
        )
        balls.append(ball if ball.known else None)
    return balls if None not in balls else [None, None]  # eyes go together


def draw_eyes(
    out: NDArray[np.uint8],
    image: NDArray[np.uint8],
    origin: tuple[int, int],
    face: SourceFace,
    target: Target,
    balls: list[Eyeball | None],
) -> None:
    """Paint both eyes of `target` into `out`, in place; `image` is the source, both start at `origin`.

    The eyeball is sampled through the similarity of the lid corners, so that closing lids cover it
    instead of squashing it; around the iris the sample point is shifted against the change of gaze.
    Where that goes far, the iris of `balls` moves over their white instead.
    """
    o = np.array(origin, np.float64)
    h, w = out.shape[:2]
    shift = _travel(face, target, TRAVEL if balls[0] is not None else DRAWN)
    for k, (ring, upper, lower, iris) in enumerate(EYES):
        if target.openness[k] < 0.05:
            continue
        change = min(1.0, 12 * float(np.abs(shift).sum()) + 6 * abs(1 - float(target.openness[k])))
        if change < 0.01:
            continue
        P, S = target.points[:, :2] - o, face.points[:, :2] - o
        x0, y0 = np.maximum(np.floor(P[ring].min(0) - 4), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(P[ring].max(0) + 5), [w, h]).astype(int)
        if x1 - x0 < 4 or y1 - y0 < 3:
            continue
        # Eye coordinates: 0 and 1 at the lid corners, in the source (s) and in the target (d).
        a_s, a_d = _complex(S[upper[0]]), _complex(P[upper[0]])
        e_s, e_d = _complex(S[upper[-1]]) - a_s, _complex(P[upper[-1]]) - a_d
        if abs(e_d) < 3 or abs(e_s) < 3:
            continue

        top_s, low_s = (_local(S[c[1:-1]], a_s, e_s).imag.mean() for c in (upper, lower))
        top_d, low_d = (_local(P[c[1:-1]], a_d, e_d).imag.mean() for c in (upper, lower))
        wide = abs(top_d - low_d) / max(abs(top_s - low_s), 1e-6)
        keep, rise = 1.0, 0.0
        if wide > 1 / 0.98:  # opened further than the source shows: keep the samples inside its eye
            keep = 0.98 / wide
            rise = (top_s + low_s) / 2 - (top_d + low_d) / 2 * keep
        centre = complex(_local(S[iris[0]], a_s, e_s))
        radius = float(np.abs(_local(S[iris[1:]], a_s, e_s) - centre).mean())
        whole = balls[k]
        if whole is not None:
            centre, radius = whole.iris, whole.radius
        # The eye's own axes: for the left eye both run the other way on screen, and so does its shift.
        turn = 1.0 if e_s.real > 0 else -1.0
        du, dv = shift * turn
        reach = 0.5 * radius + 0.6 * min(centre.real, 1 - centre.real)
        maps = np.empty((2, y1 - y0, x1 - x0), np.float32)
        _look_from(complex(x0, y0) - a_d, 1 / e_d, keep, rise, complex(centre), 1.05 * radius, reach, du, dv, e_s, a_s,
                   maps[0], maps[1])  # fmt: skip
        ball = cv2.remap(image, maps[0], maps[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        glance = float(ramp(np.hypot(*shift), *GLANCE))
        if whole is not None and glance > 0:
            first = complex(complex(x0, y0) - a_d)
            ball += glance * (_turned(whole, first, complex(1 / e_d), keep, rise, complex(du, dv), maps) - ball)
        width = abs(e_d)
        soft = max(0.6, width * 0.02)
        lids = polygon_mask(y1 - y0, x1 - x0, P[ring] - [x0, y0], max(0.6, width * 0.018))
        core = cv2.erode((lids > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, int(soft)))
        mask = cv2.GaussianBlur(core.astype(np.float32), (0, 0), soft) * change
        blend(out, ball, mask.astype(np.float32), int(x0), int(y0))
