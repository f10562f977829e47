"""What a page shows at once: a portrait that follows the sliders, and one that follows a camera."""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.camera import LiveCapture
from infinex.drivers.contract import Drive, Shot
from infinex.engine import Source
from infinex.errors import InputError
from infinex.face.tracker import Face, FaceTracker
from infinex.jobs.perform import Adjusting
from infinex.media.image import header_size
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.motion import DEFAULT_PARTS, Motion, Rest, part_weights
from infinex.options import MotionOptions
from infinex.stage import Stage
from infinex.studio.expression import Expression, move_of, rest

RGB = NDArray[np.uint8]
SETTLE = 12  # frames of a camera in which the performer's rest is seen
RATE = 20.0  # frames/s that a browser sends
QUALITY = 88  # of the JPEG pictures a page gets
CAMERA_SIDE = 640  # largest side of a camera frame that is taken
CAMERA_BYTES = 1 << 20


def encode(image: RGB, quality: int = QUALITY) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError("a picture could not be encoded")
    return data.tobytes()


def shrunk(image: RGB, face: Face, side: int) -> Source:
    """A portrait with its longer side at most `side` pixels, landmarks with it."""
    k = side / max(image.shape[:2])
    if k >= 1:
        return Source(image, face)
    h, w = (max(2, round(s * k)) for s in image.shape[:2])
    small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    points = face.landmarks * [w / image.shape[1], h / image.shape[0], w / image.shape[1]]
    return Source(small, Face(points, face.score))


class Preview:
    """One face of one portrait, ready to follow sliders. One thread at a time may draw."""

    def __init__(self, source: Source, options: MeshOptions | None = None) -> None:
        self._stage = Stage([source], MeshEngine(options or MeshOptions(mouth="own")))
        self._neutral = rest()
        self._rest: Rest | None = None
        self.lock = threading.Lock()
        self.image = source.image
        self.draw(Expression({"AU12": 0.5, "AU25": 0.5}, yaw=3))  # what is compiled or made at first use

    def draw(self, expression: Expression) -> RGB:
        """The portrait with this expression, (H, W, 3); the array is used again by the next call."""
        return self.play(self._neutral, Drive(move_of(expression)))

    def play(self, rest: Rest, drive: Drive) -> RGB:
        """The portrait under one drive of a performance with this rest."""
        if rest is not self._rest:
            self._stage.begin(rest)
            self._rest = rest
        return self._stage.render(drive)[0]

    def frame(self, motion: Motion, seconds: float) -> RGB:
        """A performance at a time, played round and round."""
        index = int(seconds * motion.fps) % len(motion)
        return self.play(motion.rest, Drive(motion.at(index)))


class Live:
    """A camera's frames in, the portrait's out."""

    def __init__(self, source: Source, options: MeshOptions | None = None) -> None:
        # Without the networks of the refiner: what follows a camera must be quick first of all.
        self._stage = Stage([source], MeshEngine(options or MeshOptions(refine=False)))
        self._tracker = FaceTracker()
        self.strength = 1.0
        self.parts: tuple[str, ...] = DEFAULT_PARTS
        self.borrow = False  # the inside of the performer's mouth, whoever it is
        self.settle()

    def settle(self) -> None:
        """Take the performer's rest anew."""
        self._capture = LiveCapture(RATE, flow=False, frames=SETTLE)
        self._first: Shot | None = None

    def close(self) -> None:
        """Free the networks."""
        self._tracker.close()

    def options(self, data: dict[str, Any]) -> None:
        """Choices of the page: strength 0..3, parts. Raises InputError."""
        strength = data.get("strength", self.strength)
        if not isinstance(strength, (int, float)) or not 0 <= strength <= 3:
            raise InputError("strength goes from 0 to 3")
        parts = data.get("parts", self.parts)
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            raise InputError("parts is a list")
        part_weights(parts)
        self.strength, self.parts = float(strength), tuple(parts)
        self.borrow = bool(data.get("borrow", self.borrow))
        for face in self._stage.faces:
            face.whose_mouth("driver" if self.borrow else "auto")  # type: ignore[attr-defined]
        if data.get("settle"):
            self.settle()
        elif self._first is not None:
            self._adjust = self._adjusting(self._first)

    def frame(self, data: bytes) -> tuple[str, RGB | None]:
        """One encoded camera frame: what happened (`settling`, `lost`, `live`), and the portrait.

        Raises InputError for what is no picture."""
        if len(data) > CAMERA_BYTES:
            raise InputError("a camera frame is larger than a megabyte")
        if len(data) < 4 or not data.startswith((b"\xff\xd8\xff", b"RIFF", b"\x89PNG")):
            raise InputError("a camera frame must be a JPEG, WebP or PNG picture")
        claimed = header_size(data)
        if claimed is None or min(claimed) < 64 or max(claimed) > 4 * CAMERA_SIDE:
            raise InputError("a camera frame could not be read")
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None or min(decoded.shape[:2]) < 64 or max(decoded.shape[:2]) > 4 * CAMERA_SIDE:
            raise InputError("a camera frame could not be read")
        image: RGB = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        k = CAMERA_SIDE / max(image.shape[:2])
        if k < 1:
            image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        face = self._tracker(image)
        if self._first is None:
            if face is None:
                return "lost", None
            if self._capture.look(image, face):
                self._first = self._capture.settle()
                self._capture.begin(time.perf_counter())
                self._adjust = self._adjusting(self._first)
            return "settling", None
        came = self._capture.see(image, face, time.perf_counter())
        if came is None:
            return "lost", None
        drive = self._adjust(came)
        return ("live" if face is not None else "lost"), self._stage.render(drive)[0]

    def _adjusting(self, first: Shot) -> Adjusting:
        return Adjusting(MotionOptions(self.parts, self.strength), self._stage.needs, first)
