"""What the refiner is trained for: the true window, its edges and its structure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor


@dataclass(frozen=True)
class RefinerLossWeights:
    """Weights of the terms; 0 leaves a term out."""

    colour: float = 10.0
    edges: float = 10.0
    coarse: float = 5.0
    energy: float = 0.0  # as much texture as the truth has, wherever it lies
    calm: float = 0.02  # of the flow correction's roughness
    flow: float = 0.5  # of its distance from optical flow between frame and truth, where that is sure


def weighted(difference: Tensor, support: Tensor) -> Tensor:
    """Mean of |difference| (B, C, H, W), a pixel counting by `support` (B, 1, H, W)."""
    return (difference.abs() * support).sum() / (support.sum() * difference.shape[1] + 1e-3)


def picture_terms(made: Tensor, truth: Tensor, support: Tensor, weights: RefinerLossWeights) -> dict[str, Tensor]:
    """Weighted terms for windows (B, 3, S, S) and the support (B, S, S); terms of weight 0 are left out.

    colour: L1. edges: L1 of the differences of neighbours at three scales. coarse: L1 of 8×8 means. energy: L1
    of the local means of those differences' magnitudes. What cannot be known, such as which teeth show, L1
    answers with blur; energy wants them as crisp as the truth, wherever they are."""
    m = support[:, None]
    terms = {"colour": weights.colour * weighted(made - truth, m)}
    edges, energy = made.new_zeros(()), made.new_zeros(())
    a, b, s = made, truth, m
    for _ in range(3):
        for dim in (2, 3):
            within = s.narrow(dim, 0, s.shape[dim] - 1)
            da, db = a.diff(dim=dim), b.diff(dim=dim)
            edges = edges + weighted(da - db, within)
            near = F.avg_pool2d(da.abs() * within, 9, 4) - F.avg_pool2d(db.abs() * within, 9, 4)
            energy = energy + near.abs().sum() / (F.avg_pool2d(within, 9, 4).sum() * near.shape[1] + 1e-3)
        a, b, s = (F.avg_pool2d(t, 2) for t in (a, b, s))
    if weights.edges:
        terms["edges"] = weights.edges * edges / 6
    if weights.energy:
        terms["energy"] = weights.energy * energy / 6
    terms["coarse"] = weights.coarse * weighted(a - b, s)
    return terms


def roughness(flow: Tensor) -> Tensor:
    """Mean absolute change of a flow (B, 2, S, S) from pixel to pixel."""
    return flow.diff(dim=2).abs().mean() + flow.diff(dim=3).abs().mean()


def flow_error(flow: Tensor, wanted: Tensor, sure: Tensor) -> Tensor:
    """Huber distance, in window pixels, of flows (B, 2, S, S); a pixel counts by `sure` (B, S, S)."""
    apart = F.huber_loss(flow, wanted, reduction="none").sum(1)
    return (apart * sure).sum() / (sure.sum() + 1e-3)


def mirrored(batch: dict[str, Tensor], planes: tuple[int, ...], flip: Tensor) -> dict[str, Tensor]:
    """The samples of a batch that `flip` (B,) says, seen in a mirror; `planes` of them change their sign."""
    out = {k: torch.where(flip.view(-1, *[1] * (v.ndim - 1)), v.flip(-1), v) for k, v in batch.items()}
    sign = torch.where(flip, -1.0, 1.0)[:, None, None].to(out["planes"])
    out["planes"][:, list(planes)] *= sign[:, None]
    if "flow" in out:
        out["flow"][:, 0] *= sign
    return out


def augment(
    planes: Tensor, truth: Tensor, images: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Other light and other complexions: the same random gain, tint, offset and fade to grey for the frame, the
    source (the first `images` planes, RGB by RGB) and the truth (B, 3, S, S), all in -1..1."""
    n = len(planes)

    def random(*shape: int) -> Tensor:
        return torch.rand(n, *shape, 1, 1, generator=generator).to(planes) * 2 - 1

    gain = (1 + 0.25 * random(1)) * (1 + 0.12 * random(3))
    offset, grey = 0.15 * random(1) + 0.06 * random(3), (random(1) * 3 - 2).clamp(0, 1)

    def light(x: Tensor) -> Tensor:
        mean = x.mean(dim=1, keepdim=True)
        return ((x + (mean - x) * grey) * gain + offset).clamp(-1, 1)

    parts = [light(planes[:, i : i + 3]) for i in range(0, images, 3)]
    return torch.cat([*parts, planes[:, images:]], dim=1), light(truth)
