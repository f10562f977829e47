"""Faces with their Action Units: the data GANimation learns from, and where its labels come from.

A set of faces is a folder with `frames.npy` (N, S, S, 3) uint8 RGB, upright face crops, and beside it `units.csv`
with a row for each: clip, frame, identity, split, made, yaw, pitch, roll and the seventeen intensities in 0..1.
`made` faces are renderings: they may be aimed at, but never pass for photographs.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError, InputError
from infinex.face.reading import read_units
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS, basis
from infinex.media.files import atomic_path
from infinex.training.data import read_clips

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]
Progress = Callable[[int, int | None], None]

# The units that OpenFace measures, in the order of its columns: what published weights are conditioned on.
UNITS = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20",
    "AU23", "AU25", "AU26", "AU45",
)  # fmt: skip
OPENFACE_SCALE = 5.0  # its intensities go from 0 to 5
FRAMES, TABLE = "frames.npy", "units.csv"
LABEL = ("clip", "frame", "identity", "split", "made", "yaw", "pitch", "roll", *UNITS)


def _columns(names: Sequence[str]) -> Iterator[tuple[int, list[int]]]:
    """For each unit in `UNITS` the places of its columns in `names`: of both sides, or of left and right."""
    at: dict[tuple[int, str], int] = {}
    for i, name in enumerate(names):
        if match := re.fullmatch(r"AU0*(\d+)([LR]?)", name):
            at[int(match.group(1)), match.group(2)] = i
    for k, unit in enumerate(UNITS):
        number = int(unit[2:])
        both = [at[number, ""]] if (number, "") in at else [at[number, s] for s in "LR" if (number, s) in at]
        yield k, both


def from_named(units: Array, names: Sequence[str]) -> Array:
    """Intensities (T, 17) in the order of `UNITS` from (T, U) under other names; both sides are averaged.

    A jaw that stretches (AU27) has dropped as well. Raises InputError where a unit is missing."""
    out = np.zeros((len(units), len(UNITS)))
    for k, places in _columns(names):
        if not places:
            raise InputError(f"{UNITS[k]} is missing among the units: {', '.join(names)}")
        out[:, k] = units[:, places].mean(1)
    wide = [i for i, n in enumerate(names) if re.fullmatch(r"AU27[LR]?", n)]
    if wide:
        jaw = UNITS.index("AU26")
        out[:, jaw] = np.maximum(out[:, jaw], units[:, wide].max(1))
    return np.clip(out, 0, 1)


def measured(offsets: NDArray, still: bool = False, drawn: bool = False) -> Array:
    """Intensities (T, 17) in 0..1 of displacements (T, 478, 3) of the mesh from rest, in head coordinates.

    `still`: from the mean face instead, of a face nothing else is known of. `drawn`: no tracker saw them, the basis
    made them."""
    read = basis().estimate if drawn else partial(read_units, still=still)
    parts = [read(np.asarray(offsets[i : i + 256], np.float64)) for i in range(0, len(offsets), 256)]
    return from_named(np.concatenate(parts) if parts else np.zeros((0, len(FACE_UNITS))), FACE_UNITS)


def read_openface(path: str | Path, frames: int | None = None) -> tuple[Array, NDArray[np.bool_]]:
    """Intensities (T, 17) in 0..1 from a CSV file that OpenFace wrote, and where it saw a face (T,).

    `frames` is how many the clip has. Raises InputError for a file of something else, a damaged one, and one that
    does not match the clip."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, skipinitialspace=True))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path} is no CSV file that can be read") from None
    header = [c.strip() for c in rows[0]] if rows else []
    if missing := [u for u in UNITS if f"{u}_r" not in header]:
        raise InputError(f"{path.name} is no OpenFace file: it has no column {missing[0]}_r")
    body = [r for r in rows[1:] if r]
    wanted = [header.index(f"{u}_r") for u in UNITS]
    seen_at = header.index("success") if "success" in header else None
    out, seen = np.zeros((len(body), len(UNITS))), np.ones(len(body), bool)
    for i, row in enumerate(body):
        try:
            out[i] = [float(row[k]) for k in wanted]
            if seen_at is not None:
                seen[i] = float(row[seen_at]) > 0
        except (IndexError, ValueError):
            raise InputError(f"{path.name}: line {i + 2} is damaged") from None
    if not np.isfinite(out).all():
        raise InputError(f"{path.name}: line {int(np.flatnonzero(~np.isfinite(out).all(1))[0]) + 2} is damaged")
    if frames is not None and len(body) != frames:
        raise InputError(f"{path.name} has {len(body)} rows and the clip {frames} frames: they do not belong together")
    return np.clip(out / OPENFACE_SCALE, 0, 1), seen


