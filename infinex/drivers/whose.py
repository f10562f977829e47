"""Whose performance a clip shows, where it shows several: the largest that is alive, one by number, or in a box."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.shots import OTHER, likeness, thumbnail
from infinex.errors import InputError, Note, option
from infinex.face.pose import fit_pose, to_vector
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.topology import mean_face
from infinex.face.tracker import MIN_FACE, Box, Face, FaceFinder
from infinex.media.video import VideoFrame

Array = NDArray[np.float64]
SAMPLES = 9  # frames of the beginning in which faces are compared
NEAR = 0.8  # sizes of a face by which it may have moved between two of them
STILL = 0.012  # movement under which a face is a picture of one, where another one moves
FAINT = 0.35  # share of the liveliest face's movement that a picture of a face stays under


def check_driver_face(text: str) -> None:
    """Raise InputError for what names no face of a driver: largest, moving, a number from 1, or x,y,width,height."""
    if text in ("largest", "moving") or (text.isdigit() and int(text) > 0):
        return
    _box(text)


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise InputError(
            f"{option('driver_face')} {text}: largest, moving, a number from the left or x,y,width,height is wanted"
        ) from None
    if not np.isfinite([x, y, w, h]).all() or w <= 0 or h <= 0:
        raise InputError(f"{option('driver_face')} {text}: width and height must be above 0")
    return x, y, w, h


@dataclass(eq=False)
class _Person:
    faces: list[Face] = field(default_factory=list)

    @property
    def size(self) -> float:
        return float(np.median([f.size for f in self.faces]))

    @property
    def left(self) -> float:
        return float(np.mean([(f.box[0] + f.box[2]) / 2 for f in self.faces]))

    @property
    def movement(self) -> float:
        """How much lips, lids and head move: lengths in IOD, angles in radians."""
        if len(self.faces) < 3:
            return 0.0
        poses = [fit_pose(mean_face(), f.landmarks) for f in self.faces]
        shapes = np.stack([p.to_head(f.landmarks) for p, f in zip(poses, self.faces)])
        turns = np.stack([to_vector(p.rotation) for p in poses])
        parts = lip_gaps(shapes).std(0).mean(), eye_openness(shapes).std(0).mean(), turns.std(0).mean()
        return float(parts[0] + 0.3 * parts[1] + 0.5 * parts[2])


def _middle(face: Face) -> Array:
    x0, y0, x1, y1 = face.box
    return np.array([x0 + x1, y0 + y1]) / 2


def _faces(finder: FaceFinder, image: NDArray[np.uint8]) -> list[Face]:
    out = []
    for box, score in finder.boxes(image):
        points = finder.mesh(image, box) if score >= 0.5 else None
        if points is not None and finder.believed(image, points) >= 0.5 and Face(points).size >= MIN_FACE:
            out.append(Face(points))
    return out


def people(frames: Iterable[VideoFrame], one: bool = False) -> list[_Person]:
    """Who is seen in the frames of the beginning, from the left; with `one` nobody where the first shows one face."""
    found: list[_Person] = []
    finder = FaceFinder()
    try:
        before: NDArray[np.uint8] | None = None
        for n, frame in enumerate(frames):
            seen = _faces(finder, frame.image)
            if n == 0 and one and len(seen) == 1:
                return []
            grey = thumbnail(frame.grey)
            if found and before is not None and likeness(before, grey) < OTHER:
                break  # another shot
            before = grey
            for face in seen:
                near = (p for p in found if np.linalg.norm(_middle(p.faces[-1]) - _middle(face)) < NEAR * face.size)
                mine = next(near, None)
                if mine is None:
                    found.append(mine := _Person())
                mine.faces.append(face)
    finally:
        finder.close()
    return sorted([p for p in found if len(p.faces) > 1] or found, key=lambda p: p.left)


def whose(frames: Iterable[VideoFrame], which: str, name: str, scale: float = 1.0) -> tuple[Box | None, list[str]]:
    """Where the face is that drives (None: whoever is seen), and words about a choice that could be another.

    `frames` are those of the beginning, of which a few are looked at. `scale`: their pixels per pixel of the file.
    Raises InputError for a face that does not exist."""
    if which not in ("largest", "moving") and not which.isdigit():
        x, y, w, h = (v * scale for v in _box(which))
        first = next(iter(frames)).image
        if x >= first.shape[1] or y >= first.shape[0] or x + w <= 0 or y + h <= 0:
            raise InputError(f"{option('driver_face')} {which}: the box lies outside {name}")
        return (x, y, x + w, y + h), []
    lasting = people(frames, which == "largest")
    if which.isdigit():
        if int(which) > len(lasting):
            raise InputError(
                f"{option('driver_face')} {which}: {name} begins with {len(lasting)} face(s); "
                "use largest, moving, a number from the left or x,y,width,height"
            )
        return lasting[int(which) - 1].faces[0].box, []
    if not lasting:
        return None, []
    moves = [p.movement for p in lasting]
    alive = [p for p, m in zip(lasting, moves) if m >= STILL or m >= FAINT * max(moves)] or lasting
    chosen = lasting[int(np.argmax(moves))] if which == "moving" else max(alive, key=lambda p: p.size)
    if len(lasting) == 1:
        return chosen.faces[0].box, []
    words = {"moving": "the one that moves most"}.get(which, "the largest")
    if which == "largest" and max(lasting, key=lambda p: p.size) is not chosen:
        words = "the largest that moves"
    number = lasting.index(chosen) + 1
    note = Note(
        f"{len(lasting)} faces in {name}; {words}, number {number} from the left, drives; "
        f"{option('driver_face')} N chooses"
    )
    return chosen.faces[0].box, [] if which == "moving" else [note]
