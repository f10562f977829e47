"""Clips of a prepared folder with the face that was tracked in their frames, for systems that learn from landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.training.data import ClipFrames, ClipPoints, cache_folder, each_face, read_clips

Landmarks = NDArray[np.float32]


class MeshTeacher:
    """The tracked mesh of every frame; see `infinex.training.data.Teacher`."""

    name = "mesh478"

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> Landmarks:
        """(T, 478, 3) in sides of the picture, 0 at its left and upper edge and 1 at the others; NaN without a face."""
        return each_face(
            images,
            (top.POINTS, 3),
            lambda p, w, h: ((p + np.array([0.5, 0.5, 0.0])) / np.array([w, h, w])).astype(np.float32),
        )

    def mirrored(self, points: Landmarks) -> Landmarks:
        """The mesh (478, 3) of the picture mirrored."""
        out: Landmarks = points[top.mirror()] * np.array([-1, 1, 1], np.float32) + np.array([1, 0, 0], np.float32)
        return out


class TrackedClips:
    """The clips of one split, each with the frames in which a face was seen, at most `looks` of them, evenly spread.

    The first use tracks them all and keeps what was found beside the decoded frames. Raises InputError where there is
    no place to keep it."""

    def __init__(self, folder: str | Path, split: str, size: int, looks: int = 60, cache_gb: float = 8.0) -> None:
        folder = Path(folder)
        self.size, self.teacher = size, MeshTeacher()
        cache = cache_folder(folder, read_clips(folder), size, cache_gb)
        kept = cache or cache_folder(folder, [], size, cache_gb)  # landmarks are small, however many frames there are
        if kept is None:
            raise InputError(f"{folder}: nothing can be written there, and landmarks are kept beside the clips")
        self.clips = []
        self._frames: list[ClipFrames] = []
        self._known: list[tuple[list[int], Landmarks]] = []
        for clip in read_clips(folder, split):
            known = ClipPoints(clip, self.teacher, kept, looks).known()  # type: ignore[arg-type]
            if known[0]:  # a clip without a face teaches nothing
                self.clips.append(clip)
                self._frames.append(ClipFrames(clip, size, cache))
                self._known.append(known)

    def people(self) -> dict[str, list[int]]:
        """The numbers of everybody's clips, in the order of the manifest."""
        out: dict[str, list[int]] = {}
        for number, clip in enumerate(self.clips):
            out.setdefault(clip.identity, []).append(number)
        return out

    def count(self, clip: int) -> int:
        """How many frames of a clip show a face."""
        return len(self._known[clip][0])

    def landmarks(self, clip: int) -> NDArray[np.float64]:
        """Of all frames that show a face, (T, 478, 3) in pixels of the picture at `size`."""
        return self._pixels(self._known[clip][1])

    def _pixels(self, points: Landmarks) -> NDArray[np.float64]:
        return np.asarray(points.astype(np.float64) * self.size - [0.5, 0.5, 0.0])

    def get(self, clip: int, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """A picture (size, size, 3) and the landmarks (478, 3) in its pixels, of the frame-th that shows a face."""
        places, points = self._known[clip]
        at = frame % len(places)
        return self._frames[clip][[places[at]]][0], self._pixels(points[at])
