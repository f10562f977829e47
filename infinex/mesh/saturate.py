"""An expression that a portrait wears already has less way to go: a broad smile laid on a smile is not two smiles.

What the portrait does away from rest is read off its landmarks as Action Units, and so is the performer's rest.
Where the portrait wears more of a unit than the performer did, the same movement still begins at once, but ends
where the unit would be full; what goes the other way, or elsewhere, is left alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face.reading import worn_units
from infinex.face.units import field_of, units_offsets

Array = NDArray[np.float64]
UNITS = ("AU6", "AU9", "AU10", "AU12", "AU20")  # that pull at cheeks, upper lip and corners of the mouth
LEAST = 1e-3  # IOD of a point's own displacement under which nothing of it is worn
SOON = 2.0  # intensity worn, times this, is the share of a movement that is held back at its end
ROOM = 0.15  # of a full movement that is always left


class Saturation:
    """What a portrait wears beyond a performer at rest."""

    def __init__(self, portrait: Array, rest: Array) -> None:
        """Both faces (478, 3) in head coordinates."""
        mine, theirs = worn_units(portrait), worn_units(rest)
        self.worn = {n: mine[n] - theirs.get(n, 0.0) for n in UNITS if mine.get(n, 0.0) > theirs.get(n, 0.0)}
        self._own: Array | None = None
        if not self.worn:
            return
        own = units_offsets(self.worn)
        length = np.linalg.norm(own[:, :2], axis=1)
        # How much of a full expression each point wears: the intensities of the units that move it, by how far.
        parts = np.stack([v * np.linalg.norm(field_of(n)[:, :2], axis=1) for n, v in self.worn.items()])
        levels = np.array(list(self.worn.values()))
        level = (parts * levels[:, None]).sum(0) / np.maximum(parts.sum(0), 1e-9)
        held = (length > LEAST) & (level > 1e-3)
        if not held.any():
            return
        self._own = np.where(held, length, 1.0)
        self._way = np.where(held[:, None], own[:, :2] / np.maximum(length, 1e-9)[:, None], 0.0)
        full = self._own / np.maximum(level, 1e-3)
        self._room = np.maximum(full * (1 - level), ROOM * full)
        self._share = np.where(held, np.clip(SOON * level, 0, 1), 0.0)

    def __call__(self, offsets: Array) -> Array:
        """Displacements (478, 3) with what the portrait wears already taken off their far end."""
        if self._own is None:
            return offsets
        along = np.maximum((offsets[:, :2] * self._way).sum(1), 0)
        less = self._share * (along - self._room * (1 - np.exp(-along / self._room)))
        out = offsets.copy()
        out[:, :2] -= less[:, None] * self._way
        return out
