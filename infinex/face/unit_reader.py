"""Reading Action Units, and Apple's shapes with them, off pictures of a person, of whom a picture at rest is known.

A small network looks at what the reader of Apple's shapes sees (`infinex.face.shape_reader`) and at what landmarks and
skin alone are taken for (`infinex.face.reading`). It was taught by people whose shapes are known exactly, by units
drawn on portraits, and by performances (`tools/teach_units.py`); its card is `data/README.md`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.reading import guessed, network, reader, settled
from infinex.face.shape_reader import RGB, PictureReader, read_and_seen
from infinex.face.shape_reader import settled as settled_shapes

Array = NDArray[np.float64]


def mixed(found: Array, before: Array, share: NDArray) -> Array:
    """Units (T, A) of those found (T, A) and both that were `guessed` before (T, 2 A), by shares (3, A)."""
    skin, landmarks = np.split(before, 2, 1)
    return np.asarray(found * share[0] + skin * share[1] + landmarks * share[2])


class UnitReader(PictureReader):
    """Reads units and shapes off pictures of one person, of whom a picture at rest is known; streams."""

    def __init__(self, image: RGB, points: Array, rest: Array | None = None) -> None:
        """A picture (H, W, 3) of the person at rest, with landmarks (478, 3) in pixels.

        `rest` (478, 3) is the face that displacements are measured from; by default the one in the picture."""
        own = fit_pose(top.mean_face(), points).to_head(points) if rest is None else rest
        super().__init__(image, points, own)

    def add(self, image: RGB | None, points: Array | None, offsets: Array | None = None) -> None:
        """One more picture; `offsets` (478, 3) are its displacements from rest where they are known better.

        Where the face is lost (None) its skin is taken to be as before. Raises ValueError where it is lost and no
        offsets are given."""
        if offsets is None:
            if image is None or points is None:
                raise ValueError("a lost face needs the displacements it is bridged with")
            offsets = fit_pose(self.rest, points).to_head(points) - self.rest
        super().add(image, points, offsets)

    def said(self, offsets: Array, inputs: list[NDArray], skin: Array) -> Array:
        """See `PictureReader`."""
        before = guessed(offsets, skin, self.rest)
        *layers, share = reader("seen")[1]
        shapes, *seen = read_and_seen(inputs)
        sides = [network(layers, np.concatenate([s, before], 1)) for s in seen]
        return np.concatenate([mixed((sides[0] + sides[1]) / 2, before, share), shapes], 1)

    def units(self) -> Array:
        """Intensities (T, U) in 0..1 of `FACE_UNITS` in the pictures added since the last call."""
        return self.units_and_shapes()[0]

    def units_and_shapes(self) -> tuple[Array, Array]:
        """The same, and the weights (T, 52) that `ShapeReader.shapes` gives of these pictures."""
        columns = reader("seen")[0]
        units, shapes = np.split(self.taken(), [len(columns)], 1)
        return settled(units, columns), settled_shapes(shapes)
