"""Weights of the First Order Motion Model: the authors' key names, published checkpoints, and our own files.

A published `vox-cpk.pth.tar` is a pickle despite its name, not an archive. It is read once, with
`weights_only=True`, and kept as safetensors, whose header says which networks and sizes it holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from infinex.nn.files import Networks, State
from infinex.nn.stored import Layout, states_in
from infinex.systems.fomm.model import CONFIGS, FommConfig, FommModel, build_discriminator

FommWeights = Networks[FommConfig]
PUBLISHED = {"kp_detector": "detector", "generator": "generator", "discriminator": "discriminator"}

# The authors' names on the left, ours on the right; applied in this order to every key of a network.
_RENAME: dict[str, list[tuple[str, str]]] = {
    "detector": [
        (r"^predictor\.encoder\.down_blocks\.", "hourglass.down."),
        (r"^predictor\.decoder\.up_blocks\.", "hourglass.up."),
        (r"^kp\.", "heatmap."),
        (r"^down\.weight$", "shrink.weight"),
    ],
    "generator": [
        (r"^dense_motion_network\.", "motion."),
        (r"^motion\.hourglass\.encoder\.down_blocks\.", "motion.hourglass.down."),
        (r"^motion\.hourglass\.decoder\.up_blocks\.", "motion.hourglass.up."),
        (r"^motion\.down\.weight$", "motion.shrink.weight"),
        (r"^down_blocks\.", "down."),
        (r"^up_blocks\.", "up."),
        (r"^bottleneck\.r(\d+)\.", r"middle.\1."),
        (r"^final\.", "last."),
    ],
    "discriminator": [
        (r"^discs\.([^.]+)\.down_blocks\.(\d+)\.conv\.", r"at.\1.convs.\2."),
        (r"^discs\.([^.]+)\.down_blocks\.(\d+)\.norm\.", r"at.\1.norms.\2."),
        (r"^discs\.([^.]+)\.conv\.", r"at.\1.score."),
        (r"\.weight_orig$", ".parametrizations.weight.original"),
        (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
    ],
}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def rename(network: str, state: Mapping[str, Tensor]) -> State:
    """State dict of one network from the authors' key names to ours, as new releases of PyTorch write it.

    Instance norms of old ones saved statistics nobody reads: they go. Batch norms of old ones did not count their
    batches: they get a count of 0, which only matters without momentum."""
    out: State = {}
    for name, tensor in state.items():
        new = name.removeprefix("module.")
        for pattern, replacement in _RENAME[network]:
            new = re.sub(pattern, replacement, new)
        if network != "discriminator" or new.rpartition(".")[2] not in _STATISTICS:
            out[new] = tensor
    for key in [k for k in out if k.endswith(".running_var")]:
        out.setdefault(f"{key.removesuffix('running_var')}num_batches_tracked", torch.tensor(0))
    return out


def networks_of(config: FommConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    model = FommModel(config)
    return {
        "detector": model.detector,
        "generator": model.generator,
        "discriminator": build_discriminator(config),
    }


def published(data: Any, path: Path) -> dict[str, State]:
    """Networks of a checkpoint such as `vox-cpk.pth.tar` or `vox-adv-cpk.pth.tar`. Raises WeightsError."""
    states = states_in(data, path, PUBLISHED, "First Order Motion Model")
    return {name: rename(name, state) for name, state in states.items()}


LAYOUT = Layout(
    FommConfig, CONFIGS, networks_of, "First Order Motion Model", "infinex-fomm-1", ("detector", "generator"), published
)
convert = LAYOUT.convert


def model_of(weights: FommWeights) -> FommModel:
    """The inference networks with these weights, in evaluation mode."""
    model = FommModel(weights.config)
    model.detector.load_state_dict(weights.networks["detector"])
    model.generator.load_state_dict(weights.networks["generator"])
    return model.eval()
