"""FReeNet's landmarks: out of the tracked mesh into its unit, onto other faces, and as the picture that is seen."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.drivers.capture import choose_rest
from infinex.face import drawn
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose, to_vector
from infinex.face.shape import gaze_of
from infinex.mesh.retarget import Retarget
from infinex.motion import Move
from infinex.systems.freenet.model import UNIT, FreenetConfig

Array = NDArray[np.float64]
RADIUS = 5.0  # of a disc, in the unit of the landmarks: the published circles of radius 1 are drawn 8 thick


def in_unit(landmarks: NDArray, side: float, config: FreenetConfig) -> NDArray[np.float32]:
    """(2·points,) of landmarks (478, 3) in pixels of a square of `side`: x and y in turn, in pixels of one of 512."""
    points = drawn.in_convention(landmarks, config.points)  # type: ignore[arg-type]
    return drawn.through(points, drawn.scaled(side, int(UNIT))).reshape(-1).astype(np.float32)


def discs(points: Tensor, config: FreenetConfig) -> Tensor:
    """The picture of landmarks (B, 2·points): white discs on black, (B, 3, h, h) in -1..1 at the landmark size.

    The published code draws them at 512 at whole pixels and shrinks the picture; here a disc covers what it covers."""
    size = config.map_size
    k = size / UNIT
    places = points.reshape(len(points), -1, 2) * k + (k - 1) / 2
    line = torch.arange(size, device=points.device, dtype=points.dtype)
    across, down = places[..., 0, None] - line, places[..., 1, None] - line  # (B, N, h)
    near = (across.square()[:, :, None, :] + down.square()[..., None]).amin(1).clamp(min=1e-12).sqrt()
    cover = (RADIUS * k + 0.5 - near).clamp(0, min(1.0, 2 * RADIUS * k))
    return (2 * cover - 1)[:, None].expand(-1, 3, -1, -1)


class Performer:
    """A person's tracked frames (T, 478, 3): which of them is at rest, and their expressions on other faces.

    The data has nobody making the faces that another one makes; what they would look like is what the default engine's
    retargeting says, and stands for the truth that the authors' photographs hold."""

    def __init__(self, frames: Array) -> None:
        self.frames = frames
        _, self.neutral = choose_rest(list(frames))
        self.rest, _ = choose_rest(list(frames), reference=self.neutral)  # that frame, its glance as well
        self._scale = fit_pose(drawn.top.mean_face(), frames[self.neutral]).scale

    def move(self, frame: int) -> Move:
        """What the performer does in a frame, measured from rest."""
        points = self.frames[frame]
        pose = fit_pose(drawn.top.mean_face(), points)
        face = pose.to_head(points)
        return Move(
            0.0, to_vector(pose.rotation), pose.translation / self._scale, pose.scale / self._scale,
            face - self.rest.face, gaze_of(face),
        )  # fmt: skip

    def onto(self, frame: int, other: SourceFace) -> Array:
        """The other face's landmarks (478, 3), in its own picture, under the expression of a frame."""
        return Retarget(other, self.rest)(self.move(frame)).points
