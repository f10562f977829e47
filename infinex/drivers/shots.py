"""Finds cuts in a stream of frames: hard ones, cross-fades, and jumps of one face within a shot.

Two pictures are laid over each other by optical flow. What one shot shows is found again in its next frame, however
fast a head or a camera moves and whatever the light does; what another shot shows is not.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.pose import fit_pose
from infinex.face.topology import RIGID, SURFACE, mean_face
from infinex.face.unwarp import halved
from infinex.media.grey import Grey, grey_of

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
SIDE = 96  # longest side of the pictures that are compared
SPREAD = 3.0  # pixels: deviation of the window in which they are correlated
NOISE = 4.0  # variance that says nothing
CHANGED = 4.0  # grey levels by which a picture must differ to be looked at
OTHER, SAME = 0.70, 0.80  # likeness of two pictures under which they show different things; over which the same
FLASH = 0.26  # seconds after which a picture that was disturbed has come back
FADES = (0.5, 1.1)  # seconds over which cross-fades are looked for
FADED = 0.60  # likeness of their ends
BLEND = 0.4  # share of a frame that the ends of a cross-fade, mixed, leave unexplained
DARK = 6.0  # deviation in grey levels under which a picture shows nothing
LEAP, AGAINST = 0.06, 3.5  # IOD a face moves in one frame when it jumps; so many times as far as before and after
FAR, GROWN, STRANGE = 1.0, 0.22, 0.085  # IOD, log, IOD: a face that is so much elsewhere, larger or otherwise


def thumbnail(image: Image | Grey) -> Image:
    """A picture (H, W[, 3]) as it is compared: grey, at most `SIDE` a side."""
    grey = grey_of(image)
    return grey.levelled(halved(grey.plane, min(1.0, SIDE / max(grey.shape))))


_OWN = threading.local()


def _flow() -> cv2.DISOpticalFlow:
    """This thread's own optical flow: one that two threads use at once ends the process."""
    made: cv2.DISOpticalFlow | None = getattr(_OWN, "flow", None)
    if made is None:
        made = _OWN.flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return made


def _levelled(grey: NDArray) -> Image:
    """Without its light: mean and deviation made the same."""
    g = grey.astype(np.float32)
    return np.clip((g - g.mean()) / max(float(g.std()), 8.0) * 40 + 128, 0, 255).astype(np.uint8)


