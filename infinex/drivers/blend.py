"""Between moves: blends of two, a stream read at any time, and an end that runs into its beginning."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive, Shot
from infinex.face.pose import to_matrix, to_vector
from infinex.motion import STILL, Move

Array = NDArray[np.float64]
SEAM = 0.5  # seconds at the end of a loop that ease into its beginning
UNDER_WAY = 0.08  # seconds before the seam from where on the end moves as the beginning will


@dataclass(frozen=True)
class Seam(Drive):
    """A drive near the end of a loop. What only pictures tell comes from `first`, to the share `weight`."""

    first: Drive | None = None
    weight: float = 0.0


def blended(a: Move, b: Move, w: float) -> Move:
    """The move a share `w` (0..1, or beyond) of the way from `a` to `b`, at the time of `a`."""
    turn = to_vector(to_matrix(b.rotation) @ to_matrix(a.rotation).T) * w
    mixed: dict[str, Any] = {k: getattr(a, k) * (1 - w) + getattr(b, k) * w for k in ("translation", "offsets", "gaze")}
    outline = interior = None
    if a.outline is not None or b.outline is not None:
        one, other = (STILL if m.outline is None else m.outline for m in (a, b))
        outline = one * (1 - w) + other * w
    if a.interior is None or b.interior is None:  # what is known of one stands for both
        interior = b.interior if a.interior is None else a.interior
    else:
        interior = np.clip(a.interior * (1 - w) + b.interior * w, 0, 1)
    return replace(
        a,
        rotation=to_vector(to_matrix(turn) @ to_matrix(a.rotation)) if turn.any() else a.rotation,
        scale=float(a.scale ** (1 - w) * b.scale**w),
        valid=a.valid and b.valid,
        outline=outline,
        interior=interior,
        **mixed,
    )


def timed(drives: Iterator[Drive]) -> Callable[[float], Drive | None]:
    """A function of rising times in seconds that gives the stream's drive there: the move between its neighbours, the
    picture of the nearer one. After the end it is the last drive, with its own time; None of an empty stream.

    Nothing is blended over a cut; the first drive that is given of a shot says so, whichever that is."""
    before: Drive | None = None
    after: Drive | None = None
    old: Shot | None = None  # the shot of `before`
    new: Shot | None = None  # of `after`
    told: Shot | None = None  # of the drive given last
    ended = False

    def given(drive: Drive, shot: Shot | None) -> Drive:
        nonlocal told
        begins, told = (None if shot is told else shot), shot
        return drive if drive.begins is begins else replace(drive, begins=begins)

    def at(time: float) -> Drive | None:
        nonlocal before, after, ended, old, new
        while not ended and (after is None or after.move.time < time - 1e-6):
            item = next(drives, None)
            if item is None:
                ended = True
                break
            before, after, old = after, item, new
            if item.begins is not None:
                new = item.begins
        if after is None:
            return None
        if before is None or after.move.time <= time + 1e-6:
            return given(after, new)
        if old is not new:
            return given(before, old)
        f = (time - before.move.time) / max(after.move.time - before.move.time, 1e-6)
        f = float(np.clip(f, 0, 1))
        near = after if f > 0.5 else before
        return given(replace(near, move=replace(blended(before.move, after.move, f), time=time)), new)

    return at


def looped(drives: Iterable[Drive], fps: float) -> Iterator[Drive]:
    """The same stream, its last half second eased into its beginning, so that it can be repeated without a jump.

    Kept are the moves of the first half second and the drives of the last, whatever the length."""
    reach = max(1, round(SEAM * fps))
    begin: list[Move] = []
    first: Drive | None = None
    waiting: deque[Drive] = deque()
    count = 0
    for drive in drives:
        first = first or drive
        if len(begin) <= reach:
            begin.append(drive.move)
        waiting.append(drive)
        count += 1
        if len(waiting) > reach:
            yield waiting.popleft()
    if first is None:
        return
    while len(waiting) > count // 2:
        yield waiting.popleft()
    n = len(waiting)
    for i, drive in enumerate(waiting):
        left = n - i  # frames until the first one comes again
        x = 1 - left / (n + 1)
        w = x * x * x * (10 - 15 * x + 6 * x * x)
        # Just before the seam, motion is already what it will be: the beginning, mirrored in time and in space.
        under_way = float(np.exp(-((left / fps / UNDER_WAY) ** 2)))
        aim = blended(begin[0], begin[min(left, len(begin) - 1)], -under_way)
        yield Seam(blended(drive.move, aim, w), drive.image, drive.points, first=first, weight=w)
