"""Weights of GANimation: the authors' key names, those of two re-implementations, and our own files.

Every layout numbers its layers alike, so that sizes are read off the tensors themselves. The re-implementation
whose instance norms have no scale and shift has biases in its convolutions instead, which such a norm removes
again: they are dropped, and the norms get a scale of 1 and a shift of 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.ganimation.model import CONFIGS, Critic, GanimationConfig, Generator

GanimationWeights = Networks[GanimationConfig]

# Names of each layout on the left, ours on the right; applied in this order to every key.
_RENAME: list[tuple[str, str]] = [
    (r"^(main|model)\.", "trunk."),
    (r"^(trunk\.\d+)\.conv_block\.", r"\1.main."),
    (r"^(img_reg|im_reg|color_top)\.0\.", "color."),
    (r"^(attetion_reg|im_att|au_top)\.0\.", "attention."),
    (r"^(conv1|dis_top)\.", "patch."),
    (r"^(conv2|aus_top)\.", "expression."),
]
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def rename(state: Mapping[str, Tensor]) -> State:
    """State dict of a generator or a critic from any known layout to our key names.

    Prefixes of wrappers, statistics that nobody reads and layers listed twice are dropped."""
    out: State = {}
    for name, tensor in state.items():
        new = name.removeprefix("module.")
        if new.startswith("debug") or new.rpartition(".")[2] in _STATISTICS:
            continue
        for pattern, replacement in _RENAME:
            new = re.sub(pattern, replacement, new)
        out[new] = tensor.float()
    return _with_affine(out) if "color.weight" in out else out


def _with_affine(state: State) -> State:
    """A generator whose norms have scale and shift and whose convolutions have no bias."""
    out = dict(state)
    for key in state:
        match = re.fullmatch(r"(trunk(?:\.\d+\.main)?)\.(\d+)\.bias", key)
        if not match:
            continue
        norm = f"{match.group(1)}.{int(match.group(2)) + 1}"
        if f"{norm}.weight" not in state and state[f"{key.removesuffix('bias')}weight"].ndim == 4:
            bias = out.pop(key)
            out[f"{norm}.weight"], out[f"{norm}.bias"] = torch.ones_like(bias), torch.zeros_like(bias)
    return out


def sizes_of(networks: Mapping[str, State]) -> GanimationConfig:
    """Sizes of networks under our key names; the picture's side is the published one where no critic tells it.

    Raises KeyError, IndexError or ValueError for what is no generator or critic of this kind."""
    generator, critic = networks["generator"], networks.get("critic")
    first = generator["trunk.0.weight"]
    values: dict[str, Any] = {
        "width": first.shape[0],
        "units": first.shape[1] - 3,
        "blocks": len({k.split(".")[1] for k in generator if re.match(r"trunk\.\d+\.main\.", k)}),
    }
    if critic:
        values["critic_width"] = critic["trunk.0.weight"].shape[0]
        values["critic_depth"] = sum(k.startswith("trunk.") and v.ndim == 4 for k, v in critic.items())
        values["size"] = critic["expression.weight"].shape[-1] * 2 ** values["critic_depth"]
    return GanimationConfig(**values)


def networks_of(config: GanimationConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    return {"generator": Generator(config), "critic": Critic(config)}


def published(data: Any, path: Path) -> dict[str, State]:
    """A generator such as `net_epoch_30_id_G.pth`, `30_net_gen.pth` or `200000-G.ckpt`, or its critic.

    Raises WeightsError for anything else."""
    state = rename(state_dict_of(data, str(path)))
    if "color.weight" not in state and "expression.weight" not in state:
        raise WeightsError(f"{path} is a checkpoint of another model; GANimation's generator is wanted")
    return {"generator" if "color.weight" in state else "critic": state}


LAYOUT = Layout(
    GanimationConfig, CONFIGS, networks_of, "GANimation", "infinex-ganimation-1", ("generator",), published,
    measured=sizes_of,
)  # fmt: skip
convert = LAYOUT.convert
