"""The training objective of X2Face: the driving frame is to be met; later, whoever is driven stays himself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from infinex.nn.losses import reconstruction
from infinex.nn.vgg import CaffeFeatures, face_inside, features_apart

Face = Callable[[Tensor], Tensor]  # pictures (B, 3, H, W) to their embedded faces


class Identity(nn.Module):
    """How far a made picture is from being of the person in another one (the paper's second stage).

    By features of VGG-Face, as in the paper; without its weights by the embedded face, which is the same for every
    picture of a person."""

    def __init__(self, vgg: CaffeFeatures | None = None) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, made: Tensor, source: Tensor, face: Face) -> Tensor:
        """Pictures (B, 3, H, W) in 0..1 of each person; a scalar."""
        if self.vgg is not None:
            return features_apart(self.vgg, face_inside(made), face_inside(source))
        with torch.no_grad():
            wanted = face(source)
        return (face(made) - wanted).abs().mean()


def first_stage(result: Tensor, driving: Tensor) -> dict[str, Tensor]:
    """The driving frame, which is of the source's person, is to be met."""
    return {"reconstruction": reconstruction(result, driving)}
