"""What landmarks miss of a filmed expression, put back by the Action Units that are read in them.

A tracker prefers faces that it knows: it shows brows and wide mouths a little weaker than they are, hardly follows the
cheeks of a smile, and sees a frown mostly as brows that come closer. Motion that was written, not filmed, is exact.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import colour_at
from infinex.face.reading import read_units
from infinex.face.units import FACE_UNITS
from infinex.mesh.lids import CREASES

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
BROWS, WIDTH = 1.15, 1.20  # by how much brows go up and down, and corners of the mouth outward, more than was tracked
BROWS_REACH, WIDTH_REACH = 0.16, 0.16  # IOD
RISE = (0.055, 0.10)  # IOD up to which a portrait's brows follow a performer's, and that they approach: skin tears
FRIENDLY = 0.7  # share of their way down that brows do not go in a smile: lower ones are angry
MIDDLE = 0.4  # IOD over which one brow's side goes over into the other's
SOCKETS, BORNE = (0.40, 0.65), 0.5  # lightness of sockets, of the skin's, from painted shade to skin; of that in shade
STRETCHED = (0.06, 0.13)  # IOD of a corner's way outward from which on less is added, and nothing: skin has an end
CHEEKS = [117, 118, 50, 101, 123]  # of the subject's right side
CHEEKS_REACH = 0.15  # IOD
RAISED, PULLED = 0.062, 0.045  # IOD by which AU6 and AU12 lift the cheeks at full intensity
SURE = 0.15  # intensity up to which a unit may be misread
EYE = 0.06  # IOD below the lower lids from which on skin is cheek


@cache
def _near(ids: tuple[int, ...], reach: float) -> Array:
    """How near surface points are to some others, (468,) in 0..1."""
    p = top.mean_face()[: top.SURFACE, :2]
    return np.asarray(np.exp(-((np.linalg.norm(p[:, None] - p[None, ids], axis=2).min(1) / reach) ** 2)))


@cache
def _above() -> Array:
    """How surely a surface point lies above the lids, (468,) in 0..1."""
    eyes = top.mean_face()[[33, 133, 362, 263], 1].mean()
    return np.asarray(np.clip((eyes - 0.10 - top.mean_face()[: top.SURFACE, 1]) / 0.08, 0, 1))


@cache
def _sides() -> tuple[Array, Array]:
    """How surely a surface point lies on the subject's right side and on the left one, (468,) each."""
    right = np.clip(0.5 - top.mean_face()[: top.SURFACE, 0] / MIDDLE, 0, 1)
    return right, 1 - right


@cache
def _more() -> tuple[Array, Array]:
    """By how much more than was tracked surface points go up and down, and outward, (468,) each."""
    up = (BROWS - 1) * _above() * _near((*top.RIGHT_BROW, *top.LEFT_BROW), BROWS_REACH)
    return up, (WIDTH - 1) * _near((61, 291, 78, 308, 57, 287), WIDTH_REACH)


@cache
def _cheeks() -> tuple[Array, Array]:
    """How far each point goes with the cheek of the right and of the left side, (2, 468); and the points (2, n)."""
    mirror = top.mirror()
    sides = np.array([CHEEKS, [int(mirror[i]) for i in CHEEKS]])
    y = top.mean_face()[: top.SURFACE, 1]
    lids = max(y[top.RIGHT_LID_LOWER].max(), y[top.LEFT_LID_LOWER].max())
    below = np.clip((y - lids) / EYE, 0, 1)
    return np.stack([_near(tuple(s.tolist()), CHEEKS_REACH) * below for s in sides]), sides


def read(offsets: Array) -> Array:
    """Intensities (U,) in 0..1 of `FACE_UNITS` in displacements (478, 3), less what may be misread."""
    found = read_units(np.asarray(offsets, np.float64)[None])[0]
    return np.asarray(np.clip((found - SURE) / (1 - SURE), 0, 1))


def fuller(offsets: Array, units: Array, alike: bool = False) -> Array:
    """Displacements (478, 3) of a filmed face with brows, mouth and cheeks as far as they went; none stay none.

    `units` (U,) are what `read` found in them. A face `alike`, the performer's own, is as wide as it was tracked."""
    out = np.array(offsets, np.float64)
    up, outward = _more()
    out[: top.SURFACE, 1] *= 1 + up
    if not alike:
        far = float(np.abs(out[[61, 291], 0]).max())
        out[: top.SURFACE, 0] *= 1 + outward * np.clip((STRETCHED[1] - far) / (STRETCHED[1] - STRETCHED[0]), 0, 1)
    smile, raised = (float(units[FACE_UNITS.index(n)]) for n in ("AU12", "AU6"))
    wanted = RAISED * raised + PULLED * smile
    if wanted > 0:
        weights, points = _cheeks()
        for weight, ids in zip(weights, points):
            missing = max(0.0, wanted + float(offsets[ids, 1].mean()))  # y runs down
            out[: top.SURFACE, 1] -= min(missing, wanted) * weight
    return out


def borne(image: Image, points: Array) -> float:
    """Share of `RISE` that the brows of a portrait, (H, W, 3) with landmarks (478, 3) in it, may rise: less where the
    skin from the lids to them lies in deep shade, which would be drawn out into a dark patch."""
    skin = max(float(colour_at(image, points[top.SKIN])[0]), 1.0)
    shades = []
    for lid, brow in zip(CREASES, (top.RIGHT_BROW, top.LEFT_BROW)):
        way = points[brow, :2].mean(0) - points[lid, :2].mean(0)
        between = points[lid, :2] + np.linspace(0.1, 0.6, 5)[:, None, None] * way
        shades.append(colour_at(image, between.reshape(-1, 2))[0] / skin)
    return float(np.interp(np.mean(shades), SOCKETS, (BORNE, 1.0)))


def restrained(offsets: Array, share: float = 1.0, joy: float = 0.0) -> Array:
    """Displacements (478, 3) of one face laid on another, with brows raised no farther than a picture bears.

    Whoever acts for a camera lifts them by half the way from the eye; a painter's shadows there would become smears.
    `share` of that is what this one bears, see `borne`; in a face full of `joy`, 0..1, they hardly go down."""
    knee, end = (share * r for r in RISE)
    out = np.array(offsets, np.float64)
    for brow, side in zip((top.RIGHT_BROW, top.LEFT_BROW), _sides()):
        rise = -float(offsets[brow, 1].mean())
        if rise < 0:
            out[: top.SURFACE, 1] *= 1 - FRIENDLY * joy * side * _above()
        if rise > knee:
            less = 1 - (knee + (end - knee) * np.tanh((rise - knee) / (end - knee))) / rise
            out[: top.SURFACE, 1] *= 1 - less * side * _above()
    return out
