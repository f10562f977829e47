"""The network: what a recogniser hears, to sound classes and to the shape of a mouth.

After Neural Voice Puppetry (Thies et al., ECCV 2020), which reads mouths off the features of a recogniser too:
convolutions over time give a small latent vector a step, a content-aware filter (weights over neighbouring steps, read
from the latents themselves) calms it, and a linear map turns it into expression coefficients; each talker has a map of
their own in training, close to the shared one. Three things differ: the features are hidden states of a small
recogniser (`listener.py`) and not its letters, beside them the probabilities of sound classes learnt from them; beside
the heads stands a linear map fitted in closed form (`fit.py`), which few talkers teach more safely; and all is
convolutional, so that a recording of any length streams through.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from infinex.systems.speech.listener import HIDDEN
from infinex.systems.speech.synthetic import CLASSES

DIRECT = 7  # steps the linear map looks at
HEARD = HIDDEN + len(CLASSES)  # numbers a step that mouths are read off


@dataclass(frozen=True)
class SpeechConfig:
    """Sizes."""

    width: int = 128
    latent: int = 32
    coefficients: int = 6
    filter: int = 9  # steps of 20 ms the temporal filter weighs
    heads: int = 4  # mouths learnt apart on one encoder and averaged
    dropout: float = 0.1
    direct: float = 0.0  # share of a linear map fitted in closed form, beside the heads


class Head(nn.Module):
    """From what was heard (B, HEARD, T) to coefficients (B, T, K): latents, their filter, a linear map."""

    def __init__(self, c: SpeechConfig) -> None:
        super().__init__()
        self.window = c.filter
        self.drop = nn.Dropout(c.dropout)
        self.inner = nn.Conv1d(HEARD, 64, 1)
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
    """`forward(rows)`: hidden states (B, T, HIDDEN) to coefficients (B, T, K) and class logits (B, T, C)."""

    def __init__(self, config: SpeechConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or SpeechConfig()
        self.scale = nn.BatchNorm1d(HIDDEN, affine=False)
        self.first = nn.Conv1d(HIDDEN, c.width, 1)
        self.first_norm = nn.BatchNorm1d(c.width)
        self.second = nn.Conv1d(c.width, c.width, 5, padding=2)
        self.second_norm = nn.BatchNorm1d(c.width)
        self.drop = nn.Dropout(c.dropout)
        self.sounds = nn.Conv1d(c.width, len(CLASSES), 1)
        self.heads = nn.ModuleList(Head(c) for _ in range(c.heads))
        if c.direct:
            self.direct = nn.Conv1d(HEARD, c.coefficients, DIRECT, padding=DIRECT // 2)

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled hidden states and class probabilities (B, HEARD, T), which mouths are read off, and class logits."""
        scaled = self.scale(rows.transpose(1, 2))
        x = F.leaky_relu(self.first_norm(self.first(scaled)), 0.1)
        x = x + self.drop(F.leaky_relu(self.second_norm(self.second(self.drop(x))), 0.1))
        logits = self.sounds(x)
        return torch.cat([scaled, torch.softmax(logits, 1)], 1), logits

    def forward(self, rows: Tensor, apart: bool = False) -> tuple[Tensor, Tensor]:
        """`apart` keeps the heads' coefficients apart, (H, B, T, K), as training wants them."""
        heard, logits = self.encode(rows)
        made = torch.stack([head(heard) for head in self.heads])
        if apart:
            return made, logits.transpose(1, 2)
        out = made.mean(0)
        if self.config.direct:
            out = (1 - self.config.direct) * out + self.config.direct * self.direct(heard).transpose(1, 2)
        return out, logits.transpose(1, 2)
