"""A live camera as a driver: what it sees, as it comes; its rest is seen first, and anew whenever that is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import NOISE, NOISE_BEYOND, NOISE_POSE, Capture, choose_rest
from infinex.drivers.contract import Drive, Driver, Shot
from infinex.drivers.measured import Measured
from infinex.errors import FaceNotFoundError, InputError
from infinex.face import topology as top
from infinex.face.pose import Pose, fit_pose
from infinex.face.tracker import FaceTracker

Array = NDArray[np.float64]
SETTLE = 20  # frames in which the performer looks ahead, at rest
TRIES = 5  # reads that may fail in a row before a camera counts as gone
PAUSE = 0.03  # seconds between them
RATES = (5.0, 120.0)  # frames/s that a camera may claim; some say 0 or 1000
USUAL_RATE = 30.0


class OneEuro:
    """The one-euro filter (Casiez 2012): steady at rest, little lag in motion; works without look-ahead."""

    def __init__(self, noise: Array, cutoff: float = 1.2, eagerness: float = 6.0) -> None:
        self._noise, self._cutoff, self._eager = noise, cutoff, eagerness
        self._x: Array | None = None
        self._speed = np.zeros_like(noise)

    def __call__(self, x: Array, seconds: float) -> Array:
        """Filter one state that came `seconds` after the last."""
        if self._x is None or seconds <= 0:
            self._x = x
            return x

        def share(cutoff: Any) -> Any:
            return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))

        speed = (x - self._x) / seconds
        self._speed += share(1.5) * (speed - self._speed)
        cutoff = self._cutoff + self._eager * np.abs(self._speed) / (self._noise * 30)
        self._x = self._x + share(cutoff) * (x - self._x)
        return self._x


class CameraDriver(Driver):
    """A live camera, `camera:N`; yields drives as they come, skipping frames nobody had time for.

    `taken` is when the newest frame came, by the clock; `stopped` says whether the camera has ended by itself."""

    filmed = True

    def __init__(self, name: str, smooth: float = 0.5, flow: bool = True, look: bool = True) -> None:
        """`flow`: what landmarks miss of the face, head, shoulders and the mouth's interior is measured, too.
        Without `look`, the performer is not yet seen: call it before anything else."""
        try:
            index = int(name.split(":", 1)[1])
        except ValueError:
            raise InputError(f"{name}: a camera is named camera:0, camera:1 ...") from None
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise InputError(f"{name} cannot be opened; is a camera connected and free?")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        claimed = float(self._capture.get(cv2.CAP_PROP_FPS) or 0)
        self.fps = claimed if RATES[0] <= claimed <= RATES[1] else USUAL_RATE
        self.name, self.taken, self.stopped = name, 0.0, False
        self.lost: list[tuple[float, float]] = []
        self._smooth, self._flow = smooth, flow
        self._near: tuple[Pose | None, Array | None] = (None, None)
        self._anew: tuple[list[Array], list[NDArray[np.uint8]]] | None = None
        self._tracker = FaceTracker()
        if look:
            self.look()

    def _read(self) -> NDArray[np.uint8] | None:
        for attempt in range(TRIES):
            ok, frame = self._capture.read()
            if ok and frame is not None:
                self.taken = time.perf_counter()
                return cv2.cvtColor(frame[:, ::-1], cv2.COLOR_BGR2RGB)
            if attempt < TRIES - 1:
                time.sleep(PAUSE)
        return None

    def look(self, seen: Callable[[], None] | None = None) -> CameraDriver:
        """See the performer at rest. `seen` is called after every picture; what it raises ends this.

        Raises InputError and FaceNotFoundError."""
        tracks: list[Array] = []
        images = []
        for _ in range(8 * SETTLE):
            image = self._read()
            if image is None:
                raise InputError(f"{self.name} gives no picture")
            if seen is not None:
                seen()
            face = self._tracker(image)
            if face is not None:
                tracks.append(face.landmarks)
                images.append(image)
            if len(tracks) >= SETTLE:
                break
        if not tracks:
            raise FaceNotFoundError(f"{self.name} sees no face; sit in front of it, with light on you")
        self._seen = tracks, images
        return self.settle()

    def settle(self, near: Pose | None = None, match: Array | None = None) -> CameraDriver:  # type: ignore[override]
        """Choose the rest among the frames seen last: near the portrait's pose, or most like its face `match`."""
        self._near = near, match
        tracks, images = self._seen
        self.rest, index = choose_rest(tracks, near, match)
        self.rest_image, self.rest_points = images[index], tracks[index]
        unit = fit_pose(top.mean_face(), self.rest_points).scale
        self._states = Capture(self.rest, unit, self.fps)
        self._measured = Measured(self.rest_image, self.rest_points, self.rest) if self._flow else None
        noise = [NOISE_POSE, np.tile(NOISE, top.POINTS), *([NOISE_BEYOND] if self._flow else [])]
        self._steady = OneEuro(np.concatenate(noise) * 2 * max(self._smooth, 0.05))
        return self

    def renew(self) -> None:
        """See the rest anew in the frames that come; the drive from which on it counts says so, as after a cut."""
        self._anew = [], []

    def _state(self, image: NDArray[np.uint8], points: Array) -> Array:
        """One frame's state, see `Capture.state`, and what was measured beyond it."""
        if self._measured is None:
            return self._states.state(points)
        points = self._measured.landmarks(image, points)
        beyond = self._measured.beyond(image, points, fit_pose(self.rest.face, points), True)
        return np.concatenate([self._states.state(points), beyond])

    def __iter__(self) -> Iterator[Drive]:
        start = last = time.perf_counter()
        state: Array | None = None
        while (image := self._read()) is not None:
            now, begins = self.taken, None
            face = self._tracker(image)
            if face is not None:
                if self._anew is not None:
                    self._anew[0].append(face.landmarks)
                    self._anew[1].append(image)
                    if len(self._anew[0]) >= SETTLE:
                        self._seen, self._anew = self._anew, None
                        self.settle(*self._near)
                        begins = Shot(self.rest, self.rest_image, self.rest_points)
                state = self._steady(self._state(image, face.landmarks), now - last)
            last = now
            if state is None:
                continue
            move = self._states.move(state, now - start, face is not None)
            yield Drive(move, image if face else None, face.landmarks if face else None, begins)
        self.stopped = True
        self.taken = time.perf_counter()

    def close(self) -> None:
        """Free the camera."""
        self._capture.release()
        self._tracker.close()
