"""What either face wears at rest: a smile laid on a smile is not two smiles, and one that never ends is still a smile.

What the portrait does away from rest is read off its landmarks as Action Units, and so is the performer's rest.
Where the portrait wears more of a unit than the performer did, the same movement still begins at once, but ends
where the unit would be full; what goes the other way, or elsewhere, is left alone, and lips part as far as they did.

A performer who smiles throughout with bared teeth has no other rest; her lips part from where they would meet, so her
smile is told from there, too: a mouth that opened as far without one would be a snarl.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.reading import worn_units
from infinex.face.shape import lip_gaps
from infinex.face.surroundings import smoothstep
from infinex.face.units import FACE_UNITS, field_of, units_offsets
from infinex.motion import Rest

Array = NDArray[np.float64]
UNITS = ("AU6", "AU9", "AU10", "AU12", "AU20")  # that pull at cheeks, upper lip and corners of the mouth
SOON = 2.0  # intensity worn, times this, is the share of a movement that is held back at its end
ROOM = 0.15  # of a full movement that is always left
BARED = (0.05, 0.11)  # gap of the lips at rest, IOD, over which it is taken for a smile
SMILED = 0.8  # share of its width beyond a usual mouth's that the smile is taken for
SMILE = ("AU6", "AU12", "AU20")
AGAINST = ("AU15", "AU18", "AU22")  # corners pulled down, lips puckered or funnelled
NARROWED = (0.02, 0.10)  # IOD by which a mouth is narrower than at rest over which a smile gives way, ...
ROUNDED = (0.30, 0.55)  # ... or its opening as a share of its width, ...
PLAIN = (0.25, 0.7)  # ... or the intensity of what pulls against it
RELENTS = 0.9  # of it
CHEEKS, LIDS = 0.5, 0.6  # intensity of AU6 and AU7 in a full smile


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


class Relenting:
    """A portrait's own smile, which gives way where the performer's mouth becomes one that cannot smile."""

    def __init__(self, portrait: Array, rest: Array) -> None:
        """Both faces (478, 3) in head coordinates."""
        worn = worn_units(portrait)
        self._own = units_offsets({n: worn[n] for n in SMILE if n in worn}) if "AU12" in worn else None
        self._rest, self._wide = rest, _width(rest)

    def __call__(self, offsets: Array, units: Array) -> Array:
        """Displacements (478, 3) of the portrait under `offsets`, in which `units` (U,) of `FACE_UNITS` were read."""
        if self._own is None:
            return offsets
        face = self._rest + offsets
        wide = _width(face)
        round_ = float(lip_gaps(face).max()) / max(wide, 1e-3)
        narrower = self._wide - wide
        against = max(float(units[FACE_UNITS.index(n)]) for n in AGAINST)
        share = max(_smooth(narrower, *NARROWED), _smooth(round_, *ROUNDED), _smooth(against, *PLAIN))
        return np.asarray(offsets - RELENTS * share * self._own)


def _width(face: Array) -> float:
    return float(np.linalg.norm(face[61, :2] - face[291, :2]))


def _smooth(x: float, low: float, high: float) -> float:
    return float(smoothstep(np.asarray((x - low) / (high - low))))


def parted(face: SourceFace, rest: Array, before: Array, after: Array) -> Array:
    """Displacements `after` (478, 3) of the face `rest`, lips as far apart as under `before`, moved as `face` does."""
    if after is before:
        return after
    whole = rest + after
    face.set_lips(whole, lip_gaps(rest + before))
    return np.asarray(whole - rest)


def smiled(rest: Rest) -> Array | None:
    """Displacements (478, 3) of the smile that a performer has at rest already; None where it is none."""
    if rest.lips_closed is None:  # lips part from where they are
        return None
    bared = float(np.clip((lip_gaps(rest.face)[4] - rest.lips_closed[4] - BARED[0]) / (BARED[1] - BARED[0]), 0, 1))
    usual, widened = (float(np.ptp(f[[61, 291], 0])) for f in (top.mean_face(), field_of("AU12")))
    wide = float(np.linalg.norm(rest.face[61, :2] - rest.face[291, :2])) - usual
    full = SMILED * bared * float(np.clip(wide / widened, 0, 1))
    return units_offsets({"AU12": full, "AU6": CHEEKS * full, "AU7": LIDS * full}) if full > 0 else None
