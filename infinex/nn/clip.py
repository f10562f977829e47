"""CLIP (Radford et al. 2021) through `transformers`: pictures and texts in one space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.errors import MissingDependencyError, WeightsError

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Clip(nn.Module):
    """A CLIP model and its tokenizer. `size` is that of its embeddings."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.size = int(model.config.projection_dim)
        self.side = int(model.config.vision_config.image_size)

    def forward(self, x: Tensor | Sequence[str]) -> Tensor:
        """`image` or `text` of `x`."""
        return self.image(x) if isinstance(x, Tensor) else self.text(x)

    def image(self, x: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1 to vectors (B, size) of unit length."""
        x = F.interpolate(x, size=(self.side, self.side), mode="bicubic", align_corners=False, antialias=True)
        mean, std = (torch.tensor(v).to(x).reshape(1, 3, 1, 1) for v in (MEAN, STD))
        states = self.model.vision_model(pixel_values=(x - mean) / std).pooler_output
        return F.normalize(self.model.visual_projection(states), dim=1)

    def plain(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, side, side) as they are, not brought to the mean and deviation that CLIP knows: so StyleCLIP
        shows them, in -1..1. Vectors (B, size) of unit length."""
        states = self.model.vision_model(pixel_values=x).pooler_output
        return F.normalize(self.model.visual_projection(states), dim=1)

    def text(self, texts: Sequence[str]) -> Tensor:
        """Texts to vectors (N, size) of unit length."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        device = self.model.text_projection.weight.device
        states = self.model.text_model(**{k: v.to(device) for k, v in tokens.items()}).pooler_output
        return F.normalize(self.model.text_projection(states), dim=1)


def load_clip(name: str | Path) -> Clip:
    """A CLIP model by name or folder. Raises MissingDependencyError or WeightsError."""
    try:
        from transformers import AutoTokenizer, CLIPModel
    except ImportError:
        raise MissingDependencyError("CLIP needs transformers: pip install 'infinex[language]'") from None
    try:
        return Clip(CLIPModel.from_pretrained(str(name)), AutoTokenizer.from_pretrained(str(name))).eval()
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0][:120]
        raise WeightsError(f"CLIP {str(name)!r} cannot be read ({first}); give a model's name or its folder") from None
