"""An encoder that keeps places apart."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Strided(nn.Module):
    """A picture to a vector by strided convolutions; places of the last map stay apart, so a face is found soon."""

    def __init__(self, outputs: int, widths: Sequence[int], size: int) -> None:
        """`size` is the side of the picture; each of `widths` halves it."""
        super().__init__()
        self.features = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
                for a, b in zip([3, *widths], widths)
            )
        )
        self.classifier = nn.Linear(widths[-1] * (size >> len(widths)) ** 2, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1 to (B, outputs)."""
        return self.classifier(self.features(image).flatten(1))
