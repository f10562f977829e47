"""Eyeballs: they stay round under moving lids and turn with the gaze."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import hypot

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


def _complex(point: NDArray) -> complex:
    return complex(point[0], point[1])


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


@dataclass(frozen=True)
class _Eye:
    """An eye of the source, in pixels of its picture and in its own coordinates: 0 and 1 at the corners of its lids."""

    corner: complex  # pixels
    along: complex  # from that corner to the other one, pixels
    upper: float  # mean height of the upper lid between its corners
    lower: float
    centre: complex  # of the iris
    radius: float

    @staticmethod
    def of(points: NDArray, upper: list[int], lower: list[int], iris: list[int]) -> _Eye:
        """Of landmarks (478, 2)."""
        corner = _complex(points[upper[0]])
        along = _complex(points[upper[-1]]) - corner
        heights = [((_complex(points[lid[1:-1]].mean(0)) - corner) / along).imag for lid in (upper, lower)]
        disc = [(_complex(p) - corner) / along for p in points[iris]]
        radius = float(np.mean([abs(d - disc[0]) for d in disc[1:]]))
        return _Eye(corner, along, heights[0], heights[1], disc[0], radius)

    @property
    def turn(self) -> float:
        """Of the left eye both axes run the other way on screen."""
        return 1.0 if self.along.real > 0 else -1.0


class Eyes:
    """Both eyes of a source."""

    def __init__(self, image: NDArray[np.uint8], origin: tuple[int, int], face: SourceFace) -> None:
        """`image` is the source's, from `origin` on."""
        self._image, self._origin = image, np.array(origin, np.float64)
        self._points = face.points[:, :2] - self._origin
        self._eyes = [_Eye.of(self._points, upper, lower, iris) for _, upper, lower, iris in EYES]

    @cached_property
    def _balls(self) -> list[Eyeball | None]:
        """The eyes taken apart; None for such as cannot be."""
        balls: list[Eyeball | None] = []
        for eye, (ring, _, _, _) in zip(self._eyes, EYES):
            ball = None
            if abs(eye.along) >= SMALLEST:
                ball = Eyeball(self._image, self._points[ring], eye.corner, eye.along, eye.centre, eye.radius)
            balls.append(ball if ball is not None and ball.known else None)
        return balls if None not in balls else [None, None]  # eyes go together

    def travel(self, target: Target, most: float = TRAVEL) -> list[float]:
        """By how much both irises move, eye widths right and down in the picture: as far as each can, and `most`."""
        shift = [min(max(float(g) / GAZE_ANGLE, -most), most) for g in target.gaze]
        for k, (_, upper, lower, _) in enumerate(EYES):
            if target.openness[k] < 0.25:
                continue
            eye, turn, middle = self._eyes[k], self._eyes[k].turn, len(upper) // 2
            a, b, up, low = (_complex(target.points[c]) for c in (upper[0], upper[-1], upper[middle], lower[middle]))
            centre, lids = turn * eye.centre, [turn * ((v - a) / (b - a)).imag for v in (up, low)]
            for axis, first, last, at, room in (
                (0, min(0.0, turn), max(0.0, turn), centre.real, SIDE * eye.radius),
                (1, lids[0], lids[1], centre.imag, KEPT * eye.radius),
            ):
                shift[axis] = min(max(shift[axis], min(0.0, first + room - at)), max(0.0, last - room - at))
        return shift

    def draw(self, out: NDArray[np.uint8], target: Target) -> None:
        """Paint both eyes of `target` into `out`, which starts where the source's picture does, in place.

        The eyeball is sampled through the similarity of the lid corners, so that closing lids cover it
        instead of squashing it; around the iris the sample point is shifted against the change of gaze.
        Where that goes far, the iris moves over its white instead.
        """
        h, w = out.shape[:2]
        shift = self.travel(target, TRAVEL if self._balls[0] is not None else DRAWN)
        glance = ramp(hypot(shift[0], shift[1]), *GLANCE)
        for k, (ring, upper, lower, _) in enumerate(EYES):
            openness, eye, whole = float(target.openness[k]), self._eyes[k], self._balls[k]
            if openness < 0.05:
                continue
            change = min(1.0, 12 * (abs(shift[0]) + abs(shift[1])) + 6 * abs(1 - openness))
            if change < 0.01:
                continue
            rim = target.points[ring, :2] - self._origin
            (left, up), (right, down) = rim.min(0).tolist(), rim.max(0).tolist()
            x0, y0 = max(int(np.floor(left - 4)), 0), max(int(np.floor(up - 4)), 0)
            x1, y1 = min(int(np.ceil(right + 5)), w), min(int(np.ceil(down + 5)), h)
            if x1 - x0 < 4 or y1 - y0 < 3:
                continue
            # The same coordinates under the target.
            corner = _complex(target.points[upper[0], :2] - self._origin)
            along = _complex(target.points[upper[-1], :2] - self._origin) - corner
            if abs(along) < 3 or abs(eye.along) < 3:
                continue
            top_d, low_d = (
                ((_complex(target.points[c[1:-1], :2].mean(0) - self._origin) - corner) / along).imag
                for c in (upper, lower)
            )
            wide = abs(top_d - low_d) / max(abs(eye.upper - eye.lower), 1e-6)
            keep, rise = 1.0, 0.0
            if wide > 1 / 0.98:  # opened further than the source shows: keep the samples inside its eye
                keep = 0.98 / wide
                rise = (eye.upper + eye.lower) / 2 - (top_d + low_d) / 2 * keep
            centre, radius = (eye.centre, eye.radius) if whole is None else (whole.iris, whole.radius)
            du, dv = shift[0] * eye.turn, shift[1] * eye.turn  # the eye's own axes
            reach = 0.5 * radius + 0.6 * min(centre.real, 1 - centre.real)
            maps = np.empty((2, y1 - y0, x1 - x0), np.float32)
            first, step = complex(x0, y0) - corner, 1 / along
            _look_from(first, step, keep, rise, complex(centre), 1.05 * radius, reach, du, dv, eye.along, eye.corner,
                       maps[0], maps[1])  # fmt: skip
            ball = cv2.remap(self._image, maps[0], maps[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            ball = ball.astype(np.float32)
            if whole is not None and glance > 0:
                ball += glance * (_turned(whole, first, step, keep, rise, complex(du, dv), maps) - ball)
            width = abs(along)
            soft = max(0.6, width * 0.02)
            lids = polygon_mask(y1 - y0, x1 - x0, rim - [x0, y0], max(0.6, width * 0.018))
            core = cv2.erode((lids > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, int(soft)))
            mask = cv2.GaussianBlur(core.astype(np.float32), (0, 0), soft)
            mask *= np.float32(change)
            blend(out, ball, mask, x0, y0)
