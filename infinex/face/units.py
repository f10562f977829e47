"""Facial Action Units as displacement fields on the mesh, and their estimation from tracked faces.

The units are those of the Facial Action Coding System (Ekman, Friesen and Hager 2002). Each is a smooth
field, mirrored across the face, in inter-ocular distances at full intensity (FACS level E). How units act
together is not the sum of how they act alone: see `tamed`. Gaze (61 to 64) and head (51 to 58) units turn
the eyes and the head and have no field.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.relax import Relax
from infinex.face.shape import lip_gaps

Array = NDArray[np.float64]
Part = tuple[list[int], tuple[float, float, float], float]
JAW_HINGE = np.array([0.0, -0.02, 0.10])
SEAM = 0.14  # IOD across the midline over which the left version of a unit fades into the right one


@dataclass(frozen=True)
class Unit:
    """One Action Unit: what FACS calls it, whose muscle it is, and whether it has a left and a right version."""

    name: str
    title: str
    muscle: str
    sides: bool = False
    region: str = "lower"  # upper or lower face, eyes or head


_UPPER, _EYES, _HEAD = "upper", "eyes", "head"
UNITS: dict[str, Unit] = {
    u.name: u
    for u in (
        Unit("AU1", "inner brow raiser", "frontalis, medial part", True, _UPPER),
        Unit("AU2", "outer brow raiser", "frontalis, lateral part", True, _UPPER),
        Unit("AU4", "brow lowerer", "corrugator supercilii", True, _UPPER),
        Unit("AU5", "upper lid raiser", "levator palpebrae superioris", True, _UPPER),
        Unit("AU6", "cheek raiser", "orbicularis oculi, orbital part", True, _UPPER),
        Unit("AU7", "lid tightener", "orbicularis oculi, palpebral part", True, _UPPER),
        Unit("AU9", "nose wrinkler", "levator labii superioris alaeque nasi", True),
        Unit("AU10", "upper lip raiser", "levator labii superioris", True),
        Unit("AU11", "nasolabial deepener", "zygomaticus minor", True),
        Unit("AU12", "lip corner puller", "zygomaticus major", True),
        Unit("AU14", "dimpler", "buccinator", True),
        Unit("AU15", "lip corner depressor", "depressor anguli oris", True),
        Unit("AU16", "lower lip depressor", "depressor labii inferioris", True),
        Unit("AU17", "chin raiser", "mentalis"),
        Unit("AU18", "lip pucker", "incisivii labii"),
        Unit("AU20", "lip stretcher", "risorius", True),
        Unit("AU22", "lip funneler", "orbicularis oris"),
        Unit("AU23", "lip tightener", "orbicularis oris"),
        Unit("AU24", "lip pressor", "orbicularis oris"),
        Unit("AU25", "lips part", "depressor labii, or relaxed orbicularis oris"),
        Unit("AU26", "jaw drop", "relaxed masseter and temporalis"),
        Unit("AU27", "mouth stretch", "pterygoids and digastric"),
        Unit("AU28", "lip suck", "orbicularis oris"),
        Unit("AU43", "eyes closed", "relaxed levator palpebrae", True, _UPPER),
        Unit("AU45", "blink", "relaxed levator palpebrae and orbicularis oculi", True, _UPPER),
        Unit("AU46", "wink", "orbicularis oculi", True, _UPPER),
        Unit("AU51", "head turned left", "neck", False, _HEAD),
        Unit("AU52", "head turned right", "neck", False, _HEAD),
        Unit("AU53", "head up", "neck", False, _HEAD),
        Unit("AU54", "head down", "neck", False, _HEAD),
        Unit("AU55", "head tilted left", "neck", False, _HEAD),
        Unit("AU56", "head tilted right", "neck", False, _HEAD),
        Unit("AU57", "head forward", "neck", False, _HEAD),
        Unit("AU58", "head back", "neck", False, _HEAD),
        Unit("AU61", "eyes turned left", "eye muscles", False, _EYES),
        Unit("AU62", "eyes turned right", "eye muscles", False, _EYES),
        Unit("AU63", "eyes up", "eye muscles", False, _EYES),
        Unit("AU64", "eyes down", "eye muscles", False, _EYES),
    )
}
FACE_UNITS = tuple(u.name for u in UNITS.values() if u.region not in (_EYES, _HEAD))
OPENFACE = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23",
            "AU25", "AU26", "AU45")  # fmt: skip
"""The units that OpenFace 2 measures with intensities."""

# Fields of the subject's right half: (landmarks, (outward, down, back), reach), all in IOD.
FIELDS: dict[str, list[Part]] = {
    "AU1": [([107, 55, 66, 65], (0, -0.079, 0), 0.13), ([109, 108, 69, 151], (0, -0.040, 0), 0.13),
            ([9], (0, -0.034, 0), 0.10)],
    "AU2": [([70, 63, 46, 53], (0.009, -0.082, 0), 0.14), ([105, 52, 66], (0.003, -0.038, 0), 0.11),
            ([68, 104, 54], (0, -0.028, 0), 0.13)],
    "AU4": [([107, 55, 66, 65, 105, 52], (-0.055, 0.085, 0), 0.11), ([9, 8, 168], (0, 0.035, -0.005), 0.10)],
    "AU6": [([117, 118, 50, 101, 123], (0, -0.065, -0.01), 0.15), ([110, 24, 23, 22, 26, 112], (0, -0.03, 0), 0.07),
            ([70, 46, 53], (0, 0.032, 0), 0.09)],
    "AU7": [([110, 24, 23, 22, 26, 112], (-0.012, -0.034, 0), 0.06)],  # skin below the lid, up and towards the nose
    "AU9": [([129, 98, 64, 102, 49, 203], (0.012, -0.08, 0), 0.095), ([55, 193, 122, 8], (-0.028, 0.062, 0), 0.09)],
    "AU10": [([165, 92, 203], (0.012, -0.035, -0.008), 0.09)],
    "AU11": [([203, 206, 165, 92], (0.02, -0.045, -0.012), 0.09), ([50, 205, 36], (0.008, -0.03, -0.012), 0.12),
             ([39, 40], (0, -0.022, 0), 0.06)],
    "AU12": [([216, 207, 187], (0.055, -0.07, -0.01), 0.14), ([118, 50, 117], (0.01, -0.045, -0.015), 0.14)],
    "AU14": [([43, 106, 202], (0.004, -0.026, 0.01), 0.08), ([186, 216], (0.0, 0.022, 0.01), 0.06)],
    "AU15": [([43, 106, 57], (0.0, 0.03, 0), 0.14),
             ([182, 194, 204], (0, 0.012, 0), 0.12)],
    "AU16": [([17, 84, 181, 14, 87, 178, 91, 88], (0.012, 0.065, 0.008), 0.075),
             ([83, 182, 18, 194], (0, 0.03, -0.006), 0.10)],
    "AU17": [([18, 83, 200, 201, 199], (0, -0.075, -0.015), 0.12)],
    "AU20": [([216, 207, 43, 57], (0.05, 0.01, 0.01), 0.16)],
    "AU25": [([14, 87, 178, 88, 17, 84, 181], (0, 0.068, 0), 0.07),
             ([13, 82, 81, 80, 0, 37, 39], (0, -0.03, 0), 0.06)],
}  # fmt: skip
UPPER_LIP_RED = [184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12, 268, 271, 272, 407]
CORNERS_FALL = 0.45  # share of the jaw's way that the corners of the mouth go
JAW = {"AU26": 0.20, "AU27": 0.34}  # radians at full intensity
# Lids: share of the gap by which the upper lid falls, and by which the lower one rises.
LIDS = {
    "AU5": (-0.48, 0.0),
    "AU6": (0.0, 0.06),
    "AU7": (0.12, 0.16),
    "AU43": (0.90, 0.10),
    "AU45": (0.88, 0.12),
    "AU46": (0.80, 0.20),
}
# Head and eyes: axis of rotation vector, translation or gaze, and how far at full intensity (radians, log scale).
TURNS = {"AU51": (1, -0.44), "AU52": (1, 0.44), "AU53": (0, -0.35), "AU54": (0, 0.35), "AU55": (2, 0.35),
         "AU56": (2, -0.35)}  # fmt: skip
NEARS = {"AU57": 0.14, "AU58": -0.12}
GAZES = {"AU61": (0, 0.50), "AU62": (0, -0.50), "AU63": (1, -0.40), "AU64": (1, 0.42)}
LID_FOLLOW = (0.30, 0.45)  # how far the upper lid goes with the eyes: of AU5 looking up, of AU43 looking down


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


# -- fields ---------------------------------------------------------------------------------------


def _side_of_mouth(ids: list[int]) -> Array:
    """Mask (468,) that keeps a lip's field off the other lip; ones where `ids` are not on one lip."""
    face = top.mean_face()[: top.SURFACE]
    upper = set(top.LIPS_INNER_UPPER[1:-1] + top.LIPS_OUTER_UPPER[1:-1])
    lower = set(top.LIPS_INNER_LOWER[1:-1] + top.LIPS_OUTER_LOWER[1:-1])
    middle = (face[13, 1] + face[14, 1]) / 2
    mask = np.ones(top.SURFACE)
    for mine, other, below in ((upper, lower, False), (lower, upper, True)):
        if mine.intersection(ids) and not other.intersection(ids) and 61 not in ids and 291 not in ids:
            far = face[:, 1] < middle if below else face[:, 1] > middle
            mask[far] = 0
            mask[list(other)], mask[list(mine)] = 0, 1
    return mask


