"""Driving by a video: its face is tracked as it streams by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import Capture, Sighting, choose_rest
from infinex.drivers.measured import Measured
from infinex.engine import Drive
from infinex.errors import FaceNotFoundError, InputError
from infinex.face.pose import Pose, fit_pose
from infinex.face.topology import mean_face
from infinex.face.tracker import Box, FaceFinder, FaceTracker
from infinex.media.video import VideoFrame, VideoReader
from infinex.motion import Rest

AHEAD = 72  # frames tracked before the first is rendered
GLANCES = 18  # further frames looked at, spread over the rest of a long clip
SIDE = 1280  # longest side of the frames that tracking and mouth retrieval see
GLANCE_PENALTY = 0.02  # a frame from the tracked stretch serves better as reference
LONG = 0.7  # seconds without a face that are worth a word


def _same_picture(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two frames differ by no more than an encoder's rounding."""
    if a.shape != b.shape:
        return False
    change = cv2.absdiff(a, b)
    return int(change.max()) <= 6 and float(change.mean()) < 0.1


class VideoDriver:
    """A driving video. Iterating yields one `Drive` for each frame, in constant memory.

    Making one looks the clip over; `settle` then chooses the performer's rest for a portrait."""

    rest: Rest

    def __init__(
        self,
        path: str | Path,
        reference: int | None = None,
        smooth: float = 0.5,
        keep_readable: bool = False,
        box: Box | None = None,
        fps: float | None = None,
        flow: bool = True,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        """`start`, `end`: seconds of the clip, the part that is used.

        `flow`: what landmarks miss of the face, head, shoulders and the mouth's interior is measured, too."""
        self.path = Path(path)
        self.name = self.path.name
        self._box = box
        self.span = start, end
        part: dict[str, Any] = {"start": start, "end": end} if (start, end) != (0.0, None) else {}
        self._reader = VideoReader(path, keep_readable, SIDE, fps, **part)
        self.info = self._reader.info
        self.fps = float(self.info.fps)
        self.frames = self.info.frames
        self.audio = self.path if self.info.has_audio else None
        self.lost: list[tuple[float, float]] = []
        self._known: list[NDArray[np.float64] | None] = []
        self._reference, self._smooth, self._flow = reference, smooth, flow
        self._scout(reference)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _scout(self, reference: int | None) -> None:
        """Track the first frames and glance at the others."""
        tracks: list[NDArray[np.float64]] = []
        places: list[float] = []
        penalty: list[float] = []
        wanted: NDArray[np.uint8] | None = None
        for frame, points in self._tracked():
            self._known.append(points)
            if points is not None:
                tracks.append(points)
                places.append(frame.index)
                penalty.append(0.0)
            if frame.index == reference:
                wanted = frame.image
                if points is None:
                    raise FaceNotFoundError(f"--reference {reference}: no face in that frame of {self.path.name}")
            if len(self._known) >= AHEAD and (reference is None or reference < len(self._known)):
                break
        del wanted
        images: dict[int, NDArray[np.uint8]] = {}
        seen = len(self._known) / self.fps
        total = self.info.duration or 0
        if len(self._known) >= AHEAD and total > seen + 1:
            finder = FaceFinder()
            for frame in self._reader.sample(list(np.linspace(seen, total, GLANCES + 2)[1:-1])):
                found = finder.boxes(frame.image)
                points = finder.mesh(frame.image, found[0][0]) if found and found[0][1] > 0.5 else None
                if points is not None:
                    images[len(tracks)] = frame.image
                    tracks.append(points)
                    places.append(-1)
                    penalty.append(GLANCE_PENALTY)
            finder.close()
        if not tracks:
            raise FaceNotFoundError(f"no face found in {self.path.name}; use a clip that shows a face clearly")
        chosen = None
        if reference is not None:
            if reference not in places:
                raise InputError(f"--reference {reference}: {self.path.name} has only {len(self._known)} frames")
            chosen = places.index(reference)
        self._seen = tracks, places, penalty, images, chosen

    def settle(self, near: Pose | None = None, match: NDArray[np.float64] | None = None) -> VideoDriver:
        """Choose the reference frame: near the portrait's pose, or most like its canonical face `match`."""
        tracks, places, penalty, images, chosen = self._seen
        self.rest, index = choose_rest(tracks, near, match, chosen, penalty)
        self.rest_points = tracks[index]
        self.reference = places[index]
        unit = fit_pose(mean_face(), self.rest_points).scale
        self._capture = Capture(self.rest, unit, self.fps, self._smooth)
        self.rest_image = images.get(index)
        if self.rest_image is None:
            for frame in self._reader:
                if frame.index == self.reference:
                    self.rest_image = frame.image
                    break
        return self

    def _tracked(self):  # type: ignore[no-untyped-def]
        """Frames with landmarks or None; what is known already is not tracked again."""
        with FaceTracker(self._box) as tracker:
            last_image: NDArray[np.uint8] | None = None
            last: NDArray[np.float64] | None = None
            for frame in self._reader:
                if frame.index < len(self._known):
                    points = self._known[frame.index]
                    last_image = None
                elif last_image is not None and _same_picture(frame.image, last_image):
                    points = last  # a still picture has a still face
                else:
                    face = tracker(frame.image)
                    points = None if face is None else face.landmarks
                    last_image, last = frame.image, points
                yield frame, points

    def __iter__(self) -> Iterator[Drive]:
        """Drives, one a frame."""

        assert self.rest_image is not None, "settle() comes first"
        measured = Measured(self.rest_image, self.rest_points, self.rest) if self._flow else None

        def sightings():  # type: ignore[no-untyped-def]
            gone: float | None = None
            for frame, points in self._tracked():
                if points is None and gone is None:
                    gone = frame.time
                elif points is not None and gone is not None:
                    if frame.time - gone >= LONG:
                        self.lost.append((gone, frame.time))
                    gone = None
                closer = points
                if measured is not None and points is not None:
                    closer = measured.landmarks(frame.image, points)
                yield Sighting(closer), (frame, points)
            if gone is not None and frame.time - gone >= LONG:
                self.lost.append((gone, frame.time))

        self.lost = []

        def beyond(
            seen: tuple[VideoFrame, object], points: NDArray[np.float64], pose: Pose, valid: bool
        ) -> NDArray[np.float64]:
            assert measured is not None
            return measured.beyond(seen[0].image, points, pose, valid)

        moves = self._capture.moves(sightings(), None if measured is None else beyond)
        for move, _, (frame, points) in moves:
            yield Drive(move, frame.image if move.valid else None, points if move.valid else None)
