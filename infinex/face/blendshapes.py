"""Apple's 52 blendshapes: from Action Units and tracked faces, and back to how the mesh moves.

Names and meaning are those of ARKit's `ARFaceAnchor.BlendShapeLocation`. The displacement that each causes was measured
on the ICT face model (MIT, USC 2020), whose expressions are these shapes: `tools/teach_blendshapes.py basis`. Lids
follow the mesh's own units, which close exactly. `tongueOut` has no landmark: it is carried through and moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.units import _apart, canonical, columns_of, combined, nonnegative

Array = NDArray[np.float64]
NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp",
    "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip
"""In the order of Live Link Face's tables."""
AT = {name: k for k, name in enumerate(NAMES)}
EYE_TURN = {"In": 0.5, "Out": 0.5, "Up": 0.4, "Down": 0.42}  # radians of a weight of 1; Apple publishes none
EYES = [k for k, n in enumerate(NAMES) if n.startswith("eyeLook")]
SPARSE = 0.06  # weight that a shape must reach before it is seen in a mesh
LIDS = {"eyeBlink": "AU45", "eyeWide": "AU5"}  # drawn as the mesh's units


def mirrored(weights: Array) -> Array:
    """Weights (..., 52) of the mirrored face."""
    return np.asarray(weights)[..., _MIRROR]


def _other(name: str) -> str:
    return name.replace("Left", "!").replace("Right", "Left").replace("!", "Right")


_MIRROR = [AT[_other(n)] for n in NAMES]

# What a unit at full intensity is in shapes; of units with sides "*" stands for the side.
UNIT_SHAPES: dict[str, dict[str, float]] = {
    "AU1": {"browInnerUp": 1.0}, "AU2": {"browOuterUp*": 1.0}, "AU4": {"browDown*": 1.0}, "AU5": {"eyeWide*": 1.0},
    "AU6": {"cheekSquint*": 1.0, "eyeSquint*": 0.25}, "AU7": {"eyeSquint*": 1.0}, "AU9": {"noseSneer*": 1.0},
    "AU10": {"mouthUpperUp*": 1.0}, "AU11": {"mouthUpperUp*": 0.3, "noseSneer*": 0.2}, "AU12": {"mouthSmile*": 1.0},
    "AU14": {"mouthDimple*": 1.0}, "AU15": {"mouthFrown*": 1.0}, "AU16": {"mouthLowerDown*": 1.0},
    "AU17": {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.4}, "AU18": {"mouthPucker": 1.0},
    "AU20": {"mouthStretch*": 1.0},
    "AU22": {"mouthFunnel": 1.0}, "AU23": {"mouthRollLower": 0.3, "mouthRollUpper": 0.3, "mouthPress*": 0.3},
    "AU24": {"mouthPress*": 1.0}, "AU25": {"mouthLowerDown*": 0.35, "mouthUpperUp*": 0.15}, "AU26": {"jawOpen": 0.55},
    "AU27": {"jawOpen": 0.95}, "AU28": {"mouthRollLower": 1.0, "mouthRollUpper": 1.0}, "AU43": {"eyeBlink*": 1.0},
    "AU45": {"eyeBlink*": 1.0}, "AU46": {"eyeBlink*": 1.0},
}  # fmt: skip
SIDELESS_UNITS = ("AU23", "AU24")  # units without sides of which the shapes have some


def from_units(amounts: Array, names: Sequence[str]) -> Array:
    """Weights (T, 52) of Action Unit intensities (T, N) in 0..1, named as `infinex.face.units` does.

    Shapes that two units ask for take the stronger. Eyes and head are not among them. Raises InputError for a name."""
    out = np.zeros((len(amounts), len(NAMES)))
    for k, name in enumerate(names):
        known = canonical(name)
        unit, side = (known[:-1], known[-1]) if known[-1] in "LR" else (known, "")
        if unit == "AU46" and not side:
            side = "R"
        for shape, share in UNIT_SHAPES.get(unit, {}).items():
            for s in ("Left", "Right") if not side else ({"L": "Left", "R": "Right"}[side],):
                column = out[:, AT[shape.replace("*", s)]]
                np.maximum(column, share * amounts[:, k], out=column)
    return np.clip(out, 0, 1)


def to_units(weights: Array) -> dict[str, Array]:
    """Action Units, by name without sides, that weights (T, 52) come closest to: intensities (T,) in 0..1."""
    w = np.asarray(weights, np.float64)

    def both(stem: str) -> Array:
        return np.asarray((w[:, AT[stem + "Left"]] + w[:, AT[stem + "Right"]]) / 2)

    jaw = w[:, AT["jawOpen"]]
    roll = np.minimum(w[:, AT["mouthRollLower"]], w[:, AT["mouthRollUpper"]])
    parted = np.maximum(both("mouthLowerDown") / 0.35, both("mouthUpperUp") / 0.5)
    out = {
        "AU1": w[:, AT["browInnerUp"]], "AU2": both("browOuterUp"), "AU4": both("browDown"), "AU5": both("eyeWide"),
        "AU6": both("cheekSquint"), "AU7": both("eyeSquint"), "AU9": both("noseSneer"), "AU10": both("mouthUpperUp"),
        "AU12": both("mouthSmile"), "AU14": both("mouthDimple"), "AU15": both("mouthFrown"),
        "AU16": both("mouthLowerDown"), "AU17": w[:, AT["mouthShrugLower"]], "AU18": w[:, AT["mouthPucker"]],
        "AU20": both("mouthStretch"), "AU22": w[:, AT["mouthFunnel"]], "AU23": roll * (roll < 0.5),
        "AU24": both("mouthPress"), "AU25": np.maximum(parted, (jaw - w[:, AT["mouthClose"]]) / 0.3),
        "AU26": jaw / 0.55, "AU28": roll * (roll >= 0.5), "AU45": both("eyeBlink"),
    }  # fmt: skip
    return {n: np.clip(v, 0, 1) for n, v in out.items()}


