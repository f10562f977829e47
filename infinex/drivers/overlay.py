"""Two drivers at once: the lips of a voice over the face of whatever else drives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.blend import timed
from infinex.drivers.capture import one_rest
from infinex.drivers.contract import Drive, Driver, Wrapped
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose, to_matrix, to_vector
from infinex.face.shape import lip_gaps
from infinex.motion import Move, Rest, part_weights

Array = NDArray[np.float64]


class LipsOver(Wrapped):
    """`lips` moves the mouth and adds its sway and blinks, `base` does all else; the base holds its last instant.

    `emotion` is the share of the base's own mouth shape that stays under the speech (0..1): what a smile does to
    the corners. How far the lips part is the speech's alone. Length, rate and sound are those of `lips`."""

    rest_image: None = None
    rest_points: None = None
    new_voice = True  # a filmed mouth's own speech gives way
    filmed = False

    def __init__(self, base: Driver, lips: Driver, emotion: float = 0.6) -> None:
        super().__init__(lips)
        self._base, self._lips, self._emotion = base, lips, emotion
        self._weight = part_weights(["lips"])[:, None]
        self._face = SourceFace(top.mean_face())

    @property
    def name(self) -> str:  # type: ignore[override]
        """Both, as the metadata of a result calls them."""
        return f"{self._base.name}, {self._lips.name}"

    @property
    def lost(self) -> Sequence[tuple[float, float]]:  # type: ignore[override]
        """Where the base shows no face."""
        return self._base.lost

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """Words about either driver."""
        return [*self._lips.notes, *self._base.notes]

    @property
    def warnings(self) -> Sequence[str]:  # type: ignore[override]
        """Further words about either driver."""
        return [*self._lips.warnings, *self._base.warnings]

    @property
    def rest(self) -> Rest:  # type: ignore[override]
        """The base's, with lips that meet when the voice's do."""
        return replace(self._base.rest, lips_closed=lip_gaps(self._base.rest.face))

    def settle(self, near: Pose | None = None, match: Array | None = None) -> LipsOver:  # type: ignore[override]
        """Settle both."""
        self._base.settle(near, match)
        self._lips.settle(near, match)
        return self

    def peaks(self) -> None:
        """A mouth that speaks is not written in units."""
        return

    def close(self) -> None:
        """Close both."""
        self._base.close()
        self._lips.close()

    def __iter__(self) -> Iterator[Drive]:
        base = timed(one_rest(self._base, self._base.rest))
        for drive in self._lips:
            under = base(drive.move.time)
            yield Drive(self.merged(drive.move, under.move) if under is not None else drive.move)

    def merged(self, lips: Move, under: Move) -> Move:
        """One instant of both: the base's, and on it all that the speech does."""
        mean = self._face.face
        face = mean + under.offsets * (1 - self._weight * (1 - self._emotion)) + lips.offsets
        self._face.set_lips(face, lip_gaps(mean + lips.offsets))
        turn = under.rotation
        if lips.rotation.any():
            turn = to_vector(to_matrix(lips.rotation) @ to_matrix(turn))
        return replace(
            under,
            time=lips.time,
            offsets=face - mean,
            rotation=turn,
            translation=under.translation + lips.translation,
            gaze=under.gaze + lips.gaze,
            valid=True,
            interior=lips.interior,
        )
