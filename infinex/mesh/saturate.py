"""An expression that a portrait wears already has less way to go: a broad smile laid on a smile is not two smiles.

What the portrait does away from rest is read off its landmarks as Action Units, and so is the performer's rest.
Where the portrait wears more of a unit than the performer did, the same movement still begins at once, but ends
where the unit would be full; what goes the other way, or elsewhere, is left alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face.reading import worn_units
from infinex.face.units import field_of

Array = NDArray[np.float64]
UNITS = ("AU6", "AU9", "AU10", "AU12", "AU20")  # that pull at cheeks, upper lip and corners of the mouth
SOON = 2.0  # intensity worn, times this, is the share of a movement that is held back at its end
ROOM = 0.15  # of a full movement that is always left


class Saturation:
    """What a portrait wears beyond a performer at rest."""

    def __init__(self, portrait: Array, rest: Array) -> None:
        """Both faces (478, 3) in head coordinates."""
        mine, theirs = worn_units(portrait), worn_units(rest)
        self.worn = {n: mine[n] - theirs.get(n, 0.0) for n in UNITS if mine.get(n, 0.0) > theirs.get(n, 0.0)}

    def __call__(self, offsets: Array) -> Array:
        """Displacements (478, 3) with what the portrait wears already taken off their far end."""
        out = offsets
        for name, worn in self.worn.items():
            way = field_of(name)[:, :2]
            asked = max(0.0, float((out[:, :2] * way).sum() / (way * way).sum()))
            room = max(1 - worn, ROOM)
            less = min(1.0, SOON * worn) * (asked - room * (1 - np.exp(-asked / room)))
            if less > 0:  # a unit as a whole: points held back one by one would bend lips
                out = out.copy()
                out[:, :2] -= less * way
        return out
