"""Weights of DAE-GAN: our own files. None were published; those of its base, the deforming autoencoder, are loaded by
`deforming_state`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State, misfit, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.dae_gan.deforming import Decoders, DeformingConfig, Encoders
from infinex.systems.dae_gan.model import CONFIGS, DaeConfig, networks_of

DaeWeights = Networks[DaeConfig]


def deforming_state(data: Any, config: DeformingConfig, what: str, part: str) -> State:
    """The state dict of `encoders` or `decoders` in a published file `wasp_model_epoch_*.pth`.

    Layers that nothing reaches stay where `config` has them, and are dropped where it has not. Raises WeightsError."""
    state: dict[str, Tensor] = {
        k: v.reshape(()) if k.endswith("num_batches_tracked") else v for k, v in state_dict_of(data, what).items()
    }
    with torch.device("meta"):
        expected = (Encoders if part == "encoders" else Decoders)(config).state_dict()
    unused = [
        k for k in state if ".layers." in k and k not in expected and k.replace(_layer(k), ".layers.0.") in expected
    ]
    kept = {k: v for k, v in state.items() if k not in unused}
    if why := misfit(kept, expected):
        raise WeightsError(f"{what} is no deforming autoencoder of these sizes: it {why}")
    return kept


def _layer(key: str) -> str:
    """The `.layers.N.` of a key."""
    head, _, rest = key.partition(".layers.")
    return f".layers.{rest.partition('.')[0]}." if head else ""


def _published(data: Mapping[str, Any], path: Path) -> dict[str, State]:
    raise WeightsError(f"{path} is no file of ours; the authors of DAE-GAN published no weights")


LAYOUT = Layout(
    DaeConfig, CONFIGS, networks_of, "DAE-GAN", "infinex-dae-gan-1", ("face", "pose", "generator"), _published
)