def _field(parts: list[Part]) -> Array:
    face, mirror = top.mean_face()[: top.SURFACE], top.mirror()
    out = np.zeros((top.POINTS, 3))
    for ids, (outward, down, back), reach in parts:
        sides = []
        for side, members in ((-1, ids), (1, [int(mirror[i]) for i in ids])):
            d = np.linalg.norm(face[:, None, :2] - face[None, members, :2], axis=2).min(1)
            w = np.exp(-((d / reach) ** 2)) * _side_of_mouth(members)
            out[: top.SURFACE] += w[:, None] * np.array([side * outward, down, back])
            sides.append(w)
        twice = np.minimum(*sides)  # points that both sides reach move once
        out[: top.SURFACE, 1] -= twice * down
        out[: top.SURFACE, 2] -= twice * back
    return out


def _rounding(x: Array) -> Array:
    """How far the rim of an open mouth has bent at places `x`, -1..1: half a parabola, half a circle."""
    square = np.clip(x * x, 0, 1)
    return 0.5 * square + 0.5 * (1 - np.sqrt(1 - square))


def _jaw(angle: float) -> Array:
    face = top.mean_face()
    c, s = np.cos(angle), np.sin(angle)
    turned = (face - JAW_HINGE) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) + JAW_HINGE
    middle = (face[78, 1] + face[308, 1]) / 2
    lower = _smoothstep((face[:, 1] - middle) / 0.10 + 0.5)
    aside = np.clip(1 - np.maximum(0, np.abs(face[:, 0]) - 0.28) / 0.38, 0, 1)
    w = np.maximum(lower * aside, 0.9 * _smoothstep((face[:, 1] - middle + 0.05) / 0.35))
    # The upper lip hangs from the nose, and bends down in an arch to corners that the jaw takes along.
    red = top.LIPS_INNER_UPPER + top.LIPS_OUTER_UPPER + UPPER_LIP_RED
    w[red] = CORNERS_FALL * _rounding(face[red, 0] / face[308, 0])
    w[[61, 291, 78, 308]] = CORNERS_FALL
    lips = top.LIPS_INNER_LOWER[1:-1] + top.LIPS_OUTER_LOWER[1:-1]
    w[lips] = np.maximum(w[lips], 1 - (1 - CORNERS_FALL) * _rounding(face[lips, 0] / face[308, 0]))
    w[top.SURFACE :] = 0
    return np.clip(w, 0, 1)[:, None] * (turned - face)


