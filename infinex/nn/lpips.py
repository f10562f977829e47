"""LPIPS (Zhang et al. 2018) with VGG-16: how different two pictures look. Weights are given by path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import read_weights
from infinex.nn.vgg import STAGES_16, Stages

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips(Stages):
    """Distance of two pictures (B, 3, H, W) in -1..1: (B,). Frozen."""

    def __init__(self) -> None:
        super().__init__(STAGES_16, SHIFT, SCALE)
        self.weights = nn.ParameterList(nn.Parameter(torch.ones(s[-1])) for s in STAGES_16)
        self.requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps after the last rectifier of every stage, each pixel's vector of unit length."""
        return [last / (last.square().sum(1, keepdim=True).sqrt() + 1e-10) for _, last in self.maps(x)]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(B,), 0 for the same picture."""
        total = torch.zeros(len(a), device=a.device)
        for x, y, w in zip(self.features(a), self.features(b), self.weights):
            total = total + ((x - y).square() * w.reshape(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total

    @torch.inference_mode()
    def between(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
        """The distance of two pictures (H, W, 3) RGB of one size."""
        x = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).float() / 127.5 - 1
        return float(self(x[:1], x[1:])[0])


def load_lpips(path: str | Path) -> Lpips:
    """The state dict of the authors' package for `net="vgg"` (`net.slice1.0.weight`, `lin0.model.1.weight`)."""
    state = read_weights(Path(path))
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no state dict")
    model = Lpips()
    kernels = sorted((int(k.split(".")[2]), k) for k in state if k.startswith("net.slice") and k.endswith("weight"))
    if len(kernels) != len(model.convs):
        raise WeightsError(f"{path} is no LPIPS with VGG-16: {len(kernels)} convolutions instead of {len(model.convs)}")
    try:
        for conv, (_, key) in zip(model.convs, kernels):
            conv.weight.data.copy_(state[key])  # type: ignore[operator]
            conv.bias.data.copy_(state[key.removesuffix("weight") + "bias"])  # type: ignore[operator]
        for i, w in enumerate(model.weights):
            w.data.copy_(state[f"lin{i}.model.1.weight"].flatten())
    except (KeyError, RuntimeError) as error:
        raise WeightsError(f"{path} does not fit LPIPS with VGG-16: {error}") from None
    return model.eval()
