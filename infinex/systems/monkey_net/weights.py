"""Weights of Monkey-Net: the authors' key names, published checkpoints, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from infinex.nn.files import Networks, State
from infinex.nn.stored import Layout, states_in
from infinex.systems.monkey_net.model import CONFIGS, MonkeyConfig, networks_of

PUBLISHED = {"kp_detector": "detector", "generator": "generator", "discriminator": "discriminator"}
MonkeyWeights = Networks[MonkeyConfig]

# The authors' names on the left, ours on the right; applied in this order to every key of a network.
_HOURGLASS = [(r"encoder\.down_blocks\.", "down."), (r"decoder\.up_blocks\.", "up.")]
_RENAME: dict[str, list[tuple[str, str]]] = {
    "detector": [
        (r"^predictor\.decoder\.conv\.", "heatmap."), (r"^predictor\.", "hourglass."), *_HOURGLASS,
    ],
    "generator": [
        (r"^dense_motion_module\.hourglass\.decoder\.conv\.", "motion.mixture."),
        (r"^dense_motion_module\.group_blocks\.", "motion.groups."),
        (r"^dense_motion_module\.", "motion."),
        (r"^appearance_encoder\.", "body.encoder."), (r"^video_decoder\.", "body.decoder."), *_HOURGLASS,
        (r"^refinement_module\.r(\d+)\.", r"refine.\1."), (r"^refinement_module\.conv-last\.", "last."),
    ],
    "discriminator": [
        (r"^down_blocks\.(\d+)\.conv\.", r"patches.convs.\1."), (r"^down_blocks\.(\d+)\.norm\.", r"patches.norms.\1."),
        (r"^conv\.", "patches.score."),
    ],
}  # fmt: skip


def rename(network: str, state: Mapping[str, Tensor]) -> State:
    """State dict of one network from the authors' key names to ours, without their dimension of time."""
    out: State = {}
    for name, tensor in state.items():
        for pattern, replacement in _RENAME[network]:
            name = re.sub(pattern, replacement, name)
        out[name] = tensor.squeeze(2) if tensor.ndim == 5 else tensor
    if network != "discriminator":  # batch norms of old releases did not count their batches
        for key in [k for k in out if k.endswith(".running_var")]:
            out.setdefault(f"{key.removesuffix('running_var')}num_batches_tracked", tensor.new_zeros(()).long())
    return out


def published(data: Any, path: Path) -> dict[str, State]:
    """Networks of a checkpoint `NNNNNNNN-checkpoint.pth.tar`. Raises WeightsError."""
    states = states_in(data, path, PUBLISHED, "Monkey-Net")
    return {name: rename(name, state) for name, state in states.items()}


LAYOUT = Layout(
    MonkeyConfig, CONFIGS, networks_of, "Monkey-Net", "infinex-monkey-net-1", ("detector", "generator"), published
)
convert = LAYOUT.convert
