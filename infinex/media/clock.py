"""When pictures are shown: where a file's clock begins, and at how many frames a second it is read."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error

from infinex.media.container import open_container, picture_stream

STANDARD_RATES = [Fraction(n, d) for n, d in ((10, 1), (12, 1), (15, 1), (24000, 1001), (24, 1), (25, 1),
                  (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1), (120, 1))]  # fmt: skip
MIN_RATE, MAX_RATE = Fraction(1), Fraction(240)
MAX_GAP = 300.0  # seconds for which a frame may stand; a longer jump of the time stamps is damage
ENOUGH = 3000, 64 << 20  # packets and bytes that are looked at for the rate
MOST = 20000, 256 << 20  # where the file does not say how long it is
REORDER = 1.0  # seconds by which packets may precede their turn; a longer step back begins the clock anew
LATE = 0.75  # of a frame's time, by which a frame may be shown late rather than not at all
DROPS = 0.01  # part of the frames that a rate may lose to be called that of the file


@dataclass(frozen=True)
class Clock:
    """What the time stamps of the frames that are shown say; hidden ones, before a cut, do not count.

    `start` is the time of the first one in the container's clock, `last` seconds later the last one begins and
    after `length` all have been shown, both None where the file was not read to its end."""

    start: float | None = None
    rate: Fraction | None = None
    last: float | None = None
    length: float | None = None
    interlaced: bool = False


def start_time(container: Any, stream: Any) -> float:
    """Presentation time in seconds that counts as zero: that of the first picture shown, else of `stream`."""
    picture = picture_stream(container)
    if picture is not None:
        clock = read_clock(container)
        if clock.start is not None:
            return clock.start
    for candidate in (picture, stream):
        if candidate is not None and candidate.start_time is not None:
            return float(candidate.start_time * candidate.time_base)
    return 0.0


def stamp_of(container: Any, frame: Any) -> int | None:
    """The time stamp of a decoded frame. AVI has none but the order of its packets; what PyAV gives is a guess."""
    return frame.dts if container.format.name == "avi" else frame.pts


def read_clock(container: Any) -> Clock:
    """The clock of the pictures in an open file. The container is not touched; the file is opened once more."""
    try:
        status = Path(container.name).stat()
    except (OSError, TypeError, ValueError):
        return Clock()
    return _read_clock(container.name, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _read_clock(name: str, _changed: int, _size: int) -> Clock:
    try:
        container = open_container(Path(name))
    except (av.error.FFmpegError, OSError, ValueError):
        return Clock()
    with contextlib.closing(container):
        stream = picture_stream(container)
        if stream is None:
            return Clock()
        stream.thread_type = "SLICE"
        stream.codec_context.options = {"max_pixels": str(1 << 26)}
        return _scan(container, stream)


def _scan(container: Any, stream: Any) -> Clock:
    """Time stamps of packets, in the order in which they come; only the first picture is decoded."""
    base = float(stream.time_base or Fraction(1, 1000))
    avi = container.format.name == "avi"
    packets, size = MOST if stream.duration is None else ENOUGH
    runs: list[list[float]] = [[]]  # shown frames; another list wherever the clock jumps
    first: Any = None
    key = newest = None
    last, end, complete, unstamped = -math.inf, -math.inf, True, 0
    try:
        for packet in container.demux(stream):
            if first is None:
                with contextlib.suppress(av.error.FFmpegError, ValueError):
                    first = next(iter(packet.decode()), None)
            if packet.size == 0 or getattr(packet, "is_discard", False):
                continue
            stamp = packet.dts if packet.pts is None or avi else packet.pts
            if stamp is None:
                unstamped += 1
            else:
                time = stamp * base
                order = (packet.dts if packet.dts is not None else stamp) * base
                if newest is not None and not -REORDER < order - newest < MAX_GAP:
                    runs.append([])
                newest = order
                if key is None and packet.is_keyframe:
                    key = time
                runs[-1].append(time)
                if time > last:
                    last, end = time, time + (packet.duration or 0) * base
            packets, size = packets - 1, size - packet.size
            if packets < 0 or size < 0:
                complete = False
                break
    except (av.error.FFmpegError, ValueError, MemoryError):
        complete = False
    stamp = None if first is None else stamp_of(container, first)
    start = None if stamp is None else stamp * base
    if key is not None and (start is None or abs(start - key) > 1):  # the first pictures are damaged
        start = key
    if unstamped > sum(map(len, runs)) // 10:  # an elementary stream
        steady = snap(Fraction(stream.guessed_rate or stream.average_rate or 25))
        length = unstamped / float(steady) if complete else None
        return Clock(start, steady, length and length - 1 / float(steady), length, _interlaced(first))
    gaps = [b - a for run in map(sorted, runs) for a, b in itertools.pairwise(run) if b - a > base / 2]
    rate = rate_of(gaps, base, [r for r in (stream.average_rate, stream.guessed_rate) if r])
    if not complete or len(runs) > 1 or start is None or last < start:
        return Clock(start, rate, None, None, _interlaced(first))
    begin = runs[0][0] if avi else start  # the order of its packets begins before the first picture comes out
    length = (end if last < end < last + MAX_GAP else last + float(1 / (rate or 25))) - begin
    return Clock(start, rate, last - begin, length, _interlaced(first))


def _interlaced(frame: Any) -> bool:
    return bool(getattr(frame, "interlaced_frame", False))


def snap(rate: Fraction) -> Fraction:
    """The standard rate within 1 %, if there is one."""
    near = min(STANDARD_RATES, key=lambda r: abs(r - rate))
    rate = near if abs(near - rate) / near < Fraction(1, 100) else rate.limit_denominator(1001)
    return min(max(rate, MIN_RATE), MAX_RATE)


def rate_of(gaps: list[float], tick: float = 0.001, stated: Sequence[Fraction] = ()) -> Fraction | None:
    """Frames a second at which the frames with these seconds between them are all shown; None of none.

    Pauses do not count. Where the file states much the same rate that is taken, since it is exact."""
    gaps = [g for g in gaps if g > 0]
    if not gaps:
        return None
    middle = statistics.median(gaps)
    usual = [g for g in gaps if 0.4 * middle - tick <= g <= 1.6 * middle + tick]
    mean = sum(usual) / len(usual)
    measured = Fraction(1 / mean).limit_denominator(100000)
    doubt = 0.003 + tick / sum(usual)
    rate = snap(next((Fraction(r) for r in stated if abs(float(r) * mean - 1) <= doubt), measured))
    if _lost(gaps, rate) <= DROPS:
        return rate
    faster = [r for r in STANDARD_RATES if r > rate and _lost(gaps, r) <= DROPS]
    return min(faster, default=rate)


def _lost(gaps: list[float], rate: Fraction) -> float:
    """The part of the frames that reading at `rate` leaves out."""
    time, slot, lost = 0.0, 0, 0
    for gap in gaps:
        time += gap
        new = place(time * float(rate), slot)
        lost += new == slot
        slot = new
    return lost / len(gaps)


def place(position: float, before: int | None) -> int:
    """The frame of the constant-rate stream in which a frame is first shown; halves upwards.

    It is the next one after `before` rather than the same, where time stamps only tremble; None: no matter."""
    slot = math.floor(position + 0.5 + 1e-6)
    if before is not None and slot == before and before + 1 - position <= LATE:
        return slot + 1
    return slot
