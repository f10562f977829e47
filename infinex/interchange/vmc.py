"""The Virtual Motion Capture protocol (OSC over UDP): shapes, head and eyes to and from VSeeFace, Warudo, VNyan,
VMagicMirror ...

Axes are Unity's: x to the subject's right, y up, z forward. All three point against head coordinates, so that a
rotation's matrix is
the same in both. Shapes go under their names in Pascal case, as models with "perfect sync" have them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import blendshapes as shapes
from infinex.face.blendshapes import AT, NAMES
from infinex.face.pose import Pose, to_matrix, to_vector
from infinex.interchange import osc
from infinex.interchange.gltf import VRM_BACK
from infinex.interchange.take import turned

Array = NDArray[np.float64]
ROOM = 1200  # bytes of a packet: it must not be cut on its way
_BY_NAME = {n.lower(): k for n, k in AT.items()}
# VRM 0's names of its expressions, as they are now.
OLD = {"a": "aa", "i": "ih", "u": "ou", "e": "ee", "o": "oh", "blink_l": "blinkLeft", "blink_r": "blinkRight",
       "blink": "blink", "joy": "happy", "sorrow": "sad", "fun": "happy", "angry": "angry"}  # fmt: skip


def quaternion(rotation: Array) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a rotation (3, 3)."""
    v = to_vector(rotation)
    angle = float(np.linalg.norm(v))
    s = np.sin(angle / 2) / angle if angle > 1e-12 else 0.0
    return float(v[0] * s), float(v[1] * s), float(v[2] * s), float(np.cos(angle / 2))


def packets(weights: Array, head: Array, eyes: Array, seconds: float) -> list[bytes]:
    """One frame: shapes (52,), yaw, pitch and roll (3,) and where the eyes look (2, 2), see `Take`."""

    def bone(name: str, rotation: Array) -> bytes:
        return osc.message("/VMC/Ext/Bone/Pos", name, 0.0, 0.0, 0.0, *quaternion(rotation))

    messages = [
        osc.message("/VMC/Ext/OK", 1), osc.message("/VMC/Ext/T", float(seconds)), bone("Head", turned(head)),
        *(bone(n, turned(np.array([*e, 0.0]))) for n, e in zip(("LeftEye", "RightEye"), eyes)),
        *(osc.message("/VMC/Ext/Blend/Val", n[0].upper() + n[1:], float(w)) for n, w in zip(NAMES, weights)),
        osc.message("/VMC/Ext/Blend/Apply"),
    ]  # fmt: skip
    out: list[bytes] = []
    group: list[bytes] = []
    for m in messages:
        if group and 16 + sum(4 + len(g) for g in group) + 4 + len(m) > ROOM:
            out.append(osc.bundle(group))
            group = []
        group.append(m)
    return [*out, osc.bundle(group)]


class Receiver:
    """Gathers what comes until a frame is whole, which is when it says Apply."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._head = np.zeros(3)
        self._eyes: dict[str, Array] = {}

    def feed(self, data: bytes) -> tuple[Array, Array, Array] | None:
        """Shapes (52,), head (3,) and eyes (2, 2) once a frame is whole. Raises InputError for a packet of something
        else."""
        done = None
        for address, values in osc.unpack(data):
            if address == "/VMC/Ext/Blend/Val" and len(values) >= 2:
                self._values[str(values[0])] = _finite(values[1])
            elif address == "/VMC/Ext/Bone/Pos" and len(values) >= 8 and str(values[0]).lower() in _BONES:
                q = np.array([_finite(v) for v in values[4:8]])
                angles = np.radians(Pose(1.0, _rotation(q), np.zeros(3)).angles)
                if str(values[0]).lower() == "head":
                    self._head = angles
                else:
                    self._eyes[str(values[0]).lower()] = angles[:2]
            elif address == "/VMC/Ext/Blend/Apply":
                done = self._frame()
        return done

    def _frame(self) -> tuple[Array, Array, Array]:
        weights = np.zeros(len(NAMES))
        own = False
        for name, value in self._values.items():
            k = _BY_NAME.get(name.replace("_", "").lower())
            if k is not None:
                weights[k], own = value, True
        if not own:  # a model without Apple's shapes: VRM's own expressions
            for name, value in self._values.items():
                known = OLD.get(name.lower(), name)
                for shape, share in VRM_BACK.get(known, VRM_BACK.get(known.lower(), {})).items():
                    weights[AT[shape]] = max(weights[AT[shape]], share * value)
        weights = np.clip(weights, 0, 1)
        eyes = shapes.gaze(weights[None])[0]
        if self._eyes:
            for k, n in enumerate(("lefteye", "righteye")):
                eyes[k] = np.clip(self._eyes.get(n, eyes[k]), -1.2, 1.2)
        return weights, self._head, eyes


_BONES = ("head", "lefteye", "righteye")


def _finite(value: osc.Value) -> float:
    if isinstance(value, str) or not np.isfinite(value):
        raise InputError("a VMC packet with a value that is no number")
    return float(value)


def _rotation(q: Array) -> Array:
    length = float(np.linalg.norm(q))
    if not length > 1e-6:
        return np.eye(3)
    q = q / length * (1 if q[3] >= 0 else -1)
    size = float(np.linalg.norm(q[:3]))
    return np.asarray(to_matrix(q[:3] / size * 2 * np.arccos(np.clip(q[3], -1, 1)))) if size > 1e-9 else np.eye(3)
