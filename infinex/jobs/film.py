"""A film as source: its own head motion stays, and the driver's expression is laid on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count as counting
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.blend import timed
from infinex.drivers.contract import Drive, Driver, Shot
from infinex.drivers.remarks import Doings
from infinex.engine import Engine, Setting, Shown, Source, find_engine, load_engine
from infinex.errors import FaceNotFoundError, InputError, option
from infinex.face.tracker import Face, FaceTracker
from infinex.jobs.file import Progress, open_file, own_sound, provenance, sound_for
from infinex.jobs.open import Driving, label, open_driver
from infinex.jobs.perform import Adjusting, Cue, Summary, heard, perform
from infinex.media.overlap import Ahead
from infinex.media.video import VideoReader
from infinex.mesh.album import unchecked
from infinex.mesh.quiet import QuietMouth
from infinex.motion import DEFAULT_PARTS
from infinex.options import MotionOptions, Options

RGB = NDArray[np.uint8]


class Film:
    """The scene of a film: each drive is drawn into its next frame, wherever the head is there."""

    box = None

    def __init__(self, reader: VideoReader, engine: Engine, tracker: FaceTracker, mouth: QuietMouth | None) -> None:
        """With `mouth`, what the film's own mouth says is taken off it."""
        self._engine, self._mouth = engine, mouth
        self.lost = self.seen = 0
        self.face: Face | None = None
        self.ended = False  # the film, before its driver
        self._shot: Shot | None = None
        tracked = ((frame, tracker(frame.image)) for frame in reader)
        fps = float(reader.info.fps)
        self._frames = ((f, s, 0.0) for f, s in tracked) if mouth is None else mouth.smiles(tracked, fps)

    def render(self, drive: Cue) -> tuple[RGB, list[Shown]] | None:
        """See `infinex.jobs.perform.Scene`."""
        assert isinstance(drive, Drive)
        self._shot = drive.begins or self._shot
        came = next(self._frames, None)
        if came is None:
            self.ended = True
            return None
        frame, face, smile = came
        self.seen += 1
        if face is None:
            self.lost += 1
            return frame.image, []
        self.face = face
        prepared: Any = self._engine.prepare(Source(frame.image, face), Setting(film=True))
        assert self._shot is not None
        prepared.begin(self._shot.rest, self._shot.image, self._shot.points)
        if self._mouth is not None and hasattr(prepared, "quiet_mouth"):
            prepared.quiet_mouth(self._mouth(prepared.face, smile), self._mouth.tone)
        canvas = frame.image.copy()
        return canvas, [prepared.draw(canvas, drive)]


def retimed(drives: Iterator[Drive], of: Driver, fps: float) -> Iterator[Drive]:
    """A driver's stream at the frames of a film with its own rate, to the end of the driver."""
    at = timed(drives)
    for i in counting():
        drive = at(i / fps)
        if drive is None or i / fps >= drive.move.time + 1 / of.fps - 1e-6:
            return
        yield drive


def animate_film(source: Path, driving: Driving, out: Path, o: Options, progress: Progress | None) -> Summary:
    """Lay a driver's expression on the people of a film.

    The film keeps its frame rate; the driver is asked where its face is at each of its frames. Raises InfinexError."""
    started = time.perf_counter()
    parts = [p for p in o.parts if p not in ("pose", "scale")]
    if o.panel:
        raise InputError(f"{option('panel')} needs a still picture as source")
    if o.open_eyes:
        raise InputError(f"{option('open_eyes')} is for a portrait, not for a film")
    if o.loop:
        raise InputError(f"{option('loop')} needs a still picture as source: a filmed head does not end where it began")
    if not find_engine(o.engine).system.films:
        raise InputError(f"{option('engine')} {o.engine} needs a still picture as source")
    if o.background != "keep":
        raise InputError(f"{option('background')} needs a still picture as source")
    if o.crop != "keep":
        raise InputError(f"{option('crop')} needs a still picture as source")
    if not parts:
        raise InputError(f"the head of a source video keeps its own pose; name other {option('parts')} than pose")
    if o.absolute:
        raise InputError(
            f"{option('absolute')} needs a still picture as source: the head of a source video keeps its own pose"
        )
    own = own_sound(o, out)
    driver = open_driver(driving, replace(o, fps=None)).settle()
    reader = VideoReader(source, o.keep_readable, o.size, fps=o.fps)
    info, fps = reader.info, float(reader.info.fps)
    lasts = None if driver.frames is None else driver.frames / driver.fps
    total = info.frames if lasts is None else min(info.frames or 1 << 40, round(lasts * fps))
    doings = Doings(driver, parts, o.changed)
    mouth = QuietMouth.of(reader) if driver.new_voice and "lips" in parts else None
    if mouth is not None:
        driver.suit(mouth.face)
    sound = sound_for(out, o, own, driver, source=source if info.has_audio else None)
    words = provenance(source, label(driving), o.engine)
    try:
        own_album = find_engine(o.engine).system.album and not o.album
        engine = load_engine(o.engine, replace(o, album=str(source)) if own_album else o, o.weights)
        heard(engine, driver)
        # A frame shows the whole performance; of one that is changed the moves alone tell.
        plain = o.strength == 1 and {*parts, "pose"} >= set(DEFAULT_PARTS)
        with FaceTracker() as tracker, open_file(
            out, (info.width, info.height), fps, words, o, sound, False, progress, total, info.timecode
        ) as file:  # fmt: skip
            film = Film(reader, engine, tracker, mouth)
            ahead = Ahead(doings(iter(driver)))
            try:
                first = Shot(driver.rest, driver.rest_image, driver.rest_points)
                adjust = Adjusting(
                    MotionOptions(parts, o.strength), "motion" if plain else engine.needs, first, driver.mixed
                )
                cues = (adjust(d) for d in retimed(iter(ahead), driver, fps))
                count = perform(film, cues, [file], ahead=False)
            finally:
                ahead.close()
            if film.face is None:
                raise FaceNotFoundError(f"no face found in {source.name}")
    finally:
        driver.close()
        reader.close()
    seconds = time.perf_counter() - started
    notes = [*driver.warnings, *unchecked(o.album)]
    notes += [f"no face from {a:.1f} s to {b:.1f} s of the driver; the last pose was held" for a, b in driver.lost]
    if film.lost:
        notes.append(f"no face in {film.lost} frames of {source.name}; they were left as they are")
    if film.ended and lasts is not None and lasts > film.seen / fps + 0.5:
        notes.append(f"{source.name} ended after {count / fps:.1f} s; the driver lasts {lasts:.1f} s")
    return Summary(
        str(out), count, round(seconds, 3), round(count / seconds, 2), round(count / fps, 3), info.width, info.height,
        1, o.engine, [*notes, *doings.remarks()],
    )  # fmt: skip