_EYES_OF = (
    (top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER),
    (top.LEFT_LID_UPPER, top.LEFT_LID_LOWER),
)


def _lids(fall: float, rise: float) -> Array:
    """The upper lid `fall` of the gap down, the lower one `rise` of it up, and the skin around with them."""
    face = top.mean_face()
    n = top.SURFACE
    out = np.zeros((top.POINTS, 3))
    for upper, lower in _EYES_OF:
        gap = face[lower] - face[upper]
        middle = (face[upper[0], 1] + face[upper[-1], 1]) / 2
        for mine, others, change, reach, side in (
            (upper, lower, fall * gap, 0.13, face[:n, 1] < middle + 0.02),
            (lower, upper, -rise * gap, 0.08, face[:n, 1] > middle - 0.02),
        ):
            d = np.linalg.norm(face[:n, None, :2] - face[None, mine, :2], axis=2)
            w = np.exp(-((d.min(1) / reach) ** 2)) * side
            w[others[1:-1]] = 0
            w[mine] = 1
            out[:n] += w[:, None] * change[d.argmin(1)] * [1, 1, 0]
    return out


@cache
def _lip_frame() -> tuple[Array, Array, Array, Array]:
    """For each surface point: its share of the red of the lips (0 skin, 1 red), y of the inner and of the
    outer rim at its x, and its distance from the red, (468,) each."""
    face = top.mean_face()[: top.SURFACE]
    x, y = face[:, 0], face[:, 1]
    middle = (face[13, 1] + face[14, 1]) / 2
    lower_side = y > middle
    lower_side[top.LIPS_INNER_LOWER + top.LIPS_OUTER_LOWER] = True
    lower_side[top.LIPS_INNER_UPPER + top.LIPS_OUTER_UPPER] = False

    def rim(ids: list[int]) -> Array:
        return np.interp(x, face[ids, 0], face[ids, 1])

    inner = np.where(lower_side, rim(top.LIPS_INNER_LOWER), rim(top.LIPS_INNER_UPPER))
    outer = np.where(lower_side, rim(top.LIPS_OUTER_LOWER), rim(top.LIPS_OUTER_UPPER))
    beyond = np.maximum(0, np.where(lower_side, y - outer, outer - y))
    off = np.hypot(beyond, np.maximum(0, np.abs(x) - face[291, 0]))
    red = ((off < 1e-3) & (np.abs(x) < face[291, 0] + 1e-3)).astype(float)
    return red, inner, outer, off


