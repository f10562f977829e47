"""The network: log-mel energies to sound classes and to the shape of a mouth.

After Neural Voice Puppetry (Thies et al., ECCV 2020): convolutions over time give a small latent vector a step, a
content-aware filter (weights over neighbouring steps, read from the latents themselves) calms it, and a linear map
turns it into expression coefficients; each talker has a map of their own in training, close to the shared one. Three
things differ: the input is log-mel energies instead of a recogniser's letters, so the encoder learns sound classes
itself; beside the heads stands a linear map fitted in closed form (`fit.py`), which few talkers teach more safely; and
all is convolutional, so that a recording of any length streams through.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from infinex.systems.speech.features import BANDS
from infinex.systems.speech.synthetic import CLASSES

DIRECT = 7  # steps the linear map looks at


@dataclass(frozen=True)
class SpeechConfig:
    """Sizes. `reach` is how many 10 ms rows on either side one step can see."""

    width: int = 96
    latent: int = 32
    coefficients: int = 6
    filter: int = 9  # steps of 20 ms the temporal filter weighs
    heads: int = 4  # mouths learnt apart on one encoder and averaged
    dropout: float = 0.1
    direct: float = 0.0  # share of a linear map fitted in closed form, beside the heads

    @property
    def reach(self) -> int:
        """Rows of context on either side that decide a step."""
        steps = (1 + 2 + 4) * 2 + (1 + 1 + 1) + self.filter // 2
        return 2 * steps + 2 + 2


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(F.leaky_relu(self.norm(self.conv(x)), 0.1))


class Head(nn.Module):
    """From what was heard (B, width + classes, T) to coefficients (B, T, K): latents, their filter, a linear map."""

    def __init__(self, c: SpeechConfig) -> None:
        super().__init__()
        self.window = c.filter
        self.drop = nn.Dropout(c.dropout)
        self.inner = nn.Conv1d(c.width + len(CLASSES), 64, 1)
        self.latent = nn.Conv1d(64, c.latent, 1)
        self.attention = nn.Sequential(
            nn.Conv1d(c.latent, 16, 3, padding=1), nn.LeakyReLU(0.02), nn.Conv1d(16, 16, 3, padding=1),
            nn.LeakyReLU(0.02), nn.Conv1d(16, c.filter, 3, padding=1),
        )  # fmt: skip
        self.shape = nn.Conv1d(c.latent, c.coefficients, 1)

    def filtered(self, z: Tensor) -> Tensor:
        """The content-aware temporal filter over latents (B, L, T)."""
        w, n = self.window, z.shape[2]
        weight = torch.softmax(self.attention(z), 1)
        padded = F.pad(z, (w // 2, w // 2), mode="replicate")
        out = weight[:, :1] * padded[:, :, :n]
        for k in range(1, w):
            out = out + weight[:, k : k + 1] * padded[:, :, k : k + n]
        return out

    def forward(self, heard: Tensor) -> Tensor:
        z = torch.tanh(self.latent(F.leaky_relu(self.inner(self.drop(heard)), 0.02)))
        return self.shape(self.filtered(z)).transpose(1, 2)


class SpeechNet(nn.Module):
    """`forward(rows)`: normalised log-mel (B, 2 T, BANDS) to coefficients (B, T, K) and class logits (B, T, C)."""

    def __init__(self, config: SpeechConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or SpeechConfig()
        self.first = nn.Conv1d(BANDS, 64, 5, padding=2)
        self.first_norm = nn.BatchNorm1d(64)
        self.second = nn.Conv1d(64, c.width, 5, stride=2, padding=2)
        self.second_norm = nn.BatchNorm1d(c.width)
        self.blocks = nn.ModuleList(_Block(c.width, d, c.dropout) for d in (1, 2, 4))
        self.sounds = nn.Conv1d(c.width, len(CLASSES), 1)
        self.heads = nn.ModuleList(Head(c) for _ in range(c.heads))
        if c.direct:
            self.direct = nn.Conv1d(c.width + len(CLASSES), c.coefficients, DIRECT, padding=DIRECT // 2)

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (B, width, T) and class logits (B, C, T)."""
        x = F.leaky_relu(self.first_norm(self.first(rows.transpose(1, 2))), 0.1)
        x = F.leaky_relu(self.second_norm(self.second(x)), 0.1)
        for block in self.blocks:
            x = block(x)
        return x, self.sounds(x)

    def forward(self, rows: Tensor, apart: bool = False) -> tuple[Tensor, Tensor]:
        """`apart` keeps the heads' coefficients apart, (H, B, T, K), as training wants them."""
        x, logits = self.encode(rows)
        heard = torch.cat([x, torch.softmax(logits, 1)], 1)
        made = torch.stack([head(heard) for head in self.heads])
        if apart:
            return made, logits.transpose(1, 2)
        out = made.mean(0)
        if self.config.direct:
            out = (1 - self.config.direct) * out + self.config.direct * self.direct(heard).transpose(1, 2)
        return out, logits.transpose(1, 2)
