"""A result seen as a driver is: tracked frame by frame, smoothed alike, its units read alike; in constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import Capture, Sighting, choose_rest
from infinex.drivers.video import SIDE
from infinex.face.pose import fit_pose
from infinex.face.reading import read_units
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.topology import POINTS, mean_face
from infinex.face.tracker import FaceTracker
from infinex.motion import Move, Rest

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]


class Doings:
    """What is compared of a performance: a few numbers a frame, of moves measured from `rest`."""

    def __init__(self, rest: Rest, moves: Iterable[Move] = ()) -> None:
        self.rest = rest
        self._rows: list[Array] = []
        for move in moves:
            self.add(move)

    def add(self, move: Move) -> None:
        """The next frame."""
        face = (self.rest.face + move.offsets)[None]
        units = read_units(move.offsets[None])[0]
        self._rows.append(
            np.concatenate([move.rotation, move.gaze, lip_gaps(face)[:, 4], eye_openness(face).mean(1), units])
        )

    def __len__(self) -> int:
        return len(self._rows)

    def _columns(self, start: int, end: int | None) -> Array:
        return np.stack(self._rows)[:, start:end]

    @property
    def turns(self) -> Array:
        """(T, 3) rotation vectors of the head."""
        return self._columns(0, 3)

    @property
    def gaze(self) -> Array:
        """(T, 2) radians."""
        return self._columns(3, 5)

    @property
    def lips(self) -> Array:
        """(T,) gap between them in the middle."""
        return self._columns(5, 6)[:, 0]

    @property
    def lids(self) -> Array:
        """(T,) how open both eyes are."""
        return self._columns(6, 7)[:, 0]

    @property
    def units(self) -> Array:
        """(T, U) intensities of `FACE_UNITS`."""
        return self._columns(7, None)


class Watched:
    """Frames (H, W, 3) of one person, of whom the first picture shows the rest; landmarks wait in a file."""

    def __init__(self, image: RGB, fps: float) -> None:
        """`found` says whether a face is seen in the first picture."""
        self.fps, self._tracker = fps, FaceTracker()
        self._shrink = min(1.0, SIDE / max(image.shape[:2]))
        points = self._see(image)
        self.found = points is not None
        self._seen = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        if points is not None:
            self._rest = choose_rest([points])[0]
            self._unit = fit_pose(mean_face(), points).scale

    def _see(self, image: RGB) -> Array | None:
        """Landmarks (478, 3) in a frame as a driver of that size would show it."""
        k = self._shrink
        if k < 1:
            image = np.asarray(cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA), np.uint8)
        face = self._tracker(image)
        return None if face is None else face.landmarks

    def add(self, image: RGB) -> Array | None:
        """Landmarks (478, 3) of the next frame in its own pixels; None where no face is seen."""
        points = self._see(image)
        row = np.full((POINTS, 3), np.nan) if points is None else np.asarray(points, np.float64)
        self._seen.write(row.tobytes())
        return None if points is None else np.asarray(points / self._shrink)

    def _sightings(self) -> Iterator[Sighting]:
        size = POINTS * 3 * 8
        self._seen.seek(0)
        while len(block := self._seen.read(size)) == size:
            points = np.frombuffer(block, np.float64).reshape(POINTS, 3)
            yield Sighting(None if np.isnan(points).any() else points)

    def doings(self) -> Doings:
        """How the face moves in every frame added, from the person's own rest."""
        capture = Capture(self._rest, self._unit, self.fps)
        return Doings(self._rest, (move for move, _, _ in capture.moves((s, None) for s in self._sightings())))

    def close(self) -> None:
        """Give back the tracker and the file."""
        self._tracker.close()
        self._seen.close()
