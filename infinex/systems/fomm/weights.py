"""Weights of the First Order Motion Model: the authors' key names, published checkpoints, and our own files.

A published `vox-cpk.pth.tar` is a pickle despite its name, not an archive. It is read once, with
`weights_only=True`, and kept as safetensors, whose header says which networks and sizes it holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
from infinex.systems.fomm.model import CONFIGS, FommConfig, FommModel, build_discriminator

FORMAT = "infinex-fomm-1"
PUBLISHED = {"kp_detector": "detector", "generator": "generator", "discriminator": "discriminator"}
REQUIRED = ("detector", "generator")

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
    """State dict of one network from the authors' key names to ours; a `module.` prefix is dropped."""
    out: State = {}
    for name, tensor in state.items():
        new = name.removeprefix("module.")
        for pattern, replacement in _RENAME[network]:
            new = re.sub(pattern, replacement, new)
        out[new] = tensor
    return out


@dataclass
class FommWeights(Networks[FommConfig]):
    """`detector`, `generator`, and `discriminator` where there is one, with their sizes."""

    def model(self) -> FommModel:
        """The inference networks with these weights, in evaluation mode."""
        model = FommModel(self.config)
        model.detector.load_state_dict(self.networks["detector"])
        model.generator.load_state_dict(self.networks["generator"])
        return model.eval()


def networks_of(config: FommConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    model = FommModel(config)
    return {
        "detector": model.detector,
        "generator": model.generator,
        "discriminator": build_discriminator(config),
    }


def _expected(config: FommConfig) -> dict[str, State]:
    """State dicts that hold shapes but no numbers."""
    with torch.device("meta"):
        return {k: net.state_dict() for k, net in networks_of(config).items()}


def _misfit(config: FommConfig, networks: Mapping[str, State]) -> str:
    """What keeps `networks` from fitting `config`, in half a sentence; empty if nothing does."""
    for network, expected in _expected(config).items():
        if network in networks and (why := misfit(networks[network], expected)):
            return f"{network} {why}"
    return ""


def _tidy(networks: Mapping[str, State]) -> dict[str, State]:
    """Make old checkpoints look like new ones.

    Instance norms of old releases saved statistics nobody reads: they go. Batch norms of old releases did not
    count their batches: they get a count of 0, which only matters without momentum.
    """
    out: dict[str, State] = {}
    for network, state in networks.items():
        kept = {
            k: v for k, v in state.items() if not (network == "discriminator" and k.rpartition(".")[2] in _STATISTICS)
        }
        for key in [k for k in kept if k.endswith(".running_var")]:
            kept.setdefault(f"{key.removesuffix('running_var')}num_batches_tracked", torch.tensor(0))
        out[network] = kept
    return out


def fit(
    networks: Mapping[str, State],
    config: str | FommConfig | None = None,
    what: str = "the checkpoint",
    origin: Mapping[str, str] | None = None,
) -> FommWeights:
    """Weights under our key names, checked against `config` or, without one, against every named one."""
    networks = _tidy(networks)
    for network in REQUIRED:
        if not networks.get(network):
            raise WeightsError(f"{what} is no First Order Motion Model: it has no {network}")
    if isinstance(config, str) and config not in CONFIGS:
        raise WeightsError(f"unknown configuration {config!r}; known: {', '.join(CONFIGS)}")
    choices = {config: CONFIGS[config]} if isinstance(config, str) else CONFIGS
    if isinstance(config, FommConfig):
        choices = {"": config}
    misfits = {name: _misfit(c, networks) for name, c in choices.items()}
    for name, why in misfits.items():
        if not why:
            return FommWeights(choices[name], dict(networks), name, dict(origin or {}))
    first, why = next(iter(misfits.items()))
    if len(misfits) == 1:
        raise WeightsError(f"{what} does not fit the configuration {first or 'given'}: {why}")
    raise WeightsError(f"{what} fits none of the configurations {', '.join(misfits)} (of {first}: {why})")


def read_published(path: str | Path, config: str | FommConfig | None = None) -> FommWeights:
    """A checkpoint of the authors' training code, such as `vox-cpk.pth.tar` or `vox-adv-cpk.pth.tar`."""
    path = Path(path)
    data = read_checkpoint(path)
    found = sorted(k for k in data if isinstance(k, str)) if isinstance(data, Mapping) else []
    if "generator" not in found or "kp_detector" not in found:
        inside = f"holds {', '.join(found[:4])}" if found else "holds no named networks"
        raise WeightsError(f"{path} is a checkpoint of another model: it {inside}, not generator and kp_detector")
    networks: dict[str, State] = {}
    for theirs, ours in PUBLISHED.items():
        if theirs not in data:
            continue
        state = data[theirs]
        if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
            raise WeightsError(f"{path}: {theirs} is not a state dict")
        networks[ours] = rename(ours, state)
    origin = {"file": path.name, "sha256": sha256(path)}
    if isinstance(data.get("epoch"), int):
        origin["epoch"] = str(data["epoch"])
    return fit(networks, config, what=str(path), origin=origin)


def save(path: str | Path, weights: FommWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> FommWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, FommConfig, "First Order Motion Model")
    weights = fit(stored.networks, stored.config, what=str(path), origin=stored.origin)
    weights.name = stored.name
    return weights


def read(path: str | Path, config: str | None = None) -> FommWeights:
    """Either kind of file, told apart by its first bytes. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path, config)


def convert(source: str | Path, target: str | Path, config: str | None = None) -> FommWeights:
    """Turn a published checkpoint into our own file, once."""
    weights = read_published(source, config)
    save(target, weights)
    return weights
