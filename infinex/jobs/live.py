"""A portrait under a live camera: shown in a window, to a virtual camera where there is one, or recorded to a file."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.camera import CameraDriver
from infinex.engine import find_engine
from infinex.errors import InputError, MissingDependencyError, option
from infinex.interchange.streams import StreamDriver, is_stream
from infinex.jobs.file import own_sound, provenance, seal_of
from infinex.jobs.passes import no_passes
from infinex.jobs.perform import Box, Cue, Picture, Summary, adjusted, perform, settled
from infinex.jobs.pieces import no_pieces
from infinex.jobs.recorder import Recording, open_recording
from infinex.jobs.source import is_film, load_source
from infinex.media.provenance import Mark
from infinex.media.sink import check_output
from infinex.options import Options
from infinex.panel import panel_size
from infinex.stage import make_stage

KEYS = "n or space: take the face as it is now for rest; q or Esc: end"
QUIT, RENEW = ("q", "\x1b"), ("n", " ")


class Wishes:
    """What the performer wants while it runs: to end it, or to have the rest seen anew. Set from any thread."""

    def __init__(self) -> None:
        self.ended = False
        self.seen = False  # whether the window was ever known to be there
        self._renewals = 0

    def key(self, key: str) -> None:
        """A key was pressed, in the window or on the terminal."""
        if key in QUIT:
            self.ended = True
        elif key in RENEW:
            self._renewals += 1

    def renewal(self) -> bool:
        """Whether the rest is wanted anew; asked once for each time."""
        wanted, self._renewals = self._renewals > 0, 0
        return wanted


@contextlib.contextmanager
def _interrupts(wishes: Wishes) -> Iterator[None]:
    """Ctrl-C and a request to terminate end the performance and keep what was recorded; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        if wishes.ended:
            raise KeyboardInterrupt
        wishes.ended = True

    before = {s: signal.signal(s, end) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(wishes: Wishes) -> None:
    """Take keys from the terminal, each followed by Enter, in a thread that ends with the program."""

    def read() -> None:
        with contextlib.suppress(OSError):
            while not wishes.ended and (line := os.read(0, 256)):
                for key in line.decode(errors="ignore").rstrip("\r\n")[:1] or "\n":
                    wishes.key(key.lower())

    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stdin.isatty():
            threading.Thread(target=read, daemon=True).start()


def _window() -> bool:
    """Whether a preview window can be shown here: there is a screen, and OpenCV was built with windows."""
    screen = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return screen and bool(cv2.currentUIFramework())


def check_live(o: Options) -> None:
    """Raise InputError for choices that a camera cannot follow."""
    if o.start or o.end is not None:
        raise InputError(
            f"{option('start')} and {option('end')} go with a driver that is a file; a camera runs until it is ended"
        )
    if o.loop:
        raise InputError(
            f"{option('loop')} goes with a driver that is a file: nobody knows when a camera's performance ends"
        )
    if o.reference is not None:
        raise InputError(
            f"{option('reference')} goes with a driver that is a clip; before a camera, press n for a new rest"
        )


class Room:
    """The sink of a live performance: recording, virtual camera and window, each where there is one."""

    def __init__(
        self, driver: CameraDriver | StreamDriver, wishes: Wishes, mark: Mark | None, virtual: Any, window: bool
    ) -> None:
        self.driver, self.wishes = driver, wishes
        self.recording: Recording | None = None
        self._mark, self._virtual, self._window = mark, virtual, window
        self.shown = 0

    def show(self, picture: Picture, changed: Box | None, drive: Cue) -> bool:
        """See `infinex.jobs.perform.Sink`."""
        if self._mark is not None:
            picture, changed = _marked(picture, self._mark), None
        self.shown += 1
        if self.recording is not None:
            self.recording.show(picture, self.driver.taken, changed)
        if self._virtual is not None:
            self._virtual.send(picture)
        if self._window and not _preview(picture, self.wishes):
            return False
        if self.wishes.ended:
            return False
        if self.wishes.renewal():
            self.driver.renew()
        return True

    def wait(self, still: Picture) -> None:
        """The portrait as it is stands for the time in which the rest is seen, from the first picture or packet on."""
        if self.wishes.ended:
            raise KeyboardInterrupt
        if self.recording is not None and not self.recording.begun and self.driver.taken:
            self.recording.show(_marked(still, self._mark), self.driver.taken)


def run_live(source: Path, name: str, output: Path | None, options: Options) -> Summary:
    """Animate a portrait by a camera or a stream until the window is closed, q is pressed, Ctrl-C, or the camera stops.

    Shows a preview window where there is a screen, feeds a virtual camera where `pyvirtualcam` is installed, and
    records into `output` where it is given: as long as the performance lasted, with the sound of the microphone."""
    options.check()
    check_live(options)
    no_passes(options, "a camera or a stream")
    no_pieces(options, "a camera or a stream")
    audio = own_sound(options, output)
    seal = None
    if output is not None:
        output = check_output(output)
        seal = seal_of(options, output)
    window = _window()
    known = find_engine(options.engine).system.knows and is_film(source)
    sources = load_source(source, options.face, options.box, options.size, options.open_eyes, known, options.crop)
    stage = make_stage(sources, options)
    h, w = stage.image.shape[:2]
    size = panel_size(w, h) if options.panel else (w, h)
    virtual = _virtual_camera(*size)
    if not window and output is None and virtual is None:
        raise MissingDependencyError(
            "no window can be shown for a preview; name an output with -o, install pyvirtualcam, or on a machine with "
            "a screen run: pip install --force-reinstall --no-deps 'opencv-python>=4.9,<4.15'"
        )
    notes: list[str] = []
    wishes = Wishes()
    driver = StreamDriver(name) if is_stream(name) else CameraDriver(name, options.smooth, options.measured, look=False)
    room = Room(driver, wishes, Mark(*size) if options.mark else None, virtual, window)
    still = stage.image
    if options.panel:
        still = np.hstack([cv2.resize(still, (size[0] // 4, size[1]), interpolation=cv2.INTER_AREA)] * 4)
    try:
        print(f"infinex: {KEYS}" + ("" if window else "; on the terminal followed by Enter"), file=sys.stderr)
        _listen(wishes)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_interrupts(wishes))
            if output is not None:
                room.recording = stack.enter_context(
                    open_recording(
                        output, size, options.fps or driver.fps, provenance(source, name, options.engine), seal, audio,
                        options.audio == "keep", notes,
                    )
                )  # fmt: skip
            started = time.perf_counter()
            driver.look(lambda: room.wait(still))
            settled(driver, stage.faces[0].face, options.absolute)
            cues = adjusted(driver, options, stage.needs)
            perform(stage, cues, [room], stage if options.panel else None, ahead=False)
            ended = driver.taken if driver.stopped else time.perf_counter()
            if room.recording is not None:
                room.recording.finish(ended)
    finally:
        wishes.ended = True
        driver.close()
        if virtual is not None:
            virtual.close()
        if window:
            with contextlib.suppress(cv2.error):
                cv2.destroyAllWindows()
    return _summary(output, room.recording, driver, room.shown, started, ended, size, len(stage.faces), options, notes)


def _summary(
    output: Path | None, recording: Recording | None, driver: CameraDriver | StreamDriver, shown: int,
    started: float, ended: float, size: tuple[int, int], faces: int, options: Options,
    notes: list[str],
) -> Summary:  # fmt: skip
    seconds = max(ended - started, 1e-3)
    frames = shown if recording is None else recording.frames
    duration = seconds if recording is None else frames / (options.fps or driver.fps)
    if driver.stopped:
        kept = "" if recording is None else f"; {output} holds all until then"
        why = "nothing more came" if is_stream(driver.name) else "unplugged, or taken by another program"
        notes.append(f"{driver.name} stopped after {duration:.1f} s: {why}{kept}")
    notes += driver.warnings
    return Summary(
        str(output or ""), frames, round(seconds, 3), round(shown / seconds, 2), round(duration, 3),
        *size, faces, options.engine, notes,
    )  # fmt: skip


def _marked(canvas: NDArray[np.uint8], mark: Mark | None) -> NDArray[np.uint8]:
    """The picture, with the mark on a copy of it where there is one."""
    if mark is None:
        return canvas
    canvas = canvas.copy()
    mark.draw(canvas)
    return canvas


def _preview(canvas: NDArray[np.uint8], wishes: Wishes) -> bool:
    """Show a picture in the window and take its keys; False once it was closed."""
    cv2.imshow("Infinex", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(1)
    if key >= 0:
        wishes.key(chr(key & 0xFF).lower())
    with contextlib.suppress(cv2.error):
        visible = cv2.getWindowProperty("Infinex", cv2.WND_PROP_VISIBLE) >= 1
        wishes.seen = wishes.seen or visible  # some kinds of window never tell
        return visible or not wishes.seen
    return True


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
