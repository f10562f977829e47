"""What the outline of a head and the shoulders do beyond the head that landmarks show, measured by dense optical flow.

Landmarks lie on the face alone. Where its pose is a little off, where hair is nearer or further than was guessed, and
where shoulders move by themselves, everything around the face goes wrong by several pixels. Twelve numbers a frame say
by how much: an affine field for the head's outline and one for the shoulders, measured in the performer's own frames.
They are motion, and carry no picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.pose import Pose
from infinex.face.surroundings import Surroundings, SurroundingsShape, head_reach
from infinex.face.tracker import segmenter
from infinex.face.unwarp import make_flow, unwarped
from infinex.media.grey import Grey

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

UNIT = 40  # pixels between the eyes at which the flow is measured
STEP = 0.2  # IOD between the places where it is read
STIFF = 0.5  # places' worth of belief that nothing differs
ROBUST = 0.04  # IOD: what differs by more from the fields counts less and less
ALIKE = 24.0  # grey levels by which a place may look different and still count
PLAIN = 6.0  # grey levels of texture below which a place says little
LEAST = 0.003  # IOD that the fields move anything by; less is noise, and still surroundings stay still
MOST = (0.25, 0.40)  # IOD: up to the first they are believed; they approach the second (a hand, hair blown about)


class Outline:
    """The surroundings of one performer's face in a reference frame, to compare others with."""

    def __init__(self, image: Image, face: Array, pose: Pose, grey: Image | Grey | None = None) -> None:
        """`image` (H, W, 3) shows `face` (478, 3 canonical) at `pose`; where others come without colours, so does it
        as `grey`."""
        self._pose = pose
        self._flat = np.linalg.pinv(pose.rotation[:2, :2])
        self._k = min(1.0, UNIT / pose.scale)
        shape = SurroundingsShape()
        h, w = image.shape[:2]
        x0, y0, x1, y1 = self._box = head_reach(face, pose, w, h, shape)
        cell = STEP * pose.scale
        columns, rows = (max(3, round(n / cell)) for n in (x1 - x0, y1 - y0))
        # Places are the middles of the cells of a grid, so that it enlarges to a picture.
        x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
        places = np.stack(np.meshgrid(x0 - 0.5 + x * (x1 - x0), y0 - 0.5 + y * (y1 - y0)), -1).reshape(-1, 2)
        self._grid = rows, columns
        oval = pose.to_image(face)[top.OVAL][:, :2]
        contour = oval.astype(np.float32).reshape(-1, 1, 2)
        outside = np.array([-cv2.pointPolygonTest(contour, (float(a), float(b)), True) for a, b in places])
        self._around = Surroundings(face, pose, places, np.maximum(outside, 0) / pose.scale, oval, shape)
        self._size = max(8, round((x1 - x0) * self._k)), max(8, round((y1 - y0) * self._k))
        self._rest = unwarped(image if grey is None else grey, places, self._grid, self._size, pose.scale, UNIT)
        person = segmenter()(cv2.resize(image, None, fx=self._k, fy=self._k, interpolation=cv2.INTER_AREA))
        seen = person[(places[:, 1] * self._k).astype(int).clip(0, person.shape[0] - 1),
                      (places[:, 0] * self._k).astype(int).clip(0, person.shape[1] - 1)]  # fmt: skip
        texture = cv2.GaussianBlur(np.abs(cv2.Laplacian(self._rest, cv2.CV_32F)), (0, 0), 2.0)
        at = np.stack(np.meshgrid(x * self._size[0] - 0.5, y * self._size[1] - 0.5))
        self._at = at.reshape(2, -1).astype(np.float32)  # the places in the view
        plain = np.clip(self._read(texture) / PLAIN, 0, 1)
        weight = np.where(outside > 0.5 * cell, seen * plain, 0.0)
        self._used = np.flatnonzero(weight)  # the places that have a say
        self._at = self._at[:, self._used]
        self._weight, self._design = weight[self._used], self._around.design()[self._used]
        self._shown = self._read(self._rest)
        self._flow = make_flow(0)  # twelve numbers over many pixels need no refinement

    def _read(self, picture: NDArray) -> NDArray:
        """A picture of the working size (H, W[, C]) at the places that have a say, (N[, C])."""
        return _at(picture, self._at)

    def _beyond(self, outline: Array) -> Array:
        """The fields (2, 2, 3) at the places that have a say, (N, 2) in IOD."""
        return self._design @ outline.transpose(0, 2, 1).reshape(6, 2)

    def predicted(self, pose: Pose, outline: Array) -> Array:
        """Where the places are in a frame with the head at `pose` and the fields `outline` (2, 2, 3): (N, 2) pixels."""
        a = self._around
        moved = a.rigidly(pose)[:, :2] - a.points
        return a.points + moved * a.rigid[:, None] + pose.scale * a.beyond(outline)

    def measure(self, image: Image | Grey, pose: Pose, guess: Array | None = None, still: Pose | None = None) -> Array:
        """The fields (2, 2, 3) in IOD that take the surroundings to where they are in `image` (H, W[, 3]).

        `guess` are those of a frame nearby; without it the flow is followed twice. `still` is the pose at which another
        camera has the head, whose fields are wanted."""
        other = pose if still is None else still
        zoom = pose.scale / other.scale
        outline = np.zeros((2, 2, 3)) if guess is None else guess
        rounds = 2 if guess is None else 1
        h, w = image.shape[:2]
        for _ in range(rounds):
            places = (self.predicted(other, outline) - other.translation[:2]) * zoom + pose.translation[:2]
            view = unwarped(image, places, self._grid, self._size, pose.scale, UNIT)
            flow = self._flow.calc(self._rest, view, None)
            step = self._read(flow)
            off = step.astype(np.float64) * ((self._box[2] - self._box[0]) / self._size[0])
            then = _at(view, self._at + step.T)
            alike = np.exp(-(((then.astype(np.float64) - self._shown) / ALIKE) ** 2))
            used = places[self._used]
            inside = ((used > 2) & (used < [w - 3, h - 3])).all(1)
            # What is off in the reference's picture is off in this one by the turn and the growth of the head.
            turn = pose.rotation[:2, :2] @ self._flat
            wanted = self._beyond(outline) + off @ turn.T / self._pose.scale
            outline = self._fitted(wanted, self._weight * alike * inside)
        return outline

    def settled(self, outline: Array) -> Array:
        """The fields (2, 2, 3), or none where they would hardly move anything; never more than is plausible."""
        most = float(np.linalg.norm(self._beyond(outline), axis=1).max(initial=0.0))
        knee, end = MOST
        if most > knee:
            return outline * ((knee + (end - knee) * np.tanh((most - knee) / (end - knee))) / most)
        return outline * np.clip(most / LEAST - 1, 0, 1)

    def _fitted(self, wanted: Array, weight: Array) -> Array:
        """Robust least squares of the fields to displacements (N, 2), each place weighted, five times anew."""
        design, trust = self._design, weight
        for _ in range(5):
            share = design.T * trust
            equations = share @ design
            equations.flat[:: len(equations) + 1] += STIFF
            found = np.linalg.solve(equations, share @ wanted)
            off = wanted - design @ found
            trust = weight / (1 + (off * off).sum(1) / ROBUST**2)
        return found.reshape(2, 3, 2).transpose(0, 2, 1)


def _at(picture: NDArray, places: NDArray) -> NDArray:
    """A picture (H, W[, C]) at places (2, N), (N[, C]); there may be none."""
    if not places.size:
        return np.zeros((0, *picture.shape[2:]), picture.dtype)
    return cv2.remap(picture, places[:1], places[1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
