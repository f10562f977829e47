"""Runs another benchmark with MediaPipe's own graph in place of the mesh; needs mediapipe==0.10.21 beside the package.

    python benchmarks/mediapiped.py benchmarks/units.py PORTRAITS_DIR ...

The graph follows a face by itself, in the square of 384 pixels that this package gave it while it stood on MediaPipe.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import infinex.face.tracker as tracker
from infinex.face.networks import square_of

os.environ.setdefault("GLOG_minloglevel", "3")


class Graph:
    """What `infinex.face.networks.MeshTracker` is, by MediaPipe's graph."""

    def __init__(self, still: bool) -> None:
        from mediapipe.python.solutions.face_mesh import FaceMesh

        self._still, self._make = still, FaceMesh
        self.reset()

    def reset(self) -> None:
        """Forget the face."""
        self._mesh: Any = self._make(
            static_image_mode=self._still, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3,
            min_tracking_confidence=0.3,
        )  # fmt: skip

    def landmarks(self, image: NDArray[np.uint8], near: Any = None) -> NDArray[np.float64] | None:
        """Landmarks (478, 3) in pixels of an RGB picture, or None."""
        box = near if near is not None else (0, 0, image.shape[1], image.shape[0])
        part, k, corner = square_of(image, box)
        found = self._mesh.process(part).multi_face_landmarks
        if not found:
            return None
        points = np.array([(p.x, p.y, p.z) for p in found[0].landmark]) * len(part) / k
        points[:, :2] += corner
        return points


if __name__ == "__main__":
    tracker.MeshTracker = Graph  # type: ignore[misc,assignment]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))  # noqa: PTH120
    runpy.run_path(sys.argv[0], run_name="__main__")
