"""From a source and a driver to a file: reading, rendering and encoding overlap, in constant memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.cast import parse_cast
from infinex.drivers.contract import Driver, Shot
from infinex.drivers.remarks import Doings
from infinex.engine import Prepared, Source, find_engine
from infinex.errors import InputError
from infinex.face.portrait import SourceFace
from infinex.face.remarks import Watch
from infinex.jobs.cast import animate_cast
from infinex.jobs.file import FileSink, Progress, checked_output, open_file, own_sound, provenance, sound_for
from infinex.jobs.film import animate_film
from infinex.jobs.layers import Cast
from infinex.jobs.open import Driving, label, open_driver
from infinex.jobs.passes import check_passes, no_passes, open_kit
from infinex.jobs.perform import Box, Cue, Picture, Summary, adjusted, frames, heard, perform, settled
from infinex.jobs.pieces import Pieces, check_pieces, made_of, no_pieces, open_pieces, resumed
from infinex.jobs.source import background_for, is_film, load_source
from infinex.media.files import same_file
from infinex.media.overlap import alone
from infinex.memory import trim
from infinex.mesh.ahead import compile_ahead
from infinex.mesh.album import unchecked
from infinex.options import Options
from infinex.panel import panel_size
from infinex.stage import make_stage


def animate(
    source: str | Path,
    driving: Driving | Cast,
    output: str | Path,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Animate the portrait in `source` by `driving` and write `output`.

    `source` is a picture, or a video whose own head motion stays. `progress(done, total)` is called after
    every frame. Raises an InfinexError for whatever the user can mend; nothing is left half-written."""
    o = options or Options()
    o.check()
    # Where OpenCV's threads share work, the last bit can depend on which of them was free; pieces must agree in it.
    with contextlib.nullcontext() if o.pieces is None else alone():
        return _animate(source, driving, output, o, progress)


def _animate(
    source: str | Path, driving: Driving | Cast, output: str | Path, o: Options, progress: Progress | None
) -> Summary:
    out = checked_output(output, o)
    for path in (source, driving):
        if isinstance(path, (str, Path)) and same_file(path, out):
            raise InputError(f"the output {out} would overwrite an input")
    check_passes(o, out)
    check_pieces(o, out)
    own = own_sound(o, out)
    started = time.perf_counter()
    apart = o.engine == "mesh"  # other engines are slow by themselves
    if apart:
        compile_ahead()
    cast = parse_cast(o.face)
    if cast is not None or isinstance(driving, Cast):
        no_passes(o, "several drivers")
        no_pieces(o, "several drivers")
        return animate_cast(source, driving, cast, out, o, progress)
    film = is_film(source)
    if film and not find_engine(o.engine).system.knows:
        no_passes(o, "a clip as source")
        no_pieces(o, "a clip as source")
        return animate_film(Path(source), driving, out, o, progress)
    with ThreadPoolExecutor(1) as pool:  # the driver is looked over while the portrait is prepared
        looking = pool.submit(open_driver, driving, o, apart)
        try:
            sources = load_source(source, o.face, o.box, o.size, o.open_eyes, film, o.crop)
            trim()  # to open networks takes more than to have them, and the largest is still to come
            face = SourceFace(sources[0].face.landmarks)
            settling = pool.submit(lambda: settled(looking.result(), face, o.absolute))
            stage = make_stage(sources, o, background=background_for(o, sources[0], out))
            driver = settling.result()
        except BaseException:
            with contextlib.suppress(Exception):
                looking.result().close()
            raise
    trim()  # a picture takes more to be taken apart than to be moved
    try:
        driver.closely = stage.needs == "motion" and not o.panel
        heard(stage.engine, driver)
        h, w = stage.image.shape[:2]
        size = panel_size(w, h) if o.panel else (w, h)
        watch = Watching(stage.faces, sources)
        doings = Doings(driver, o.parts, o.changed)
        words = provenance(source, label(driving), o.engine)
        sound = sound_for(out, o, own, driver)
        into = out, size, driver.fps, words, o, sound, stage.transparent, progress, driver.frames, driver.timecode
        made = "" if o.pieces is None else made_of(source, driving, driver, o, size)
        file: FileSink | Pieces
        with open_pieces(*into, made) if made else open_file(*into) as file, \
                open_kit(o, stage, sources[0].cutout, words, driver.fps, driver.timecode) as scene:  # fmt: skip
            watch.canvas = stage.canvas
            cues = adjusted(driver, o, stage.needs, doings)
            done = file.done if isinstance(file, Pieces) else 0
            cues = resumed(cues, stage, done) if done else cues
            first = Shot(driver.rest, driver.rest_image, driver.rest_points)
            # What the engine has to find out about the performer is known already.
            begin = None if done or stage.needs == "frames" else partial(stage.expect, first)
            count = done + perform(scene, cues, [watch, file], stage if o.panel else None, meanwhile=begin)
    finally:
        driver.close()
    seconds = time.perf_counter() - started
    return Summary(
        str(out), count, round(seconds, 3), round(count / seconds, 2), round(count / driver.fps, 3), size[0], size[1],
        len(sources), o.engine, [*said(driver), *unchecked(o.album), *doings.remarks(), *watch.remarks(driver)],
    )  # fmt: skip


class Watching:
    """The sink that looks at what cannot be done or seen; see `infinex.face.remarks`."""

    def __init__(self, faces: Sequence[Prepared], sources: Sequence[Source]) -> None:
        self._watch = Watch([f.face for f in faces], [s.face.box for s in sources], sources[0].image)
        self.canvas: NDArray[np.uint8] | None = None  # the stage's, where pictures are panels of it

    def show(self, picture: Picture, changed: Box | None, drive: Cue) -> bool:
        """See `infinex.jobs.perform.Sink`."""
        self._watch.see(picture if self.canvas is None else self.canvas)
        return True

    def remarks(self, driver: Driver) -> list[str]:
        """Notes, once the performance has ended."""
        return self._watch.remarks(driver.peaks())


def said(driver: Driver) -> list[str]:
    """What a driver has to say once its stream has ended."""
    lost = [f"no face from {a:.1f} s to {b:.1f} s of the driver; the last pose was held" for a, b in driver.lost]
    return [*driver.warnings, *lost]


def render(
    sources: Source | Sequence[Source], driving: Driving, options: Options | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) uint8 of the portrait under a driver, one by one; each is a new array.

    With the background "none" they are (H, W, 4), their colours not premultiplied."""
    o = options or Options()
    o.check()
    no_passes(o, "frames that are handed over")
    no_pieces(o, "frames that are handed over")
    stage = make_stage([sources] if isinstance(sources, Source) else list(sources), o)
    driver = open_driver(driving, o)
    try:
        settled(driver, stage.faces[0].face, o.absolute)
        heard(stage.engine, driver)
        yield from frames(stage, adjusted(driver, o, stage.needs))
    finally:
        driver.close()
