"""What a face does, sent to another program as it happens: from a camera or a stream live, from anything else in its
own time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Driver
from infinex.face.blendshapes import gaze, mirrored
from infinex.face.pose import Pose, to_matrix
from infinex.face.shape_reader import ShapeReader
from infinex.interchange.streams import Sender, StreamDriver, is_stream, open_sender
from infinex.jobs.export import take_of
from infinex.jobs.live import Wishes, _interrupts, _listen
from infinex.options import Options

Array = NDArray[np.float64]
Row = tuple[Array, Array, Array, bool]


@dataclass
class Sent:
    """How it went."""

    frames: int
    seconds: float
    warnings: list[str]


def _camera(name: str, smooth: float) -> Iterator[Row]:
    """Frames of a camera. Its picture is a mirror's, so that sides are changed back: an avatar's left is the
    person's."""
    from infinex.drivers.camera import CameraDriver

    driver = CameraDriver(name, smooth, flow=False)
    try:
        assert driver.rest_image is not None and driver.rest_points is not None
        reader = ShapeReader(driver.rest_image, driver.rest_points, driver.rest.face)
        for drive in driver:
            reader.add(drive.image, drive.points, drive.move.offsets)
            weights = mirrored(reader.shapes()[-1])
            head = np.radians(Pose(1.0, to_matrix(drive.move.rotation), np.zeros(3)).angles) * [-1, 1, -1]
            yield weights, head, gaze(weights[None])[0], drive.move.valid
    finally:
        driver.close()


def _stream(name: str) -> Iterator[Row]:
    driver = StreamDriver(name)
    try:
        for (weights, head, eyes), _, fresh in driver.frames_of():
            if fresh:
                yield weights, head, eyes, True
    finally:
        driver.close()


def _paced(source: str | Path | Driver, options: Options, notes: list[str]) -> Iterator[Row]:
    take = take_of(source, options, None, notes)
    began = time.perf_counter()
    for k in range(len(take)):
        late = began + k / take.fps - time.perf_counter()
        if late > 0:
            time.sleep(late)
        yield take.shapes[k], take.head[k], take.eyes[k], bool(take.valid[k])


def send(source: str | Path | Driver, to: str, options: Options | None = None, wishes: Wishes | None = None) -> Sent:
    """Send what `source` does to the address `to` until it ends, or somebody ends it. Raises an InfinexError."""
    o, wishes = options or Options(), wishes or Wishes()
    notes: list[str] = []
    sender: Sender = open_sender(to)
    frames, began = 0, time.perf_counter()
    try:
        if isinstance(source, str) and source.startswith("camera:"):
            rows = _camera(source, o.smooth)
        elif is_stream(source):
            assert isinstance(source, str)
            rows = _stream(source)
        else:
            rows = _paced(source, o, notes)
        _listen(wishes)
        with _interrupts(wishes):
            for weights, head, eyes, valid in rows:
                sender.send(weights, head, eyes, time.time() % 86400, valid)
                frames += 1
                if wishes.ended:
                    break
    finally:
        wishes.ended = True
        sender.close()
    return Sent(frames, round(time.perf_counter() - began, 3), notes)