# -- eyes -----------------------------------------------------------------------------------------


def look(gaze: Array) -> Array:
    """Weights (T, 8) at `EYES` of where each eye looks: (T, 2, 2), left and right eye, radians right and down as seen
    by the viewer."""
    out = np.zeros((len(gaze), len(NAMES)))
    for k, (side, away) in enumerate((("Left", 1), ("Right", -1))):
        across, down = away * gaze[:, k, 0], gaze[:, k, 1]
        out[:, AT["eyeLookOut" + side]] = across / EYE_TURN["Out"]
        out[:, AT["eyeLookIn" + side]] = -across / EYE_TURN["In"]
        out[:, AT["eyeLookDown" + side]] = down / EYE_TURN["Down"]
        out[:, AT["eyeLookUp" + side]] = -down / EYE_TURN["Up"]
    return np.clip(out[:, EYES], 0, 1)


def gaze(weights: Array) -> Array:
    """Where each eye looks under weights (T, 52): (T, 2, 2), left and right eye, radians right and down."""
    out = np.zeros((len(weights), 2, 2))
    for k, (side, away) in enumerate((("Left", 1), ("Right", -1))):
        # Column by column: a copy of all of a long take would be large.
        parts = {d: turn * weights[:, AT[f"eyeLook{d}{side}"]].astype(np.float64) for d, turn in EYE_TURN.items()}
        out[:, k, 0] = away * (parts["Out"] - parts["In"])
        out[:, k, 1] = parts["Down"] - parts["Up"]
    return out


# -- the mesh -------------------------------------------------------------------------------------


@cache
def fields() -> Array:
    """How each shape moves the mean face at a weight of 1: (52, 478, 3) in IOD, head coordinates."""
    path = resources.files("infinex.face").joinpath("data/blendshapes.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        if tuple(str(n) for n in data["names"]) != NAMES:
            raise ValueError("blendshapes.npz was made for other shapes; run tools/teach_blendshapes.py basis")
        out = data["fields"].astype(np.float64)
    for stem, unit in LIDS.items():
        for side in ("Left", "Right"):
            out[AT[stem + side]] = combined(columns_of({unit + side[0]: 1.0}))[0]
    return out


def offsets_of(weights: Array) -> Array:
    """Displacement (T, 478, 3) of the mean face under weights (T, 52) in 0..1; lids and lips never cross.

    Lids that are shut stay shut, whatever else a shape does to them."""
    w = np.clip(np.asarray(weights, np.float64), 0, 1).copy()
    for side in ("Left", "Right"):
        open_ = 1 - w[:, AT["eyeBlink" + side]]
        for stem in ("eyeWide", "eyeSquint", "eyeLookDown", "eyeLookUp"):
            w[:, AT[stem + side]] *= open_
    w[:, AT["mouthClose"]] = np.minimum(w[:, AT["mouthClose"]], w[:, AT["jawOpen"]])
    return _apart(np.tensordot(w, fields(), 1))


def from_offsets(offsets: Array, passes: int = 200) -> Array:
    """Weights (T, 52) that explain displacements (T, 478, 3) of the mean face best, by non-negative least squares.

    For performances that were drawn and not filmed; a tracker sees too little of most shapes for it."""
    weight = np.ones(top.SURFACE)
    weight[top.RIGHT_EYE + top.LEFT_EYE + top.LIPS_INNER + top.LIPS_OUTER] = 2
    F = (fields()[:, : top.SURFACE] * weight[None, :, None] * [1, 1, 0.5]).reshape(len(NAMES), -1)
    b = (np.asarray(offsets, np.float64)[:, : top.SURFACE] * weight[None, :, None] * [1, 1, 0.5]).reshape(
        len(offsets), -1
    )
    gram = F @ F.T
    gram += 3e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    most = np.ones(len(NAMES))
    most[AT["tongueOut"]] = 0
    most[EYES] = 0
    # As few shapes as will do; of two opposite ones at most one.
    aim = b @ F.T - SPARSE * np.sqrt(np.diag(gram) * np.median(np.diag(gram)))
    found = nonnegative(gram, aim, most, passes)
    for stem in ("jaw", "mouth"):
        pair = found[:, [AT[stem + "Left"], AT[stem + "Right"]]]
        found[:, [AT[stem + "Left"], AT[stem + "Right"]]] = pair - pair.min(1, keepdims=True)
    return found


def named(weights: Mapping[str, float]) -> Array:
    """Weights (52,) of shapes by name; unknown names are left out."""
    out = np.zeros(len(NAMES))
    for name, value in weights.items():
        if name in AT:
            out[AT[name]] = float(value)
    return out
