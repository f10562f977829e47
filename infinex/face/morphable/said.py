"""What the reader of Apple's shapes says of a frame: it sees lids, lips and wrinkles that a coarse mesh has not.

It compares a frame with a few in which the person is calm, and knows nothing of shape, so that what it says does not
depend on who it is thought to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.blendshapes import AT
from infinex.face.pose import fit_pose
from infinex.face.shape_reader import ShapeReader

Array = NDArray[np.floating]

SIDES = {"_L": "Left", "_R": "Right"}
SIDELESS = ("browInnerUp", "cheekPuff")  # of which Apple has one for both sides
GAIN = 0.7  # of the reader: it says rather too little than too much


def column(name: str) -> int | None:
    """Which of Apple's 52 shapes a model's expression is."""
    stem, side = (name[:-2], SIDES[name[-2:]]) if name[-2:] in SIDES else (name, "")
    return AT.get(stem if stem in SIDELESS else stem + side)


class Reader:
    """Reads frames of one person beside calm ones: pictures (H, W, 3) and tracked points (478, 3) in each."""

    def __init__(self, calm: Sequence[tuple[NDArray[np.uint8], Array]], names: Sequence[str]) -> None:
        self.calm = [(image, np.asarray(points, np.float64)) for image, points in calm]
        at = [column(n) for n in names]
        self.known = np.array([k is not None for k in at])
        self._columns = [k for k in at if k is not None]
        self._rests = [fit_pose(top.mean_face(), points).to_head(points) for _, points in self.calm]
        self._readers = [ShapeReader(image, points, rest) for (image, points), rest in zip(self.calm, self._rests)]

    def __call__(self, image: NDArray[np.uint8], points: Array) -> NDArray[np.float64]:
        """Weights (E,) in 0..1: the most that is seen beyond any of the calm frames, since what one hides another
        does not; NaN of expressions that it does not know."""
        p, said = np.asarray(points, np.float64), []
        for reader, rest in zip(self._readers, self._rests):
            reader.add(image, p, fit_pose(rest, p).to_head(p) - rest)
            said.append(reader.taken()[-1, self._columns])
        out = np.full(len(self.known), np.nan)
        out[self.known] = np.clip(np.max(said, 0) / GAIN, 0, 1)
        return out
