"""Reading Action Units off tracked faces.

A tracker does not see a displacement as it is: it smooths, and prefers faces it knows. So units are not
fitted with the fields they are drawn with: a small network has learnt what the tracker sees of them on many
faces (`tools/calibrate_units.py`), once for people who were seen at rest, once for a single picture, where people's
proportions differ, and once for pictures of a person whose rest is a picture as well: then the skin is seen to move
where no landmark follows it, as beside the nose and over the cheeks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.units import FACE_UNITS, SIDED, tamed, tamed_once, units_offsets

Array = NDArray[np.float64]
FAINT = 0.02  # below it, tracking noise
MOST = 1.0
DRAWN = {"AU1": 0.75, "AU2": 0.75}  # how far these go today, of what they did when the network was taught
OWN = 0.15  # intensity under which a unit read off a single picture may be a person's own feature
BROWS = 0.5  # share of what brows seem to do: how high they lie and how they bend is as much a person's own
_LIDS = ("AU5", "AU7", "AU43", "AU45", "AU46")
PROPORTIONS = 10  # of a face at rest, that tell how units will look on it


@cache
def reader(kind: str) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Which of `FACE_UNITS` are read, and the layers that read them."""
    path = resources.files("infinex.face").joinpath("data/unit_reader.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        names = [str(n) for n in data["names"]]
        if not set(names) <= set(FACE_UNITS):
            raise ValueError("unit_reader.npz was made for other units; run tools/calibrate_units.py")
        return [FACE_UNITS.index(n) for n in names], [
            data[k].astype(np.float32) for k in sorted(data) if k.startswith(kind)
        ]


def network(layers: Sequence[NDArray], x: NDArray) -> Array:
    """(N, F) to (N, A) through weights and biases `W0, b0, W1, b1, W2, b2`, SiLU between them."""
    x = x.astype(layers[0].dtype)
    for k in range(0, len(layers), 2):
        x = x @ layers[k] + layers[k + 1]
        if k + 2 < len(layers):
            x = x / (1 + np.exp(-np.clip(x, -60, 60)))
    return x.astype(np.float64)


def read_units(offsets: Array, still: bool = False) -> Array:
    """Intensities (T, U) in 0..1 of `FACE_UNITS` in displacements (T, 478, 3) of a tracked face in IOD.

    Displacements are taken from the person's own rest, or with `still` from the mean face. A blink, a wink and eyes
    that stay closed differ in duration only; all are read as AU45."""
    kind = "still" if still else "clip"
    columns, layers = reader(kind)
    found = network(layers, _flat(offsets)) - _unmoved(kind)
    return _as_asked(settled(found / np.array([DRAWN.get(FACE_UNITS[k], 1.0) for k in columns]), columns))


@cache
def _unmoved(kind: str) -> Array:
    """What a network says of a face that does nothing, (1, A)."""
    layers = reader(kind)[1]
    return network(layers, np.zeros((1, len(layers[0]))))


def guessed(offsets: Array, skin: Array, rest: Array) -> Array:
    """What landmarks and skin alone are taken for, (T, 2 A): of displacements (T, 478, 3) and how the skin was seen to
    move at landmarks (T, 468, 2) from the face `rest` (478, 3), then of displacements."""
    x = _flat(offsets)
    own = proportions(rest[None, : top.SURFACE, :2].reshape(1, -1))
    both = np.concatenate([x, np.asarray(skin, np.float64).reshape(len(x), -1), np.repeat(own, len(x), 0)], 1)
    none = np.concatenate([np.zeros((1, both.shape[1] - own.shape[1])), own], 1)
    layers, alone = reader("skin")[1], reader("clip")[1]
    of_both = network(layers, both) - network(layers, none)
    return np.concatenate([of_both, network(alone, x) - network(alone, np.zeros_like(x[:1]))], 1)


def settled(found: Array, columns: Sequence[int]) -> Array:
    """Intensities (T, U) of `FACE_UNITS` of what was found (T, A) of some, without noise."""
    out = np.zeros((len(found), len(FACE_UNITS)))
    out[:, columns] = np.clip(found - FAINT, 0, MOST)
    return out


def _flat(offsets: Array) -> Array:
    return np.asarray(offsets, np.float64)[:, : top.SURFACE, :2].reshape(len(offsets), -1)


def worn_units(face: Array) -> dict[str, float]:
    """What a single face (478, 3) in head coordinates does away from rest: intensities of units by name.

    Lids stay as they are, and so does what is too faint to be told from a person's own features."""
    seen = read_units((face - top.mean_face())[None], still=True)[0]
    amounts = {n: float(v) for n, v in zip(FACE_UNITS, seen) if v > OWN and n not in _LIDS}
    return amounts | {n: BROWS * v for n, v in amounts.items() if n in ("AU1", "AU2", "AU4")}


def own_expression(face: Array) -> Array:
    """The same as displacements (478, 3) in IOD."""
    amounts = worn_units(face)
    return units_offsets(amounts) if amounts else np.zeros((top.POINTS, 3))


def proportions(faces: Array) -> Array:
    """What a face is like at rest where units move it, (N, PROPORTIONS) in IOD of faces (N, 936) in head coordinates:
    lips parted and thick, the mouth's width and how its corners lie, eyes open, brows high, and how far nose and chin
    are from the lips."""
    p = np.asarray(faces, np.float64).reshape(len(faces), -1, 2)

    def apart(a: int, b: int) -> Array:
        return np.asarray(np.linalg.norm(p[:, a] - p[:, b], axis=1))

    y = p[:, :, 1]
    return np.stack([
        apart(13, 14), apart(0, 13), apart(14, 17), apart(61, 291), y[:, 61] - y[:, 13],
        (apart(159, 145) + apart(386, 374)) / 2, (apart(105, 159) + apart(334, 386)) / 2, apart(0, 2), apart(17, 152),
        y[:, 61] + y[:, 291] - y[:, 0] - y[:, 17],
    ], 1)  # fmt: skip


def _as_asked(seen: Array, passes: int = 4) -> Array:
    """What units were asked for that, after acting together, look like these, (T, U)."""
    out = []
    for found in seen.tolist():  # numbers take a fraction of the time that short arrays take
        x = found
        for _ in range(passes):
            met = _together(x)
            x = [min(max(f * v / m if m > 1e-6 else f, 0.0), MOST) for f, v, m in zip(found, x, met)]
        out.append(x)
    return np.array(out)


def together(amounts: Array) -> Array:
    """Intensities (T, U) of `FACE_UNITS` after the units have met on both sides: see `tamed`."""
    return tamed(np.asarray(amounts, np.float64)[:, _COLUMN])[:, _BACK]


def _together(amounts: list[float]) -> list[float]:
    """The same of one instant."""
    return list(_ONCE(tamed_once(list(_BY_SIDE(amounts)))))


_COLUMN = [FACE_UNITS.index(c.rstrip("LR")) for c in SIDED]
_BACK = [_COLUMN.index(k) for k in range(len(FACE_UNITS))]
_BY_SIDE, _ONCE = itemgetter(*_COLUMN), itemgetter(*_BACK)
