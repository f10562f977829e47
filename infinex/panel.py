"""The four columns of the Infinite Expressions paper: source, driving, occlusion map, result.

Of GANimation: source, colour mask (the driver in its corner), attention mask, result."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive
from infinex.face import topology as top
from infinex.mesh.engine import PreparedFace

LARGEST = 1024  # side of one column at most


def panel_size(width: int, height: int) -> tuple[int, int]:
    """Size (width, height) of the panel of a portrait."""
    k = min(1.0, LARGEST / max(width, height))
    return 4 * round(width * k), round(height * k)


def panel_frame(stage: Any, drive: Drive, result: NDArray[np.uint8], drawn: list[Any]) -> NDArray[np.uint8]:
    """One frame of the panel. The occlusion map is dark where the source shows nothing of the result:
    uncovered background, and what the warp stretches or folds."""
    h, w = result.shape[:2]
    pw, ph = panel_size(w, h)
    pw //= 4
    small = [cv2.resize(x, (pw, ph), interpolation=cv2.INTER_AREA) for x in (stage.image, result)]
    driving = np.full((ph, pw, 3), 24, np.uint8)
    shown = drive.image if drive.image is not None else stage.seen
    colors = getattr(stage.faces[0], "colors", None)  # of an engine that paints: stands in the driver's place
    if colors is not None:
        driving = cv2.resize(colors(), (pw, ph), interpolation=cv2.INTER_AREA)
        if shown is not None:  # and the driver in its corner
            k = min(pw / shown.shape[1], ph / shown.shape[0]) / 4
            inset = cv2.resize(shown, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            driving[: inset.shape[0], : inset.shape[1]] = inset
    elif shown is not None:
        k = min(pw / shown.shape[1], ph / shown.shape[0])
        fit = cv2.resize(shown, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)[:ph, :pw]
        y, x = (ph - fit.shape[0]) // 2, (pw - fit.shape[1]) // 2
        driving[y : y + fit.shape[0], x : x + fit.shape[1]] = fit
    elif isinstance(stage.faces[0], PreparedFace):  # no picture of the performer: its mesh
        p = stage.faces[0].warp.source[: top.POINTS] if not drawn else drawn[0][0].points[:, :2]
        p = p * (pw / w)
        for a, b, c in top.triangles():
            cv2.polylines(driving, [np.round(p[[a, b, c]] * 8).astype(np.int32)], True, (120, 200, 160), 1,
                          cv2.LINE_AA, 3)  # fmt: skip
    occlusion = np.full((h, w), 255, np.uint8)
    for face, (_, flow) in zip(stage.faces, drawn):
        if flow is None:
            continue
        x0, y0, x1, y1 = face.box
        if not isinstance(face, PreparedFace):  # other engines give the map itself
            occlusion[y0:y1, x0:x1] = np.minimum(occlusion[y0:y1, x0:x1], flow)
            continue
        gate = face.layers.gate(flow.map_x, flow.map_y).astype(np.float32) / 255
        a = cv2.remap(face.layers.alpha, flow.map_x, flow.map_y, cv2.INTER_LINEAR)
        det = np.abs(cv2.Sobel(flow.map_x, cv2.CV_32F, 1, 0, scale=1 / 8))
        stretched = np.clip((0.6 - det) / 0.5, 0, 1)
        seen = (1 - gate * (1 - a)) * (1 - stretched * (a > 0.5))
        view = occlusion[y0:y1, x0:x1]
        view[:] = np.minimum(view, np.round(255 * cv2.GaussianBlur(seen, (0, 0), 1.0)).astype(np.uint8))
    occlusion = cv2.resize(occlusion, (pw, ph), interpolation=cv2.INTER_AREA)
    return np.hstack([small[0], driving, cv2.cvtColor(occlusion, cv2.COLOR_GRAY2RGB), small[1]])
