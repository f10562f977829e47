"""What a face tracker teaches networks that know one embedded face, which every picture of anybody is warped from.

The embedded face is the mean face seen from the front, at one place: a mesh point has the same position in it whoever
is seen. A picture's warp is then right where each tracked point reads its own position in the embedded face."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.face import topology as top
from infinex.training.data import TrackedTeacher

UNIT = 0.6  # distance of the outer eye corners in the embedded face, which is 2 wide
LOW = 0.15  # of the middle of the embedded face: as low as faces are as a rule
EDGE = 0.97  # where the frame of a picture is held, of half its side
POINTS = top.SURFACE


@cache
def embedded_points() -> NDArray[np.float32]:
    """The mean face in the embedded picture, x and y in -1..1 (468, 2), upright."""
    flat = top.mean_face()[:POINTS, :2] * UNIT
    return np.asarray(flat - (flat.min(0) + flat.max(0)) / 2 + [0, LOW], np.float32)


class SurfaceTeacher(TrackedTeacher):
    """The tracked surface of every frame; see `infinex.training.data.Teacher`."""

    name, count = "surface", POINTS

    def placed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(468, 6): places, and frames that are always upright."""
        rows = np.tile(np.array([0, 0, 1, 0, 0, 1], np.float32), (POINTS, 1))
        rows[:, :2] = points[:POINTS]
        return rows

    def mirrored(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Right becomes left; frames stay upright."""
        out: NDArray[np.float32] = points[top.mirror()[:POINTS]] * np.array([-1, 1, 1, 1, 1, 1], np.float32)
        return out


def held_edge(like: Tensor, below: bool = False, count: int = 9) -> Tensor:
    """Points (1, N, 2) along the frame of a picture; not its lower edge, where shoulders are, unless `below`."""
    line, edge = torch.linspace(-EDGE, EDGE, count), torch.full((count,), EDGE)
    sides = [(line, -edge), (-edge, line), (edge, line)] + [(line, edge)] * below
    return torch.cat([torch.stack(s, -1) for s in sides])[None].to(like)


def read_at(grid: Tensor, points: Tensor) -> Tensor:
    """A warp (B, h, w, 2) where `points` (B or 1, N, 2) are: (B, N, 2)."""
    planes = grid.permute(0, 3, 1, 2).float()
    at = points.expand(len(grid), -1, -1)[:, None]
    read = F.grid_sample(planes, at, padding_mode="border", align_corners=True)
    return read[:, :, 0].permute(0, 2, 1)


def warp_apart(grid: Tensor, at: Tensor, to: Tensor, below: bool = False) -> Tensor:
    """Mean distance of a warp (B, h, w, 2) from reading `to` at `at` (B or 1, N, 2), and the frame in place; scalar."""
    edge = held_edge(grid, below)
    face = (read_at(grid, at) - to).abs().mean()
    return face + 0.3 * (read_at(grid, edge) - edge).abs().mean()


def roughness(grid: Tensor) -> Tensor:
    """Mean absolute second difference between neighbours of a warp (B, h, w, 2); scalar."""
    down, across = grid.float().diff(n=2, dim=1), grid.float().diff(n=2, dim=2)
    return down.abs().mean() + across.abs().mean()


def offset_apart(flow: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """As `warp_apart` for a flow (B, 2, h, w) that says how far off is read, kept smooth where it is fine; scalar."""
    still = torch.eye(2, 3, device=flow.device)[None].expand(len(flow), -1, -1)
    grid = flow.float().permute(0, 2, 3, 1) + F.affine_grid(still, [len(flow), 1, *flow.shape[2:]], True)
    apart = warp_apart(grid, at, to)
    return apart + 0.5 * roughness(grid) if min(flow.shape[2:]) > 8 else apart


class PointsOf(nn.Module):
    """A tracked surface by a linear map of some network's code: what teaches an encoder where faces are, fast."""

    def __init__(self, owner: nn.Module, code: Callable[[Tensor], Tensor], width: int) -> None:
        """`code` makes (B, width) of pictures (B, 3, S, S) by parts of `owner`, whose parameters are trained."""
        super().__init__()
        self.owner, self._code = owner, code
        self.norm, self.out = nn.BatchNorm1d(width), nn.Linear(width, 2 * POINTS)
        self.register_buffer("middle", torch.from_numpy(embedded_points()))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) to the surface (B, 468, 2) in -1..1."""
        out = self.out(self.norm(self._code(pictures))).float()
        return out.unflatten(1, (POINTS, 2)) + self.middle


def both_frames(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """All sources, then all driving frames of a batch (2B, 3, S, S), and their surfaces (2B, 468, 2)."""
    both = torch.cat([batch["source"], batch["driving"]]).contiguous(memory_format=torch.channels_last)
    return both, batch["taught"][..., :2].transpose(0, 1).flatten(0, 1)
