"""glTF 2.0: the mean face as a mesh with Apple's 52 shapes as morph targets, animated (`.glb`), and VRM animations
(`.vrma`).

glTF's x goes to the viewer's right, y up and z towards the viewer; one unit is a metre. A `.vrma` has no mesh: a
node's translation along x is the weight of an expression, as the extension VRMC_vrm_animation 1.0 says.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import blendshapes as shapes
from infinex.face import topology as top
from infinex.face.blendshapes import AT, NAMES
from infinex.face.pose import Pose
from infinex.interchange.take import Take, even, turned
from infinex.media.files import atomic_path

Array = NDArray[np.float64]
METRES = 0.09  # between the outer corners of the eyes
AXES = np.array([1.0, -1.0, -1.0])  # from head coordinates
GLTF, JSON_CHUNK, BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
FLOAT, UINT = 5126, 5125
LARGEST = 1 << 30  # bytes of a file that is read
# What VRM's own expressions are in Apple's shapes; the largest share counts.
VRM = {
    "blinkLeft": {"eyeBlinkLeft": 1.0}, "blinkRight": {"eyeBlinkRight": 1.0},
    "aa": {"jawOpen": 1.4}, "ou": {"mouthPucker": 1.0}, "oh": {"mouthFunnel": 1.2},
    "ih": {"mouthStretchLeft": 0.8, "mouthStretchRight": 0.8, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5},
    "ee": {"mouthSmileLeft": 0.35, "mouthSmileRight": 0.35, "mouthStretchLeft": 0.8, "mouthStretchRight": 0.8},
    "happy": {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6},
}  # fmt: skip
VRM_BACK = {
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, "blinkLeft": {"eyeBlinkLeft": 1.0},
    "blinkRight": {"eyeBlinkRight": 1.0}, "aa": {"jawOpen": 0.7}, "ih": {"jawOpen": 0.15, "mouthStretchLeft": 0.5,
    "mouthStretchRight": 0.5}, "ou": {"mouthPucker": 0.8, "jawOpen": 0.1}, "ee": {"mouthStretchLeft": 0.6,
    "mouthStretchRight": 0.6, "jawOpen": 0.1}, "oh": {"mouthFunnel": 0.7, "jawOpen": 0.35},
    "happy": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "sad": {"mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "browInnerUp": 0.7},
    "angry": {"browDownLeft": 0.9, "browDownRight": 0.9, "mouthPressLeft": 0.4, "mouthPressRight": 0.4},
    "surprised": {"browInnerUp": 0.8, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8, "eyeWideLeft": 0.6,
    "eyeWideRight": 0.6, "jawOpen": 0.3},
}  # fmt: skip


class _Writer:
    """Collects arrays into one binary chunk."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: NDArray, kind: str, component: int = FLOAT, target: int | None = None) -> int:
        """One accessor of rows; its number."""
        raw = np.ascontiguousarray(values, np.float32 if component == FLOAT else np.uint32)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": raw.nbytes}
        if target:
            view["target"] = target
        self.data += raw.tobytes()
        self.views.append(view)
        flat = raw.reshape(len(raw), -1)
        self.accessors.append({
            "bufferView": len(self.views) - 1, "componentType": component, "count": len(raw), "type": kind,
            "min": flat.min(0).tolist(), "max": flat.max(0).tolist(),
        })  # fmt: skip
        return len(self.accessors) - 1

    def save(self, path: Path, scene: dict[str, Any]) -> None:
        """Write a `.glb`."""
        from infinex._version import __version__

        self.data += b"\0" * (-len(self.data) % 4)
        whole = {
            "asset": {"version": "2.0", "generator": f"Infinex {__version__}"}, "scene": 0, **scene,
            "buffers": [{"byteLength": len(self.data)}], "bufferViews": self.views, "accessors": self.accessors,
        }  # fmt: skip
        text = json.dumps(whole, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(struct.pack("<III", GLTF, 2, 28 + len(text) + len(self.data)))
            file.write(struct.pack("<II", len(text), JSON_CHUNK) + text)
            file.write(struct.pack("<II", len(self.data), BINARY) + self.data)


def quaternion(rotation: Array) -> Array:
    """(x, y, z, w) in glTF's axes of a rotation (3, 3) in head coordinates."""
    from infinex.face.pose import to_vector

    v = to_vector(rotation) * AXES
    angle = float(np.linalg.norm(v))
    axis = v / angle if angle > 1e-12 else v
    return np.array([*axis * np.sin(angle / 2), np.cos(angle / 2)])


def rotation_of(q: Array) -> Array:
    """Rotation (3, 3) in head coordinates of a quaternion (x, y, z, w) in glTF's axes."""
    from infinex.face.pose import to_matrix

    q = np.asarray(q, np.float64)
    length = float(np.linalg.norm(q))
    if not length > 1e-6:
        return np.eye(3)
    q = q / length * (1 if q[3] >= 0 else -1)
    angle, size = 2 * np.arccos(np.clip(q[3], -1, 1)), float(np.linalg.norm(q[:3]))
    return np.asarray(to_matrix(q[:3] / size * angle * AXES)) if size > 1e-9 else np.eye(3)


def _turns(take: Take) -> Array:
    out = np.stack([quaternion(turned(h)) for h in take.head])
    for k in range(1, len(out)):  # the shorter way round
        if out[k] @ out[k - 1] < 0:
            out[k] *= -1
    return out


def _times(take: Take) -> Array:
    return np.arange(len(take)) / take.fps


def write(take: Take, path: Path) -> None:
    """Write the mean face under a take: morph weights and the head's rotation, as Blender and three.js read them."""
    out = _Writer()
    face = top.mean_face()[: top.SURFACE] * AXES * METRES
    place = out.add(face, "VEC3", target=34962)
    triangles = out.add(top.triangles()[:, [0, 2, 1]].ravel(), "SCALAR", UINT, 34963)
    fields = shapes.fields()[:, : top.SURFACE] * AXES * METRES
    targets = [{"POSITION": out.add(f, "VEC3", target=34962)} for f in fields]
    times = out.add(_times(take), "SCALAR")
    weights = out.add(take.shapes.ravel(), "SCALAR")
    turns = out.add(_turns(take), "VEC4")
    out.save(path, {
        "scenes": [{"nodes": [0]}], "nodes": [{"name": "head", "mesh": 0}],
        "meshes": [{
            "name": "face", "weights": [0.0] * len(NAMES), "extras": {"targetNames": list(NAMES)},
            "primitives": [{"attributes": {"POSITION": place}, "indices": triangles, "targets": targets}],
        }],
        "animations": [{
            "name": "take",
            "samplers": [{"input": times, "output": weights, "interpolation": "LINEAR"},
                         {"input": times, "output": turns, "interpolation": "LINEAR"}],
            "channels": [{"sampler": 0, "target": {"node": 0, "path": "weights"}},
                         {"sampler": 1, "target": {"node": 0, "path": "rotation"}}],
        }],
    })  # fmt: skip


def write_vrma(take: Take, path: Path) -> None:
    """Write a VRM animation: head, where the eyes look, VRM's own expressions, and Apple's shapes as custom ones."""
    out = _Writer()
    nodes: list[dict[str, Any]] = [
        {"name": "hips", "translation": [0, 0.9, 0], "children": [1]},
        {"name": "spine", "translation": [0, 0.15, 0], "children": [2]},
        {"name": "head", "translation": [0, 0.45, 0], "rotation": [0, 0, 0, 1]},
    ]
    times = out.add(_times(take), "SCALAR")
    samplers: list[dict[str, Any]] = [
        {"input": times, "output": out.add(_turns(take), "VEC4"), "interpolation": "LINEAR"}
    ]
    channels: list[dict[str, Any]] = [{"sampler": 0, "target": {"node": 2, "path": "rotation"}}]

    def animated(name: str, values: Array, path: str, kind: str, **more: Any) -> int:
        nodes.append({"name": name, **more})
        samplers.append({"input": times, "output": out.add(values, kind), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": len(nodes) - 1, "path": path}})
        return len(nodes) - 1

    def expression(name: str, weight: Array) -> dict[str, int]:
        moved = np.zeros((len(weight), 3))
        moved[:, 0] = weight
        return {"node": animated(name, moved, "translation", "VEC3", translation=[0, 0, 0])}

    preset = {n: expression(n, _mixed(take.shapes, parts)) for n, parts in VRM.items()}
    custom = {n: expression(n, take.shapes[:, k]) for n, k in AT.items()}
    mean = take.eyes.mean(1)
    # Yaw about y, then pitch about x, in glTF's axes.
    looks = np.stack([_yaw_pitch(x, y) for x, y in mean])
    eyes = animated("lookAt", looks, "rotation", "VEC4", rotation=[0, 0, 0, 1])
    roots = [0, *range(3, len(nodes))]
    out.save(path, {
        "scenes": [{"nodes": roots}], "nodes": nodes, "extensionsUsed": ["VRMC_vrm_animation"],
        "animations": [{"name": "take", "samplers": samplers, "channels": channels}],
        "extensions": {"VRMC_vrm_animation": {
            "specVersion": "1.0",
            "humanoid": {"humanBones": {"hips": {"node": 0}, "spine": {"node": 1}, "head": {"node": 2}}},
            "expressions": {"preset": preset, "custom": custom}, "lookAt": {"node": eyes},
        }},
    })  # fmt: skip


def _yaw_pitch(right: float, down: float) -> Array:
    a, b = right / 2, down / 2
    return np.array([np.cos(a) * np.sin(b), np.sin(a) * np.cos(b), -np.sin(a) * np.sin(b), np.cos(a) * np.cos(b)])


def _mixed(weights: Array, parts: dict[str, float]) -> Array:
    """Weight (T,) of an expression that consists of shapes with those shares: the mean of what is there of each."""
    total = sum(parts.values())
    peak = max(parts.values())
    return np.clip(sum(share * weights[:, AT[n]] for n, share in parts.items()) / total * max(1.0, peak), 0, 1)


# -- reading --------------------------------------------------------------------------------------


def load(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk of a `.glb` or `.vrma`. Raises InputError."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path.name} is larger than {LARGEST >> 30} GB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from error
    try:
        magic, version, length = struct.unpack_from("<III", data, 0)
        if magic != GLTF or version != 2 or length > len(data):
            raise ValueError
        size, kind = struct.unpack_from("<II", data, 12)
        if kind != JSON_CHUNK:
            raise ValueError
        whole = json.loads(data[20 : 20 + size])
        if not isinstance(whole, dict):
            raise ValueError
        at = 20 + size
        binary = b""
        if len(data) >= at + 8:
            (n,) = struct.unpack_from("<I", data, at)
            binary = data[at + 8 : at + 8 + n]
    except (struct.error, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not a whole binary glTF 2.0 file") from error
    return whole, binary


def _values(whole: dict[str, Any], binary: bytes, number: int) -> Array:
    """An accessor's rows as floats."""
    accessor = whole["accessors"][number]
    view = whole["bufferViews"][accessor["bufferView"]]
    if accessor["componentType"] != FLOAT or view.get("byteStride") or "sparse" in accessor or view.get("buffer", 0):
        raise KeyError("an animation that is not stored as plain floats")
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    at = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    values = np.frombuffer(binary, "<f4", int(accessor["count"]) * width, at)
    with np.errstate(invalid="ignore"):  # what is no number is told by the caller
        return values.reshape(-1, width).astype(np.float64)


def read(path: Path) -> Take:
    """The animation of a `.glb` with Apple's shapes as morph targets, or of a `.vrma`. Raises InputError."""
    whole, binary = load(path)
    try:
        animation = whole["animations"][0]
        tracks = []
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            if sampler.get("interpolation", "LINEAR") == "CUBICSPLINE":
                raise KeyError("a spline")
            target = channel["target"]
            times, values = _values(whole, binary, sampler["input"])[:, 0], _values(whole, binary, sampler["output"])
            tracks.append((target["node"], target["path"], times, values))
        return _take(whole, tracks, path.name)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path.name} holds no animation of a face that can be read ({error})") from error


def _take(whole: dict[str, Any], tracks: list[tuple[int, str, Array, Array]], name: str) -> Take:
    if not tracks:
        raise KeyError("no tracks")
    vrm = whole.get("extensions", {}).get("VRMC_vrm_animation", {})
    said = vrm.get("expressions", {})
    by_node: dict[int, tuple[str, bool]] = {}
    for group in ("preset", "custom"):
        by_node |= {v["node"]: (k, group == "custom") for k, v in said.get(group, {}).items()}
    head = vrm.get("humanoid", {}).get("humanBones", {}).get("head", {}).get("node")
    eyes_node = vrm.get("lookAt", {}).get("node")
    clock = max((t[2] for t in tracks), key=len)
    columns = np.zeros((len(clock), len(NAMES) + 7))
    columns[:, -4:] = [0, 0, 0, 1]
    own = any(custom and k in AT for k, custom in by_node.values())
    for node, kind, times, values in tracks:
        if kind == "weights":
            mesh = whole["meshes"][whole["nodes"][node]["mesh"]]
            names = mesh.get("extras", {}).get("targetNames", [])
            rows = values.reshape(len(times), -1)
            for k, n in enumerate(names[: rows.shape[1]]):
                from infinex.interchange.table import plain

                match = _BY_PLAIN.get(plain(str(n)))
                if match is not None:
                    columns[:, match] = np.interp(clock, times, rows[:, k])
        elif kind == "translation" and node in by_node:
            expression, custom = by_node[node]
            if custom and expression in AT:
                columns[:, AT[expression]] = np.interp(clock, times, values[:, 0])
            elif not own:
                for shape, share in VRM_BACK.get(expression, {}).items():
                    new = share * np.interp(clock, times, values[:, 0])
                    columns[:, AT[shape]] = np.maximum(columns[:, AT[shape]], new)
        elif kind == "rotation" and (node == head or (head is None and "mesh" in whole["nodes"][node])):
            for k in range(4):
                columns[:, -4 + k] = np.interp(clock, times, values[:, k])
        elif kind == "rotation" and node == eyes_node:
            R = np.stack([rotation_of(q) for q in values])
            ahead = R @ np.array([0, 0, -1.0])
            columns[:, len(NAMES)] = np.interp(clock, times, np.arctan2(ahead[:, 0], -ahead[:, 2]))
            columns[:, len(NAMES) + 1] = np.interp(clock, times, np.arcsin(np.clip(ahead[:, 1], -1, 1)))
    fps, rows, valid, notes = even(clock, columns, name)
    weights = np.clip(rows[:, : len(NAMES)], 0, 1)
    turns = np.radians([Pose(1.0, rotation_of(q), np.zeros(3)).angles for q in rows[:, -4:]])
    look = rows[:, len(NAMES) : len(NAMES) + 2]
    eyes = np.repeat(look[:, None], 2, 1) if np.abs(look).max() > 0 else shapes.gaze(weights)
    return Take(fps, weights, turns, np.clip(eyes, -1.2, 1.2), valid, notes=tuple(notes))


_BY_PLAIN = {n.lower(): k for n, k in AT.items()}
