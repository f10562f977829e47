"""Live Link Face (Epic Games): its tables, and the packets that it sends over UDP.

A table has a row for every frame: timecode, count, Apple's 52 shapes, and head and eyes in radians. The packet is a
version,
two length-prefixed names, a frame time and rate and 61 big-endian floats; its order of shapes is that of Unreal's
enumeration, which has left before right where the table has it the other way round.
"""

from __future__ import annotations

import re
import struct
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.blendshapes import AT, NAMES
from infinex.interchange.table import Table, plain, read_table
from infinex.interchange.take import Take, even
from infinex.media.files import atomic_path

Array = NDArray[np.float64]
TURNS = ("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw",
         "RightEyePitch", "RightEyeRoll")  # fmt: skip
CLOCK = 60  # frames in a second of a timecode
FEWEST = 8  # of the 52 columns, below which a table is something else
PACKET = list(NAMES)
for _a, _b in (("jawRight", "jawLeft"), ("mouthRight", "mouthLeft")):
    _i, _j = PACKET.index(_a), PACKET.index(_b)
    PACKET[_i], PACKET[_j] = PACKET[_j], PACKET[_i]
_ORDER = [AT[n] for n in PACKET]
VERSION, SUBFRAME = 6, 0.5


def turns_of(head: Array, eyes: Array) -> Array:
    """The nine turns (T, 9) in ARKit's axes (x to the viewer's right, y up, z to the viewer) of `Take.head` and
    `.eyes`."""
    out = np.zeros((len(head), 9))
    out[:, :3] = head * [1, 1, -1]
    out[:, 3:5], out[:, 6:8] = eyes[:, 0], eyes[:, 1]
    return out


def head_of(turns: Array) -> Array:
    """`Take.head` (T, 3) of the nine turns (T, 9)."""
    return np.asarray(turns[:, :3] * [1, 1, -1])


def timecode(seconds: float) -> str:
    """`HH:MM:SS:FF.fff` at 60 frames a second, as the app writes it."""
    ticks = round(seconds * CLOCK * 1000)
    whole, part = divmod(ticks, 1000)
    s, frame = divmod(whole, CLOCK)
    return f"{s // 3600 % 24:02}:{s // 60 % 60:02}:{s % 60:02}:{frame:02}.{part:03}"


def write(take: Take, path: Path) -> None:
    """Write a table as the app does; it appears whole or not at all."""
    turns = turns_of(take.head, take.eyes)
    names = [n[0].upper() + n[1:] for n in NAMES]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(("Timecode", "BlendshapeCount", *names, *TURNS)) + "\n")
        for k in range(len(take)):
            values = ",".join(f"{v:.8f}" for v in (*take.shapes[k], *turns[k]))
            file.write(f"{timecode(take.start + k / take.fps)},61,{values}\n")


_CODE = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2})[:;.](\d{1,3})(?:\.(\d+))?")


