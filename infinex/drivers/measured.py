"""What a performer's frames tell beyond landmarks: where skin went, the head's outline, the interior of the mouth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.face.interior import USUAL, interior
from infinex.face.outline import Outline
from infinex.face.pose import Pose, fit_pose
from infinex.face.register import Registration
from infinex.media.grey import Grey
from infinex.motion import STILL, Rest

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


class Measured:
    """Compares a performer's frames, as they come, with the one that shows the performer at rest."""

    def __init__(self, image: Image, points: Array, rest: Rest, grey: Grey | None = None) -> None:
        """`image` (H, W, 3) shows the performer at `rest`, with landmarks `points` (478, 3) in pixels; where
        frames come with a `grey` of their own, this is its."""
        seen = image if grey is None else grey
        self.landmarks = Registration(seen, points)  # (478, 3) of a frame, where the picture says that they are
        self._outline = Outline(image, rest.face, fit_pose(rest.face, points), seen)
        self._fields: Array | None = None
        self._shown = USUAL  # until the lips part

    def anew(self) -> None:
        """Forget the last frame: the next one does not follow it."""
        self._fields = None

    def beyond(
        self, image: Image | Grey, shown: tuple[Image, Array] | None, pose: Pose, still: Pose | None = None
    ) -> Array:
        """Outline and interior of the mouth, (18,), in a frame with the head at `pose`.

        `shown` is the frame in colours, or what of it shows the face, with its landmarks (478, 3) in pixels of that;
        without a face all are those of the last frame. The outline is that which a camera would see that has the head
        at `still`, if not in this place and size."""
        if shown is not None:
            self._fields = self._outline.measure(image, pose, self._fields, still)
            seen = interior(*shown)
            self._shown = self._shown if seen is None else seen
        outline = STILL if self._fields is None else self._outline.settled(self._fields)
        return np.concatenate([outline.ravel(), self._shown.ravel()])
