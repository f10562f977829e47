"""Weights of StarGAN: the authors' key names, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import (
    Networks,
    State,
    is_safetensors,
    misfit,
    read_checkpoint,
    read_networks,
    sha256,
    write_networks,
)
from infinex.systems.stargan.model import CELEBA, EMOTIONS, Critic, Generator, StarganConfig

FORMAT = "infinex-stargan-1"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def rename(state: Mapping[str, Tensor]) -> State:
    """The authors' keys of a generator or a critic to ours; running statistics, which nobody used, are dropped."""
    kept = {k.removeprefix("module."): v.float() for k, v in state.items() if k.rpartition(".")[2] not in _STATISTICS}
    numbers = [int(m.group(1)) for k in kept if (m := re.match(r"main\.(\d+)\.", k))]
    if not numbers:
        return kept
    # The generator's last layer stands in a row with the rest; a critic has heads beside it.
    last = f"main.{max(numbers)}." if "conv1.weight" not in kept else ""
    out: State = {}
    for key, tensor in kept.items():
        key = f"color.{key.removeprefix(last)}" if last and key.startswith(last) else key
        for theirs, ours in (("main.", "trunk."), ("conv1.", "patch."), ("conv2.", "labels.")):
            key = re.sub(rf"^{re.escape(theirs)}", ours, key)
        out[key] = tensor
    return out


def names_for(count: int) -> tuple[str, ...]:
    """Names of so many labels: those of the published files (5 attributes, 8 expressions), else numbers."""
    return {len(CELEBA): CELEBA, len(EMOTIONS): EMOTIONS}.get(count, tuple(f"label{i}" for i in range(count)))


def sizes_of(generator: Mapping[str, Tensor], critic: Mapping[str, Tensor] | None = None) -> StarganConfig:
    """Sizes of networks under our key names. Two sets are told by a critic that reads two numbers less than the
    generator is told; how many labels are whose no tensor says, so that the first set is taken for the published
    one of five. The picture's side is the published one where no critic tells it.

    Raises KeyError, IndexError or ValueError for what is no generator or critic of this kind."""
    first = generator["trunk.0.weight"]
    told = first.shape[1] - 3
    values: dict[str, Any] = {
        "width": first.shape[0],
        "labels": names_for(told),
        "blocks": len({k.split(".")[1] for k in generator if re.match(r"trunk\.\d+\.main\.", k)}),
    }
    if critic:
        read = critic["labels.weight"].shape[0]
        if read == told - 2 and read > len(CELEBA):
            values |= {"labels": CELEBA, "second": names_for(read - len(CELEBA))}
        values["critic_width"] = critic["trunk.0.weight"].shape[0]
        values["critic_depth"] = sum(k.startswith("trunk.") and v.ndim == 4 for k, v in critic.items())
        values["size"] = critic["labels.weight"].shape[-1] * 2 ** values["critic_depth"]
    return StarganConfig(**values)


@dataclass
class StarganWeights(Networks[StarganConfig]):
    """`generator`, and `critic` where there is one, with their sizes."""

    def generator(self) -> Generator:
        """The generator with these weights, in evaluation mode."""
        network = Generator(self.config)
        network.load_state_dict(self.networks["generator"])
        return network.eval()

    def critic(self) -> Critic:
        """The critic with these weights, in evaluation mode. Raises WeightsError where there is none."""
        if "critic" not in self.networks:
            raise WeightsError(f"{self.name or 'these weights'}: there is no critic among them")
        network = Critic(self.config)
        network.load_state_dict(self.networks["critic"])
        return network.eval()


def networks_of(config: StarganConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    return {"generator": Generator(config), "critic": Critic(config)}


def fit(
    networks: Mapping[str, State],
    config: StarganConfig | None = None,
    what: str = "the checkpoint",
    origin: Mapping[str, str] | None = None,
) -> StarganWeights:
    """Weights under our key names, checked against `config` or the sizes the tensors themselves tell.

    Raises WeightsError."""
    if not networks.get("generator"):
        raise WeightsError(f"{what} is no StarGAN: it has no generator")
    if config is None:
        try:
            config = sizes_of(networks["generator"], networks.get("critic"))
        except (KeyError, IndexError, ValueError):
            raise WeightsError(f"{what} is a checkpoint of another model") from None
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(config).items()}
    for network, state in networks.items():
        if network not in expected:
            raise WeightsError(f"{what} holds the unknown network {network}")
        if why := misfit(state, expected[network]):
            raise WeightsError(f"{what} does not fit: {network} {why}")
    return StarganWeights(config, {k: dict(v) for k, v in networks.items()}, origin=dict(origin or {}))


def read_published(path: str | Path, critic: str | Path | None = None) -> StarganWeights:
    """A generator such as `200000-G.ckpt`; its critic `200000-D.ckpt` if named. Raises WeightsError."""
    networks = {}
    for name, file, wanted in (("generator", path, "color.weight"), ("critic", critic, "labels.weight")):
        if file is None:
            continue
        data = read_checkpoint(Path(file))
        if not isinstance(data, Mapping) or not data or not all(isinstance(v, Tensor) for v in data.values()):
            raise WeightsError(f"{file} is a checkpoint of another model: it is not a state dict")
        networks[name] = rename(data)
        if wanted not in networks[name]:
            raise WeightsError(f"{file} is no {name} of StarGAN")
    return fit(networks, None, str(path), {"file": Path(path).name, "sha256": sha256(Path(path))})


def save(path: str | Path, weights: StarganWeights, half: bool = False) -> None:
    """Write our own file, whole or not at all; `half` stores 16 bits a number. Raises WeightsError."""
    kind = torch.float16 if half else torch.float32
    states = {n: {k: v.to(kind) for k, v in state.items()} for n, state in weights.networks.items()}
    write_networks(Path(path), FORMAT, replace(weights, networks=states))


def load(path: str | Path) -> StarganWeights:
    """Read a file of `save`; numbers are 32 bits wide again. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, StarganConfig, "StarGAN")
    states = {n: {k: v.float() for k, v in state.items()} for n, state in stored.networks.items()}
    weights = fit(states, stored.config, str(path), stored.origin)
    weights.name = stored.name
    return weights


def read(path: str | Path) -> StarganWeights:
    """Either kind of file, told apart by its first bytes. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path)


def convert(source: str | Path, target: str | Path, config: str = "") -> StarganWeights:
    """Turn a published checkpoint into our own file called `config`, once; sizes are read off it."""
    weights = read_published(source)
    weights.name = config
    save(target, weights)
    return weights
