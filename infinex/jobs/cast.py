"""A group, another driver for each face: `--face 1=a.mp4,2=b.mp4`, or layers that name faces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from infinex.drivers.contract import Drive, Driver
from infinex.engine import Prepared, Source
from infinex.errors import InputError, option
from infinex.jobs.file import Progress, open_file, own_sound, provenance, sound_for
from infinex.jobs.layers import Cast
from infinex.jobs.open import Driving, open_driver
from infinex.jobs.perform import Summary, adjusted, perform, settled
from infinex.jobs.source import background_for, is_film, load_source
from infinex.media.files import same_file
from infinex.options import Options
from infinex.stage import make_stage


class Ensemble:
    """Several drivers, one for each face of a stage. The longest rules; who is done holds the last instant.

    Frame rate and name are the first one's, the sound that of the first one that has some."""

    def __init__(self, drivers: Sequence[Driver], options: Options) -> None:
        self.drivers, self._options = list(drivers), options
        self.fps = self.drivers[0].fps
        counts = [d.frames for d in self.drivers]
        self.frames = None if None in counts else max(c or 0 for c in counts)

    @staticmethod
    def open(driving: Sequence[Driving], options: Options) -> Ensemble:
        """Open every driver at the rate of the first. Raises what `open_driver` raises; none stays open then."""
        opened: list[Driver] = []
        try:
            for d in driving:
                rate = options.fps or (opened[0].fps if opened else None)
                opened.append(open_driver(d, replace(options, fps=rate)))
        except BaseException:
            for done in opened:
                with suppress(Exception):
                    done.close()
            raise
        return Ensemble(opened, options)

    @property
    def name(self) -> str:
        """All of them, as the metadata of a result calls them."""
        return ", ".join(d.name for d in self.drivers)

    @property
    def warnings(self) -> list[str]:
        """Words about any of them."""
        out: list[str] = []
        for d in self.drivers:
            out += d.warnings
            out += [f"no face from {a:.1f} s to {b:.1f} s of {d.name}" for a, b in d.lost]
        return out

    def settle_on(self, faces: Sequence[Prepared]) -> None:
        """Settle each driver on its face."""
        for face, driver in zip(faces, self.drivers):
            settled(driver, face.face, self._options.absolute)

    def close(self) -> None:
        """Close all."""
        for d in self.drivers:
            d.close()

    def cues(self, needs: str) -> Iterator[list[Drive]]:
        """Drives of all faces as they are shown, a list for each frame."""
        streams: list[Any] = [adjusted(d, self._options, needs) for d in self.drivers]
        now: list[Drive | None] = [None] * len(streams)
        running = set(range(len(streams)))
        try:
            while True:
                for i in list(running):
                    item = next(streams[i], None)
                    if item is None:
                        running.discard(i)
                        last = now[i]
                        now[i] = None if last is None else replace(last, begins=None)
                    else:
                        now[i] = item
                if not running or any(n is None for n in now):
                    return
                yield [n for n in now if n is not None]
        finally:
            for s in streams:
                with closing(s):
                    pass


def _named(cast: dict[int, str], driving: Any, source: str | Path, out: Path, faces: int, o: Options) -> None:
    """Raise InputError where drivers that were named for faces cannot be used."""
    if driving not in ("", None):
        raise InputError(f"{option('face')} {o.face} names the drivers already; leave out the other one")
    for name in cast.values():
        if same_file(name, out):
            raise InputError(f"the output {out} would overwrite an input")
    if max(cast) > faces:
        name = Path(source).name
        raise InputError(f"{option('face')} {max(cast)}=...: {name} has {faces} face(s), numbered from the left")


def _chosen(sources: Sequence[Source], o: Options) -> list[int]:
    """The numbers of the faces that `o.face` means."""
    if o.face == "all":
        return list(range(1, len(sources) + 1))
    if o.face == "largest":
        return [max(range(len(sources)), key=lambda i: sources[i].face.size) + 1]
    number = int(o.face)
    if number > len(sources):
        raise InputError(f"{option('face')} {number}: the picture has {len(sources)} face(s), numbered from the left")
    return [number]


def animate_cast(
    source: str | Path, driving: Driving | Cast, cast: dict[int, str] | None, out: Path, o: Options,
    progress: Progress | None,
) -> Summary:  # fmt: skip
    """Animate faces of a picture, numbered from the left, each by its own driver; the others stay still.

    The drivers are those of `cast`, or `driving` is a cast itself."""
    started = time.perf_counter()
    how = "layers that move single faces" if cast is None else f"{option('face')} 1=a.mp4"
    if o.panel:
        raise InputError(f"{option('panel')} shows one driver; it does not go with {how}")
    if is_film(source) or o.box is not None:
        raise InputError(f"{how}: a still picture is wanted as source, and no {option('box')}")
    own = own_sound(o, out)
    sources = load_source(source, "all", None, o.size, o.open_eyes, crop=o.crop)
    drivers: dict[int, Driver] | dict[int, str]
    if cast is not None:
        _named(cast, driving, source, out, len(sources), o)
        drivers = cast
    else:
        assert isinstance(driving, Cast)
        drivers = driving.open(_chosen(sources, o), len(sources))
    chosen = [sources[n - 1] for n in sorted(drivers)]
    beside = [s.face for n, s in enumerate(sources, 1) if n not in drivers]
    players = Ensemble.open([drivers[n] for n in sorted(drivers)], o)
    try:
        stage = make_stage(chosen, o, beside, background_for(o, sources[0], out))
        players.settle_on(stage.faces)
        h, w = stage.image.shape[:2]
        sound = sound_for(out, o, own, *players.drivers)
        words = provenance(source, players.name, o.engine)
        with open_file(
            out, (w, h), players.fps, words, o, sound, stage.transparent, progress, players.frames,
            players.drivers[0].timecode,
        ) as file:  # fmt: skip
            count = perform(stage, players.cues(stage.needs), [file])
    finally:
        players.close()
    seconds = time.perf_counter() - started
    return Summary(
        str(out), count, round(seconds, 3), round(count / seconds, 2), round(count / players.fps, 3), w, h,
        len(chosen), o.engine, list(players.warnings),
    )  # fmt: skip
