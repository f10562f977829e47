"""What the voice and the renderer are taught by (Thies et al. 2020, sections 4 and 5, and the published code)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

from infinex.nn.vgg import VGG16

Measure = Literal["RMS", "L1", "L2"]
REST = 0.1  # weight of vertices beyond the mouth
ABSOLUTE, UNFILTERED, RELATIVE = 1000.0, 3000.0, 20000.0


def distance(expressions: Tensor, basis: Tensor, weight: Tensor, measure: Measure) -> Tensor:
    """How far expressions (B, E) move the vertices of a `basis` (E, V, 3), each by its `weight` (V,); a scalar."""
    moved = torch.einsum("be,evc->bvc", expressions, basis)
    share = weight[None, :, None]
    if measure == "L1":
        return (share * moved.abs()).mean()
    squared = (share * moved.square()).mean()
    return squared.sqrt() if measure == "RMS" else squared


def voice_terms(
    made: tuple[Tensor, Tensor, Tensor, Tensor], wanted: tuple[Tensor, Tensor, Tensor], basis: Tensor, mask: Tensor,
    measure: Measure = "RMS",
) -> dict[str, Tensor]:  # fmt: skip
    """`made` are expressions (B, E) of a frame, of the one before and after it, and of the frame unfiltered, `wanted`
    the first three as tracked; `mask` (V,) is 1 at the mouth."""
    weight = mask + REST
    now, before, after, unfiltered = made
    off = [a - b for a, b in zip((now, before, after), wanted)]

    def d(x: Tensor) -> Tensor:
        return distance(x, basis, weight, measure)

    absolute = ABSOLUTE * (d(off[0]) + d(off[1]) + d(off[2])) + UNFILTERED * d(unfiltered - wanted[0])
    # The change from frame to frame: that of the difference is the difference of changes.
    relative = RELATIVE * (d(off[0] - off[2]) + d(off[1] - off[0]) + d(off[1] - off[2]))
    return {"absolute": absolute, "relative": relative}


@dataclass(frozen=True)
class LossWeights:
    """Of the renderer's terms, as published; `divided` is the published division by the number of pixels, twice."""

    texture: float = 1.0
    decoder: float = 5.0
    result: float = 10.0
    style: float = 10.0
    divided: bool = False


def picture_terms(
    w: LossWeights, features: Tensor, intermediate: Tensor, picture: Tensor, target: Tensor, valid: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """L1 terms of pictures (B, 3, H, W) in -1..1, the first two where the face is `valid` (B, 1, H, W), and the weight
    by which those are counted."""
    weight = 1 / valid.sum().clamp(min=1) if w.divided else valid.numel() / valid.sum().clamp(min=1)
    terms = {
        "texture": w.texture * weight * ((features[:, :3] - target).abs() * valid).mean(),
        "decoder": w.decoder * weight * ((intermediate - target).abs() * valid).mean(),
        "result": w.result * (picture - target).abs().mean(),
    }
    return terms, weight


def _gram(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / (x.shape[1] * x.shape[2] * x.shape[3])


def style_loss(vgg: VGG16, made: Tensor, target: Tensor) -> Tensor:
    """Squared differences of relu2_2, and of the Gram matrices of four levels; pictures in -1..1."""
    a, b = vgg((made + 1) / 2), vgg((target + 1) / 2)
    style = sum((F.mse_loss(_gram(p), _gram(q)) for p, q in zip(a, b)), made.new_zeros(()))
    return F.mse_loss(a[1], b[1]) + style