def _corners(outward: float, down: float, back: float, reach: float, power: float = 1.8) -> Array:
    """Lip corners pulled: the lips follow as a band, upper and lower alike, and the skin around with them."""
    face = top.mean_face()[: top.SURFACE]
    _, _, _, off = _lip_frame()
    along = np.clip(np.abs(face[:, 0]) / face[291, 0], 0, 1)
    near = np.exp(-((off / reach) ** 2))
    out = np.zeros((top.POINTS, 3))
    out[: top.SURFACE, 0] = outward * np.sign(face[:, 0]) * along * near
    out[: top.SURFACE, 1] = down * along**power * near
    out[: top.SURFACE, 2] = back * along**power * near
    return out


def _upper_lip(up: float, forward: float, reach: float, corner: float = 0.25) -> Array:
    """The upper lip raised as a band, most beside the middle; `corner` is the corners' share."""
    face = top.mean_face()[: top.SURFACE]
    _, inner, outer, off = _lip_frame()
    u = np.clip(np.abs(face[:, 0]) / face[291, 0], 0, 1)
    above = (1 - (1 - corner) * u**2.4) * (0.85 + 0.6 * u * (1 - u))
    below = corner * u**4
    w = np.where(inner > outer, above, below) * np.exp(-((off / reach) ** 2))
    out = np.zeros((top.POINTS, 3))
    out[: top.SURFACE, 1] = -up * w
    out[: top.SURFACE, 2] = -forward * w
    return out


def _lips(roll: float, narrow: float, forward: float, gap: float, reach: float = 0.09, rise: float = 0) -> Array:
    """The ring muscle of the mouth.

    `roll` is the share of the red that turns inward (negative: outward), `narrow` how far the corners come
    in, `forward` how far the lips come out, `rise` how far both go
    up, `gap` how far they part: in IOD, or where negative the share of the mean face's gap that they close."""
    face = top.mean_face()[: top.SURFACE]
    red, inner, outer, off = _lip_frame()
    x, y = face[:, 0], face[:, 1]
    half = face[291, 0]

    def rim(ids: list[int]) -> Array:
        return np.interp(x, face[ids, 0], face[ids, 1])

    ends = np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))  # nothing parts or rolls at the corners
    skin = np.exp(-((off / reach) ** 2))
    out = np.zeros((top.POINTS, 3))
    rolled = roll * np.where(red > 0, inner - y, (inner - outer) * skin)
    below = np.where(inner < outer, 1.0, -1.0)
    closed = 0.5 * (rim(top.LIPS_INNER_LOWER) - rim(top.LIPS_INNER_UPPER))
    parted = below * skin * (0.5 * gap * ends**2 if gap > 0 else gap * closed)
    out[: top.SURFACE, 1] = rolled * ends + parted - rise * ends**2 * skin
    out[: top.SURFACE, 0] = -narrow * np.clip(x / half, -1, 1) * np.exp(-((off / 0.14) ** 2))
    out[: top.SURFACE, 2] = -forward * skin * (0.4 + 0.6 * ends)
    return out


