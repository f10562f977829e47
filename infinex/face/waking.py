"""Closed eyes of a portrait drawn open where that is asked for: lids go up, and eyes that nobody has seen are made.

The lash line is raised to where the upper lid of an open eye of average shape stands, the skin above it folds together
below the brow, and the opening shows a ball with an iris of a plain brown, in the light of the face.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, option
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.remarks import CLOSED, closed_sides
from infinex.face.shape import eye_openness
from infinex.face.tracker import Face

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
LIDS = (
    (top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER, top.RIGHT_IRIS),
    (top.LEFT_LID_UPPER, top.LEFT_LID_LOWER, top.LEFT_IRIS),
)
WIDE = 0.95  # of an average face's eye, how far these are opened
RISE = 0.12  # of the gap, by which the lower lid stood too high while the eye was closed
FOLDS = 0.55  # eye widths above the lash line over which skin folds together ...
HANGS = 0.30  # ... and below it, over which skin comes up in the place of lashes that hung down there,
LASHES = 0.10  # which was so far
LINE = 0.02  # half of the lash line, that goes up with the lid
IRIS = 0.195  # its radius: 11.7 of 30 mm
PUPIL = 0.36  # of that
BROWN = np.array([0.27, 0.175, 0.12])
WHITE = np.array([0.90, 0.87, 0.85])
BLUR = 0.012  # eye widths, of what is drawn: no photograph is sharper
FINE = 3  # as many samples a pixel, along either side, of what is drawn
GREY = 8.0  # levels between the colours of a face below which it is a grey one


class _Eye:
    """Coordinates of one eye: u from its outer (0) to its inner corner (1), v down in the picture, in eye widths."""

    def __init__(self, points: Array, upper: list[int], lower: list[int]) -> None:
        """`points` (478, 2) in pixels."""
        self.corner = points[upper[0]]
        along = points[upper[-1]] - self.corner
        self.width = float(np.hypot(*along))
        self.along = along / max(self.width, 1e-6)
        down = np.array([-self.along[1], self.along[0]])
        brow = points[top.RIGHT_BROW if upper is top.RIGHT_LID_UPPER else top.LEFT_BROW].mean(0)
        self.down = down if (brow - self.corner) @ down < 0 else -down
        self.upper, self.lower = (self.of(points[chain]) for chain in (upper, lower))

    def of(self, points: Array) -> Array:
        """(..., 2) pixels as u and v."""
        by = (points - self.corner) / max(self.width, 1e-6)
        return np.stack([by @ self.along, by @ self.down], -1)

    def at(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Pixels, x and y, of u and v."""
        p = self.corner + self.width * (u[..., None] * self.along + v[..., None] * self.down)
        return p[..., 0], p[..., 1]


def _curve(chain: Array) -> Callable[[Array], Array]:
    """v along a chain of lid points (N, 2), smooth, 0 at the corners."""
    u = np.clip(chain[:, 0], 0, 1)
    basis = np.stack([u * (1 - u), u * (1 - u) * (2 * u - 1), u * (1 - u) * (2 * u - 1) ** 2], 1)
    weights = np.linalg.lstsq(basis, chain[:, 1], rcond=None)[0]

    def curve(at: Array) -> Array:
        t = np.clip(at, 0, 1)
        return np.asarray(t * (1 - t) * (weights[0] + weights[1] * (2 * t - 1) + weights[2] * (2 * t - 1) ** 2))

    return curve


def _usual(upper: list[int], lower: list[int]) -> Callable[[Array], Array]:
    """How far an average eye is open along it, eye widths."""
    eye = _Eye(top.mean_face()[:, :2], upper, lower)
    high, low = _curve(eye.upper), _curve(eye.lower)
    return lambda u: np.maximum(low(u) - high(u), 0.0)


def opened(
    image: RGB, face: Face, mesh: Callable[[RGB, tuple[float, float, float, float]], Array | None]
) -> tuple[RGB, Face]:
    """A portrait (H, W, 3) with its closed eyes opened, and its face seen anew by `mesh`; as it is where all are open.

    Raises InputError where no open eye can be made: in faces that are too small or turned too far."""
    portrait = SourceFace(face.landmarks)
    sides = closed_sides(portrait)
    if not sides:
        return image, face
    out = image.copy()
    for k in sides:
        _open(out, face.landmarks[:, :2].astype(np.float64), k)
    points = mesh(out, face.box)
    if points is None or (eye_openness(SourceFace(points).face)[sides] < CLOSED).any():
        raise InputError(
            f"{option('open_eyes')}: these eyes cannot be drawn open; the face is too small or turned too far"
        )
    return out, Face(points, face.score)


