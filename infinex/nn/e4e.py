"""Inversion encoder e4e (Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", 2021): a face to W+.

An IR-SE50 body (Deng et al. 2019) with a feature pyramid; one head gives the first w, the others what each
following layer's differs from it. Reads the authors' `encoder.*` keys and their `latent_avg`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import read_weights
from infinex.nn.stylegan2 import EqualLinear

STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))  # inputs, outputs, blocks of IR-SE50
TAPS = (6, 20, 23)  # blocks whose maps enter the pyramid
COARSE, MIDDLE = 3, 7  # first styles of the middle and of the fine maps
SIDE = 256  # of the picture it sees


class Squeeze(nn.Module):
    """Channels weighted by a look at the whole map (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    """A residual block with squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int = 16) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = (
            nn.MaxPool2d(1, stride)
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
            Squeeze(outputs, reduction),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H/stride, W/stride)."""
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class StyleHead(nn.Module):
    """A map halved down to one vector."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(int(math.log2(side))):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, side, side) to (B, C)."""
        out: Tensor = self.linear(self.convs(x).flatten(1))
        return out


def stem(channels: int) -> nn.Sequential:
    """The first layers of IR-SE50: (B, 3, H, W) to (B, channels, H, W)."""
    return nn.Sequential(nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.PReLU(channels))


def residual(stages: tuple[tuple[int, int, int], ...] = STAGES, reduction: int = 16) -> nn.Sequential:
    """The blocks of IR-SE50; each of `stages` (inputs, outputs, blocks) halves the map."""
    return nn.Sequential(
        *(Block(a if k == 0 else b, b, 2 if k == 0 else 1, reduction) for a, b, n in stages for k in range(n))
    )


class E4e(nn.Module):
    """Faces (B, 3, 256, 256) in -1..1, aligned as FFHQ is, to codes (B, styles, 512)."""

    mean: Tensor

    def __init__(self, styles: int = 18) -> None:
        super().__init__()
        self.input_layer, self.body = stem(64), residual()
        sides = [16 if i < COARSE else 32 if i < MIDDLE else 64 for i in range(styles)]
        self.styles = nn.ModuleList(StyleHead(512, side) for side in sides)
        self.latlayer1, self.latlayer2 = nn.Conv2d(256, 512, 1), nn.Conv2d(128, 512, 1)
        self.register_buffer("mean", torch.zeros(styles, 512))

    def forward(self, image: Tensor) -> Tensor:
        """Codes with the generator's mean w added."""
        x = self.input_layer(image)
        taps = []
        for i, block in enumerate(self.body):
            x = block(x)
            if i in TAPS:
                taps.append(x)
        fine, middle, coarse = taps
        first = self.styles[0](coarse)
        codes, maps = [first], coarse
        for i in range(1, len(self.styles)):
            if i == COARSE:
                maps = middle = self._add(coarse, self.latlayer1(middle))
            elif i == MIDDLE:
                maps = self._add(middle, self.latlayer2(fine))
            codes.append(first + self.styles[i](maps))
        return torch.stack(codes, 1) + self.mean

    @staticmethod
    def _add(x: Tensor, y: Tensor) -> Tensor:
        return F.interpolate(x, size=y.shape[2:], mode="bilinear", align_corners=True) + y


def from_state(state: Mapping[str, Tensor], mean: Tensor | None = None, what: str = "the checkpoint") -> E4e:
    """An encoder from the authors' keys, with or without `encoder.` before them. Raises WeightsError."""
    own = {k.removeprefix("encoder."): v for k, v in state.items() if not k.startswith(("decoder.", "latent_avg"))}
    # Their squeeze layer holds its two convolutions beside parameterless ones: the names are the same.
    heads = {int(k.split(".")[1]) for k in own if k.startswith("styles.")}
    if not heads or "input_layer.0.weight" not in own:
        raise WeightsError(f"{what} is no e4e encoder: its style heads are missing")
    model = E4e(max(heads) + 1)
    if mean is not None:
        own["mean"] = mean.reshape(-1, 512).expand(max(heads) + 1, 512).clone()
    own.setdefault("mean", model.mean)
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise WeightsError(f"{what} does not fit an e4e encoder: {str(error).splitlines()[-1].strip()}") from None
    return model.eval().requires_grad_(False)


def load_e4e(path: str | Path) -> E4e:
    """The authors' `e4e_ffhq_encode.pt` ({"state_dict", "latent_avg"}) or a bare state dict. Raises WeightsError."""
    data = read_weights(Path(path))
    state = data.get("state_dict", data) if isinstance(data, dict) else None
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no state dict")
    mean = data.get("latent_avg", state.get("latent_avg"))
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    return from_state(tensors, mean if isinstance(mean, Tensor) else None, str(path))
