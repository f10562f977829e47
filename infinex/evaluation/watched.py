"""A result seen as a driver is: tracked frame by frame, smoothed alike, its units read alike."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import Capture, Sighting, choose_rest
from infinex.drivers.video import SIDE
from infinex.face.pose import fit_pose
from infinex.face.reading import read_units
from infinex.face.topology import mean_face
from infinex.face.tracker import FaceTracker
from infinex.motion import Move, Rest

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]


class Watched:
    """Frames (H, W, 3) of one person, of whom the first picture shows the rest."""

    def __init__(self, image: RGB, fps: float) -> None:
        """`found` says whether a face is seen in the first picture."""
        self.fps, self._tracker = fps, FaceTracker()
        self._shrink = min(1.0, SIDE / max(image.shape[:2]))
        points = self._see(image)
        self.found = points is not None
        self._seen: list[Sighting] = []
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
        self._seen.append(Sighting(points))
        return None if points is None else np.asarray(points / self._shrink)

    def moves(self) -> list[Move]:
        """How the face moves in every frame added, from the person's own rest."""
        capture = Capture(self._rest, self._unit, self.fps)
        return [move for move, _, _ in capture.moves((s, None) for s in self._seen)]

    @property
    def rest(self) -> Rest:
        """What they are measured from."""
        return self._rest

    def units(self) -> Array:
        """Intensities (T, U) of `FACE_UNITS` in every frame added."""
        return read_units(np.stack([move.offsets for move in self.moves()]))

    def close(self) -> None:
        """Give back the tracker."""
        self._tracker.close()