def _open(out: RGB, points: Array, k: int) -> None:
    """Draw eye `k` of a picture (H, W, 3) open, in place."""
    upper, lower, _ = LIDS[k]
    eye, usual = _Eye(points, upper, lower), _usual(upper, lower)
    if eye.width < 6:
        return
    line = _curve(np.concatenate([eye.upper, eye.lower]))
    h, w = out.shape[:2]
    reach = 1.1 * eye.width
    middle = eye.corner + 0.5 * eye.width * eye.along
    x0, y0 = np.maximum(np.floor(middle - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(middle + reach) + 1, [w, h]).astype(int)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    part = out[y0:y1, x0:x1].copy()
    light, colourful = _light(out, points)
    n = FINE
    yy, xx = (np.mgrid[: (y1 - y0) * n, : (x1 - x0) * n].astype(np.float64) + 0.5) / n - 0.5
    place = eye.of(np.stack([xx + x0, yy + y0], -1))
    u, v = place[..., 0], place[..., 1]
    gap = WIDE * usual(u)
    closed = line(u)
    low = closed + RISE * gap
    high = low - gap
    # Skin: above, the lash line goes up with the lid; below, what lay under hanging lashes comes up to the lower lid.
    share = np.clip(gap / max(float(gap.max()), 1e-6), 0, 1)
    above = np.clip(1 - (high - v) / FOLDS, 0, 1)
    below = np.clip(1 - (v - low) / HANGS, 0, 1)
    shift = np.where(
        v < (high + low) / 2, (closed + LINE * share - high) * above**2 * (3 - 2 * above), LASHES * share * below**2
    )
    sx, sy = eye.at(u, v + shift)
    skin = cv2.remap(
        part,
        (sx - x0).astype(np.float32),
        (sy - y0).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float64)
    ball = 255 * _ball(u, v, high, low, gap, light)
    if not colourful:
        ball = np.repeat(ball @ np.array([[0.299], [0.587], [0.114]]), 3, 2)
    soft = max(1.2 / eye.width, 0.02)
    mask = np.clip(np.minimum(v - high, low - v) / soft + 0.5, 0, 1) * (gap > 0)
    # A wet rim along the lower lid, and the shade of the fold above the upper one.
    rim = np.exp(-(((v - low - 0.012) / 0.014) ** 2)) * share
    skin += (0.35 * rim * (1 - mask))[..., None] * (np.minimum(skin * 1.15 + 12, 255) - skin)
    fold = np.exp(-(((high - 0.30 * gap - 0.03 - v) / 0.022) ** 2)) * share
    lashes = np.exp(-(((high - v - 0.004) / 0.017) ** 2)) * share**0.5
    drawn = skin * (1 - 0.16 * fold * (1 - mask))[..., None]
    drawn = (drawn + mask[..., None] * (ball - drawn)) * (1 - 0.6 * lashes)[..., None]
    drawn = cv2.GaussianBlur(drawn, (0, 0), n * (BLUR * eye.width + 0.3))
    drawn = skin + np.clip((mask + lashes + fold + rim) * 3, 0, 1)[..., None] * (
        drawn - skin
    )  # skin is as sharp as it was
    small = cv2.resize(drawn.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    changed = (np.abs(shift) > 1e-6) | (mask > 0) | (rim + fold + lashes > 0.02)
    where = cv2.resize(changed.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)[..., None]
    out[y0:y1, x0:x1] = np.clip(np.round(part + where * (small - part)), 0, 255)


def _light(image: RGB, points: Array) -> tuple[Array, bool]:
    """The light on a face as the colour (3,) of something white in it, 0..1, and whether the picture has colours."""
    h, w = image.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points[top.OVAL]).astype(np.int32)), 1)
    seen = image[mask > 0].astype(np.float64)
    if not len(seen):
        return np.full(3, 0.8), True
    bright = float(np.percentile(seen.max(1), 90)) / 255
    warmth = np.median(seen, 0)
    tint = 1 + 0.15 * (warmth / max(float(warmth.mean()), 1.0) - 1)  # skin is warm by itself, light a little
    return np.clip(0.98 * bright * tint, 0.05, 1), bool(np.median(np.ptp(seen, axis=1)) > GREY)


def _ball(u: Array, v: Array, high: Array, low: Array, gap: Array, light: Array) -> Array:
    """Colours (H, W, 3), 0..1, of an eyeball at u and v between its lids."""
    middle = float(((high + low) / 2)[np.abs(u - 0.5) < 0.03].mean())
    most = float(gap.max())
    x, y = u - 0.5, v - middle
    colour = WHITE * np.ones((*u.shape, 1))
    colour = colour * (1 - 0.9 * np.clip(np.hypot(x, 0.8 * y), 0, 0.6) ** 2)[..., None]  # it is round
    red = np.clip((u - 0.86) / 0.12, 0, 1) ** 2  # the inner corner is flesh
    colour += (0.75 * red)[..., None] * (np.array([0.74, 0.46, 0.43]) - colour)
    r = np.hypot(x, y) / IRIS
    angle = np.arctan2(y, x)
    rays = 0.5 + 0.22 * np.sin(23 * angle + 3 * np.sin(5 * angle)) + 0.18 * np.sin(41 * angle + 1.7)
    iris = BROWN * (0.75 + 0.45 * rays * np.clip((r - PUPIL) / 0.3, 0, 1) * np.clip((1 - r) / 0.25, 0, 1))[..., None]
    iris = iris * (1 + 0.35 * np.clip(y / IRIS, -1, 1))[..., None]  # light falls in from above and meets the lower half
    iris = iris * (1 - 0.55 * np.clip((r - 0.78) / 0.2, 0, 1))[..., None]
    iris = iris * (1 - 0.94 * np.clip((PUPIL + 0.06 - r) / 0.08, 0, 1))[..., None]
    edge = np.clip((1.03 - r) / 0.09, 0, 1)[..., None]
    colour = colour + edge * (iris - colour)
    shade = np.clip((v - high) / (0.42 * most), 0, 1)
    colour = colour * (0.52 + 0.48 * shade * (2 - shade))[..., None]  # of the upper lid
    colour = colour * (0.86 + 0.14 * np.clip((low - v) / (0.12 * most), 0, 1))[..., None]
    spark = np.clip(1.4 - np.hypot(x + 0.3 * IRIS, y + 0.34 * IRIS) / (0.15 * IRIS), 0, 1)[..., None]
    return np.clip((colour + 0.85 * spark * (1 - colour)) * light, 0, 1)
