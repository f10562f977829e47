"""Weights of FReeNet: files of the published code, whose key names are ours, and our own.

Nobody published weights. What the authors' code writes can be read all the same: `best.pth` of the converter, a
dictionary with its critics, and `latest_net_G.pth` of the generator; sizes are read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.freenet.model import CONFIGS, FreenetConfig, networks_of

FreenetWeights = Networks[FreenetConfig]
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


def files(path: Path) -> Sequence[Path]:
    """A file of the authors' code, or those of a folder. Raises WeightsError."""
    if not path.is_dir():
        return [path]
    found = [f for n in ("best.pth", "latest_net_G.pth") if (f := path / n).is_file()]
    if not found:
        raise WeightsError(f"{path} holds neither best.pth nor latest_net_G.pth")
    return found


def published(data: Any, path: Path) -> dict[str, State]:
    """Converter and critics of `best.pth`, or the generator of `latest_net_G.pth`. Raises WeightsError."""
    if isinstance(data, Mapping) and "net_G" in data:
        return {
            ours: state_dict_of(data[theirs], f"{path}: {theirs}") for ours, theirs in IN_BEST.items() if theirs in data
        }
    return {"generator": state_dict_of(data, str(path))}


LAYOUT = Layout(
    FreenetConfig, CONFIGS, networks_of, "FReeNet", "infinex-freenet-1", (), published, measured=sizes_of, files=files
)
untrained = partial(LAYOUT.untrained, config="freenet-64")


def network(weights: FreenetWeights, name: str) -> Any:
    """One of them, in evaluation mode. Raises WeightsError that says which stage makes one that is not there."""
    if name not in weights.networks:
        stage = "freenet-converter" if name == "converter" else "freenet"
        named = weights.name or "these weights"
        raise WeightsError(f"{named}: there is no {name} among them; infinex train {stage} makes one")
    return LAYOUT.network(weights, name)
