"""A live camera as a driver: what it sees, as it comes; its rest is seen first, and anew whenever that is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import NOISE, NOISE_BEYOND, NOISE_POSE, Capture, choose_rest
from infinex.drivers.contract import Drive, Driver, Shot
from infinex.drivers.measured import Measured
from infinex.errors import FaceNotFoundError, InputError
from infinex.face import topology as top
from infinex.face.pose import Pose, fit_pose
from infinex.face.tracker import Face, FaceTracker

Array = NDArray[np.float64]
Live = TypeVar("Live", bound="LiveDriver")
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


class LiveCapture:
    """What a performer does as frames come: the rest is seen first, then every frame becomes a drive.

    `LiveDriver` hands them in, of a camera or of the studio's page."""

    def __init__(self, fps: float, smooth: float = 0.5, flow: bool = True, frames: int = 0) -> None:
        """`flow`: what landmarks miss of the face, head, shoulders and the mouth's interior is measured, too.
        `frames` in which the rest is seen; 0: the usual number."""
        self._fps, self._smooth, self._flow, self._enough = fps, smooth, flow, frames or SETTLE
        self._tracks: list[Array] = []
        self._images: list[NDArray[np.uint8]] = []
        self._near: tuple[Pose | None, Array | None] = (None, None)
        self._anew: tuple[list[Array], list[NDArray[np.uint8]]] | None = None
        self._start = self._last = 0.0
        self._state: Array | None = None

    def look(self, image: NDArray[np.uint8], face: Face | None) -> bool:
        """A frame of the performer at rest; whether enough were seen."""
        if self._anew is not None:
            (self._tracks, self._images), self._anew = self._anew, None
        if face is not None:
            self._tracks.append(face.landmarks)
            self._images.append(image)
        return len(self._tracks) >= self._enough

    @property
    def seen(self) -> bool:
        """Whether anybody was there."""
        return bool(self._tracks)

    def settle(self, near: Pose | None = None, match: Array | None = None) -> Shot:
        """Choose the rest among the frames seen last: near the portrait's pose, or most like its face `match`."""
        self._near = near, match
        self.rest, index = choose_rest(self._tracks, near, match)
        self.image, self.points = self._images[index], self._tracks[index]
        unit = fit_pose(top.mean_face(), self.points).scale
        self._states = Capture(self.rest, unit, self._fps)
        self._measured = Measured(self.image, self.points, self.rest) if self._flow else None
        noise = [NOISE_POSE, np.tile(NOISE, top.POINTS), *([NOISE_BEYOND] if self._flow else [])]
        self._steady = OneEuro(np.concatenate(noise) * 2 * max(self._smooth, 0.05))
        return Shot(self.rest, self.image, self.points)

    def begin(self, now: float) -> None:
        """Time zero of the moves, by the clock."""
        self._start = self._last = now

    def renew(self) -> None:
        """See the rest anew in the frames that come; the drive from which on it counts says so, as after a cut."""
        self._anew = [], []

    @property
    def renewing(self) -> bool:
        """Whether the rest is being seen anew."""
        return self._anew is not None

    def see(self, image: NDArray[np.uint8], face: Face | None, now: float) -> Drive | None:
        """The drive of a frame that came at `now`, seconds of the clock; None until a face was seen."""
        begins = None
        if face is not None:
            if self._anew is not None:
                self._anew[0].append(face.landmarks)
                self._anew[1].append(image)
                if len(self._anew[0]) >= self._enough:
                    (self._tracks, self._images), self._anew = self._anew, None
                    begins = self.settle(*self._near)
            seconds = now - self._last
            self._state = self._steady(self._measure(image, face.landmarks, seconds), seconds)
        self._last = now
        if self._state is None:
            return None
        move = self._states.move(self._state, now - self._start, face is not None)
        return Drive(move, image if face else None, face.landmarks if face else None, begins)

    def _measure(self, image: NDArray[np.uint8], points: Array, seconds: float) -> Array:
        """The state of a frame `seconds` after the last, see `Capture.told`, and what was measured beyond it."""
        if self._measured is None:
            return self._states.told(points, seconds)
        points = self._measured.landmarks(image, points)
        beyond = self._measured.beyond(image, (image, points), fit_pose(self.rest.face, points))
        return np.concatenate([self._states.told(points, seconds), beyond])


