"""Weights of GANimation: the authors' key names, those of two re-implementations, and our own files.

Every layout numbers its layers alike, so that sizes are read off the tensors themselves. The re-implementation
whose instance norms have no scale and shift has biases in its convolutions instead, which such a norm removes
again: they are dropped, and the norms get a scale of 1 and a shift of 0.
"""

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
from infinex.systems.ganimation.model import Critic, GanimationConfig, Generator

FORMAT = "infinex-ganimation-1"

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


def sizes_of(generator: Mapping[str, Tensor], critic: Mapping[str, Tensor] | None = None) -> GanimationConfig:
    """Sizes of networks under our key names; the picture's side is the published one where no critic tells it.

    Raises KeyError, IndexError or ValueError for what is no generator or critic of this kind."""
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


@dataclass
class GanimationWeights(Networks[GanimationConfig]):
    """`generator`, and `critic` where there is one, with their sizes."""

    def generator(self) -> Generator:
        """The generator with these weights, in evaluation mode."""
        return self._loaded(Generator(self.config), "generator")

    def critic(self) -> Critic:
        """The critic with these weights, in evaluation mode. Raises WeightsError where there is none."""
        if "critic" not in self.networks:
            raise WeightsError(f"{self.name or 'these weights'}: there is no critic among them")
        return self._loaded(Critic(self.config), "critic")

    def _loaded(self, network: Any, name: str) -> Any:
        network.load_state_dict(self.networks[name])
        return network.eval()


def networks_of(config: GanimationConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    return {"generator": Generator(config), "critic": Critic(config)}


def fit(
    networks: Mapping[str, State],
    config: GanimationConfig | None = None,
    what: str = "the checkpoint",
    origin: Mapping[str, str] | None = None,
) -> GanimationWeights:
    """Weights under our key names, checked against `config` or the sizes the tensors themselves tell."""
    if not networks.get("generator"):
        raise WeightsError(f"{what} is no GANimation: it has no generator")
    if config is None:
        try:
            config = sizes_of(networks["generator"], networks.get("critic"))
        except (KeyError, IndexError, ValueError):
            raise WeightsError(f"{what} is a checkpoint of another model") from None
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(config).items()}
    for network, state in networks.items():
        if why := misfit(state, expected[network]):
            raise WeightsError(f"{what} does not fit: {network} {why}")
    return GanimationWeights(config, {k: dict(v) for k, v in networks.items()}, origin=dict(origin or {}))


def _published_state(path: Path) -> State:
    data = read_checkpoint(path)
    if not isinstance(data, Mapping) or not all(isinstance(v, Tensor) for v in data.values()) or not data:
        raise WeightsError(f"{path} is a checkpoint of another model: it is not a state dict")
    return rename(data)


def read_published(path: str | Path, critic: str | Path | None = None) -> GanimationWeights:
    """A generator such as `net_epoch_30_id_G.pth`, `30_net_gen.pth` or `200000-G.ckpt`; its critic if named.

    Raises WeightsError, in one line, for anything else."""
    path = Path(path)
    networks = {"generator": _published_state(path)}
    if "color.weight" not in networks["generator"]:
        kind = "a critic alone" if "expression.weight" in networks["generator"] else "a checkpoint of another model"
        raise WeightsError(f"{path} is {kind}; GANimation's generator is wanted")
    if critic is not None:
        networks["critic"] = _published_state(Path(critic))
        if "expression.weight" not in networks["critic"]:
            raise WeightsError(f"{critic} is no critic of GANimation")
    return fit(networks, None, str(path), {"file": path.name, "sha256": sha256(path)})


def save(path: str | Path, weights: GanimationWeights, half: bool = False) -> None:
    """Write our own file, whole or not at all; `half` stores 16 bits a number. Raises WeightsError."""
    kind = torch.float16 if half else torch.float32
    states = {n: {k: v.to(kind) for k, v in state.items()} for n, state in weights.networks.items()}
    write_networks(Path(path), FORMAT, replace(weights, networks=states))


def load(path: str | Path) -> GanimationWeights:
    """Read a file of `save`; numbers are 32 bits wide again. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, GanimationConfig, "GANimation")
    if extra := set(stored.networks) - {"generator", "critic"}:
        raise WeightsError(f"{path} holds the unknown network {sorted(extra)[0]}")
    states = {n: {k: v.float() for k, v in state.items()} for n, state in stored.networks.items()}
    weights = fit(states, stored.config, str(path), stored.origin)
    weights.name = stored.name
    return weights


def read(path: str | Path) -> GanimationWeights:
    """Either kind of file, told apart by its first bytes. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path)


def convert(source: str | Path, target: str | Path, config: str = "") -> GanimationWeights:
    """Turn a published checkpoint into our own file called `config`, once; sizes are read off it."""
    weights = read_published(source)
    weights.name = config
    save(target, weights)
    return weights
