"""The four columns of the Infinite Expressions paper: source, driving, occlusion map, result.

An engine that paints shows its colours in the driver's place, and the driver in their corner."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Shown
from infinex.face import topology as top
from infinex.stage import Stage

RGB = NDArray[np.uint8]
LARGEST = 1024  # side of one column at most


def panel_size(width: int, height: int) -> tuple[int, int]:
    """Size (width, height) of the panel of a portrait."""
    k = min(1.0, LARGEST / max(width, height))
    return 4 * round(width * k), round(height * k)


def panel_frame(stage: Stage, drive: Drive, result: RGB, shown: Sequence[Shown]) -> RGB:
    """One frame of the panel. The occlusion map is dark where the source shows nothing of the result:
    uncovered background, and what the warp stretches or folds."""
    h, w = result.shape[:2]
    pw, ph = panel_size(w, h)
    pw //= 4
    small = [cv2.resize(x, (pw, ph), interpolation=cv2.INTER_AREA) for x in (stage.image, result)]
    driving = np.full((ph, pw, 3), 24, np.uint8)
    seen = drive.image if drive.image is not None else stage.seen
    first = shown[0] if shown else Shown()
    if first.driving is not None:
        driving = cv2.resize(first.driving, (pw, ph), interpolation=cv2.INTER_AREA)
        if seen is not None:
            k = min(pw / seen.shape[1], ph / seen.shape[0]) / 4
            inset = cv2.resize(seen, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            driving[: inset.shape[0], : inset.shape[1]] = inset
    elif seen is not None:
        k = min(pw / seen.shape[1], ph / seen.shape[0])
        fit = cv2.resize(seen, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)[:ph, :pw]
        y, x = (ph - fit.shape[0]) // 2, (pw - fit.shape[1]) // 2
        driving[y : y + fit.shape[0], x : x + fit.shape[1]] = fit
    elif first.points is not None:  # no picture of the performer: its mesh
        p = first.points[:, :2] * (pw / w)
        for a, b, c in top.triangles():
            cv2.polylines(driving, [np.round(p[[a, b, c]] * 8).astype(np.int32)], True, (120, 200, 160), 1,
                          cv2.LINE_AA, 3)  # fmt: skip
    occlusion = np.full((h, w), 255, np.uint8)
    for face, how in zip(stage.faces, shown):
        if how.occlusion is not None:
            x0, y0, x1, y1 = face.box
            occlusion[y0:y1, x0:x1] = np.minimum(occlusion[y0:y1, x0:x1], how.occlusion)
    occlusion = cv2.resize(occlusion, (pw, ph), interpolation=cv2.INTER_AREA)
    return np.hstack([small[0], driving, cv2.cvtColor(occlusion, cv2.COLOR_GRAY2RGB), small[1]])
