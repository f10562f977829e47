"""Weights of language-guided animation: the authors' key names, our own files, and the shipped unit models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import read_checkpoint, safetensors, sha256
from infinex.systems.language.model import LanguageConfig, LanguageModel, UnitConfig, UnitMotion

State = dict[str, Tensor]
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
    wanted = model.state_dict()
    missing = [k for k in wanted if k not in state]
    if missing:
        raise WeightsError(f"{what} lacks {missing[0]}")
    wrong = [k for k in wanted if state[k].shape != wanted[k].shape]
    if wrong:
        raise WeightsError(f"{what}: {wrong[0]} is {tuple(state[wrong[0]].shape)}, not {tuple(wanted[wrong[0]].shape)}")
    model.load_state_dict({k: state[k].to(wanted[k].dtype) for k in wanted})


def save(path: str | Path, model: nn.Module, config: LanguageConfig | UnitConfig, half: bool = False) -> None:
    """Write `.safetensors` with its sizes in the header, whole or not at all; `half`: in 16 bits."""
    from infinex.media.files import atomic_path

    kind = FORMAT if isinstance(config, LanguageConfig) else UNIT_FORMAT
    header = {"format": kind, "config": json.dumps(asdict(config))}
    tensors = {
        k: v.detach().cpu().to(torch.float16 if half else v.dtype).contiguous() for k, v in model.state_dict().items()
    }
    with atomic_path(Path(path)) as temporary:
        safetensors().torch.save_file(tensors, temporary, header)


def _read(path: Path) -> tuple[State, dict[str, str]]:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist")
    library = safetensors()
    try:
        with library.safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k).float() for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:
        if isinstance(error, (KeyboardInterrupt, MemoryError)):
            raise
        raise WeightsError(f"{path} is truncated or no safetensors file") from None


def load(path: str | Path, style: int = 512) -> LanguageModel:
    """Our own file or the authors' checkpoint ({"state_dict": ...}). Raises WeightsError."""
    path = Path(path)
    if path.suffix != ".safetensors":
        data = read_checkpoint(path)
        state = data.get("state_dict", data) if isinstance(data, dict) else None
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise WeightsError(f"{path} holds no state dict")
        return from_published(state, style)
    state, header = _read(path)
    if header.get("format") != FORMAT:
        return from_published(state, style)
    model = LanguageModel(LanguageConfig(**_sizes(header, path)))
    _fit(model, state, str(path))
    return model


def _sizes(header: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(header["config"]))
    except (KeyError, ValueError):
        raise WeightsError(f"{path} does not say its sizes") from None


@dataclass(frozen=True)
class UnitWeights:
    """A unit-space model and where it came from."""

    model: UnitMotion
    path: Path
    sha256: str


def shipped(name: str) -> Path | None:
    """The file of a unit model that comes with Infinex ("recurrent", "lstm"), None where it does not."""
    path = Path(str(resources.files("infinex").joinpath(f"weights/language/{name}.safetensors")))
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
    state, header = _read(path)
    if header.get("format") != UNIT_FORMAT:
        raise WeightsError(f"{path} holds no generator of unit trajectories")
    sizes = _sizes(header, path)
    sizes["channels"] = tuple(sizes["channels"])
    try:
        model = UnitMotion(UnitConfig(**sizes))
    except TypeError:
        raise WeightsError(f"{path} was written by another version of Infinex") from None
    _fit(model, state, str(path))
    return UnitWeights(model.eval().requires_grad_(False), path, sha256(path))


__all__ = ["UnitWeights", "from_published", "load", "load_units", "rename", "save", "sizes_of"]
