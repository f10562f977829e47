"""Reading Action Units off tracked faces.

A tracker does not see a displacement as it is: it smooths, and prefers faces it knows. So units are not
fitted with the fields they are drawn with but with the mean response of the tracker to each of them, and
displacements are weighed by the inverse covariance of all that is no unit: how faces differ in their
response, the tracker's noise, motion that no unit explains and, for a picture whose person was never seen
at rest, how people's proportions differ. Measured by `tools/calibrate_units.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.units import ALIKE, COLUMNS, FACE_UNITS, nonnegative, tamed

Array = NDArray[np.float64]
RARE = frozenset({"AU11", "AU16", "AU18", "AU22", "AU24", "AU27", "AU28"})
SPREAD = (0.60, 0.08)  # expected size of an intensity: of common units, of rare ones
IDLE = 1.5  # threshold in units of the weighed displacement: tracking noise alone is no expression
MOST = 1.0


@dataclass(frozen=True)
class Views:
    """How the tracker sees units: `filters` (U, 936) and their products `gram` (U, U), of clips or stills."""

    filters: Array
    gram: Array


@cache
def _views(still: bool) -> Views:
    path = resources.files("infinex.face").joinpath("data/unit_views.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        kind = "still" if still else "clip"
        if tuple(str(n) for n in data["names"]) != FACE_UNITS:
            raise ValueError("unit_views.npz was made for other units; run tools/calibrate_units.py")
        return Views(data[f"{kind}_filters"].astype(np.float64), data[f"{kind}_gram"].astype(np.float64))


def read_units(offsets: Array, still: bool = False, passes: int = 300) -> Array:
    """Intensities (T, U) in 0..1 of `FACE_UNITS` in displacements (T, 478, 3) of a tracked face in IOD.

    Displacements are taken from the person's own rest, or with `still` from the mean face. Generalised least
    squares under non-negativity with a preference for few units, by projected accelerated gradient. A blink, a
    wink and eyes that stay closed differ in duration only; all are read as AU45."""
    views = _views(still)
    b = np.asarray(offsets, np.float64)[:, : top.SURFACE, :2].reshape(len(offsets), -1)
    spread = np.array([SPREAD[1] if n in RARE else SPREAD[0] for n in FACE_UNITS])
    gram = views.gram + np.diag(1 / spread**2)
    seen = np.array([0.0 if n in ALIKE else MOST for n in FACE_UNITS])
    aim = b @ views.filters.T - IDLE * np.sqrt(np.diag(gram))
    return _as_asked(nonnegative(gram, aim, seen, passes))


def _as_asked(seen: Array, passes: int = 4) -> Array:
    """What units were asked for that, after acting together, look like these, (T, U)."""
    x = seen
    for _ in range(passes):
        met = together(x)
        x = np.clip(np.where(met > 1e-6, seen * x / np.maximum(met, 1e-6), seen), 0, MOST)
    return x


def together(amounts: Array) -> Array:
    """Intensities (T, U) of `FACE_UNITS` after the units have met on both sides: see `tamed`."""
    return tamed(np.asarray(amounts, np.float64)[:, _COLUMN])[:, _BACK]


_COLUMN = np.array([FACE_UNITS.index(c.rstrip("LR")) for c in COLUMNS])
_BACK = np.array([_COLUMN.tolist().index(k) for k in range(len(FACE_UNITS))])