_MADE: dict[str, Callable[[], Array]] = {
    "AU9": lambda: _upper_lip(0.034, 0.0, 0.09),
    "AU10": lambda: _upper_lip(0.078, 0.01, 0.10),
    "AU12": lambda: _corners(0.10, -0.085, 0.05, 0.125) + _lips(0.13, 0.0, 0.0, 0.0),
    "AU14": lambda: _corners(0.060, 0.0, 0.05, 0.085, 3.2) + _lips(0.28, 0.0, 0.0, -1.0),
    "AU15": lambda: _corners(0.015, 0.056, 0.01, 0.16, 2.0),
    "AU17": lambda: _lips(0.0, 0.0, 0.01, -1.0, 0.09, 0.03),
    "AU20": lambda: _corners(0.085, 0.012, 0.045, 0.15) + _lips(0.12, 0.0, 0.0, 0.0),
    "AU18": lambda: _lips(-0.10, 0.095, 0.07, -0.6, 0.12),
    "AU22": lambda: _lips(-0.30, 0.060, 0.08, 0.05, 0.10),
    "AU23": lambda: _lips(0.32, 0.050, 0.0, -0.9),
    "AU24": lambda: _lips(0.36, 0.012, -0.015, -1.0),
    "AU28": lambda: _lips(0.78, 0.030, -0.04, -1.0, 0.12),
}
_STRETCH: list[Part] = [([61, 76, 78, 62], (-0.035, 0.02, 0.0), 0.12), ([0, 37, 39, 13, 82], (0, -0.02, 0), 0.07)]
_WINK: list[Part] = [([117, 118, 50, 101, 123], (0, -0.03, -0.005), 0.15), ([105, 52, 53, 63], (0, 0.02, 0), 0.10)]


def _made(name: str) -> Array:
    """The field of a unit on both sides, (478, 3), as drawn by hand."""
    out = np.zeros((top.POINTS, 3))
    if name in FIELDS:
        out += _field(FIELDS[name])
    if name in JAW:
        out += _jaw(JAW[name])
    if name in LIDS:
        out += _lids(*LIDS[name])
    if name in _MADE:
        out += _MADE[name]()
    if name in ("AU1", "AU2"):  # skin over the eye slides little: lashes stay with the lid
        out *= (0.2 + 0.8 * _smoothstep((-0.64 - top.mean_face()[:, 1]) / 0.11))[:, None]
    if name == "AU27":
        out += _field(_STRETCH)
    if name == "AU46":
        out += _field(_WINK)
    return out


@cache
def field_of(name: str) -> Array:
    """Displacement (478, 3) in IOD of a unit alone at full intensity: `AU12`, `AU12L` or `AU12R`.

    Raises KeyError for a name without a field."""
    base = name.rstrip("LR")
    if base not in FACE_UNITS:
        raise KeyError(name)
    both = _made(base)
    if name == base:
        return both
    left = _smoothstep(top.mean_face()[:, 0] / SEAM + 0.5)
    return both * (left if name[-1] == "L" else 1 - left)[:, None]


# -- acting together ------------------------------------------------------------------------------

SIDED = tuple(n + s for n in FACE_UNITS for s in (("L", "R") if UNITS[n].sides else ("",)))
_AT = {n: i for i, n in enumerate(SIDED)}
_MIDDLE = [_AT[f"AU{n}"] for n in (17, 18, 22, 23, 24, 25, 26, 27, 28)]
_SIDES = [[_AT[f"AU{n}{s}"] for n in (1, 2, 5, 7, 9, 10, 11, 12, 14, 15, 16, 20, 43, 45, 46)] for s in "LR"]
_BOTH = {n: (_AT[n + "R"], _AT[n + "L"]) for n in ("AU12", "AU16", "AU20")}


