"""Weights of StyleCLIP's mappers: the authors' key names, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    write_networks,
)
from infinex.systems.styleclip.model import CodeMapper, StyleclipConfig, StyleMapper, mapper

FORMAT = "infinex-styleclip-1"
_LEVELS = {"course": "coarse", "medium": "medium", "fine": "fine"}  # the first as the authors spell it


@dataclass
class StyleclipWeights(Networks[StyleclipConfig]):
    """`mapper`, its sizes, and the text it was trained for in `origin["text"]`, where that is known."""

    origin: dict[str, str] = field(default_factory=dict)

    def mapper(self) -> CodeMapper | StyleMapper:
        """The mapper with these weights, in evaluation mode."""
        network = mapper(self.config)
        network.load_state_dict(self.networks["mapper"])
        return network.eval()


def rename(state: Mapping[str, Tensor]) -> State:
    """The authors' keys of a mapper, with or without `mapper.` before them, to ours; others are left out."""
    out: State = {}
    for key, tensor in state.items():
        key = key.removeprefix("module.").removeprefix("mapper.")
        if m := re.fullmatch(r"(?:(course|medium|fine)_mapping\.)?mapping\.(\d+)\.(weight|bias)", key):
            name = _LEVELS[m[1]] if m[1] else "single"
        elif m := re.fullmatch(r"mapper_(\d+)\.mapping\.(\d+)\.(weight|bias)", key):
            name = m[1]
        elif m := re.fullmatch(r"(mapping)\.mapping\.(\d+)\.(weight|bias)", key):
            name = "single"
        else:
            continue
        out[f"at.{name}.layers.{int(m[2]) - 1}.{m[3]}"] = tensor.float()  # their layer 0 is the normalisation
    return out


def sizes_of(state: Mapping[str, Tensor]) -> StyleclipConfig:
    """Sizes of a published mapper under our names. Raises WeightsError."""
    names = list(dict.fromkeys(k.split(".")[1] for k in state))
    if not names:
        raise WeightsError("there is no mapper of StyleCLIP among these weights")
    depth = sum(k.startswith(f"at.{names[0]}.") and k.endswith("weight") for k in state)
    first = state[f"at.{names[0]}.layers.0.weight"].shape[0]
    if names[0].isdigit():
        found = {int(n): state[f"at.{n}.layers.0.weight"].shape[0] for n in names}
        # Colours, which have no mapper, are as wide as the convolution before them; the last is one of them.
        widths = [found.get(k, found.get(k - 1, 0)) for k in range(max(found) + 2)]
        return StyleclipConfig("styles", style=first, widths=tuple(widths), depth=depth)
    if names == ["single"]:
        return StyleclipConfig("single", style=first, depth=depth, norm="codes")
    order = [n for n in ("coarse", "medium", "fine") if n in names]
    return StyleclipConfig("levels", tuple(order), first, depth=depth, norm="codes")


def fit(state: State, config: StyleclipConfig | None = None, what: str = "the checkpoint") -> StyleclipWeights:
    """Weights of a mapper under our key names. Raises WeightsError where they are none."""
    config = config or sizes_of(state)
    with torch.device("meta"):
        expected = mapper(config).state_dict()
    if why := misfit(state, expected):
        raise WeightsError(f"{what} does not fit a mapper of StyleCLIP: it {why}")
    return StyleclipWeights(config, {"mapper": dict(state)})


def read_published(path: str | Path) -> StyleclipWeights:
    """A file such as `angry.pt` ({"state_dict": mapper.* and decoder.*, "opts"}); its name is taken for the text.

    Raises WeightsError."""
    path = Path(path)
    data = read_checkpoint(path)
    state = data.get("state_dict", data) if isinstance(data, Mapping) else None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds no state dict")
    own = rename({k: v for k, v in state.items() if isinstance(v, Tensor)})
    if not own:
        raise WeightsError(f"{path} is a checkpoint of another model: it holds no mapper of StyleCLIP")
    weights = fit(own, None, str(path))
    opts = data.get("opts")
    said = str(opts.get("description") or "") if isinstance(opts, Mapping) else ""
    weights.origin = {"file": path.name, "sha256": sha256(path), "text": said or path.stem.replace("_", " ")}
    return weights


def save(path: str | Path, weights: StyleclipWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> StyleclipWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, StyleclipConfig, "mapper of StyleCLIP")
    weights = fit(stored.networks.get("mapper", {}), stored.config, str(path))
    weights.name, weights.origin = stored.name, stored.origin
    return weights


def read(path: str | Path) -> StyleclipWeights:
    """Either kind of file, told apart by its first bytes. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path)


def convert(source: str | Path, target: str | Path, config: str = "") -> StyleclipWeights:
    """Turn a published checkpoint into our own file called `config`, once."""
    weights = read_published(source)
    weights.name = config
    save(target, weights)
    return weights
