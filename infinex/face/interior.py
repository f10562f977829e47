"""What a mouth shows between its lips, which no landmark tells: teeth, a tongue, or darkness.

The opening is read in three bands from the upper lip to the lower one. Of each it is measured how much is light, as
teeth are, and how much dark, as a cavity is; tongue and gums lie between. All of it is told beside the lightness of the
performer's own skin: six shares a frame, motion as Action Units are, that carry over to another's mouth in its own
light and colours. They carry no picture.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

BANDS, KINDS = 3, 2  # upper, middle, lower; light, dark
DARK, BETWEEN, LIGHT = 0.1, 0.6, 1.1  # lightness, as a share of the skin's, of a cavity, of a tongue, of teeth
SHAPE = (BANDS, KINDS)
ROWS = 4  # read in each band
ACROSS = 3  # columns read between neighbouring landmarks
TONGUE = (6.0, 12.0)  # redness (Lab a) beyond the skin's over which what is light at the lower lip is no tooth
PALE = (0.80, 0.95)  # colourfulness beside the lips' below which what is as light as they are is teeth, ...
LIP_LIGHT = (-0.05, 0.08)  # ... and lightness beyond theirs over which it is, as a share of the skin's
COLOURED = (4.0, 10.0)  # colourfulness (Lab) of lips that tells: grey pictures have none
ROOF_DARK = (0.2, 0.45)  # share of the upper band that is dark over which what is light and not pale is a tongue
LEAST = 0.6  # pixels of mean opening under which nothing is seen
# What mouths show on the whole: stands in where one of two joined performances knows more than the other.
USUAL: Array = np.array([[0.2, 0.3], [0.2, 0.3], [0.2, 0.2]])


def interior(image: Image, points: Array) -> Array | None:
    """Shares (3, 2) in 0..1: of the upper, middle and lower band, how much is light and how much dark.

    `image` (H, W, 3) shows landmarks `points` (478, 3) in pixels. None where the lips meet or are out of sight."""
    h, w = image.shape[:2]
    upper, lower = points[top.LIPS_INNER_UPPER, :2], points[top.LIPS_INNER_LOWER, :2]
    upper, lower = _COLUMNS @ upper, _COLUMNS @ lower
    down = np.maximum((lower - upper) @ _downwards(points), 0)
    if down.mean() < LEAST:
        return None
    places = (upper + _HEIGHTS * (lower - upper)).astype(np.float32)
    if not ((places > -1) & (places < [w, h])).all():
        return None
    seen = cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lab, skin = lab_of(seen), colour_at(image, points[top.SKIN])
    light = lab[..., 0] / max(float(skin[0]), 1.0)
    shares = np.stack([ramp(light, BETWEEN, LIGHT), 1 - ramp(light, DARK, BETWEEN)], -1)
    # A wet tongue or lip is as light as teeth, and lies where a jaw that dropped leaves the roof dark.
    lips = colour_at(image, mid_lips(points))
    coloured = float(np.hypot(lips[1], lips[2]))
    pale = 1 - ramp(np.hypot(lab[..., 1], lab[..., 2]) / max(coloured, 1.0), *PALE)
    pale *= float(ramp(np.array(coloured), *COLOURED))
    roof = float((shares[:ROWS, :, 1].mean(0) * down).sum() / down.sum())
    shares[-ROWS:, :, 0] *= 1 - ramp(lab[-ROWS:, :, 1] - skin[1], *TONGUE)
    shares[ROWS:, :, 0] *= np.maximum(pale[ROWS:], 1 - ramp(np.array(roof), *ROOF_DARK))
    teeth = pale * ramp((lab[..., 0] - lips[0]) / max(float(skin[0]), 1.0), *LIP_LIGHT)
    shares[..., 0] = np.maximum(shares[..., 0], teeth)
    shares = shares.reshape(BANDS, ROWS, -1, KINDS).mean(1)  # columns count by how far open they are
    return (shares * down[:, None]).sum(1) / down.sum()


def _columns() -> Array:
    """Where the lips are read, as means of neighbouring landmarks of one of their edges."""
    count = len(top.LIPS_INNER_UPPER)
    at = np.linspace(0.5, count - 1.5, ACROSS * (count - 2))[:, None]
    return np.maximum(1 - np.abs(at - np.arange(count)), 0)


_COLUMNS = _columns()
_HEIGHTS = (np.arange(BANDS * ROWS) + 0.5)[:, None, None] / (BANDS * ROWS)


def mid_lips(points: Array) -> Array:
    """Places on the lips, halfway between their outer and inner edges."""
    inner, outer = points[top.LIPS_INNER][:, :2], points[top.LIPS_OUTER][:, :2]
    near = np.linalg.norm(inner[:, None] - outer[None], axis=2).argmin(1)
    return (inner + outer[near]) / 2


def teeth_over(shares: Array) -> float:
    """How surely teeth fill an opening that showed `shares` (3, 2), 0..1."""
    return float(min(1.0, shares[:2, 0].sum() / 1.2) * ramp(shares[1, 0], 0.3, 0.6))


def painted(shares: Array, opening: NDArray) -> NDArray[np.float32]:
    """The shares (3, 2) laid out over an upright opening (H, W) in 0..1, (2, H, W): light, dark."""
    solid = opening > 0.5
    first, last = solid.argmax(0), len(solid) - 1 - solid[::-1].argmax(0)
    height = np.maximum(last - first + 1, 1)
    v = (np.arange(len(solid))[:, None] - first + 0.5) / height
    centres = (np.arange(BANDS) + 0.5) / BANDS
    planes = [np.interp(v, centres, shares[:, k]) * opening for k in range(KINDS)]
    return np.asarray(planes, np.float32)


def ramp(x: Any, low: float, high: float) -> Any:
    """0 up to `low`, 1 from `high` on, straight in between; a number for a number."""
    y = (x - low) / (high - low)
    if not isinstance(y, np.ndarray):
        return min(max(float(y), 0.0), 1.0)
    return np.minimum(np.maximum(y, 0), 1)  # less is done than by np.clip


def lab_of(rgb: NDArray) -> NDArray[np.float32]:
    """RGB (H, W, 3) in 0..255 to Lab with L in 0..100 and a, b around 0."""
    return cv2.cvtColor(np.asarray(rgb, np.float32) / 255, cv2.COLOR_RGB2LAB)


def colour_at(image: Image, places: Array) -> NDArray[np.float32]:
    """Median colour of a frame in Lab, from three by three pixels around each of some places."""
    p = np.round(places[:, :2]).astype(int)
    p = np.minimum(np.maximum(p, 1), np.array(image.shape[1::-1]) - 2)
    x, y = (p[:, None] + _BESIDE).reshape(-1, 2).T
    lab = np.sort(lab_of(image[y, x][None])[0], 0)  # of so few np.median takes three times as long
    return (lab[(len(lab) - 1) // 2] + lab[len(lab) // 2]) / np.float32(2)


_BESIDE = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)


def _downwards(points: Array) -> Array:
    """The way from the upper lip to the lower one in the picture, (2,), of length 1."""
    across = points[308, :2] - points[78, :2]
    way = np.array([-across[1], across[0]])
    return way / max(float(np.linalg.norm(way)), 1e-6)