def _differ(one: Image, other: Image) -> float:
    """By how many grey levels two thumbnails differ on average."""
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def likeness(before: Image, after: Image) -> float:
    """How much of a thumbnail is found in the one before, wherever it moved to: about 1 in a shot, 0.4 across a cut."""
    if before.shape != after.shape:
        return 0.0
    a, b = _levelled(before), _levelled(after)
    flow = _flow().calc(b, a, None)  # type: ignore[call-overload]
    y, x = np.mgrid[0 : a.shape[0], 0 : a.shape[1]].astype(np.float32)
    moved = cv2.remap(a, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _alike(moved, b)


def _alike(one: Image, other: Image) -> float:
    """How alike two levelled pictures are where they lie: up to 1; what one is moved to is liker still."""
    p, q = one.astype(np.float32), other.astype(np.float32)

    def mean(v: NDArray) -> NDArray:
        return cv2.GaussianBlur(v, (0, 0), SPREAD)

    mp, mq = mean(p), mean(q)
    vp, vq = np.maximum(mean(p * p) - mp * mp, 0), np.maximum(mean(q * q) - mq * mq, 0)
    alike = (mean(p * q) - mp * mq + NOISE) / (np.sqrt(vp * vq) + NOISE)
    weight = np.minimum(np.sqrt(vp), 30) + 1
    return float((alike * weight).sum() / weight.sum())


def _blend(start: NDArray, end: NDArray, between: NDArray) -> tuple[float, float, float]:
    """Shares of two pictures in a third, and how much of it they leave unexplained."""
    a, b, m = (v.astype(np.float64).ravel() - v.mean() for v in (start, end, between))
    g = np.array([[a @ a, a @ b], [a @ b, b @ b]]) + 1e-3 * np.eye(2)
    s, e = np.linalg.solve(g, [a @ m, b @ m])
    left = np.sqrt(((m - s * a - e * b) ** 2).mean()) / max(1.0, min(a.std(), b.std()))
    return float(s), float(e), float(left)


@dataclass
class Glimpse:
    """One frame as it is remembered: its number, its thumbnail and the face's landmarks (478, 3) in pixels."""

    index: int
    grey: Image
    points: Array | None = None
    pose: tuple[Array, Array, float] | None = field(default=None, repr=False)  # place, canonical face, IOD in pixels
    came: float | None = None  # IOD that the face went since the frame before, once that was asked

    @cached_property
    def spread(self) -> float:
        """The deviation of its grey levels: of nothing seen, hardly any."""
        return float(cv2.meanStdDev(self.grey)[1][0, 0])

    def see(self, points: Array | None) -> None:
        """Note the face."""
        self.points = points
        if points is not None:
            pose = fit_pose(mean_face(), points)
            self.pose = points[RIGID].mean(0), pose.to_head(points), pose.scale


@dataclass(frozen=True)
class Break:
    """A new shot, or a jump of one face, begins with frame `index`; frames in `mixed` show two pictures at once."""

    index: int
    kind: Literal["cut", "jump"]
    mixed: range = range(0)


def apart(one: Glimpse, other: Glimpse) -> tuple[float, float, float]:
    """By how much two faces differ: place in IOD, size (log), shape in IOD (root mean square)."""
    if one.pose is None or other.pose is None:
        return 0.0, 0.0, 0.0
    (p, a, s), (q, b, t) = one.pose, other.pose
    place = float(np.linalg.norm(p[:2] - q[:2])) / min(s, t)
    shape = float(np.sqrt(((a - b)[:SURFACE, :2] ** 2).sum(-1).mean()))
    return place, abs(float(np.log(s / t))), shape


class Shots:
    """Looks at frames in their order: `picture` first, then `face` of the same frame; `close` after the last.

    The latter two return the breaks found meanwhile, which may lie `reach` frames back."""

    def __init__(self, fps: float) -> None:
        self._wait = max(2, round(FLASH * fps))
        self._spans = sorted({max(4, round(s * fps)) for s in FADES})
        self.reach = max(self._spans[-1], self._wait) + 2
        self._looks: deque[Glimpse] = deque(maxlen=self.reach + 2)
        self._suspects: list[int] = []
        self._last = 0  # first frame that shows the present shot alone
        self._cut: int | None = None
        self._bright: Glimpse | None = None  # before the picture went dark
        self._dark_from: int | None = None
        self._dark_to: int | None = None

    def _at(self, index: int) -> Glimpse | None:
        first = self._looks[0].index
        return self._looks[index - first] if first <= index <= self._looks[-1].index else None

    def picture(self, index: int, grey: Image) -> bool:
        """Note a frame's thumbnail. Whether it shows something else than the last frame: a cut, or a flash."""
        before = self._looks[-1] if self._looks else None
        self._looks.append(Glimpse(index, grey))
        if before is None or _differ(before.grey, grey) < CHANGED:
            return False
        if likeness(before.grey, grey) >= OTHER:
            return False
        self._suspects.append(index)
        return True

    def face(self, points: Array | None) -> list[Break]:
        """Note the face of the frame."""
        look = self._looks[-1]
        look.see(points)
        found = self._hard(look.index)
        found += self._faded(look.index)
        found += self._after_dark(look)
        jump = self._jump(look.index)
        if jump is not None and all(abs(jump.index - b.index) > 1 for b in found):
            found.append(jump)
        return [b for b in found if self._is_new(b)]

    def _is_new(self, b: Break) -> bool:
        if b.kind == "cut":
            if self._cut is not None and abs(b.index - self._cut) < 2:
                return False
            self._cut = b.index
            self._last = max(self._last, b.index, b.mixed.stop)
        return True

    def close(self) -> list[Break]:
        """The stream has ended."""
        if not self._looks:
            return []
        last, out = self._looks[-1].index, []
        for s in self._suspects:
            if last - s >= 1 and self._stays(s, last):  # a single odd frame at the end is no shot
                out.append(Break(s, "cut"))
        self._suspects = []
        return [b for b in out if self._is_new(b)]

    def _stays(self, index: int, until: int) -> bool:
        """Whether what came with a frame is still there, and what was before is not."""
        before = self._at(index - 1)
        after = [a for i in range(index + 1, until + 1) if (a := self._at(i)) is not None]
        return before is not None and all(likeness(before.grey, a.grey) < SAME for a in after)

    def _hard(self, now: int) -> list[Break]:
        out: list[Break] = []
        while self._suspects and now - self._suspects[0] >= self._wait:
            index = self._suspects.pop(0)
            before = self._at(index - 1)
            if before is None:
                continue
            back = next((i for i in range(index + 1, now + 1)
                         if (a := self._at(i)) is not None and likeness(before.grey, a.grey) > SAME), None)  # fmt: skip
            if back is None:
                out.append(Break(index, "cut"))
            else:  # a flash, or something that passed by: what it ended with is no cut either
                self._suspects = [s for s in self._suspects if s > back]
                self._last = max(self._last, back)
        return out

    def _faded(self, now: int) -> list[Break]:
        if now % 3 or self._suspects:
            return []
        for span in self._spans:
            start, end = self._at(now - span), self._at(now)
            if start is None or end is None or start.index < self._last or start.spread < 2 * DARK:
                continue
            if end.spread < 2 * DARK or _differ(start.grey, end.grey) < CHANGED:
                continue
            # Mostly nobody moved much, which is seen in a quarter of the time.
            if _alike(_levelled(start.grey), _levelled(end.grey)) > OTHER or likeness(start.grey, end.grey) > FADED:
                continue
            mixed = [self._at(i) for i in range(start.index + 1, end.index)]
            shares = [_blend(start.grey, end.grey, m.grey) for m in mixed if m is not None]
            s, e, left = (np.array(v) for v in zip(*shares))
            middle = left[len(left) // 5 : len(left) - len(left) // 5]
            if middle.max() > BLEND or (np.diff(e) < -0.12).any() or s.min() < -0.2 or e.min() < -0.2:
                continue
            across = int(np.argmax(e > s)) + start.index + 1
            both = np.flatnonzero((s > 0.15) & (e > 0.15) | (s + e < 0.5)) + start.index + 1
            return [Break(across, "cut", range(int(both[0]), int(both[-1]) + 1) if len(both) else range(0))]
        return []

    def _after_dark(self, look: Glimpse) -> list[Break]:
        """A picture that went dark and came back as another one."""
        level = look.spread
        if level < DARK:
            if self._dark_from is None:
                self._dark_from = look.index
                bright = [v for v in self._looks if v.spread > 3 * DARK and v.index >= self._last]
                self._bright = bright[-1] if bright else self._bright
            self._dark_to = look.index
        elif self._dark_from is not None and self._dark_to is not None and level > 3 * DARK:
            begins, self._dark_from = self._dark_to + 1, None
            if self._bright is not None and begins > self._last and likeness(self._bright.grey, look.grey) < OTHER:
                return [Break(begins, "cut")]
        return []

    def _jump(self, now: int) -> Break | None:
        """The same face elsewhere: the speed of a head does not leap for one frame."""
        start, before, after, end = (self._at(i) for i in range(now - 3, now + 1))
        if before is None or after is None or before.pose is None or after.pose is None or before.index < self._last:
            return None
        if any(abs(after.index - x) < 2 for x in self._suspects):
            return None  # a cut, as may soon be known
        step = _step(before, after)
        around = max(_step(start, before) if start else 0.0, _step(after, end) if end else 0.0)
        if step < LEAP or step < AGAINST * around + 0.02:
            return None
        place, size, shape = apart(before, after)
        other = place > FAR or size > GROWN or shape > STRANGE
        return Break(after.index, "cut" if other else "jump")


def _step(a: Glimpse, b: Glimpse) -> float:
    """How far a face went from one frame to the next, IOD."""
    if a.points is None or b.points is None or a.pose is None:
        return 0.0
    if b.came is None:
        away = b.points[RIGID, :2] - a.points[RIGID, :2]
        squared = np.sort((away * away).sum(1))  # of so few np.median takes three times as long
        n = len(squared)
        b.came = float(np.sqrt(squared[(n - 1) // 2]) + np.sqrt(squared[n // 2])) / 2 / a.pose[2]
    return b.came