@dataclass(frozen=True)
class Row:
    """What is known of one face."""

    clip: str
    frame: int
    identity: str
    split: str
    made: bool
    angles: tuple[float, float, float]  # yaw, pitch, roll in degrees
    units: tuple[float, ...]  # (17,) in 0..1


@dataclass(frozen=True)
class FaceSet:
    """Face crops (N, S, S, 3) and their rows; the crops are mapped from the file, not read."""

    frames: RGB
    rows: list[Row]

    @property
    def units(self) -> Array:
        """(N, 17)."""
        return np.array([r.units for r in self.rows]).reshape(-1, len(UNITS))

    def of(self, split: str) -> NDArray[np.int64]:
        """Places of the rows of one split."""
        return np.array([i for i, r in enumerate(self.rows) if r.split == split], np.int64)


def write_faces(folder: Path, frames: Iterable[RGB], rows: Sequence[Row]) -> None:
    """Write a set of faces, one picture after the other; both files appear whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    shape: tuple[int, ...] = ()
    with atomic_path(folder / FRAMES) as temporary, temporary.open("w+b") as data:
        # The header names the number of pictures, known at the end only: it is written twice, at the same length.
        for count, frame in enumerate(frames):
            if count == 0:
                shape = np.asarray(frame).shape
                _header(data, 0, shape)
            data.write(np.ascontiguousarray(frame, np.uint8).tobytes())
        end = data.tell()
        data.seek(0)
        _header(data, 0 if not shape else (end - len(_header(None, 0, shape))) // int(np.prod(shape)), shape)
    with atomic_path(folder / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LABEL)
        for r in rows:
            numbers = [f"{v:.2f}" for v in r.angles] + [f"{v:.4f}" for v in r.units]
            writer.writerow([r.clip, r.frame, r.identity, r.split, int(r.made), *numbers])


def _header(data: BinaryIO | None, count: int, shape: tuple[int, ...]) -> bytes:
    """The 128 bytes with which a .npy file of `count` pictures begins, written to `data`."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(count, *shape)}, }}"
    out = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"
    if data is not None:
        data.write(out)
    return out


