"""Glasses: whether a portrait wears some, and which part of the face they hold still.

A frame is a dark line below both eyes that runs across all of their width, where nobody without glasses has one as
dark on both sides. Frames without a lower rim, of thin wire or lighter than skin are not told from folds.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.portrait import EYES, SourceFace
from infinex.face.surroundings import smoothstep

Array = NDArray[np.float64]
Map = NDArray[np.float32]
SCALE = 100  # pixels between the outer corners of the eyes at which it is looked
WIDE, HIGH, MIDDLE = 190, 120, 50  # of what is looked at, and the row of the eyes
LINE = 15  # pixels within which a rim is dark on both sides of it
BELOW = (6, 42)  # pixels below the lids where a lower rim may be, first and last ...
ABOVE = (4, 34)  # ... and above them the upper one
DARK = 0.27  # of the skin's lightness by which a rim is darker than what is beside it
CLEAR = 25  # percentile of the places along a rim that are as dark
ROOM = 0.04  # about the rims that is held, too ...
FADE = 0.10  # ... and over which that fades; IOD
LEAST = 0.5  # IOD of a face seen from the front between the eyes of one that is turned; beyond, rims are not told
LIDS = (0.03, 0.11)  # from the lids, which go on moving behind the glass; IOD


def held(image: NDArray[np.uint8], face: SourceFace) -> Array | None:
    """How firmly glasses hold each point of the mesh (478,), 0..1; None where `image` (H, W, 3) shows none."""
    points = face.points[:, :2]
    a, b = points[33], points[263]
    unit = float(np.linalg.norm(b - a))
    if unit < LEAST * face.pose.scale:
        return None
    across = (b - a) / unit
    places = (points - (a + b) / 2) @ np.stack([across, [-across[1], across[0]]], 1) / unit  # eyes level, IOD
    rim = _dark_lines(image, (a + b) / 2, across, unit)
    upper: list[float] = []
    lower: list[float] = []
    for above, below in EYES:
        x, y = (places[[*above, *below]] * SCALE + [WIDE / 2, MIDDLE]).T
        columns = np.arange(max(0, int(x.min()) + 3), min(WIDE, int(x.max()) - 2))
        if len(columns) < 6:
            return None
        under, dark = _course(rim[int(y.max()) + BELOW[0] : int(y.max()) + BELOW[1], columns])
        if float(np.percentile(dark, CLEAR)) < DARK:
            return None
        lower.append(float(under.max() + int(y.max()) + BELOW[0] - MIDDLE) / SCALE)
        first = max(0, int(y.min()) - ABOVE[1])
        over, _ = _course(rim[first : max(first + 2, int(y.min()) - ABOVE[0]), columns])
        upper.append(float(np.median(over) + first - MIDDLE) / SCALE)
    y = places[:, 1]
    hold = smoothstep((y - min(upper) + ROOM + FADE) / FADE) * smoothstep((max(lower) + ROOM + FADE - y) / FADE)
    lids = np.array([n for pair in EYES for chain in pair for n in chain])
    apart = np.linalg.norm(places[:, None] - places[lids], axis=2).min(1)
    hold *= smoothstep((apart - LIDS[0]) / (LIDS[1] - LIDS[0]))
    for chain in (top.RIGHT_EYE, top.LEFT_EYE):
        ring = places[chain].astype(np.float32).reshape(-1, 1, 2)
        within = np.array([cv2.pointPolygonTest(ring, (float(p[0]), float(p[1])), False) >= 0 for p in places])
        hold[within] = 0
    hold[top.SURFACE :] = 0
    return hold


def _dark_lines(image: NDArray[np.uint8], centre: Array, across: Array, unit: float) -> Map:
    """By how much of the skin's lightness each place about the eyes is darker than above and below (HIGH, WIDE)."""
    step = unit / SCALE
    if step > 1.5:
        image = np.asarray(cv2.blur(image, (round(step), round(step))), np.uint8)
    x, y = np.meshgrid((np.arange(WIDE) + 0.5 - WIDE / 2) * step, (np.arange(HIGH) + 0.5 - MIDDLE) * step)
    map_x = (centre[0] + x * across[0] - y * across[1]).astype(np.float32)
    map_y = (centre[1] + x * across[1] + y * across[0]).astype(np.float32)
    seen = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.GaussianBlur(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32)
    skin = float(np.median(grey[MIDDLE + 15 : HIGH - 10, WIDE // 4 : -WIDE // 4]))
    closed = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((LINE, 1), np.uint8))
    return np.asarray((closed - grey) / max(skin, 30.0), np.float32)


def _course(dark: Map) -> tuple[NDArray[np.intp], Map]:
    """Rows (W,) of the darkest line from left to right of (H, W), at most a row up or down a column, and its values."""
    high, wide = dark.shape
    total, back = -dark[:, 0].astype(np.float64), np.zeros((high, wide), np.intp)
    for j in range(1, wide):
        options = np.stack([np.r_[np.inf, total[:-1]], total, np.r_[total[1:], np.inf]])
        choice = options.argmin(0)
        back[:, j] = choice - 1
        total = options[choice, np.arange(high)] - dark[:, j]
    rows = np.empty(wide, np.intp)
    rows[-1] = total.argmin()
    for j in range(wide - 1, 0, -1):
        rows[j - 1] = rows[j] + back[rows[j], j]
    return rows, dark[rows, np.arange(wide)]
