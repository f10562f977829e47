"""Reading takes: tables of Live Link Face, and glTF files whose face has Apple's shapes. Nothing of Blender."""

import csv
import json
import math
import re
import struct
from pathlib import Path

import numpy as np

TURNS = ("headyaw", "headpitch", "headroll")
RATES = (24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 90, 100, 120)
MOST_ROWS, FEWEST = 500_000, 8
FLOAT = 5126


class TakeError(Exception):
    """What is wrong with a file, in one line."""


class Take:
    """A performance: `times` (T,) seconds from 0 on; `shapes` of plain name to weights (T,), NaN where none is known;
    `head` (T, 4) quaternions w, x, y, z in Blender's axes of a head that looks along -Y, or None."""

    def __init__(self, times, shapes, head):
        self.times, self.shapes, self.head = times, shapes, head

    @property
    def fps(self):
        """Frames a second; a usual rate where it is within half a percent of one."""
        steps = np.diff(self.times)
        if not len(steps):
            return 25.0
        middle = float(np.sort(steps)[(len(steps) - 1) // 2])  # rounded to milliseconds, it is off by some percent
        fps = 1 / float(steps[(steps > middle / 1.5) & (steps < 1.5 * middle)].mean())
        near = min(RATES, key=lambda r: abs(r - fps))
        return near if abs(near - fps) < 5e-3 * near else fps


def plain(name):
    """A shape's name without case and signs; `_L` and `_R` are Left and Right."""
    name = re.sub(r"(?<=[a-z])_([LR])$", lambda m: {"L": "Left", "R": "Right"}[m[1]], name.strip())
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read(path):
    """The take in a file. Raises TakeError."""
    try:
        return read_gltf(path) if path.lower().endswith(".glb") else read_table(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TakeError(f"cannot be read: {error}") from error


# -- tables ---------------------------------------------------------------------------------------


def read_table(path):
    """Live Link Face's table, or any with its columns and a time."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(1 << 20)
        delimiter = max(",;\t", key=first.count)
        names = [plain(n) for n in next(csv.reader([first], delimiter=delimiter), [])]
        if len(names) < FEWEST or len(set(names) - {""}) < len([n for n in names if n]):
            raise TakeError("is no table of Live Link Face, or names a column twice")
        clock = next((n for n in ("timecode", "timestamp", "time", "seconds") if n in names), None)
        if clock is None:
            raise TakeError("has no column that says when: Timecode, timestamp or time")
        at = names.index(clock)
        codes, rows = [], []
        for cells in csv.reader(file, delimiter=delimiter):
            if not any(cells):
                continue
            if len(rows) >= MOST_ROWS:
                raise TakeError(f"has more than {MOST_ROWS:,} rows")
            cells += [""] * (len(names) - len(cells))
            codes.append(cells[at].strip())
            rows.append(np.array([number(c) for c in cells[: len(names)]], np.float32))
    if not rows:
        raise TakeError("has a header and no rows")
    values = np.stack(rows).astype(float)
    times = seconds(codes) if clock == "timecode" else np.array([number(c) for c in codes])
    order = np.flatnonzero(np.isfinite(times))
    order = order[np.argsort(times[order], kind="stable")]
    order = order[np.concatenate([[True], np.diff(times[order]) > 1e-6])] if len(order) else order
    if not len(order):
        raise TakeError("has no row with a time")
    times, values = times[order] - times[order[0]], values[order]
    columns = {n: values[:, k] for k, n in enumerate(names) if n and n not in (clock, "blendshapecount", *TURNS)}
    turns = np.stack([values[:, names.index(t)] if t in names else np.zeros(len(values)) for t in TURNS], 1)
    head = np.array([quaternion(*t) for t in turns]) if set(TURNS) & set(names) else None
    return Take(times, columns, head)


def number(text):
    """A number, NaN for anything else."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def seconds(codes):
    """Seconds (T,) of timecodes HH:MM:SS:FF.fff; NaN for what is none. A `;` before the frames: some are dropped."""
    found = [re.fullmatch(r"(\d{1,3}):(\d{1,2}):(\d{1,2})[:;.](\d{1,3}(?:\.\d+)?)", c) for c in codes]
    if not any(found):
        raise TakeError(f"{codes[0][:40]!r} is not a timecode such as 10:30:15:29.500")
    top = max(int(float(m[4])) for m in found if m)
    whole = len({m[3] for m in found if m}) > 2 or top >= 60  # a second at least, in which all numbers came
    clock = next((c for c in (24, 25, 30, 48, 50, 60, 100, 120) if c > top), 0) if whole else 60
    if not clock:
        raise TakeError(f"{top} is more frames than a second of a timecode has")
    out, day = np.full(len(codes), np.nan), 0.0
    before = 0.0
    for k, m in enumerate(found):
        if m is None:
            continue
        minutes = 60 * int(m[1]) + int(m[2])
        t = 60 * minutes + int(m[3]) + float(m[4]) / clock
        if ";" in codes[k] and clock in (30, 60):  # two (four) numbers a minute are left out, but for every tenth
            t = (t - clock // 15 * (minutes - minutes // 10) / clock) * 1.001
        if t + day < before - 43200:  # past midnight
            day += 86400
        out[k] = before = t + day
    return out


def quaternion(yaw, pitch, roll):
    """(w, x, y, z) in Blender's axes of Live Link's turns in radians, of a head that looks along -Y.

    Yaw goes to the subject's left, pitch down, roll to the subject's right shoulder."""
    if not all(map(math.isfinite, (yaw, pitch, roll))):
        return np.full(4, np.nan)
    y, p, r = yaw / 2, pitch / 2, roll / 2
    about_y = np.array([math.cos(r), 0, -math.sin(r), 0])
    about_z = np.array([math.cos(y), 0, 0, math.sin(y)])
    about_x = np.array([math.cos(p), math.sin(p), 0, 0])
    return product(product(about_y, about_z), about_x)


def product(a, b):
    """The product of two quaternions (w, x, y, z)."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.array([w, *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])


# -- glTF -----------------------------------------------------------------------------------------


def read_gltf(path):
    """The weights of the first animated face in a `.glb`, and the turns of its node."""
    with Path(path).open("rb") as file:
        data = file.read(1 << 30)
    try:
        magic, _, _, length, kind = struct.unpack_from("<5I", data)
        if magic != 0x46546C67 or kind != 0x4E4F534A:
            raise TakeError("is not a .glb file")
        scene, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
        for animation in scene["animations"]:
            channels = {(c["target"]["path"], c["target"]["node"]): c["sampler"] for c in animation["channels"]}
            node = next((n for path, n in channels if path == "weights"), None)
            if node is None:
                continue
            sampler = animation["samplers"][channels["weights", node]]
            when = floats(scene, binary, sampler["input"]).astype(float)
            mesh = scene["meshes"][scene["nodes"][node]["mesh"]]
            names = [plain(n) for n in mesh["extras"]["targetNames"]]
            weights = floats(scene, binary, sampler["output"]).reshape(len(when), len(names)).astype(float)
            head, turn = None, channels.get(("rotation", node))
            if turn is not None:
                x, y, z, w = floats(scene, binary, animation["samplers"][turn]["output"]).reshape(len(when), 4).T
                head = np.stack([w, x, -z, y], 1).astype(float)  # glTF's up is Y, Blender's Z
            return Take(when - when[0], {n: weights[:, k] for k, n in enumerate(names)}, head)
    except (KeyError, IndexError, TypeError, ValueError, struct.error, RecursionError) as error:
        raise TakeError(f"is damaged, or holds no animated shapes with names ({type(error).__name__})") from error
    raise TakeError("holds no animated shapes")


def floats(scene, binary, index):
    """The numbers of an accessor, flat."""
    accessor = scene["accessors"][index]
    view = scene["bufferViews"][accessor["bufferView"]]
    if accessor["componentType"] != FLOAT or "byteStride" in view or "sparse" in accessor:
        raise ValueError("not plain floats")
    count = accessor["count"] * {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    return np.frombuffer(binary, "<f4", count, view.get("byteOffset", 0) + accessor.get("byteOffset", 0))
