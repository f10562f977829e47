"""Weights of FReeNet: files of the published code, whose key names are ours, and our own.

Nobody published weights. What the authors' code writes can be read all the same: `best.pth` of the converter, a
dictionary with its critics, and `latest_net_G.pth` of the generator; sizes are read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    sha256,
    state_dict_of,
    write_networks,
)
from infinex.systems.freenet.model import CONFIGS, FreenetConfig, networks_of

FORMAT = "infinex-freenet-1"
IN_BEST = {"converter": "net_G", "pair": "net_D", "single": "net_Dr"}


def sizes_of(networks: Mapping[str, State]) -> FreenetConfig:
    """Sizes of networks; what is not there has the published ones, and pictures do in any case.

    Raises KeyError or StopIteration for what is no network of this kind."""
    v: dict[str, Any] = {}
    if state := networks.get("converter"):
        v |= {"hidden": state["emotion.0.weight"].shape[0], "points": state["emotion.0.weight"].shape[1] // 2}
    if state := networks.get("single"):
        v |= {"critic_hidden": state["layers.0.weight"].shape[0], "points": state["layers.0.weight"].shape[1] // 2}
    elif state := networks.get("pair"):
        v["critic_hidden"] = state["layers1.0.weight"].shape[0]
    if state := networks.get("generator"):
        v["width"] = state["model1.1.weight"].shape[0]
        v["blocks"] = sum(k.endswith("shortcut.0.weight") for k in state)
        v["branch"] = tuple(state[f"model_landmark_trans.{i}.weight"].shape[0] for i in (0, 3, 6))
        second = next(
            k for k in state if k.startswith("model2.0.conv_block.") and not k.startswith("model2.0.conv_block.1.")
        )
        v["dropout"] = 0.5 if second.split(".")[3] == "6" else 0.0
    if state := networks.get("critic"):
        v["critic_width"] = state["model.0.weight"].shape[0]
    return FreenetConfig(**v)


@dataclass
class FreenetWeights(Networks[FreenetConfig]):
    """`converter` and `generator`, with or without their critics `pair`, `single` and `critic`."""

    def network(self, name: str) -> Any:
        """One of them, in evaluation mode. Raises WeightsError where it is not among these."""
        if name not in self.networks:
            stage = "freenet-converter" if name == "converter" else "freenet"
            raise WeightsError(
                f"{self.name or 'these weights'}: there is no {name} among them; infinex train {stage} makes one"
            )
        network = networks_of(self.config)[name]
        network.load_state_dict(self.networks[name])
        return network.eval()


def fit(
    networks: Mapping[str, State],
    config: FreenetConfig | None = None,
    what: str = "the checkpoint",
    origin: Mapping[str, str] | None = None,
) -> FreenetWeights:
    """Weights checked against `config` or the sizes the tensors themselves tell."""
    if not networks.get("converter") and not networks.get("generator"):
        raise WeightsError(f"{what} is no FReeNet: it has neither converter nor generator")
    if config is None:
        try:
            config = sizes_of(networks)
        except (KeyError, StopIteration, IndexError):
            raise WeightsError(f"{what} is a checkpoint of another model") from None
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(config).items()}
    for network, state in networks.items():
        if network not in expected:
            raise WeightsError(f"{what} holds the unknown network {network}")
        if why := misfit(state, expected[network]):
            raise WeightsError(f"{what} does not fit: {network} {why}")
    return FreenetWeights(config, {k: dict(v) for k, v in networks.items()}, origin=dict(origin or {}))


def read_published(path: str | Path) -> FreenetWeights:
    """A file of the authors' code, or a folder with `best.pth` and `latest_net_G.pth`. Raises WeightsError."""
    path = Path(path)
    files = [f for n in ("best.pth", "latest_net_G.pth") if (f := path / n).is_file()] if path.is_dir() else [path]
    if not files:
        raise WeightsError(f"{path} holds neither best.pth nor latest_net_G.pth")
    networks: dict[str, State] = {}
    origin = {}
    for file in files:
        data = read_checkpoint(file)
        origin[file.name] = sha256(file)
        if isinstance(data, Mapping) and "net_G" in data:
            for ours, theirs in IN_BEST.items():
                if theirs in data:
                    networks[ours] = state_dict_of(data[theirs], f"{file}: {theirs}")
        else:
            networks["generator"] = state_dict_of(data, str(file))
    return fit(networks, None, str(path), origin)


def save(path: str | Path, weights: FreenetWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> FreenetWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, FreenetConfig, "FReeNet")
    weights = fit(stored.networks, stored.config, str(path), stored.origin)
    weights.name = stored.name
    return weights


def read(path: str | Path) -> FreenetWeights:
    """Either kind. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path)


def untrained(path: str | Path, config: str = "freenet-64", seed: int = 0) -> None:
    """Write networks as they are before training: enough to try the engine, and nothing to look at."""
    sizes = CONFIGS[config]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        states: dict[str, dict[str, Tensor]] = {n: net.state_dict() for n, net in networks_of(sizes).items()}
    save(path, FreenetWeights(sizes, states, config))