@cache
def _fields() -> Array:
    return np.stack([field_of(n) for n in SIDED])


@cache
def _oblique() -> Array:
    """What AU4 does up and down to the inner brows, right and left: AU1 takes most of it back (2, 478, 3)."""
    both = _field([([107, 55, 66, 65, 105, 52], (0, 0.085, 0), 0.11)])
    left = _smoothstep(top.mean_face()[:, 0] / SEAM + 0.5)
    inner = np.exp(-((np.abs(top.mean_face()[:, 0]) / 0.38) ** 4))
    return np.stack([both * ((1 - left) * inner)[:, None], both * (left * inner)[:, None]])


def tamed(amounts: Array) -> Array:
    """Intensities (..., S) in the order of `SIDED` after the units have met.

    Muscles that share a place do not add: a dropped jaw has parted the lips already (25 with 26, 27), a
    wider drop replaces a smaller one, smile and frown pull one corner (12 with 15), closing lids overrule
    opening ones, pressed lips do not part. One unit alone stays as it is; all is continuous and monotone."""
    a = np.asarray(amounts, np.float64)
    if a.size == len(SIDED):
        return np.array(tamed_once(a.ravel().tolist())).reshape(a.shape)
    out = a.copy()
    left = np.moveaxis(out, -1, 0)
    _meet(left, np.clip(left, 0, 1), np.maximum, np.minimum)
    return out


def tamed_once(amounts: list[float]) -> list[float]:
    """`tamed` of one instant, (S,): numbers take a tenth of the time that arrays of one take."""
    left = amounts.copy()
    _meet(left, [v if 0 <= v <= 1 else min(max(v, 0), 1) for v in amounts], max, min)
    return left


def _meet(left: Any, w: Any, most: Callable[..., Any], least: Callable[..., Any]) -> None:
    """`tamed` in place, of intensities by unit: numbers or arrays, the same within 0..1, and what takes the more and
    the less of two."""
    u = list(left) if isinstance(left, list) else left.copy()

    def mean(right: int, other: int) -> Any:
        return least(most((u[other] + u[right]) / 2, 0), 1)

    # Places stand in variables: names would take more time than what is reckoned.
    a17, a18, a22, a23, a24, a25, a26, a27, a28 = _MIDDLE
    stretch, smile, lower = mean(*_BOTH["AU20"]), mean(*_BOTH["AU12"]), mean(*_BOTH["AU16"])
    jaw, press = most(w[a26], w[a27]), most(w[a24], w[a28])
    left[a26] *= 1 - w[a27]
    left[a25] *= 1 - (1 - (1 - 0.5 * jaw) * (1 - press) * (1 - 0.5 * lower))
    left[a24] *= 1 - 0.7 * most(jaw, w[a28])
    left[a23] *= 1 - most(0.6 * jaw, most(0.5 * w[a24], w[a28]))
    left[a28] *= 1 - 0.4 * jaw
    left[a18] *= 1 - (1 - (1 - 0.5 * smile) * (1 - 0.5 * w[a22]) * (1 - 0.5 * stretch))
    left[a22] *= 1 - (1 - (1 - 0.5 * smile) * (1 - press) * (1 - 0.4 * stretch))
    left[a17] *= 1 - most(0.35 * jaw, 0.4 * w[a25])
    for a1, a2, a5, a7, a9, a10, a11, a12, a14, a15, a16, a20, a43, a45, a46 in _SIDES:
        shut = 1 - (1 - w[a43]) * (1 - w[a45]) * (1 - w[a46])
        left[a5] *= 1 - shut
        left[a7] *= 1 - 0.8 * shut
        left[a46] *= 1 - most(w[a43], w[a45])
        left[a45] *= 1 - w[a43]
        left[a2] *= 1 - 0.35 * w[a1]
        left[a1] *= 1 - 0.30 * w[a2]
        left[a15] *= 1 - 0.45 * w[a12]
        left[a12] *= 1 - 0.30 * w[a15]
        left[a20] *= 1 - 0.5 * w[a12]
        left[a14] *= 1 - most(0.25 * w[a12], 0.5 * w[a20])
        left[a10] *= 1 - 0.5 * w[a9]
        left[a11] *= 1 - 0.5 * most(w[a12], most(w[a9], w[a10]))
        left[a16] *= 1 - (1 - (1 - 0.4 * jaw) * (1 - press))


