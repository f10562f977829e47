"""Weights of language-guided animation: the authors' key names, our own files, and the shipped unit models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import (
    State,
    is_safetensors,
    misfit,
    read_checkpoint,
    read_safetensors,
    sha256,
    sizes_in,
    state_dict_of,
    write_safetensors,
)
from infinex.systems.language.model import LanguageConfig, LanguageModel, UnitConfig, UnitMotion

FORMAT = "infinex-language-1"
UNIT_FORMAT = "infinex-unit-motion-1"
_NAMES = {"rnn": "motion", "v_mapper": "visual", "t_mapper": "textual"}


def rename(state: Mapping[str, Tensor]) -> State:
    """The authors' keys (`rnn.fc1.weight`, `v_mapper.1.bias`, wrapped in `module.` or not) to ours.

    What is not of the recurrence or the mappers, such as their copy of CLIP, is left out."""
    out: State = {}
    for key, tensor in state.items():
        parts = key.removeprefix("module.").split(".")
        while parts and parts[0] not in _NAMES and parts[0] not in _NAMES.values():
            parts = parts[1:]
        if len(parts) != 3:
            continue
        name, middle, last = _NAMES.get(parts[0], parts[0]), parts[1], parts[2]
        if name != "motion" and parts[0] in _NAMES:
            middle = f"layers.{int(middle) - 1}"  # their layer 0 is the normalisation
        out[f"{name}.{middle}.{last}"] = tensor.float()
    return out


def sizes_of(state: Mapping[str, Tensor], style: int = 512) -> LanguageConfig:
    """Sizes read off the tensors; the size of one w, which they do not tell, is given."""
    try:
        own = rename(state)
        hidden, code = own["motion.fc1.weight"].shape
        width = own["textual.layers.0.weight"].shape[0]
        total = own["textual.layers.2.weight"].shape[0]
    except (KeyError, ValueError, IndexError):
        raise WeightsError("these are no weights of language-guided animation: the recurrence is missing") from None
    if total % style:
        raise WeightsError(f"the mappers give {total} numbers, which are no codes of {style}")
    return LanguageConfig(code, hidden, width, style, total // style)


def from_published(state: Mapping[str, Tensor], style: int = 512) -> LanguageModel:
    """A model of the authors' state dict. Raises WeightsError for another model's."""
    model = LanguageModel(sizes_of(state, style))
    _fit(model, rename(state), "the checkpoint")
    return model


def _fit(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load what the model wants of a state dict, whatever else that holds. Raises WeightsError."""
    wanted = model.state_dict()
    state = {k: v.to(wanted[k].dtype) for k, v in state.items() if k in wanted}
    if why := misfit(state, wanted):
        raise WeightsError(f"{what} {why}")
    model.load_state_dict(state)


def save(path: str | Path, model: nn.Module, config: LanguageConfig | UnitConfig, half: bool = False) -> None:
    """Write `.safetensors` with its sizes in the header, whole or not at all; `half`: in 16 bits."""
    kind = FORMAT if isinstance(config, LanguageConfig) else UNIT_FORMAT
    header = {"format": kind, "config": json.dumps(asdict(config))}
    tensors = {k: v.to(torch.float16 if half else v.dtype) for k, v in model.state_dict().items()}
    write_safetensors(Path(path), tensors, header)


def load(path: str | Path, style: int = 512) -> LanguageModel:
    """Our own file or the authors' checkpoint ({"state_dict": ...}). Raises WeightsError."""
    path = Path(path)
    if not is_safetensors(path):
        return from_published(state_dict_of(read_checkpoint(path), str(path)), style)
    state, header = read_safetensors(path)
    if header.get("format") != FORMAT:
        return from_published(state, style)
    model = LanguageModel(sizes_in(header, LanguageConfig, path))
    _fit(model, state, str(path))
    return model


@dataclass(frozen=True)
class UnitWeights:
    """A unit-space model and where it came from."""

    model: UnitMotion
    path: Path
    sha256: str


def shipped(name: str) -> Path | None:
    """The file of a unit model that comes with Infinex ("recurrent", "lstm"), None where it does not."""
    path = Path(str(resources.files("infinex.systems.language").joinpath(f"data/{name}.safetensors")))
    return path if path.is_file() else None


def load_units(path: str | Path | None = None, recurrence: str = "recurrent") -> UnitWeights:
    """The generator of unit trajectories: the one shipped (`recurrent` or `lstm`), or one by file."""
    if path is None:
        path = shipped(recurrence)
        if path is None:
            raise WeightsError(
                f"no {recurrence} generator of unit trajectories comes with Infinex; "
                "train one (infinex train language-units) and name its file"
            )
    path = Path(path)
    state, header = read_safetensors(path)
    if header.get("format") != UNIT_FORMAT:
        raise WeightsError(f"{path} holds no generator of unit trajectories")
    model = UnitMotion(sizes_in(header, UnitConfig, path))
    _fit(model, state, str(path))
    return UnitWeights(model.eval().requires_grad_(False), path, sha256(path))


__all__ = ["UnitWeights", "from_published", "load", "load_units", "rename", "save", "sizes_of"]
