"""Weights of ReenactGAN: the authors' separate files, whose key names are ours but for a prefix, and our own file.

The authors publish a boundary network for all and, for every person, a decoder and a boundary transformer; a folder
with the three is a person. Sizes are read off the tensors. Ours is one file: all networks of one person."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.reenactgan.model import CONFIGS, ReenactGAN, ReenactganConfig, networks_of

# `boundary`, `align`, `pca`, `transformer`, `decoder`, as far as there are; `origin` names the person.
ReenactganWeights = Networks[ReenactganConfig]
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


def model_of(weights: ReenactganWeights) -> ReenactGAN:
    """The chain at work. Raises WeightsError where there is no decoder yet."""
    if "decoder" not in weights.networks:
        raise WeightsError(
            f"{weights.name or 'these weights'}: nobody's face can be drawn with them yet; the next stages are "
            "infinex train reenactgan-decoder and infinex train reenactgan-transformer"
        )
    names = [n for n in ("boundary", "transformer", "decoder") if n in weights.networks]
    return ReenactGAN(weights.config, {n: LAYOUT.network(weights, n) for n in names}).eval()


def files(folder: Path) -> Sequence[Path]:
    """The authors' files of one person in a folder. Raises WeightsError where there are fewer or more."""
    if not folder.is_dir():
        raise WeightsError(f"{folder} is one of the authors' files: give the folder with all of one person's")
    out: list[Path] = []
    for network, pattern in PUBLISHED.items():
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise WeightsError(f"{folder} holds {found[0].name} and {found[1].name}: keep one person's files there")
        if not found and network != "align":
            raise WeightsError(f"{folder} lacks {pattern.replace('*', '... ')} of the authors")
        out += found
    return out


def published(data: Any, path: Path) -> dict[str, State]:
    """The network of one of the authors' files, told by its name; with `align` its tables. Raises WeightsError."""
    network = next(n for n, pattern in PUBLISHED.items() if path.match(pattern))
    networks = {network: rename(network, state_dict_of(data, str(path)))}
    tables = {part: path.with_name(f"{part}_212.txt") for part in ("weight", "bias")}
    if network == "align" and all(t.is_file() for t in tables.values()):  # for training alone
        networks["pca"] = {f"pca.0.{part}": _table(table) for part, table in tables.items()}
    return networks


def _table(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.loadtxt(path, dtype=np.float32, delimiter=None))
    except (ValueError, OSError):
        raise WeightsError(f"{path} is no table of numbers") from None


LAYOUT = Layout(
    ReenactganConfig, CONFIGS, networks_of, "ReenactGAN", "infinex-reenactgan-1", ("boundary",), published,
    measured=sizes_of, files=files,
)  # fmt: skip
convert = LAYOUT.convert
untrained = partial(LAYOUT.untrained, config="reenactgan-64")
