"""Weights of Latent Pose Descriptors: the authors' key names, published checkpoints, and our own files."""

from __future__ import annotations

import argparse
import pathlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State
from infinex.nn.stored import Layout, states_in
from infinex.systems.latent_pose.model import CONFIGS, LatentConfig, networks_of

LatentWeights = Networks[LatentConfig]
PUBLISHED = {"embedder": "embedder", "generator": "generator", "discriminator": "discriminator"}
# Settings of a run stand beside the weights; these are plain data.
ALLOWED = (argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath)

_SPECTRAL = [
    (r"\.weight_orig$", ".parametrizations.weight.original"), (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
]  # fmt: skip
_RENAME: dict[str, list[tuple[str, str]]] = {
    "generator": [
        (r"^constant\.constant$", "constant"), (r"^affine_params_projector\.", "project."),
        (r"^decoder_blocks\.(\d+)\.block\.[34]\.", r"blocks.\1.conv1."),
        (r"^decoder_blocks\.(\d+)\.block\.[78]\.", r"blocks.\1.conv2."),
        (r"^decoder_blocks\.(\d+)\.skip\.1\.", r"blocks.\1.skip."),
        (r"^decoder_blocks\.(\d+)\.(weight|bias)", r"last.\2"), *_SPECTRAL,
    ],
    "discriminator": [
        (r"^down_block\.0\.", "conv1."), (r"^down_block\.2\.", "conv2."), (r"^(blocks\.\d+\.)?skip\.0\.", r"\1skip."),
        (r"^(blocks\.\d+)\.block\.2\.", r"\1.conv1."), (r"^(blocks\.\d+)\.block\.5\.", r"\1.conv2."), *_SPECTRAL,
    ],
    "embedder": [],
}  # fmt: skip


def rename(network: str, state: Mapping[str, Tensor]) -> State:
    """State dict of one network from the authors' key names to ours."""
    out: State = {}
    for name, tensor in state.items():
        for pattern, replacement in _RENAME[network]:
            name = re.sub(pattern, replacement, name)
        out[name] = tensor.reshape(()) if name.endswith("num_batches_tracked") else tensor
    return out


def published(data: Any, path: Path) -> dict[str, State]:
    """Networks of a checkpoint; encoder and generator are the running averages, where it has them.

    A person's own code, in a checkpoint after fine-tuning, becomes the network `person`. Raises WeightsError."""
    states = states_in(data, path, PUBLISHED, "Latent Pose Descriptors")
    averages = data.get("running_averages")
    if isinstance(averages, Mapping) and averages:
        states |= states_in(averages, path, {k: k for k in ("embedder", "generator")}, "Latent Pose Descriptors")
    networks = {name: rename(name, state) for name, state in states.items()}
    own = networks.get("generator", {}).pop("identity_embedding", None)
    if own is not None:
        networks["person"] = {"identity": own.reshape(1, -1)}
    return networks


def sized(config: LatentConfig, networks: Mapping[str, State]) -> LatentConfig:
    """The sizes with as many rows as the discriminator's table has. Raises WeightsError where it has no table."""
    if "discriminator" not in networks:
        return config
    table = networks["discriminator"].get("embed.parametrizations.weight.original")
    if table is None:
        raise WeightsError("the discriminator is of another model: it has no table of videos")
    return replace(config, labels=len(table))


LAYOUT = Layout(
    LatentConfig, CONFIGS, networks_of, "Latent Pose Descriptors", "infinex-latent-pose-1",
    ("embedder", "generator"), published, ALLOWED, sized,
)  # fmt: skip
convert = LAYOUT.convert