class LiveDriver(Driver):
    """A performer's pictures as they come: the rest is seen first, then every one is a drive. Derive from it.

    `taken` is when the newest picture came, by the clock; `stopped` says whether they have ended by themselves."""

    filmed = True
    patient = False  # whether it waits for a performer for ever

    def __init__(self, name: str, fps: float, smooth: float = 0.5, flow: bool = True, frames: int = 0) -> None:
        """`flow` and `frames` as in `LiveCapture`. Call `look` before anything else."""
        self.name, self.fps, self.taken, self.stopped = name, fps, 0.0, False
        self.lost: list[tuple[float, float]] = []
        self.face: Face | None = None  # in the newest picture
        self._live = LiveCapture(fps, smooth, flow, frames)
        self._tracker = FaceTracker()
        self._begun = False

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture (H, W, 3), RGB, as soon as it comes; sets `taken`. None where there will be no more."""
        raise NotImplementedError

    def look(self: Live, seen: Callable[[], None] | None = None) -> Live:
        """See the performer at rest. `seen` is called after every picture; what it raises ends this.

        Raises InputError and FaceNotFoundError."""
        for _ in count() if self.patient else range(8 * SETTLE):
            image = self.read()
            if image is None:
                raise InputError(f"{self.name} gives no picture")
            if seen is not None:
                seen()
            self.face = self._tracker(image)
            if self._live.look(image, self.face):
                break
        if not self._live.seen:
            raise FaceNotFoundError(f"{self.name} sees no face; sit in front of it, with light on you")
        return self.settle()

    def settle(self: Live, near: Pose | None = None, match: Array | None = None) -> Live:
        """Choose the rest among the frames seen last: near the portrait's pose, or most like its face `match`."""
        self._measure_from(self._live.settle(near, match))
        return self

    def _measure_from(self, shot: Shot) -> None:
        self.rest, self.rest_image, self.rest_points = shot.rest, shot.image, shot.points

    def renew(self) -> None:
        """See the rest anew in the frames that come; the drive from which on it counts says so, as after a cut."""
        self._live.renew()

    @property
    def renewing(self) -> bool:
        """Whether the rest is being seen anew."""
        return self._live.renewing

    def __iter__(self) -> Iterator[Drive]:
        """Drives as they come; asked again, it goes on where it was."""
        if not self._begun:
            self._live.begin(time.perf_counter())
            self._begun = True
        while (image := self.read()) is not None:
            self.face = self._tracker(image)
            drive = self._live.see(image, self.face, self.taken)
            if drive is not None:
                if drive.begins is not None:  # who asks again goes on from there
                    self._measure_from(drive.begins)
                yield drive
        self.stopped = True
        self.taken += 1 / self.fps  # the last picture stands as long as any: noticing that it was the last took longer

    def close(self) -> None:
        """Free the networks."""
        self._tracker.close()


class CameraDriver(LiveDriver):
    """A live camera, `camera:N`; frames nobody had time for are skipped."""

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
        super().__init__(name, claimed if RATES[0] <= claimed <= RATES[1] else USUAL_RATE, smooth, flow)
        if look:
            self.look()

    def read(self) -> NDArray[np.uint8] | None:
        """See `LiveDriver`: as a mirror shows it. A camera that fails for a moment is asked again."""
        for attempt in range(TRIES):
            ok, frame = self._capture.read()
            if ok and frame is not None:
                self.taken = time.perf_counter()
                return cv2.cvtColor(frame[:, ::-1], cv2.COLOR_BGR2RGB)
            if attempt < TRIES - 1:
                time.sleep(PAUSE)
        return None

    def close(self) -> None:
        """Free the camera."""
        self._capture.release()
        super().close()
