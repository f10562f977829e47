"""What a page shows at once: a portrait that follows the sliders, and one that follows a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.camera import LiveDriver
from infinex.drivers.contract import Drive
from infinex.drivers.expression import Expression, move_of, rest
from infinex.engine import Source
from infinex.errors import InputError
from infinex.face.tracker import LOOKING
from infinex.jobs.perform import Box, Cue, adjusted, perform, settled
from infinex.jobs.source import load_source
from infinex.media.image import header_size
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.mesh.mouth import Mouth
from infinex.motion import Motion, Rest, part_weights
from infinex.options import MotionOptions
from infinex.stage import Stage
from infinex.studio.examples import EXAMPLES

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


class Preview:
    """Faces of one portrait, by their numbers, ready to follow sliders. One thread at a time may draw."""

    def __init__(self, sources: Mapping[int, Source], options: MeshOptions | None = None) -> None:
        self.numbers = tuple(sources)
        self._stage = Stage(list(sources.values()), MeshEngine(options or MeshOptions(mouth="own")))
        self._neutral = rest()
        self._rests: dict[int, Rest] = {}
        self.lock = threading.Lock()
        self.image = self._stage.image
        self.draw(Expression({"AU12": 0.5, "AU25": 0.5}, yaw=3))  # what is compiled or made at first use

    def draw(self, expression: Expression, fine: bool = True) -> RGB:
        """The portrait with this expression, (H, W, 3); the array is used again by the next call."""
        drive = Drive(move_of(expression))
        return self.play(dict.fromkeys(self.numbers, (self._neutral, drive)), fine)

    def play(self, acting: Mapping[int, tuple[Rest, Drive]], fine: bool = True) -> RGB:
        """The portrait under a drive of a performance with its rest, for each face.

        Unless `fine`, without the networks that touch it up and the mouth's finer grid: for pictures that the next one
        follows at once."""
        for i, number in enumerate(self.numbers):
            rest, _ = acting[number]
            if rest is not self._rests.get(number):
                self._stage.begin(rest, index=i)
                self._rests[number] = rest
            face: Any = self._stage.faces[i]
            face.options = replace(face.options, refine=fine)
            face.mouth.samples = Mouth.samples if fine else 1.0
        return self._stage.render([acting[n][1] for n in self.numbers])[0]

    def frame(self, motion: Motion, seconds: float) -> RGB:
        """A performance at a time, played round and round."""
        index = int(seconds * motion.fps) % len(motion)
        return self.play({n: (motion.rest, Drive(motion.at(index))) for n in self.numbers}, fine=False)


def warm() -> None:
    """Draw an example, small: what is compiled or read at first use is there when the first portrait comes."""
    with LOOKING:
        Preview({1: load_source(EXAMPLES[0].path, size=128)[0]})


class PageCamera(LiveDriver):
    """A page's camera: frames are handed in, and every one is answered once; to a performance it is a sink, too.

    The answer says what happened (`settling`, `lost`, `live`), and has the portrait's picture where there is one."""

    patient = True

    def __init__(self) -> None:
        super().__init__("the page's camera", RATE, flow=False, frames=SETTLE)
        self._frames: SimpleQueue[RGB | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[str, RGB | None]] = SimpleQueue()
        self._owed = False
        self.anew = False  # whether choices have changed, with which the performance is to go on

    def ask(self, image: RGB) -> tuple[str, RGB | None]:
        """Hand in a frame (H, W, 3) and wait for its answer. The picture's array is used again for the next one."""
        self._frames.put(image)
        return self._answers.get()

    def end(self) -> None:
        """No frame will be handed in any more."""
        self._frames.put(None)

    def answer(self, state: str, picture: RGB | None = None) -> None:
        """Answer the frame that was read last, unless it was."""
        if self._owed:
            self._owed = False
            self._answers.put((state, picture))

    def read(self) -> RGB | None:
        """See `LiveDriver`. Who asks for the next frame made no picture of the last."""
        self.answer("lost" if self.face is None else "settling")
        image = self._frames.get()
        self._owed, self.taken = image is not None, time.perf_counter()
        return image

    def close(self) -> None:
        """Free the networks, and whoever waits for an answer."""
        super().close()
        self._answers.put(("lost", None))

    def show(self, picture: RGB, changed: Box | None, drive: Cue) -> bool:
        """See `infinex.jobs.perform.Sink`."""
        seen = "settling" if self.renewing else "live"
        self.answer("lost" if self.face is None else seen, picture)
        return not self.anew


class Live:
    """A camera's frames in, the portrait's out: one performance, in a thread of its own."""

    def __init__(self, source: Source, options: MeshOptions | None = None) -> None:
        # Without the networks of the refiner: what follows a camera must be quick first of all.
        self._stage = Stage([source], MeshEngine(options or MeshOptions(refine=False)))
        self._camera = PageCamera()
        self._motion = MotionOptions()
        self._failed: Exception | None = None
        threading.Thread(target=self._perform, name="infinex-live", daemon=True).start()

    def _perform(self) -> None:
        try:
            settled(self._camera.look(), self._stage.faces[0].face, self._motion.absolute)
            while not self._camera.stopped:
                self._camera.anew = False
                cues = adjusted(self._camera, self._motion, self._stage.needs)
                perform(self._stage, cues, [self._camera], ahead=False)
        except Exception as error:
            self._failed = error
        finally:
            self._camera.close()

    def close(self) -> None:
        """End the performance, which then frees the networks."""
        self._camera.end()

    def options(self, data: dict[str, Any]) -> None:
        """Choices of the page: strength 0..3, parts; `borrow`, whether the performer's mouth shows in whoever's face;
        `settle`, to take the performer's rest anew. Raises InputError."""
        strength = data.get("strength", self._motion.strength)
        if not isinstance(strength, (int, float)) or not 0 <= strength <= 3:
            raise InputError("strength goes from 0 to 3")
        parts = data.get("parts", self._motion.parts)
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            raise InputError("parts is a list")
        part_weights(parts)
        self._motion = MotionOptions(tuple(parts), float(strength))
        self._camera.anew = True
        if "borrow" in data:
            for face in self._stage.faces:
                face.whose_mouth("driver" if data["borrow"] else "auto")  # type: ignore[attr-defined]
        if data.get("settle"):
            self._camera.renew()

    def frame(self, data: bytes) -> tuple[str, RGB | None]:
        """One encoded camera frame: what happened (`settling`, `lost`, `live`), and the portrait.

        Raises InputError for what is no picture."""
        image = camera_frame(data)
        if self._failed is not None:
            raise self._failed
        answer = self._camera.ask(image)
        if self._failed is not None:
            raise self._failed
        return answer


def camera_frame(data: bytes) -> RGB:
    """An encoded frame of a page's camera, (H, W, 3), its longer side at most CAMERA_SIDE. Raises InputError."""
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
    return image if k >= 1 else cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
