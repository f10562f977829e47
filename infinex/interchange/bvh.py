"""BVH, the head's turns and place: a neck and a head, as Blender, Maya and MotionBuilder read them (degrees,
centimetres)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.blendshapes import NAMES
from infinex.face.pose import Pose
from infinex.interchange.take import Take, turned
from infinex.media.files import atomic_path

Array = NDArray[np.float64]
CM = 9.0  # between the outer corners of the eyes
MOST = 500_000
AXES = np.diag([1.0, -1.0, -1.0])  # BVH's y goes up and z towards the viewer

_SKELETON = """HIERARCHY
ROOT Neck
{
  OFFSET 0.0 0.0 0.0
  CHANNELS 3 Xposition Yposition Zposition
  JOINT Head
  {
    OFFSET 0.0 9.0 0.0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0.0 18.0 0.0
    }
  }
}
MOTION
"""


def _zxy(R: Array) -> tuple[float, float, float]:
    """Degrees about z, x and y of a rotation that is Rz · Rx · Ry."""
    x = np.arcsin(np.clip(R[2, 1], -1, 1))
    return tuple(np.degrees([np.arctan2(-R[0, 1], R[1, 1]), x, np.arctan2(-R[2, 0], R[2, 2])]))


def _about(axis: str, degrees: float) -> Array:
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    R = {"X": [[1, 0, 0], [0, c, -s], [0, s, c]], "Y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
         "Z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}  # fmt: skip
    return np.array(R[axis])


def write(take: Take, path: Path) -> None:
    """Write the head of a take."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"{_SKELETON}Frames: {len(take)}\nFrame Time: {1 / take.fps:.8f}\n")
        for k in range(len(take)):
            x, y, size = (0.0, 0.0, 1.0) if take.place is None else take.place[k]
            numbers = (x * CM, -y * CM, (float(size) - 1) * 50, *_zxy(AXES @ turned(take.head[k]) @ AXES))
            file.write(" ".join(f"{v:.4f}" for v in numbers) + "\n")


def read(path: Path) -> Take:
    """The head's turns of a BVH file: of a joint called Head, else of the last one. Raises InputError."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            joints, channels = _hierarchy(file)
            frames, step = 0, 0.0
            for line in file:
                key, _, value = line.partition(":")
                if key.strip().lower() == "frames":
                    frames = int(value)
                elif key.strip().lower() == "frame time":
                    step = float(value)
                    break
            if not 1 <= frames <= MOST or not 1e-3 <= step <= 1:
                raise ValueError(f"{frames} frames of {step:g} s")
            rows = np.array([[float(v) for v in next(file).split()] for _ in range(frames)])
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except StopIteration as error:
        raise InputError(f"{path.name} ends before its last frame") from error
    except ValueError as error:
        raise InputError(f"{path.name} is not a BVH file that can be read ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != len(channels) or not np.isfinite(rows).all():
        raise InputError(f"{path.name}: its frames do not hold the {len(channels)} numbers that its joints ask for")
    which = next((j for j in joints if "head" in j.lower()), joints[-1])
    turning = [(k, c[0]) for k, (joint, c) in enumerate(channels) if joint == which and c.endswith("rotation")]
    if len(turning) != 3:
        raise InputError(f"{path.name}: the joint {which} has no three rotations")
    head = np.zeros((frames, 3))
    for t, row in enumerate(rows):
        R = np.eye(3)
        for k, axis in turning:
            R = R @ _about(axis, row[k])
        head[t] = np.radians(Pose(1.0, AXES @ R @ AXES, np.zeros(3)).angles)
    none = np.zeros((frames, len(NAMES)))
    return Take(1 / step, none, head, np.zeros((frames, 2, 2)), np.ones(frames, bool))


def _hierarchy(file: object) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of joints, and every channel with its joint, up to the line MOTION."""
    joints: list[str] = []
    channels: list[tuple[str, str]] = []
    for line in file:  # type: ignore[attr-defined]
        words = line.split()
        if not words:
            continue
        if words[0] in ("ROOT", "JOINT"):
            joints.append(" ".join(words[1:]))
        elif words[0] == "CHANNELS" and joints:
            for c in words[2:]:
                if c[:1] not in ("X", "Y", "Z"):
                    raise ValueError(f"the channel {c}")
                channels.append((joints[-1], c))
        elif words[0] == "MOTION":
            if not joints or len(channels) > 2000:
                raise ValueError("no joints")
            return joints, channels
    raise ValueError("no MOTION")
