"""Networks of "Language-Guided Face Animation by Recurrent StyleGAN-based Generator" (Hang et al.).

    picture ─► CLIP ─► z_v ─┬──────────► visual mapper H_v ─► w_v ─┐
                            ▼                                      ├─► w(i) ─► StyleGAN2 ─► frame i
    text ───► CLIP ─► z_t ─►+─► recurrent motion generator ─► H_t ─┤
    picture ─► inversion encoder (e4e) ──────────────────► w_inv ──┘

The same recurrent generator moves Action Units instead of W+ codes in `UnitMotion`, which needs no generator
of pictures; `LstmMotion` is the recurrence of MoCoGAN-HD (Tian et al. 2021) in its place, a baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.stylegan2 import EqualLinear, PixelNorm

Phase = Literal["train", "inference"]
HIDDEN_SPREAD = 0.01  # of the normal distribution that the first hidden state is drawn from


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes; the defaults are those of the published face model (CLIP RN50, StyleGAN2 at 1024 pixels)."""

    code: int = 1024  # of CLIP's embeddings and of motion codes z
    hidden: int = 384  # of h
    mapper: int = 1024  # width of the mappers
    style: int = 512  # of one w
    styles: int = 18  # how many w the generator takes
    residual: float = 0.2  # r of equations 4 and 5, for four frames
    slope: float = 0.01  # of the leaky rectifiers in the recurrence; the paper's text says 0.1, its code this

    def step(self, frames: int) -> float:
        """Residual step of a sequence: 0.2 for the four frames of training, and as far in all for more."""
        return 4 * self.residual / frames


