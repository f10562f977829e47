"""Weights of ReenactGAN: the authors' separate files, whose key names are ours but for a prefix, and our own file.

The authors publish a boundary network for all and, for every person, a decoder and a boundary transformer; a folder
with the three is a person. Sizes are read off the tensors. Ours is one file: all networks of one person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import (
    Networks,
    State,
    is_safetensors,
    misfit,
    read_networks,
    read_weights,
    sha256,
    state_dict_of,
    write_networks,
)
from infinex.systems.reenactgan.model import CONFIGS, ReenactGAN, ReenactganConfig, networks_of

FORMAT = "infinex-reenactgan-1"
# What the authors call their files; the person's name stands before those of decoder and transformer.
PUBLISHED = {
    "boundary": "*net_boundary_detection.pth",
    "decoder": "*net_decoder.pth",
    "transformer": "*net_transformer.pth",
    "align": "Align_*.pth",
}


def rename(network: str, state: Mapping[str, Tensor]) -> State:
    """State dict of one network from the authors' key names to ours.

    Wrappers' prefixes go; batch norms of old releases did not count their batches and get a count of 0."""
    out: State = {}
    for name, tensor in state.items():
        new = name.removeprefix("module.")
        if network == "boundary":
            new = new.removeprefix("model.0.")
        out[new] = tensor
    for key in [k for k in out if k.endswith(".running_var")]:
        out.setdefault(f"{key.removesuffix('running_var')}num_batches_tracked", torch.tensor(0))
    return out


def sizes_of(networks: Mapping[str, State]) -> ReenactganConfig:
    """Sizes of networks under our key names; what is not there has the published ones.

    Raises KeyError or IndexError for what is no network of this kind."""
    v: dict[str, Any] = {}
    if state := networks.get("boundary"):
        v |= {
            "features": 2 * state["conv1.weight"].shape[0],
            "parts": state["score.0.weight"].shape[0],
            "stacks": sum(bool(re.fullmatch(r"score\.\d+\.weight", k)) for k in state),
            "depth": len({k.split(".")[3] for k in state if k.startswith("hg.0.hg.")}),
        }
    if state := networks.get("transformer"):
        v |= {
            "transformer": state["model.1.weight"].shape[0],
            "parts": state["model.1.weight"].shape[1],
            "blocks": sum(k.endswith("conv_block.1.weight") for k in state),
        }
    if state := networks.get("decoder"):
        inner = [k for k in state if k.endswith(".model.1.weight") and not k.startswith("model.model.0.")]
        v |= {"decoder": state["model.model.1.weight"].shape[0], "levels": len(inner)}
        v["size"] = 2 ** v["levels"]
    if state := networks.get("align"):
        v |= {
            "align": state["model.1.weight"].shape[0],
            "align_hidden": state["mlp.1.weight"].shape[0],
            "points": state["mlp.5.weight"].shape[0] // 2,
        }
    return ReenactganConfig(**v)


@dataclass
class ReenactganWeights(Networks[ReenactganConfig]):
    """`boundary`, `align`, `pca`, `transformer`, `decoder`, as far as there are; `origin` names the person."""

    def network(self, name: str) -> nn.Module:
        """One of them, in evaluation mode. Raises WeightsError where it is not among these."""
        if name not in self.networks:
            raise WeightsError(f"{self.name or 'these weights'}: there is no {name} among them")
        network = networks_of(self.config)[name]
        network.load_state_dict(self.networks[name])
        return network.eval()

    def model(self) -> ReenactGAN:
        """The chain at work. Raises WeightsError where there is no decoder yet."""
        if "decoder" not in self.networks:
            raise WeightsError(
                f"{self.name or 'these weights'}: nobody's face can be drawn with them yet; the next stages are "
                "infinex train reenactgan-decoder and infinex train reenactgan-transformer"
            )
        names = [n for n in ("boundary", "transformer", "decoder") if n in self.networks]
        return ReenactGAN(self.config, {n: self.network(n) for n in names}).eval()


def fit(
    networks: Mapping[str, State],
    config: ReenactganConfig | None = None,
    what: str = "the checkpoint",
    origin: Mapping[str, str] | None = None,
) -> ReenactganWeights:
    """Weights under our key names, checked against `config` or the sizes the tensors themselves tell."""
    if not networks.get("boundary"):
        raise WeightsError(f"{what} is no ReenactGAN: it has no boundary network")
    if config is None:
        try:
            config = sizes_of(networks)
        except (KeyError, IndexError, TypeError):
            raise WeightsError(f"{what} is a checkpoint of another model") from None
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(config).items()}
    for network, state in networks.items():
        if network not in expected:
            raise WeightsError(f"{what} holds the unknown network {network}")
        if why := misfit(state, expected[network]):
            raise WeightsError(f"{what} does not fit: {network} {why}")
    return ReenactganWeights(config, {k: dict(v) for k, v in networks.items()}, origin=dict(origin or {}))


def read_published(folder: str | Path) -> ReenactganWeights:
    """A folder with the authors' files of one person. Raises WeightsError, in one line, for anything else."""
    folder = Path(folder)
    networks: dict[str, State] = {}
    origin = {}
    for network, pattern in PUBLISHED.items():
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise WeightsError(f"{folder} holds {found[0].name} and {found[1].name}: keep one person's files there")
        if found:
            networks[network] = rename(network, state_dict_of(read_weights(found[0]), str(found[0])))
            origin[found[0].name] = sha256(found[0])
        elif network != "align":
            raise WeightsError(f"{folder} lacks {pattern.replace('*', '... ')} of the authors")
    for part, name in (("weight", "weight_212.txt"), ("bias", "bias_212.txt")):
        if (folder / name).is_file():
            networks.setdefault("pca", {})[f"pca.0.{part}"] = _table(folder / name)
    if "align" not in networks or len(networks.get("pca", {})) < 2:  # for training alone
        networks.pop("pca", None)
    return fit(networks, None, str(folder), origin)


def _table(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.loadtxt(path, dtype=np.float32, delimiter=None))
    except (ValueError, OSError):
        raise WeightsError(f"{path} is no table of numbers") from None


def save(path: str | Path, weights: ReenactganWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> ReenactganWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, ReenactganConfig, "ReenactGAN")
    weights = fit(stored.networks, stored.config, str(path), stored.origin)
    weights.name = stored.name
    return weights


def read(path: str | Path) -> ReenactganWeights:
    """Our own file, or a folder of the authors'. Raises WeightsError."""
    path = Path(path)
    if path.is_dir():
        return read_published(path)
    if not is_safetensors(path):
        raise WeightsError(f"{path} is one of the authors' files: give the folder with all of one person's")
    return load(path)


def convert(source: str | Path, target: str | Path, config: str = "") -> ReenactganWeights:
    """Turn a folder of the authors' files into our own file called `config`, once."""
    weights = read(source)
    weights.name = config
    save(target, weights)
    return weights


def untrained(path: str | Path, config: str = "reenactgan-64", seed: int = 0) -> None:
    """Write networks as they are before training: enough to try the engine, and nothing to look at."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        states = {n: net.state_dict() for n, net in networks_of(CONFIGS[config]).items()}
    save(path, ReenactganWeights(CONFIGS[config], states, config, {"person": "nobody"}))