def _apart(offsets: Array) -> Array:
    """Displacements (T, 478, 3) of the mean face with lids and lips that would cross moved back to touching."""
    face = top.mean_face()
    gaps = lip_gaps(face + offsets)
    over = np.minimum(gaps, 0) / 2
    if (over < 0).any():
        offsets[:, top.LIPS_INNER_UPPER[1:-1], 1] += over
        offsets[:, top.LIPS_INNER_LOWER[1:-1], 1] -= over
    for upper, lower in _EYES_OF:
        u, w = upper[1:-1], lower[1:-1]
        gap = (face + offsets)[:, w, 1] - (face + offsets)[:, u, 1]
        over = np.minimum(gap, 0)
        offsets[:, u, 1] += over
    return offsets


def combined(amounts: Array) -> Array:
    """Displacement (T, 478, 3) of intensities (T, S) in the order of `SIDED`: fields, interactions, contact."""
    a = np.atleast_2d(np.asarray(amounts, np.float64))
    out = np.tensordot(tamed(a), _fields(), 1)
    for k, s in enumerate("RL"):
        both = np.clip(a[:, _AT["AU1" + s]], 0, 1) * a[:, _AT["AU4" + s]]
        out -= 0.75 * both[:, None, None] * _oblique()[k]
    out = _apart(out)
    face = top.mean_face()
    for row in out:
        moved = face + row
        _relax()(moved)
        row[:] = moved - face
    out = _apart(out)
    for row in out:
        moved = face + row
        _relax().turn_back(moved)
        row[:] = moved - face
    return out


@cache
def _relax() -> Relax:
    return Relax(top.mean_face())


def columns_of(amounts: Mapping[str, float]) -> Array:
    """Named intensities as a row (S,) in the order of `SIDED`; eyes and head left out.

    A side that is named beside its unit counts where it is stronger; AU46 without a side winks the right eye."""
    row = np.zeros(len(SIDED))
    for name, value in amounts.items():
        known = canonical(name)
        if known == "AU46":
            known = "AU46R"
        names = [known] if known in _AT else [known + "L", known + "R"] if known in FACE_UNITS else []
        for n in names:
            row[_AT[n]] = max(row[_AT[n]], float(value))
    follow = lids_with_gaze(amounts)
    for unit, more in (("AU5", max(0.0, -follow)), ("AU43", max(0.0, follow))):
        for s in "LR":
            row[_AT[unit + s]] = max(row[_AT[unit + s]], more)
    return row


def lids_with_gaze(amounts: Mapping[str, float]) -> float:
    """How far the upper lids go with the eyes: intensity of AU43 (looking down), of AU5 where negative."""
    up, down = (min(1.0, sum(float(v) for n, v in amounts.items() if canonical(n) == u)) for u in ("AU63", "AU64"))
    way = down - up
    return way * (LID_FOLLOW[1] if way > 0 else LID_FOLLOW[0])


def units_offsets(amounts: Mapping[str, float]) -> Array:
    """Displacement (478, 3) in IOD of the mean face under named intensities such as {"AU12": 0.8, "AU6L": 0.5}.

    Values are at least 0; 1 is FACS level E. Raises InputError for an unknown unit."""
    return combined(columns_of(amounts))[0]


def units_pose(amounts: Mapping[str, float]) -> tuple[Array, float, Array]:
    """What head and eye units do: rotation vector (3,) in radians, scale, gaze (2,) in radians right and down."""
    turn, near, gaze = np.zeros(3), 0.0, np.zeros(2)
    for name, value in amounts.items():
        known = canonical(name)
        if known in TURNS:
            axis, far = TURNS[known]
            turn[axis] += far * value
        elif known in NEARS:
            near += NEARS[known] * value
        elif known in GAZES:
            axis, far = GAZES[known]
            gaze[axis] += far * value
    return turn, float(np.exp(near)), gaze


