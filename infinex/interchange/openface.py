"""OpenFace 2's tables (Baltrusaitis et al., 2018): a row for every frame with gaze, pose, 68 landmarks and Action
Units.

Intensities go from 0 to 5 (`AU12_r`), presence is 0 or 1 (`AU12_c`). Positions of the head in millimetres are
nominal: no camera
is calibrated, so the outer corners of the eyes are taken to be 90 mm apart and a face at rest to be half a metre away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import blendshapes as shapes
from infinex.face.units import OPENFACE
from infinex.interchange.table import plain, read_table
from infinex.interchange.take import Take, even, turned
from infinex.media.files import atomic_path

Array = NDArray[np.float64]
MOST = 5.0  # the strongest intensity
PRESENT = 1.0  # intensity from which a unit is present
IOD_MM, AWAY_MM = 90.0, 500.0
PRESENCE = (*OPENFACE[:16], "AU28", "AU45")
# The 68 points of the iBUG scheme among the mesh's.
POINTS_68 = [162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389, 71, 63, 105, 66,
             107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362,
             385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308,
             317, 14, 87]  # fmt: skip


def columns() -> list[str]:
    """Names of the columns that are written, in OpenFace's order."""
    return [
        "frame", "face_id", "timestamp", "confidence", "success",
        *(f"gaze_{e}_{a}" for e in (0, 1) for a in "xyz"), "gaze_angle_x", "gaze_angle_y",
        "pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz",
        *(f"x_{k}" for k in range(68)), *(f"y_{k}" for k in range(68)),
        *(f"{_two(n)}_r" for n in OPENFACE), *(f"{_two(n)}_c" for n in PRESENCE),
    ]  # fmt: skip


def _two(unit: str) -> str:
    return f"AU{int(unit[2:]):02}"


def euler(rotation: Array) -> tuple[float, float, float]:
    """pose_Rx, pose_Ry and pose_Rz, radians, of a rotation (3, 3): it is Rx · Ry · Rz, y down, z away from the
    camera."""
    R = rotation
    return (
        float(np.arctan2(-R[1, 2], R[2, 2])), float(np.arcsin(np.clip(R[0, 2], -1, 1))),
        float(np.arctan2(-R[0, 1], R[0, 0])),
    )  # fmt: skip


def from_euler(x: float, y: float, z: float) -> Array:
    """The rotation (3, 3) of pose_Rx, pose_Ry and pose_Rz."""
    c, s = np.cos, np.sin
    Rx = np.array([[1, 0, 0], [0, c(x), -s(x)], [0, s(x), c(x)]])
    Ry = np.array([[c(y), 0, s(y)], [0, 1, 0], [-s(y), 0, c(y)]])
    Rz = np.array([[c(z), -s(z), 0], [s(z), c(z), 0], [0, 0, 1]])
    return np.asarray(Rx @ Ry @ Rz)


def _units(take: Take) -> dict[str, Array]:
    if take.units is None:
        return shapes.to_units(take.shapes)
    out: dict[str, Array] = {}
    for k, name in enumerate(take.unit_names):
        stem = name.rstrip("LR")
        out[stem] = np.maximum(out.get(stem, 0.0), take.units[:, k])
    return out


def write(take: Take, path: Path) -> None:
    """Write a table as OpenFace's FeatureExtraction does; it appears whole or not at all."""
    write_people([take], path)


def write_people(takes: Sequence[Take], path: Path) -> None:
    """The same of several faces in the same frames, told apart by `face_id`: a row for each in every frame."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(", ".join(columns()) + "\n")
        for rows in zip(*(_rows(take, who) for who, take in enumerate(takes))):
            file.writelines(", ".join(cells) + "\n" for cells in rows)


def _rows(take: Take, who: int) -> Iterator[list[str]]:
    units = _units(take)
    none = np.zeros(len(take))
    for k in range(len(take)):
        R = turned(take.head[k])
        seen = int(take.valid[k])
        looks = [R @ _towards(*take.eyes[k, e]) for e in (1, 0)]  # the eye on the left of the picture comes first
        mean = (looks[0] + looks[1]) / 2
        angles = np.arctan2(mean[0], -mean[2]), np.arctan2(mean[1], -mean[2])
        x, y, size = (0.0, 0.0, 1.0) if take.place is None else take.place[k]
        away = AWAY_MM / max(float(size), 1e-3)
        points = np.zeros((68, 2)) if take.points is None else take.points[k] / 10
        cells = [str(k + 1), str(who), f"{k / take.fps:.3f}", f"{seen:.2f}", str(seen)]
        cells += [f"{v:.6f}" for g in looks for v in g] + [f"{v:.3f}" for v in angles]
        cells += [f"{v:.1f}" for v in (x * IOD_MM, y * IOD_MM, away)] + [f"{v:.3f}" for v in euler(R)]
        cells += [f"{v:.1f}" for v in points.T.ravel()]
        cells += [f"{MOST * units.get(n, none)[k] * seen:.2f}" for n in OPENFACE]
        cells += [f"{float(MOST * units.get(n, none)[k] * seen >= PRESENT):.1f}" for n in PRESENCE]
        yield cells


def _towards(right: float, down: float) -> Array:
    """Unit vector of a gaze, x right, y down, z away: straight ahead it points at the camera."""
    return np.array([np.sin(right) * np.cos(down), np.sin(down), -np.cos(right) * np.cos(down)])


def is_openface(names: list[str]) -> bool:
    """Whether a header is OpenFace's."""
    return any(plain(n).startswith("au") and plain(n).endswith("r") and plain(n)[2:-1].isdigit() for n in names)