def read_faces(folder: str | Path) -> FaceSet:
    """A set of faces in `folder` or in `folder/faces`. Raises InputError for anything that is not a whole one."""
    folder = Path(folder)
    place = folder if (folder / TABLE).is_file() else folder / "faces"
    if not (place / TABLE).is_file() or not (place / FRAMES).is_file():
        raise InputError(f"{folder} holds no faces with units: make them with infinex prepare --units")
    try:
        with (place / TABLE).open(newline="", encoding="utf-8") as file:
            rows = [
                Row(r["clip"], int(r["frame"]), r["identity"], r["split"], r["made"] == "1",
                    (float(r["yaw"]), float(r["pitch"]), float(r["roll"])), tuple(float(r[u]) for u in UNITS))
                for r in csv.DictReader(file)
            ]  # fmt: skip
    except (KeyError, ValueError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{place / TABLE} is damaged: {error}") from None
    try:
        frames = np.load(place / FRAMES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{place / FRAMES} is damaged") from None
    if frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise InputError(f"{place / FRAMES} holds no pictures of faces: {frames.shape} {frames.dtype}")
    if len(frames) != len(rows):
        raise InputError(f"{place}: {len(rows)} rows of units do not match {len(frames)} frames")
    if shared := sorted(
        {r.identity for r in rows if r.split == "train"} & {r.identity for r in rows if r.split == "test"}
    ):
        raise InputError(f"{place / TABLE}: {shared[0]} is in both splits; people must be held back whole")
    return FaceSet(frames, rows)


def faces_of(
    clip: str | Path, size: int = 128, step: int = 2, openface: str | Path | None = None
) -> Iterator[tuple[int, RGB, tuple[float, float, float], Array]]:
    """Every `step`-th face of a clip: its frame, crop (size, size, 3), angles and intensities (17,).

    Intensities are measured against the person's own neutral face, or read from the file OpenFace made of the
    clip. Raises InputError where that does not match, FaceNotFoundError where there is no face."""
    from infinex.drivers.video import VideoDriver
    from infinex.face.pose import fit_pose
    from infinex.face.topology import mean_face
    from infinex.systems.ganimation.crop import crop_matrix, cut

    driver = VideoDriver(clip, flow=False).settle()
    try:
        given = None if openface is None else read_openface(openface)
        assert driver.rest_image is not None and driver.rest_points is not None  # it is settled
        reader = UnitReader(driver.rest_image, driver.rest_points, driver.rest.face)
        count = 0
        waiting: list[tuple[int, RGB, tuple[float, float, float]]] = []
        for index, drive in enumerate(driver):
            count = index + 1
            if index % step or drive.image is None or drive.points is None:
                continue
            if given is not None and index < len(given[0]) and not given[1][index]:
                continue
            yaw, pitch, roll = fit_pose(mean_face(), drive.points).angles
            crop = cut(drive.image, crop_matrix(drive.points, size), size)
            waiting.append((index, crop, (float(yaw), float(pitch), float(roll))))
            if given is not None:
                continue
            reader.add(drive.image, drive.points, drive.move.offsets)
            if len(waiting) == 64:
                yield from _labelled(waiting, reader)
                waiting = []
        if given is None:
            yield from _labelled(waiting, reader)
            return
        if len(given[0]) != count:
            raise InputError(
                f"{Path(str(openface)).name} has {len(given[0])} rows and {Path(clip).name} {count} frames: "
                "they do not belong together"
            )
        for index, crop, angles in waiting:
            yield index, crop, angles, given[0][index]
    finally:
        driver.close()


def _labelled(
    waiting: list[tuple[int, RGB, tuple[float, float, float]]], reader: UnitReader
) -> Iterator[tuple[int, RGB, tuple[float, float, float], Array]]:
    units = from_named(reader.units(), FACE_UNITS)
    yield from ((i, crop, angles, u) for (i, crop, angles), u in zip(waiting, units))


def label(
    folder: str | Path, openface: str | Path | None = None, size: int = 128, progress: Progress | None = None
) -> int:
    """Make `folder/faces` from the clips of a prepared folder; how many faces there are.

    `openface` is a folder with a CSV file of OpenFace for each clip, named like it. Clips done before an
    interruption are not done again. Raises InputError."""
    folder = Path(folder)
    clips = read_clips(folder)
    parts = folder / "faces" / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    made: list[Path] = []
    for done, clip in enumerate(clips, 1):
        given = None
        if openface is not None:
            given = Path(openface) / f"{clip.name}.csv"
            if not given.is_file():
                raise InputError(f"{openface} holds no {given.name} for the clip {clip.path.name}")
        part = parts / f"{clip.name}{'' if given is None else '.openface'}-{size}.npz"
        if not part.is_file() or part.stat().st_mtime < clip.path.stat().st_mtime:
            _label_clip(clip.path, part, size, given)
        with np.load(part, allow_pickle=False) as data:
            for index, angles, units in zip(data["index"], data["angles"], data["units"]):
                yaw, pitch, roll = map(float, angles)
                rows.append(
                    Row(clip.name, int(index), clip.identity, clip.split, False, (yaw, pitch, roll), tuple(units))
                )
        made.append(part)
        if progress:
            progress(done, len(clips))
    if not rows:
        raise InputError(f"{folder}: no clip shows a face")

    def frames() -> Iterator[RGB]:
        for part in made:
            with np.load(part, allow_pickle=False) as data:
                yield from data["crops"]

    write_faces(folder / "faces", frames(), rows)
    shutil.rmtree(parts, ignore_errors=True)
    return len(rows)


def _label_clip(clip: Path, part: Path, size: int, openface: Path | None) -> None:
    try:
        found = list(faces_of(clip, size, openface=openface))
    except FaceNotFoundError:  # a clip that lost its face is passed over
        found = []
    crops = np.array([f[1] for f in found], np.uint8).reshape(-1, size, size, 3)
    with atomic_path(part) as temporary, temporary.open("wb") as file:
        np.savez(
            file, crops=crops, index=np.array([f[0] for f in found], np.int64),
            angles=np.array([f[2] for f in found], np.float64).reshape(-1, 3),
            units=np.array([f[3] for f in found], np.float64).reshape(-1, len(UNITS)),
        )  # fmt: skip
