"""Motion by way of an embedded face: warps between it and pictures, put one after the other.

A warp (B, h, w, 2) says of every pixel where it is read, in -1..1 with the corners on pixel centres; `then` reads the
second where the first says. Motion can be measured from the performer's frame at rest: that cancels what networks see
wrongly in a face, and a portrait keeps its own place and pose."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, radians, sin

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor

from infinex.nn.geometry import coordinate_grid
from infinex.training.embedded import embedded_points

# Scale, degrees, shift sideways and down: a picture as it is, and four more looks at it.
VIEWS = ((1.0, 0.0, 0.0, 0.0), (0.92, 0.0, 0.05, 0.0), (1.08, 0.0, -0.05, 0.0), (1.0, 6.0, 0.0, 0.05),
         (1.0, -6.0, 0.0, -0.05))  # fmt: skip
HAIR = 0.25  # of the face's height, above it
NEAR, FAR = 1.2, 1.9  # radii of face and hair up to which all is moved, and beyond which nothing is
ROUNDS = 30  # of the search for an inverse
STEP = 0.7  # of the way that each of them goes


def still(warp: Tensor) -> Tensor:
    """The warp that changes nothing, of the shape of another one."""
    return coordinate_grid(warp.shape[1], warp.shape[2], warp).expand_as(warp)


def then(first: Tensor, second: Tensor) -> Tensor:
    """Read `second` (B, h, w, 2) where `first` (B, h', w', 2) says: their shapes may differ, the result has `first`'s.

    Beyond its border a warp moves as it does there."""
    away = (second - still(second)).permute(0, 3, 1, 2).float()
    moved = F.grid_sample(away, first.float(), padding_mode="border", align_corners=True)
    return first + moved.permute(0, 2, 3, 1)


def inverse(warp: Tensor) -> Tensor:
    """The warp that undoes another one, as far as one does: `then(inverse(w), w)` changes nothing."""
    out = goal = still(warp)
    for _ in range(ROUNDS):
        out = (out - STEP * (then(out, warp) - goal)).clamp(-1.5, 1.5)
    return out


def absolute(flow: Tensor) -> Tensor:
    """The warp (B, h, w, 2) of a flow (B, 2, h, w) of offsets."""
    away = flow.float().permute(0, 2, 3, 1)
    return still(away) + away


def offsets(warp: Tensor) -> NDArray[np.float32]:
    """How far off (h, w, 2) a warp (1, h, w, 2) reads."""
    return np.asarray((warp - still(warp))[0].cpu().numpy(), np.float32)


def _views(like: Tensor) -> list[Tensor]:
    """Similarities (2, 3) in -1..1 under which a picture is looked at again."""
    out = []
    for scale, turn, x, y in VIEWS:
        c, s = scale * cos(radians(turn)), scale * sin(radians(turn))
        out.append(torch.tensor([[c, -s, x], [s, c, y]], device=like.device))
    return out


def _moved(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (..., 2) under a similarity."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _back(points: Tensor, matrix: Tensor) -> Tensor:
    return (points - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T


def looked_at_often(network: Callable[[Tensor], Tensor], image: Tensor, reads: bool) -> Tensor:
    """The mean of the warps (1, h, w, 2) that a network makes of a picture (1, 3, S, S), of it mirrored, and of it a
    little larger, smaller and turned: what it sees by chance cancels.

    `reads`: the warp reads pictures at the embedded face, which must be its own mirror; else the embedded face at
    pictures."""
    views = _views(image)
    place = coordinate_grid(image.shape[2], image.shape[3], image)[None]
    seen = torch.cat([F.grid_sample(image, _back(place, v), padding_mode="border", align_corners=True) for v in views])
    once, again = network(torch.cat([seen, seen.flip(3)])).float().chunk(2)
    warps = (once + again.flip(2) * once.new_tensor([-1.0, 1.0])) / 2
    straight = [_back(w[None], v) if reads else then(_moved(still(w[None]), v), w[None]) for w, v in zip(warps, views)]
    return torch.cat(straight).mean(0, keepdim=True)


def _reach() -> tuple[Tensor, Tensor]:
    """Middle and radii of the embedded face with the hair above it."""
    points = torch.from_numpy(embedded_points())
    low, high = points.amin(0), points.amax(0)
    middle, radii = (low + high) / 2, (high - low) / 2
    return middle - torch.tensor([0.0, HAIR]) * radii, radii * torch.tensor([1.0, 1 + HAIR])


class Passed:
    """How a performer's frames move a portrait: by where they read the embedded face, and it the portrait."""

    def __init__(self, portrait: Tensor) -> None:
        """`portrait` (1, h, w, 2): where the embedded face reads the portrait."""
        self.portrait = portrait
        self._own = inverse(portrait)
        self._back: Tensor | None = None

    def rest(self, driving: Tensor | None) -> None:
        """Measure motion from a performer's frame at rest that reads the embedded face so; None: places as they are."""
        self._back = None if driving is None else inverse(then(driving, self.portrait))

    def __call__(self, driving: Tensor) -> Tensor:
        """Where the portrait is read (1, h, w, 2), of where a frame reads the embedded face.

        Movement fades away from the head, before and after it: what is guessed there bends the background."""
        if self._back is None:
            return then(driving, self.portrait)
        driving = then(self._back, driving)
        out = then(driving, self.portrait)
        middle, radii = (v.to(out) for v in _reach())
        away = torch.minimum(*(((w - middle) / radii).norm(dim=-1, keepdim=True) for w in (driving, self._own)))
        share = ((FAR - away) / (FAR - NEAR)).clamp(0, 1)
        return still(out) + (out - still(out)) * share * share * (3 - 2 * share)