def read(path: Path) -> Take:
    """A table as a take; of several faces the one that is there most. Raises InputError."""
    table = read_table(path)
    units = [n for n in OPENFACE if f"au{int(n[2:]):02}r" in table.columns or f"au{int(n[2:])}r" in table.columns]
    if not units:
        raise InputError(f"{path.name} has no intensities of Action Units (AU12_r ...); is it OpenFace's?")
    notes = [f"{path.name} has no column of {', '.join(n for n in OPENFACE if n not in units)}; they stay at rest"]
    notes = notes if len(units) < len(OPENFACE) else []
    keep = np.ones(len(table), bool)
    if "faceid" in table.columns:
        seen = np.isfinite(table.columns["faceid"])
        if "success" in table.columns and (seen & (table.columns["success"] > 0.5)).any():
            seen &= table.columns["success"] > 0.5
        who, often = np.unique(table.columns["faceid"][seen], return_counts=True)
        if len(who) > 1:
            keep = table.columns["faceid"] == who[often.argmax()]
            notes.append(f"{path.name} shows {len(who)} faces; the one seen most, {who[often.argmax()]:g}, is taken")
    rows = {n: c[keep] for n, c in table.columns.items()}

    def column(*names: str) -> Array:
        return next((rows[n] for n in names if n in rows), np.zeros(int(keep.sum())))

    if "timestamp" not in rows and "frame" not in rows:
        raise InputError(f"{path.name} has no column that says when: timestamp or frame")
    times = rows["timestamp"] if "timestamp" in rows else rows["frame"] / 30
    if len(times) > 1 and (times == times[0]).all() and "frame" in rows:  # pictures, not a film
        times = rows["frame"] / 30
    R = [from_euler(*v) for v in np.column_stack([column("poserx"), column("posery"), column("poserz")])]
    from infinex.face.pose import Pose

    lost = np.full(3, np.nan)
    head = np.radians([Pose(1.0, r, np.zeros(3)).angles if np.isfinite(r).all() else lost for r in R])
    look = np.column_stack([column("gazeanglex"), column("gazeangley")])
    intensity = np.column_stack([column(f"au{int(n[2:]):02}r", f"au{int(n[2:])}r") for n in units]) / MOST
    there = column("success") if "success" in rows else np.ones(len(times))
    stacked = np.column_stack([intensity, head, look, there])
    fps, even_rows, valid, more = even(times, stacked, path.name)
    n = len(units)
    amounts = np.clip(even_rows[:, :n], 0, 1)
    turn = even_rows[:, n : n + 3]
    look = even_rows[:, n + 3 : n + 5]
    eyes = np.zeros((len(turn), 2, 2))
    if np.abs(look).max() > 0:
        # OpenFace's gaze is in the camera's frame, ours in the head's.
        flat = np.stack(
            [np.tan(np.clip(look[:, 0], -1.4, 1.4)), np.tan(np.clip(look[:, 1], -1.4, 1.4)), -np.ones(len(look))]
        )
        within = np.stack([turned(h).T @ d for h, d in zip(turn, flat.T / np.linalg.norm(flat, axis=0)[:, None])])
        eyes += np.clip(np.stack([np.arctan2(within[:, 0], -within[:, 2]), np.arcsin(within[:, 1])], 1), -1, 1)[:, None]
    weights = shapes.from_units(amounts, units)
    weights[:, shapes.EYES] = shapes.look(eyes)
    valid &= even_rows[:, -1] > 0.5
    return Take(fps, weights, turn, eyes, valid, amounts, tuple(units), notes=(*notes, *more))