def canonical(name: str) -> str:
    """The one spelling of a unit: "au06l", "6L" and "AU6L" are AU6L. Raises InputError, with the nearest unit."""
    text = name.strip().upper()
    body = text.removeprefix("AU").lstrip("_- ")
    side = body[-1:] if body[-1:] in ("L", "R") else ""
    digits = body[: len(body) - len(side)]
    known = f"AU{int(digits)}" if digits.isdigit() and digits.isascii() else text
    if known in UNITS and digits.isdigit():
        if side and not UNITS[known].sides:
            raise InputError(f"{known} ({UNITS[known].title}) has no left or right version; use {known}")
        return known + side
    raise InputError(f"unknown unit {name.strip()!r}; did you mean {nearest(name)}?")


def nearest(name: str) -> str:
    """The unit a wrong name was most likely meant to be, with its title."""
    text = name.strip()
    titles = {u.title: u.name for u in UNITS.values()}
    close = difflib.get_close_matches(text.lower().replace("_", " "), titles, 1, 0.6)
    if close:
        known = titles[close[0]]
    else:
        digits = "".join(c for c in text if c.isdigit())[:4]
        numbers = {int(n[2:]): n for n in UNITS}
        if digits:  # a neighbour, or else a slip of the fingers
            near = min(numbers, key=lambda k: (abs(k - int(digits)), k))
            slips = difflib.get_close_matches(digits, [str(k) for k in numbers], 1, 0.6)
            known = numbers[int(slips[0]) if slips and abs(near - int(digits)) > 2 else near]
        else:
            known = difflib.get_close_matches(text.upper(), UNITS, 1, 0.0)[0]
    return f"{known} ({UNITS[known].title})"


# -- the basis ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Basis:
    """Unit names and their displacement fields (U, 478, 3) at full intensity."""

    names: tuple[str, ...]
    fields: Array

    def offsets(self, amounts: Array) -> Array:
        """Displacement (478, 3) of unit intensities (U,), or (T, 478, 3) of (T, U), interactions included."""
        a = np.asarray(amounts, np.float64)
        rows = np.zeros((*a.shape[:-1], len(SIDED)))
        for k, name in enumerate(self.names):
            for n in (name,) if name in _AT else (name + "L", name + "R") if name != "AU46" else ("AU46R",):
                rows[..., _AT[n]] = a[..., k]
        out = combined(rows)
        return out[0] if a.ndim == 1 else out

    def estimate(self, offsets: Array, ridge: float = 2e-3, passes: int = 300) -> Array:
        """Non-negative intensities (T, U) in 0..1 that best explain displacements (T, 478, 3).

        Least squares over x and y, eyes and lips weighted up, by projected accelerated gradient. Units that
        look like another one (`ALIKE`) are left at 0."""
        weight = _weights()
        A = (self.fields[:, : top.SURFACE, :2] * weight[None, :, None]).reshape(len(self.names), -1)
        b = (np.asarray(offsets, np.float64)[:, : top.SURFACE, :2] * weight[None, :, None]).reshape(len(offsets), -1)
        seen = np.array([0.0 if n in ALIKE else 1.0 for n in self.names])
        gram = A @ A.T
        gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        aim = b @ A.T
        return nonnegative(gram, aim, seen, passes)


def nonnegative(gram: Array, aim: Array, most: Array, passes: int) -> Array:
    """Rows x (T, U) in 0..`most` (U,) of least x·gram·x / 2 - aim·x, by projected accelerated gradient.

    `gram` (U, U) holds the products of what is fitted, `aim` (T, U) those with what is to be explained."""
    step = 1 / np.linalg.norm(gram, 2)
    x = y = np.zeros_like(aim)
    for k in range(passes):
        new = np.clip(y - step * (y @ gram - aim), 0, most)
        y = new + k / (k + 3) * (new - x)
        x = new
    return x


ALIKE = frozenset({"AU43", "AU46"})  # told from a blink by their duration only


def _weights() -> Array:
    w = np.ones(top.SURFACE)
    w[top.RIGHT_EYE + top.LEFT_EYE] = 3
    w[top.LIPS_INNER + top.LIPS_OUTER] = 2
    w[top.RIGHT_BROW + top.LEFT_BROW] = 2
    return w


@cache
def basis() -> Basis:
    """The one basis of Action Units, both sides of the face together."""
    return Basis(FACE_UNITS, np.stack([field_of(n) for n in FACE_UNITS]))
