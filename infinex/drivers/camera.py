"""Driving by a live camera: shown in a window, to a virtual camera where there is one, or to a file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import NOISE, NOISE_BEYOND, NOISE_POSE, Adjust, Capture, choose_rest
from infinex.drivers.measured import Measured
from infinex.engine import Drive
from infinex.errors import FaceNotFoundError, InputError, MissingDependencyError
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.tracker import FaceTracker

if TYPE_CHECKING:
    from infinex.pipeline import Options, Summary

Array = NDArray[np.float64]
SETTLE = 20  # frames in which the performer looks ahead, at rest


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


class CameraDriver:
    """A live camera, `camera:N`; yields drives as they come, skipping frames nobody had time for."""

    def __init__(self, name: str, smooth: float = 0.5, flow: bool = True) -> None:
        """`flow`: what landmarks miss of the face, head, shoulders and the mouth's interior is measured, too."""
        try:
            index = int(name.split(":", 1)[1])
        except ValueError:
            raise InputError(f"{name}: a camera is named camera:0, camera:1 ...") from None
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise InputError(f"{name} cannot be opened; is a camera connected and free?")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS) or 30) or 30.0
        self._smooth, self._flow = smooth, flow
        self._tracker = FaceTracker()
        self._settle(name)

    def _read(self) -> NDArray[np.uint8] | None:
        ok, frame = self._capture.read()
        return cv2.cvtColor(frame[:, ::-1], cv2.COLOR_BGR2RGB) if ok else None

    def _settle(self, name: str) -> None:
        """See the performer at rest."""
        tracks: list[Array] = []
        images = []
        for _ in range(8 * SETTLE):
            image = self._read()
            if image is None:
                raise InputError(f"{name} gives no picture")
            face = self._tracker(image)
            if face is not None:
                tracks.append(face.landmarks)
                images.append(image)
            if len(tracks) >= SETTLE:
                break
        if not tracks:
            raise FaceNotFoundError(f"{name} sees no face; sit in front of it, with light on you")
        self.rest, index = choose_rest(tracks)
        self.rest_image, self.rest_points = images[index], tracks[index]
        unit = fit_pose(top.mean_face(), self.rest_points).scale
        self._states = Capture(self.rest, unit, self.fps)
        self._measured = Measured(self.rest_image, self.rest_points, self.rest) if self._flow else None

    def _state(self, image: NDArray[np.uint8], points: Array) -> Array:
        """One frame's state, see `Capture.state`, and what was measured beyond it."""
        if self._measured is None:
            return self._states.state(points)
        points = self._measured.landmarks(image, points)
        beyond = self._measured.beyond(image, points, fit_pose(self.rest.face, points), True)
        return np.concatenate([self._states.state(points), beyond])

    def __iter__(self) -> Iterator[Drive]:
        noise = [NOISE_POSE, np.tile(NOISE, top.POINTS), *([NOISE_BEYOND] if self._flow else [])]
        steady = OneEuro(np.concatenate(noise) * 2 * max(self._smooth, 0.05))
        start = last = time.perf_counter()
        state: Array | None = None
        while (image := self._read()) is not None:
            face = self._tracker(image)
            now = time.perf_counter()
            if face is not None:
                state = steady(self._state(image, face.landmarks), now - last)
            last = now
            if state is None:
                continue
            move = self._states.move(state, now - start, face is not None)
            yield Drive(move, image if face else None, face.landmarks if face else None)

    def close(self) -> None:
        """Free the camera."""
        self._capture.release()
        self._tracker.close()


def _window() -> bool:
    """Whether a preview window can be shown here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_live(source: Path, name: str, output: Path | None, options: Options) -> Summary:
    """Animate a portrait by a camera until the window is closed, q is pressed or Ctrl-C.

    Shows a preview window where there is a screen, feeds a virtual camera where `pyvirtualcam` is
    installed, and writes `output` where it is given."""
    from infinex.media.provenance import Mark, Seal
    from infinex.media.sink import open_sink
    from infinex.pipeline import Summary, load_source, make_stage, provenance

    options.check()
    seal = Seal(*options.sign) if options.sign is not None and output is not None else None
    window = _window()
    stage = make_stage(load_source(source, options.face, options.box, options.size), options)
    virtual = _virtual_camera(stage.image.shape[1], stage.image.shape[0])
    if not window and output is None and virtual is None:
        raise MissingDependencyError(
            "there is no screen for a preview; name an output with -o, or install pyvirtualcam"
        )
    driver = CameraDriver(name, options.smooth, options.refine)
    adjust = Adjust(options.parts, options.strength, options.absolute)
    count, started = 0, time.perf_counter()
    h, w = stage.image.shape[:2]
    mark = Mark(w, h) if options.mark else None
    try:
        stage.begin(driver.rest, driver.rest_image, driver.rest_points)
        adjust.begin(driver.rest)
        with contextlib.ExitStack() as stack:
            sink = None
            if output is not None:
                sink = stack.enter_context(
                    open_sink(output, (w, h), driver.fps, None, provenance(source, name, options), seal=seal)
                )
            with contextlib.suppress(KeyboardInterrupt):
                for drive in driver:
                    move = adjust(drive.move)
                    canvas, _ = stage.render(Drive(move, drive.image, drive.points))
                    count += 1
                    if mark is not None:
                        canvas = canvas.copy()
                        mark.draw(canvas)
                    if sink is not None:
                        sink.write(canvas, stage.box if mark is None else None)
                    if virtual is not None:
                        virtual.send(canvas)
                    if window:
                        cv2.imshow("Infinex", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
                        if cv2.waitKey(1) & 0xFF in (ord("q"), 27):
                            break
    finally:
        driver.close()
        if virtual is not None:
            virtual.close()
        if window:
            with contextlib.suppress(cv2.error):
                cv2.destroyAllWindows()
    seconds = time.perf_counter() - started
    return Summary(
        str(output or ""), count, round(seconds, 3), round(count / max(seconds, 1e-3), 2), round(seconds, 3),
        w, h, len(stage.faces), options.engine,
    )  # fmt: skip


def _virtual_camera(width: int, height: int) -> Any:
    try:
        import pyvirtualcam
    except ImportError:
        return None
    try:
        return pyvirtualcam.Camera(width=width, height=height, fps=25)
    except RuntimeError as error:
        print(f"infinex: note: no virtual camera ({error})", file=sys.stderr)
        return None
