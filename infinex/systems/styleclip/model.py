"""StyleCLIP's mappers (Patashnik et al. 2021, section 5): a face's codes to what one text changes in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from infinex.nn.stylegan2 import EqualLinear

LEVELS = {"coarse": slice(0, 4), "medium": slice(4, 8), "fine": slice(8, None)}  # codes of W+ that each mapper sees
COLOURS = 3, 1  # every third vector of the style space, from the second on, belongs to colours and stays
Norm = Literal["channels", "codes"]


@dataclass(frozen=True)
class StyleclipConfig:
    """Sizes of a mapper; the defaults are those of the paper with every level.

    `norm`: over what vectors are brought to a mean square of 1 first. The published code divides (B, codes, channels)
    by the mean over its *codes*; its files need that, and `read_published` sets it."""

    kind: str = "levels"  # "single": one mapper for all codes; "styles": one for each vector of the style space
    levels: tuple[str, ...] = ("coarse", "medium", "fine")
    style: int = 512
    widths: tuple[int, ...] = ()  # of the style space, for "styles"
    depth: int = 4
    norm: Norm = "channels"
    step: float = 0.1  # share of what a mapper says that is added

    def __post_init__(self) -> None:
        if self.kind not in ("levels", "single", "styles"):
            raise ValueError(f"kind is levels, single or styles, not {self.kind}")
        if self.kind == "levels" and (not self.levels or set(self.levels) - set(LEVELS)):
            raise ValueError(f"levels are {', '.join(LEVELS)}, not {self.levels}")


class Mapper(nn.Module):
    """Codes (B, L, C), or style vectors (B, C), to changes of the same shape."""

    def __init__(self, size: int, depth: int, norm: Norm) -> None:
        super().__init__()
        self.dim = 1 if norm == "codes" else -1
        self.layers = nn.ModuleList(
            EqualLinear(a, b, rate=0.01, active=True) for a, b in pairwise([size] * (depth + 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x * torch.rsqrt(x.square().mean(dim=self.dim, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x


class CodeMapper(nn.Module):
    """Changes in W+: one mapper for each of three levels, or one for all codes."""

    def __init__(self, config: StyleclipConfig) -> None:
        super().__init__()
        self.config = config
        names = config.levels if config.kind == "levels" else ("single",)
        self.at = nn.ModuleDict({n: Mapper(config.style, config.depth, config.norm) for n in names})

    def change(self, w: Tensor) -> Tensor:
        """(B, L, C) to the same; zero at levels without a mapper."""
        if self.config.kind == "single":
            return self.at["single"](w)  # type: ignore[no-any-return]
        parts = [self.at[n](w[:, s]) if n in self.at else torch.zeros_like(w[:, s]) for n, s in LEVELS.items()]
        return torch.cat(parts, dim=1)

    def forward(self, w: Tensor) -> Tensor:
        """w + step · M(w), equation 3's edited codes."""
        return w + self.config.step * self.change(w)


class StyleMapper(nn.Module):
    """Changes in the style space: a mapper for each vector that scales a convolution's channels, none for colours."""

    def __init__(self, config: StyleclipConfig) -> None:
        super().__init__()
        self.config = config
        # A style vector has no codes, so that both kinds of norm are the same here.
        self.at = nn.ModuleDict({
            str(k): Mapper(width, config.depth, "channels")
            for k, width in enumerate(config.widths)
            if k % COLOURS[0] != COLOURS[1]
        })  # fmt: skip

    def change(self, styles: list[Tensor]) -> list[Tensor]:
        """(B, C_k) each to the same; zero for colours."""
        return [self.at[str(k)](s) if str(k) in self.at else torch.zeros_like(s) for k, s in enumerate(styles)]

    def forward(self, styles: list[Tensor]) -> list[Tensor]:
        """Every vector plus step · M."""
        return [s + self.config.step * d for s, d in zip(styles, self.change(styles))]


def mapper(config: StyleclipConfig) -> CodeMapper | StyleMapper:
    """A freshly initialised mapper of some sizes."""
    return StyleMapper(config) if config.kind == "styles" else CodeMapper(config)