class RecurrentMotion(nn.Module):
    """Equations 3 to 5: motion codes as residuals of a code z that begins as the sum of both embeddings."""

    def __init__(self, code: int, hidden: int, residual: float = 0.2, slope: float = 0.01) -> None:
        super().__init__()
        self.hidden, self.residual, self.slope = hidden, residual, slope
        self.fc1 = nn.Linear(code, hidden)
        self.fc2 = nn.Linear(2 * hidden, code)
        self.fc3 = nn.Linear(2 * hidden, hidden)

    def forward(
        self, start: Tensor, frames: int, hidden: Tensor | None = None, phase: Phase = "train"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Motion codes (B, T, code) relative to `start` (B, code), the last code and the last hidden state.

        The first frame is the start itself. At inference the step shrinks linearly, (T - t) / T for
        t = 1 ... T-1, so that long sequences settle. To go on with a sequence, give the last code and hidden
        state back; `hidden` None draws a new one.
        """
        h = HIDDEN_SPREAD * torch.randn(len(start), self.hidden).to(start) if hidden is None else hidden
        step = 4 * self.residual / frames
        z, out = start, [torch.zeros_like(start)]
        for t in range(1, frames):
            r = step * (1.0 if phase == "train" else (frames - t) / frames)
            c = torch.cat([self._active(self.fc1(z)), h], dim=1)  # (B, 2·hidden), equation 3
            z = z + r * self._active(self.fc2(c))  # equation 4
            h = h + r * self._active(self.fc3(c))  # equation 5
            out.append(z - start)
        return torch.stack(out, 1), z, h

    def _active(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope)


class Mapper(nn.Module):
    """H_v and H_t: an embedding or motion code to offsets in W+."""

    def __init__(self, code: int, width: int, style: int, styles: int) -> None:
        super().__init__()
        self.style, self.styles = style, styles
        self.norm = PixelNorm()
        self.layers = nn.ModuleList(
            [
                EqualLinear(code, width, active=True),
                EqualLinear(width, width, active=True),
                EqualLinear(width, style * styles, active=True),
            ]
        )

    def forward(self, code: Tensor) -> Tensor:
        """(..., code) to (..., styles, style)."""
        x = self.norm(code.reshape(-1, code.shape[-1]))
        for layer in self.layers:
            x = layer(x)
        return x.reshape(*code.shape[:-1], self.styles, self.style)


class LanguageModel(nn.Module):
    """Everything that is trained besides CLIP: the recurrence and both mappers."""

    def __init__(self, config: LanguageConfig = LanguageConfig()) -> None:
        super().__init__()
        c = self.config = config
        self.motion = RecurrentMotion(c.code, c.hidden, c.residual, c.slope)
        self.visual = Mapper(c.code, c.mapper, c.style, c.styles)
        self.textual = Mapper(c.code, c.mapper, c.style, c.styles)

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        inversion: Tensor,
        frames: int,
        hidden: Tensor | None = None,
        phase: Phase = "train",
    ) -> tuple[Tensor, Tensor]:
        """Codes of all frames (B, T, styles, style) and of the content (B, styles, style).

        `image`, `text` (B, code) are CLIP's embeddings of unit length, `inversion` (B, styles, style) is the
        picture's own code. No gradient reaches the image embedding by way of the motion."""
        moved, _, _ = self.motion(text + image.detach(), frames, hidden, phase)
        content = self.visual(image) + inversion  # w_s
        return content[:, None] + self.textual(moved), content


# -- the same generator in Action Units -----------------------------------------------------------


@dataclass(frozen=True)
class UnitConfig:
    """Sizes of the generator of unit trajectories."""

    sentence: int = 384  # of the sentence encoder's embedding
    code: int = 256
    hidden: int = 256
    width: int = 256  # of the mapper
    channels: tuple[str, ...] = ()  # names of Action Units, head and gaze channels
    frames: int = 32
    fps: float = 10.0
    residual: float = 3.0  # of the whole sequence, see `LanguageConfig.step`
    slope: float = 0.1
    recurrence: Literal["residual", "lstm"] = "residual"
    pooling: Literal["mean", "ordered"] = "mean"  # of the sentence encoder
    wide: int = 0  # of the layer that the sentence enters by; 0: as the code
    block: int = 1  # frames that one motion code is mapped to; where more, the start itself is no frame


class LstmMotion(nn.Module):
    """Motion codes of MoCoGAN-HD's generator: residuals by an LSTM cell that sees the first code and noise."""

    def __init__(self, code: int, hidden: int, noise: int = 16, residual: float = 0.2) -> None:
        super().__init__()
        self.noise, self.residual = noise, residual
        self.begin = nn.Linear(code, hidden)
        self.cell = nn.LSTMCell(code + noise, hidden)
        self.out = nn.Linear(hidden, code)

    def forward(
        self, start: Tensor, frames: int, hidden: Tensor | None = None, phase: Phase = "train"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `RecurrentMotion`; `hidden` is (B, 2, hidden)."""
        if hidden is None:
            h = torch.tanh(self.begin(start))
            c = torch.zeros_like(h)
        else:
            h, c = hidden.unbind(1)
        z, out = start, [torch.zeros_like(start)]
        for _ in range(1, frames):
            noise = torch.randn(len(start), self.noise).to(start)
            if phase == "inference":
                noise = torch.zeros_like(noise)
            h, c = self.cell(torch.cat([start, noise], 1), (h, c))
            z = z + self.residual * self.out(h)
            out.append(z - start)
        return torch.stack(out, 1), z, torch.stack([h, c], 1)


class UnitMotion(nn.Module):
    """A sentence's embedding to trajectories of Action Units, head and gaze, by the recurrence of the paper."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        self.config = c = config
        self.enter = nn.Sequential(
            nn.Linear(c.sentence, c.wide or c.code), nn.LeakyReLU(0.1), nn.Linear(c.wide or c.code, c.code)
        )
        self.motion: RecurrentMotion | LstmMotion
        if c.recurrence == "lstm":
            self.motion = LstmMotion(c.code, c.hidden)
        else:
            self.motion = RecurrentMotion(c.code, c.hidden, c.residual, c.slope)
        self.mapper = nn.Sequential(
            nn.Linear(c.code, c.width), nn.LeakyReLU(0.1), nn.Linear(c.width, c.width), nn.LeakyReLU(0.1),
            nn.Linear(c.width, c.block * len(c.channels)),
        )  # fmt: skip

    def forward(
        self, sentence: Tensor, frames: int | None = None, hidden: Tensor | None = None, phase: Phase = "train"
    ) -> Tensor:
        """(B, sentence) to trajectories (B, T, channels), 1 being full intensity or a channel's limit.

        A motion code of zero is the face at rest: the mapper's answer to it is taken off."""
        c = self.config
        frames = frames or c.frames
        start = self.enter(sentence)
        if hidden is None and isinstance(self.motion, RecurrentMotion) and phase == "inference":
            hidden = torch.zeros(len(start), self.motion.hidden).to(start)  # the mean of its distribution
        own = c.block > 1  # the start is no frame then
        n = c.frames // c.block + own
        moved, z, h = self.motion(start, n, hidden)
        parts = [moved[:, own:]]
        done = c.frames
        while done < frames:  # longer: on from the last code, with ever smaller steps
            more, z, h = self.motion(z, n, h, "inference")
            parts.append(parts[-1][:, -1:] + more[:, own:])
            done += c.frames
        codes = torch.cat(parts, 1)
        made = self.mapper(codes) - self.mapper(torch.zeros_like(codes[:, :1]))
        return made.reshape(len(made), -1, len(c.channels))[:, :frames]


class MotionText(nn.Module):
    """Trajectories and sentences in one space: what CLIP is to pictures, for losses and for retrieval."""

    def __init__(self, channels: int, sentence: int = 384, width: int = 128, space: int = 64) -> None:
        super().__init__()
        self.reader = nn.Sequential(
            nn.Conv1d(2 * channels, width, 5, 2, 2), nn.LeakyReLU(0.1), nn.Conv1d(width, width, 5, 2, 2),
            nn.LeakyReLU(0.1), nn.Conv1d(width, width, 3, 1, 1), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.from_motion = nn.Linear(2 * width, space)
        self.from_text = nn.Sequential(nn.Linear(sentence, width), nn.LeakyReLU(0.1), nn.Linear(width, space))

    def forward(self, x: Tensor, kind: Literal["motion", "text"]) -> Tensor:
        """`motion` or `text` of `x`."""
        return self.motion(x) if kind == "motion" else self.text(x)

    def motion(self, x: Tensor) -> Tensor:
        """(B, T, channels) to unit vectors (B, space), by values and their changes."""
        change = F.pad(x[:, 1:] - x[:, :-1], (0, 0, 1, 0)) * 4
        states = self.reader(torch.cat([x, change], 2).transpose(1, 2))  # (B, width, T/4)
        return F.normalize(self.from_motion(torch.cat([states.mean(2), states.amax(2)], 1)), dim=1)

    def text(self, sentence: Tensor) -> Tensor:
        """(B, sentence) to unit vectors (B, space)."""
        return F.normalize(self.from_text(sentence), dim=1)
