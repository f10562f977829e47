"""Reading Action Units off tracked faces.

A tracker does not see a displacement as it is: it smooths, and prefers faces it knows. So units are not
fitted with the fields they are drawn with: a small network has learnt what the tracker sees of them on many
faces (`tools/calibrate_units.py`), once for people who were seen at rest, once for a single picture, where people's
proportions differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.units import COLUMNS, FACE_UNITS, tamed

Array = NDArray[np.float64]
FAINT = 0.02  # below it, tracking noise
MOST = 1.0


@cache
def _reader(still: bool) -> tuple[list[int], list[Array]]:
    """Which of `FACE_UNITS` are read, and the layers that read them."""
    path = resources.files("infinex.face").joinpath("data/unit_reader.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        kind = "still" if still else "clip"
        names = [str(n) for n in data["names"]]
        if not set(names) <= set(FACE_UNITS):
            raise ValueError("unit_reader.npz was made for other units; run tools/calibrate_units.py")
        return [FACE_UNITS.index(n) for n in names], [data[f"{kind}_{k}"].astype(np.float64) for k in range(6)]


def network(layers: Sequence[Array], x: Array) -> Array:
    """(N, 936) to (N, A) through weights and biases `W0, b0, W1, b1, W2, b2`, SiLU between them."""
    for k in range(0, len(layers), 2):
        x = x @ layers[k] + layers[k + 1]
        if k + 2 < len(layers):
            x = x / (1 + np.exp(-np.clip(x, -60, 60)))
    return x


def read_units(offsets: Array, still: bool = False) -> Array:
    """Intensities (T, U) in 0..1 of `FACE_UNITS` in displacements (T, 478, 3) of a tracked face in IOD.

    Displacements are taken from the person's own rest, or with `still` from the mean face. A blink, a
    wink and eyes that stay closed differ in duration only; all are read as AU45."""
    columns, layers = _reader(still)
    x = np.asarray(offsets, np.float64)[:, : top.SURFACE, :2].reshape(len(offsets), -1)
    found = network(layers, x) - network(layers, np.zeros_like(x[:1]))
    out = np.zeros((len(x), len(FACE_UNITS)))
    out[:, columns] = np.clip(found - FAINT, 0, MOST)
    return _as_asked(out)


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
