"""Capturing a performance: a film, or a picture, to a motion with its Action Units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import one_rest
from infinex.drivers.contract import WHOLE, Drive
from infinex.drivers.motion import still_move
from infinex.drivers.units import told_apart, with_units
from infinex.drivers.video import VideoDriver
from infinex.errors import InputError, option
from infinex.face.interior import USUAL
from infinex.face.topology import POINTS
from infinex.face.unit_reader import UnitReader
from infinex.jobs.file import Progress
from infinex.jobs.open import largest
from infinex.media.files import writable_target, write_error
from infinex.media.image import is_image
from infinex.motion import STILL, Motion, Move, Rest

AT_ONCE = 1024  # frames after which what is kept is packed
MOST = 45_000  # whose displacements are kept in memory: half an hour, a quarter of a gigabyte
NOTHING = np.zeros((0, 3), np.float32)


def track(
    video: str | Path,
    keep_readable: bool = False,
    smooth: float = 0.5,
    progress: Progress | None = None,
    start: float = 0.0,
    end: float | None = None,
    face: str = "largest",
    notes: list[str] | None = None,
    watch: Callable[[VideoDriver, Drive], None] | None = None,
    fps: float | None = None,
    lean: bool = False,
    shapes: list[NDArray] | None = None,
    output: str | Path | None = None,
) -> tuple[Motion, list[tuple[float, float]]]:
    """Capture the performance in a video: its motion with Action Units, and where the face was lost.

    Of a still picture the one moment it shows, measured from the average face. `start`, `end`: seconds of the video.
    `face`: whose, where a video shows several; `notes` is given words about that and about cuts, across which all is
    told from the first shot's rest. `shapes` is given Apple's of a film, (T, 52) part by part. `watch` sees every drive
    of a film as it comes, with the driver. `fps`: the rate at which a film is read, or a folder of pictures shown.
    `lean` leaves out the displacements, most of what is kept of a long film: then the motion says head, gaze and units,
    and drives nothing. With an `output` the whole motion is written there, ending in .motion.npz, and the one returned
    is lean; without, a film of more than half an hour is refused, as its displacements would fill the memory.
    Raises an InfinexError."""
    if output is not None:
        writable_target(Path(output))
    if is_image(video):
        if (start, end) != WHOLE:
            raise InputError(
                f"{Path(video).name} is a still picture, of which {option('start')} and {option('end')} name no part"
            )
        move, units = still_move(*largest(video))
        motion = told_apart(Motion.collect([move], Rest.neutral(), 25.0), units[None])
        if output is not None:
            motion.save(output)
        return motion, []
    driver = VideoDriver(
        video, smooth=smooth, keep_readable=keep_readable, fps=fps, face=face, start=start, end=end
    ).settle()
    try:
        moves: list[Move] = []
        parts: list[Motion] = []
        amounts: list[NDArray] = []
        assert driver.rest_image is not None and driver.rest_points is not None  # it is settled
        reader = UnitReader(driver.rest_image, driver.rest_points, driver.rest.face)

        def check(frames: int) -> None:
            if frames > MOST and output is None and not lean:
                raise InputError(
                    f"{Path(video).name}: over {MOST} frames are too many to keep in memory; name an "
                    f"{option('output')} that ends in .motion.npz"
                )

        check(driver.frames or 0)

        def gather() -> None:
            parts.append(Motion.collect(moves, driver.rest, driver.fps))
            units, seen = reader.units_and_shapes()
            amounts.append(units.astype(np.float32))
            if shapes is not None:
                shapes.append(seen.astype(np.float32))
            moves.clear()

        with nullcontext() if output is None else closing(_Beside(Path(output))) as file:
            for count, drive in enumerate(one_rest(driver, driver.rest), 1):
                move, offsets = drive.move, drive.move.offsets
                if lean:
                    move = replace(move, outline=None, interior=None)
                if file is not None:
                    file.add(offsets)
                kept: Any = NOTHING if lean or file is not None else offsets.astype(np.float32)
                moves.append(replace(move, offsets=kept))
                reader.add(drive.image, drive.points, offsets)
                if watch is not None:
                    watch(driver, drive)
                if progress:
                    progress(count, driver.frames)
                if len(moves) == AT_ONCE:
                    check(count)
                    gather()
            if moves or not parts:
                gather()
            motion = with_units(_joined(parts), np.concatenate(amounts))
            if output is not None and file is not None:
                motion.save(output, file.blocks())
    finally:
        driver.close()
    if notes is not None:
        notes.extend(driver.warnings)
    return motion, driver.lost


class _Beside:
    """Displacements of a long film, kept in a file without a name beside the output until that is written."""

    def __init__(self, output: Path) -> None:
        self._output = output
        with self._writing():
            self._file = cast(IO[bytes], TemporaryFile(dir=output.parent))  # noqa: SIM115

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self._output, error) from error

    def add(self, offsets: NDArray) -> None:
        """Those (478, 3) of the next frame, in IOD. Raises OutputError where there is no room."""
        with self._writing():
            self._file.write(offsets.astype(np.float16).tobytes())

    def blocks(self) -> Iterator[NDArray[np.float16]]:
        """All of them, (t, 478, 3) after (t, 478, 3). Raises OutputError where there was no room."""
        with self._writing():
            self._file.seek(0)
        while data := self._file.read(2 * 3 * POINTS * AT_ONCE):
            yield np.frombuffer(data, np.float16).reshape(-1, POINTS, 3)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def _joined(parts: list[Motion]) -> Motion:
    """Stretches of one performance behind one another."""
    if len(parts) == 1:
        return parts[0]
    names = ("offsets", "rotation", "translation", "scale", "gaze", "valid")
    joined: dict[str, Any] = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    for name, without in (("outline", STILL), ("interior", USUAL)):
        each = [getattr(p, name) for p in parts]
        if any(e is not None for e in each):
            filled = [np.repeat(without[None], len(p), 0) if e is None else e for e, p in zip(each, parts)]
            joined[name] = np.concatenate(filled)
    return replace(parts[0], **joined)
