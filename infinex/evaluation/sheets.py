"""Sheets to look at: the moments of a performance in which faults show, with eyes and mouths enlarged."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.evaluation.looks import Seen

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]
FACE, EYES, MOUTH = 400, 150, 240  # pixels: side of a face, height of the strips of eyes and mouth
BESIDE = 5  # neighbouring frames shown, where most moves
MOMENTS = ("portrait", "shut", "wide mouth", "lips touch", "turned")


def cut(image: RGB, centre: Array, half: tuple[float, float], size: tuple[int, int]) -> RGB:
    """A part of a picture around `centre` (x, y), `half` (width, height) pixels to each side, as `size` (w, h).

    What lies beyond the border is grey."""
    w, h = size
    matrix = np.array([[half[0] * 2 / w, 0, centre[0] - half[0]], [0, half[1] * 2 / h, centre[1] - half[1]]])
    matrix[:, 2] += matrix[[0, 1], [0, 1]] / 2 - 0.5
    step = max(matrix[0, 0], matrix[1, 1])
    if step > 1.5:
        image = np.asarray(cv2.blur(image, (round(step), round(step))), np.uint8)
    flags = (cv2.INTER_LINEAR if step > 1 else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=flags, borderValue=(96, 96, 96)), np.uint8)


def head(image: RGB, points: Array, unit: float, side: int = FACE) -> RGB:
    """The head, `side` pixels square."""
    return cut(image, points[[168, 1], :2].mean(0), (1.75 * unit, 1.75 * unit), (side, side))


def eyes(image: RGB, points: Array, unit: float, width: int = FACE) -> RGB:
    """Both eyes, enlarged."""
    half = 0.78 * unit
    return cut(image, points[[33, 263], :2].mean(0), (half, half * EYES / width), (width, EYES))


def lips(image: RGB, points: Array, unit: float, width: int = FACE) -> RGB:
    """The mouth, enlarged."""
    half = 0.62 * unit
    return cut(image, points[[13, 14], :2].mean(0), (half, half * MOUTH / width), (width, MOUTH))


def column(result: RGB, points: Array, unit: float, performer: RGB | None, theirs: Array | None, other: float) -> RGB:
    """One moment: the result's head, the performer's beside her mouth, both pairs of eyes, the result's mouth."""
    half = FACE // 2
    if performer is None or theirs is None:
        beside, eye = np.full((half, FACE, 3), 96, np.uint8), np.full((EYES, FACE, 3), 96, np.uint8)
    else:
        mouth = cut(performer, theirs[[13, 14], :2].mean(0), (0.6 * other, 0.6 * other), (half, half))
        beside = np.hstack([head(performer, theirs, other, half), mouth])
        eye = eyes(performer, theirs, other)
    return np.vstack([head(result, points, unit), beside, eyes(result, points, unit), eye, lips(result, points, unit)])


@dataclass
class Sheet:
    """Keeps of a stream only the moments that are shown."""

    best: dict[str, tuple[float, RGB]] = field(default_factory=dict)
    _near: deque[RGB] = field(default_factory=lambda: deque(maxlen=BESIDE))
    _moves: deque[float] = field(default_factory=lambda: deque(maxlen=BESIDE))
    _run: tuple[float, list[RGB]] | None = None

    def first(self, image: RGB, points: Array, unit: float) -> None:
        """The portrait itself."""
        self.best["portrait"] = (0.0, column(image, points, unit, None, None, 1.0))

    def add(self, image: RGB, points: Array, unit: float, performer: RGB, theirs: Array, p: Seen, start: Seen) -> None:
        """One frame (H, W, 3) of the result and of the performer, with landmarks; `p` is what she does."""
        turn = float(np.abs(p.angles - start.angles).sum())
        scores = {
            "shut": -float(p.lids.max()), "wide mouth": p.gap, "lips touch": -p.most * 20 - 0.01 * turn, "turned": turn,
        }  # fmt: skip
        drawn: RGB | None = None
        for name, score in scores.items():
            if name not in self.best or score > self.best[name][0]:
                if drawn is None:
                    drawn = column(image, points, unit, performer, theirs, float(np.exp(p.size)))
                self.best[name] = (score, drawn)
        small = head(image, points, unit)
        if self._near:
            self._moves.append(float(cv2.absdiff(small, self._near[-1]).mean()))
        self._near.append(small)
        if len(self._near) == BESIDE and (self._run is None or sum(self._moves) > self._run[0]):
            self._run = (sum(self._moves), list(self._near))

    def picture(self, title: str) -> RGB:
        """The sheet: a column for each moment, and below them neighbouring frames where most moves."""
        columns = [_titled(self.best[n][1], n) for n in MOMENTS if n in self.best]
        upper = np.hstack(columns)
        run = self._run[1] if self._run else []
        if run:
            lower = _titled(np.hstack(run), "neighbouring frames")
            width = max(upper.shape[1], lower.shape[1])
            upper = np.vstack([_widened(upper, width), _widened(lower, width)])
        return _titled(upper, title)


def _widened(image: RGB, width: int) -> RGB:
    return np.asarray(cv2.copyMakeBorder(image, 0, 0, 0, width - image.shape[1], cv2.BORDER_CONSTANT), np.uint8)


def _titled(image: RGB, text: str) -> RGB:
    strip = np.full((22, image.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, image])
