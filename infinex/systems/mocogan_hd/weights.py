"""Weights of MoCoGAN-HD: the authors' key names, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.files import (
    Networks,
    State,
    is_safetensors,
    misfit,
    read_checkpoint,
    read_networks,
    state_dict_of,
    write_networks,
)
from infinex.systems.mocogan_hd.model import MocoganConfig, MotionGenerator

FORMAT = "infinex-mocogan-hd-1"
COMPONENTS, DEVIATIONS = "pca_comp.npy", "pca_stdev.npy"  # beside the authors' state dict


class MocoganWeights(Networks[MocoganConfig]):
    """`motion`, with its directions, and critics where there are some."""

    def motion(self) -> MotionGenerator:
        """The motion generator with these weights, in evaluation mode."""
        network = MotionGenerator(self.config)
        network.load_state_dict(self.networks["motion"])
        return network.eval()


def rename_critic(state: Mapping[str, Tensor]) -> State:
    """The authors' keys of a two-scale critic (`netD.scale0_layer1.0.weight`) to ours; the finer scale is their last.

    Running statistics, which nobody used, are dropped."""
    kept = {k.removeprefix("module.").removeprefix("netD."): v for k, v in state.items()}
    last = max((int(m[1]) for k in kept if (m := re.match(r"scale(\d+)_", k))), default=0)
    out: State = {}
    for key, tensor in kept.items():
        if (m := re.fullmatch(r"scale(\d+)_layer(\d+)\.(.+)", key)) and m[3].split(".")[-1] in ("weight", "bias"):
            out[f"{'fine' if int(m[1]) == last else 'coarse'}.layers.{m[2]}.{m[3]}"] = tensor.float()
    return out


def rename_pictures(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """The authors' keys of the critic of single pictures (`modelD.*`) and of its memory (`modelD_ema.*`, queues)."""
    critic: State = {}
    memory: State = {}
    for key, tensor in state.items():
        key = key.removeprefix("module.")
        if key in ("q_real", "q_fake", "q_ptr"):
            memory[{"q_real": "real", "q_fake": "fake", "q_ptr": "place"}[key]] = tensor
            continue
        part, _, name = key.partition(".")
        name = re.sub(r"^blocks\.(\d+)\.0\.", r"blocks.\1.", name)
        if part == "modelD":
            critic[name] = tensor.float()
        elif part == "modelD_ema":
            memory[f"slow.{name}"] = tensor.float()
    return critic, memory


def motion_of(
    state: Mapping[str, Tensor], components: Tensor, deviations: Tensor, what: str = "the checkpoint"
) -> MocoganWeights:
    """A motion generator of the authors' keys and principal components (rows) with their deviations.

    Raises WeightsError for another model's."""
    own = {k.removeprefix("module."): v.float() for k, v in state.items()}
    try:
        hidden, directions = own["w"].shape
        config = MocoganConfig(
            style=own["enc_cell.weight_ih"].shape[1], noise=own["cell.weight_ih"].shape[1],
            hidden=hidden, directions=directions,
        )  # fmt: skip
        own["directions"] = (components * deviations.reshape(-1, 1))[:directions].float()
    except (KeyError, ValueError, IndexError, RuntimeError):
        raise WeightsError(f"{what} is no motion generator of MoCoGAN-HD") from None
    return fit(own, config, what)


def fit(state: State, config: MocoganConfig, what: str) -> MocoganWeights:
    """Weights of a motion generator under our names. Raises WeightsError where they do not fit."""
    with torch.device("meta"):
        expected = MotionGenerator(config).state_dict()
    if why := misfit(state, expected):
        raise WeightsError(f"{what} does not fit a motion generator of MoCoGAN-HD: it {why}")
    return MocoganWeights(config, {"motion": dict(state)})


def read_published(path: str | Path) -> MocoganWeights:
    """`modelR_epoch_N.pth` with `pca_comp.npy` and `pca_stdev.npy` beside it. Raises WeightsError."""
    path = Path(path)
    arrays = []
    for name in (COMPONENTS, DEVIATIONS):
        try:
            arrays.append(torch.from_numpy(np.load(path.parent / name, allow_pickle=False)).float())
        except (OSError, ValueError, EOFError):
            raise WeightsError(
                f"{path.name} needs {name} beside it, the principal components of its generator"
            ) from None
    return motion_of(state_dict_of(read_checkpoint(path), str(path)), arrays[0], arrays[1], str(path))


def save(path: str | Path, weights: MocoganWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> MocoganWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, MocoganConfig, "MoCoGAN-HD")
    weights = fit(stored.networks.get("motion", {}), stored.config, str(path))
    weights.networks |= {k: v for k, v in stored.networks.items() if k != "motion"}
    weights.name, weights.origin = stored.name, stored.origin
    return weights


def read(path: str | Path) -> MocoganWeights:
    """Either kind of file, told apart by its first bytes. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path)


def convert(source: str | Path, target: str | Path, config: str = "") -> MocoganWeights:
    """Turn a published checkpoint into our own file called `config`, once."""
    weights = read_published(source)
    weights.name = config
    save(target, weights)
    return weights
