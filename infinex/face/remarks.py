"""What cannot be done with a portrait, or shows already, in one line each: so that nothing is silently left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import Note, option
from infinex.face import topology as top
from infinex.face.pose import Pose
from infinex.face.reading import BROWS, read_units
from infinex.face.units import FACE_UNITS

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
Box = tuple[float, float, float, float]
CLOSED = 0.115  # lid gap over eye width; the narrowest open eyes of 60 portraits measured 0.126
WINK = 0.07  # the same of one eye alone, whose measure is less certain
FACING = 0.85  # cosine of the head's turn from which a single eye is believed
SEEN = 8  # levels of 8 bits by which a spot must differ to be noticed at a glance
SPOT = 0.01  # of the face's size: how large such a spot is
ENOUGH = 0.001  # of the face's area that must differ
THERE = 0.6  # intensity from which a unit is said to show already
SPEECH = {"AU25", "AU26", "AU27"}  # an open mouth is no expression: not worth a line
SEVERAL = 8  # units looked at one by one: each is drawn once
EYES = {f"AU{n}" for n in (5, 7, 41, 42, 43, 44, 45, 46, 61, 62, 63, 64)}


class Portrait(Protocol):
    """A tracked face in head coordinates: `infinex.mesh.retarget.SourceFace`."""

    face: Array  # (478, 3) in IOD
    openness: Array  # (2,) of the eyes, right and left
    pose: Pose


def closed_sides(portrait: Portrait) -> list[int]:
    """Which eyes of the portrait are closed: 0 the right one, 1 the left one."""
    right, left = map(float, portrait.openness)
    if max(right, left) < CLOSED:
        return [0, 1]
    if min(right, left) < WINK and float(portrait.pose.rotation[2, 2]) > FACING:
        return [0 if right < left else 1]
    return []


def closed_eyes(portrait: Portrait) -> str | None:
    """A line where an eye of the portrait is closed."""
    sides = closed_sides(portrait)
    if not sides:
        return None
    if len(sides) == 2:
        said = "the eyes are closed in this picture and stay closed: nothing is known of what is behind the lids"
    else:
        said = f"the {('right', 'left')[sides[0]]} eye is closed in this picture and stays closed"
    return Note(f"{said}; {option('open_eyes')} draws {'some' if len(sides) == 2 else 'one'}")


def changes(before: RGB, after: RGB, box: Box) -> bool:
    """Whether two pictures (H, W, 3 or 4; transparency does not count) differ visibly inside a face's box.

    The box is x0, y0, x1, y1 in pixels."""
    h, w = before.shape[:2]
    x0, y0, x1, y1 = (max(0, int(v)) for v in box)
    own, other = (picture[y0 : min(y1, h), x0 : min(x1, w), :3] for picture in (before, after))
    if not own.size:
        return False
    side = max(1, round(SPOT * max(own.shape[:2])))
    moved = cv2.blur(cv2.absdiff(own, other), (side, side)).max(-1)
    return float((moved > SEEN).mean()) > ENOUGH


def already_there(portrait: Portrait, units: Mapping[str, float]) -> list[str]:
    """Those of the wanted units that the portrait shows strongly, as read off it: "AU12 (0.8)"."""
    shown = dict(zip(FACE_UNITS, read_units((portrait.face - top.mean_face())[None], still=True)[0]))
    shown |= {n: BROWS * shown[n] for n in ("AU1", "AU2", "AU4")}
    names = [n for n, v in units.items() if v > 0 and n not in SPEECH and shown.get(n, 0.0) >= THERE]
    return [f"{n} ({shown[n]:.1f})" for n in names]


class Watch:
    """Looks at the frames of an animation until one differs visibly from the portrait."""

    def __init__(self, portraits: Sequence[Portrait], boxes: Sequence[Box], original: RGB) -> None:
        """The faces that are animated, their boxes in pixels, and the picture (H, W, 3) they are in."""
        self._portraits, self._boxes, self._original = portraits, boxes, original.copy()
        self.moved = False

    def see(self, frame: RGB) -> None:
        """One frame (H, W, 3) of the size of the picture."""
        if not self.moved:
            self.moved = any(changes(self._original, frame, box) for box in self._boxes)

    def remarks(self, units: Mapping[str, float] | None = None) -> list[str]:
        """Lines about the whole animation; `units` are the peaks of a performance that consists of some."""
        several = len(self._portraits) > 1
        out = []
        for i, portrait in enumerate(self._portraits):
            who = f"face {i + 1}: " if several else ""
            out += [who + line for line in (closed_eyes(portrait), *_on_top(portrait, units or {})) if line]
        if not self.moved:
            out.append("nothing in the picture moves that could be seen: the driver asks for no more than it shows")
        return out


def of_edit(
    portrait: Portrait, box: Box, units: Mapping[str, float], draw: Callable[[Mapping[str, float]], RGB]
) -> list[str]:
    """Lines about an expression: `units` of intensities 0..2, which `draw` draws; of none, the portrait as it is."""
    wanted = {n: v for n, v in units.items() if v > 0}
    if not wanted:
        return []
    out, original = [], draw({})
    closed = closed_eyes(portrait)
    if closed is not None and any(n.rstrip("LR") in EYES for n in wanted):
        out.append(closed)
    if not changes(original, draw(wanted), box):
        words = ", ".join(wanted)
        return [*out, f"{words} {'changes' if len(wanted) == 1 else 'change'} nothing in this picture that can be seen"]
    idle = []
    if 1 < len(wanted) <= SEVERAL:
        idle = [n for n, v in wanted.items() if not changes(original, draw({n: v}), box)]
    if idle:
        words = f"{', '.join(idle)} {'changes' if len(idle) == 1 else 'change'}"
        out.append(f"{words} nothing in this picture that can be seen")
    return out + _on_top(portrait, {n: v for n, v in wanted.items() if n not in idle})


def _on_top(portrait: Portrait, units: Mapping[str, float]) -> list[str]:
    there = already_there(portrait, units)
    return [f"{', '.join(there)} shows in this picture already; what is asked comes on top of it"] if there else []