def seconds_of(codes: list[str], name: str) -> Array:
    """Seconds (T,) of timecodes; NaN of what is none. Drop-frame ones have a `;` before the frames.

    Frames are counted to the number that is seen, 60 where a take is too short to tell."""
    found = [_CODE.fullmatch(c.strip()) for c in codes]
    if not any(found):
        raise InputError(f"{name}: {codes[0][:40]!r} is not a timecode such as 10:30:15:29.500")
    frames = [int(m[4]) + float(f"0.{m[5] or 0}") if m else np.nan for m in found]
    top = int(np.nanmax(frames))
    wraps = len({m[3] for m in found if m}) > 2  # so that all numbers of at least one second are there
    clock = next((c for c in (24, 25, 30, 48, 50, 60, 100, 120) if c > top), 0) if wraps or top >= CLOCK else CLOCK
    if not clock:
        raise InputError(f"{name}: {top} is more frames than a second of a timecode has")
    out = np.full(len(codes), np.nan)
    before, days = -1.0, 0
    for k, (m, f) in enumerate(zip(found, frames)):
        if m is None:
            continue
        h, minute, s = int(m[1]), int(m[2]), int(m[3])
        if ";" in codes[k] and clock in (30, 60):  # two (four) numbers a minute are left out, but for every tenth
            drop, minutes = clock // 15, 60 * h + minute
            t = (clock * (3600 * h + 60 * minute + s) + f - drop * (minutes - minutes // 10)) * 1001 / (1000 * clock)
        else:
            t = 3600 * h + 60 * minute + s + f / clock
        if t + days * 86400 < before - 43200:  # past midnight
            days += 1
        out[k] = before = t + days * 86400
    return out


def shapes_in(table: Table) -> tuple[list[str], list[str]]:
    """Which of the 52 shapes a table has a column of, and which it lacks."""
    have = [n for n in NAMES if plain(n) in table.columns]
    return have, [n for n in NAMES if n not in have]


def _alike(table: Table, lack: list[str]) -> str:
    """A column that nothing is known of and that may be one of the missing shapes, said; empty where none is."""
    known = {plain(n) for n in NAMES}
    for name in table.names:
        if plain(name) and plain(name) not in known:
            near = get_close_matches(plain(name), [n.lower() for n in lack], 1, 0.85)
            if near:
                return f"; is {name[:40]} meant to be {next(n for n in lack if n.lower() == near[0])}?"
    return ""


def read(path: Path) -> Take:
    """A table of shapes as a take: Live Link Face's, or any with a column for the time. Raises InputError."""
    table = read_table(path, ("timecode",))
    have, lack = shapes_in(table)
    if len(have) < FEWEST:
        raise InputError(f"{path.name} has {len(have)} of Apple's 52 shapes as columns and no AU12_r; is it a take?")
    columns = np.zeros((len(table), len(NAMES) + 9))
    for n in have:
        columns[:, AT[n]] = table.columns[plain(n)]
    for k, n in enumerate(TURNS):
        if plain(n) in table.columns:
            columns[:, len(NAMES) + k] = table.columns[plain(n)]
    notes = []
    if lack:
        few = ", ".join(lack[:4]) + (" ..." if len(lack) > 4 else "")
        count = f"{len(lack)} shapes" if len(lack) > 1 else "1 shape"
        notes.append(f"{path.name} has no column of {count} ({few}), at rest therefore{_alike(table, lack)}")
    times = _times(table)
    start = float(times[np.isfinite(times)][0]) if np.isfinite(times).any() else 0.0
    fps, rows, valid, more = even(times, columns, path.name)
    weights, turns = rows[:, : len(NAMES)], rows[:, len(NAMES) :]
    if weights.max() > 1.5 or weights.min() < -0.5:
        more.append(f"{path.name}: weights beyond 0 to 1 are taken for the nearest")
    weights = np.clip(weights, 0, 1)
    limited = np.clip(turns, -np.pi, np.pi)
    if (limited != turns).any():
        more.append(f"{path.name}: turns beyond half a circle; are they in degrees? Radians are wanted")
    return Take(fps, weights, head_of(limited), _eyes(weights, limited), valid, start=start, notes=(*notes, *more))


def _eyes(weights: Array, turns: Array) -> Array:
    """Where the eyes look: by their turns, and by their shapes where there are none."""
    from infinex.face.blendshapes import gaze

    eyes = np.stack([turns[:, 3:5], turns[:, 6:8]], 1)
    return np.clip(eyes if np.abs(eyes).max() > 1e-3 else gaze(weights), -1.2, 1.2)


def _times(table: Table) -> Array:
    if "timecode" in table.texts:
        codes = table.texts["timecode"]
        return seconds_of(codes, table.path.name)
    for name, unit in (("timestamp", 1.0), ("time", 1.0), ("seconds", 1.0), ("timems", 1e-3), ("frame", 1 / 30)):
        if name in table.columns:
            return np.asarray(table.columns[name] * unit)
    raise InputError(f"{table.path.name} has no column that says when: Timecode, timestamp, time or frame")


# -- packets --------------------------------------------------------------------------------------


def packet(
    weights: Array, turns: Array, seconds: float, fps: int = CLOCK, device: str = "", subject: str = "Infinex"
) -> bytes:
    """One frame as the app sends it: shapes (52,) and turns (9,)."""
    device_bytes, name = device.encode()[:36].ljust(36, b"0"), subject.encode()
    frame, part = divmod(seconds * fps, 1)
    return b"".join([
        bytes([VERSION]), struct.pack(">i", len(device_bytes)), device_bytes,
        struct.pack(">i", len(name)), name, struct.pack(">ifii", int(frame), part, fps, 1),
        struct.pack(">B61f", 61, *np.asarray(weights)[_ORDER], *turns),
    ])  # fmt: skip


def unpack(data: bytes) -> tuple[Array, Array, str] | None:
    """Shapes (52,), turns (9,) and subject of a packet; None of one that says that no face is seen.

    Raises InputError for anything else."""
    try:
        if data[0] != VERSION:
            raise InputError(f"a packet of version {data[0]}; Live Link Face sends {VERSION}")
        at, names = 1, []
        for _ in range(2):
            (length,) = struct.unpack_from(">i", data, at)
            if not 0 <= length <= 256:
                raise InputError("a packet whose names have no end")
            names.append(data[at + 4 : at + 4 + length].decode("utf-8", "replace"))
            at += 4 + length
        if len(data) < at + 17:
            return None
        count = data[at + 16]
        if count != 61:
            raise InputError(f"a packet of {count} values where 61 are wanted")
        values = np.array(struct.unpack_from(">61f", data, at + 17), np.float64)
    except (struct.error, IndexError) as error:
        raise InputError("a packet that was cut short") from error
    if not np.isfinite(values).all():
        raise InputError("a packet with values that are no numbers")
    weights = np.zeros(len(NAMES))
    weights[_ORDER] = values[: len(NAMES)]
    return np.clip(weights, 0, 1), np.clip(values[len(NAMES) :], -np.pi, np.pi), names[1]
