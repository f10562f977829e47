"""Stage directions of a script as one timeline: what each asks for lasts until the next one, or while it is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from infinex.drivers.text import read_text
from infinex.drivers.timeline import Cue, Timeline, TimelineDriver
from infinex.errors import InputError, option

HELD = 0.9  # a level from which a key counts as held
LEAD = 0.25  # seconds by which a face is ahead of the words that it goes with


def directed(directions: Sequence[tuple[float, float, str]], duration: float) -> Timeline:
    """`directions` are (from, until, words), seconds. Raises InputError for words that say nothing about a face."""
    cues: list[Cue] = []
    notes: list[str] = []
    unknown: list[str] = []
    for begin, until, words in directions:
        try:
            read = read_text(words)
        except InputError as error:
            raise InputError(f"{option('say')}: [{words}]: {error}") from None
        first = min((c.start for c in read.cues), default=0.0)
        for cue in read.cues:
            start = max(0.0, begin - LEAD) + cue.start - first
            cues.append(_lasting(replace(cue, start=start), until))
        notes += read.notes
        unknown += read.unknown
    return Timeline(tuple(cues), duration, tuple(unknown), tuple(notes), len(cues))


def _lasting(cue: Cue, until: float) -> Cue:
    """A cue that comes up, stays and goes, staying until `until`; one that moves, such as a nod, as it is."""
    keys = cue.keys
    stays = len(keys) == 4 and keys[1][1] >= HELD and keys[2][1] >= HELD
    later = until - cue.start - keys[-1][0] if stays else 0.0
    if later <= 0 or keys[2][0] - keys[1][0] < 0.5:  # a wink is no smile
        return cue
    return replace(cue, keys=(*keys[:2], *((t + later, level) for t, level in keys[2:])))


def open_directions(directions: Sequence[tuple[float, float, str]], duration: float, fps: float) -> TimelineDriver:
    """A driver of directions alone, without the blinks and sway that a voice brings. Raises InputError."""
    driver = TimelineDriver(directed(directions, duration), fps, still=True)
    driver.name = ", ".join(f"[{words}]" for _, _, words in directions)
    timeline = driver.timeline
    driver.notes = [*timeline.notes]
    if timeline.unknown:
        driver.notes.append("not understood: " + ", ".join(timeline.unknown))
    return driver
