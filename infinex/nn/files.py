"""Weights files: reading without running what they may hold, writing whole or not at all.

There are two kinds. A PyTorch checkpoint is a pickle, read as data only. A safetensors file holds tensors and a
header of words; ours keep sizes and origin there as JSON, and tensors of several networks as `<network>.<key>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from infinex.errors import MissingDependencyError, OutputError, WeightsError
from infinex.media.files import atomic_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

State = dict[str, Tensor]
Sizes = TypeVar("Sizes", bound="DataclassInstance")


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _starts_as_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{"  # eight bytes of length, then the JSON header


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors and no checkpoint, by its first bytes or its name; False where there is none."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or _starts_as_safetensors(file.read(9))


def _head(path: Path) -> bytes:
    """The first bytes of what may be weights. Raises WeightsError for what cannot: no file, nothing, a web page."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a file of weights")
    if not path.exists():
        raise WeightsError(f"{path} does not exist")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise WeightsError(f"{path} is empty: download it again")
    # The length of a safetensors header may happen to read as a space and "<".
    if head.lstrip().startswith(b"<") and not _starts_as_safetensors(head):
        raise WeightsError(f"{path} is a web page, not a checkpoint: try the download again later")
    return head


# -- PyTorch checkpoints ----------------------------------------------------------------------------------------


def read_checkpoint(path: Path, allowed: Sequence[type] = ()) -> Any:
    """A PyTorch checkpoint, without running any code it may hold; every way to fail is told in one line.

    `allowed` are classes that may be in it besides tensors and plain values. Raises WeightsError."""
    if path.is_dir() and (
        next(path.rglob("data.pkl"), None) or (path / "storages").exists() or (path / "pickle").exists()
    ):
        raise WeightsError(
            f"{path} is an unpacked checkpoint: despite its name a .pth.tar is not an archive, "
            "give the file as it was downloaded"
        )
    head = _head(path)
    if head[:2] == b"PK" and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is truncated: download it again")
    safe = getattr(torch.serialization, "safe_globals", None)  # old releases of PyTorch lack it
    try:
        with safe(list(allowed)) if safe and allowed else contextlib.nullcontext():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch names the class or function it refused; anything else is a damaged stream.
        refused = re.search(r"(?:GLOBAL|unrecognized function|Unsupported class) (\S+)", str(error))
        if refused:
            raise WeightsError(
                f"{path} holds code ({refused.group(1)}) and is refused: weights are data only"
            ) from None
        raise WeightsError(f"{path} is truncated or no PyTorch checkpoint: download it again") from None
    except (EOFError, OSError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        if head[:2] != b"PK" and tarfile.is_tarfile(path):
            raise WeightsError(f"{path} is a repacked archive: give the .pth.tar file as it was downloaded") from None
        raise WeightsError(f"{path} is truncated or no PyTorch checkpoint: download it again") from None


# -- safetensors ------------------------------------------------------------------------------------------------


def _safetensors() -> Any:
    """The library, with its `torch` part. Raises MissingDependencyError where it is not installed."""
    try:
        import safetensors.torch
    except ImportError:
        raise MissingDependencyError("reading weights needs safetensors: pip install 'infinex[train]'") from None
    return safetensors


def read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """Tensors and header of a safetensors file. Raises WeightsError."""
    library = _safetensors()
    _head(path)
    try:
        with library.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None
    except (library.SafetensorError, ValueError, RuntimeError):
        raise WeightsError(f"{path} cannot be read: truncated or no safetensors file; fetch it again") from None


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write tensors and header; the file appears under its name only when complete. Raises WeightsError."""
    library = _safetensors()
    # Copies: the format refuses tensors that share memory.
    whole = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    try:
        with atomic_path(path) as part:
            library.torch.save_file(whole, part, dict(header or {}))
    except library.SafetensorError as error:
        raise WeightsError(f"{path} cannot be written: {error}") from None
    except OutputError as error:
        raise WeightsError(f"the weights cannot be written: {error}") from None


def read_weights(path: Path, allowed: Sequence[type] = ()) -> Any:
    """Content of a file of either kind: the tensors of a safetensors file, whatever a checkpoint holds.

    Raises WeightsError; `allowed` as for `read_checkpoint`."""
    return read_safetensors(path)[0] if is_safetensors(path) else read_checkpoint(path, allowed)


# -- state dicts ------------------------------------------------------------------------------------------------


def state_dict_of(data: Any, what: str, prefixes: tuple[str, ...] = ("module.",)) -> State:
    """The state dict in the content of a file, without the prefixes that wrappers leave on its keys.

    Raises WeightsError, which begins with `what`, for anything else."""
    if isinstance(data, Mapping) and isinstance(data.get("state_dict"), Mapping):
        data = data["state_dict"]
    if not isinstance(data, Mapping) or not data:
        raise WeightsError(f"{what} holds no named tensors")
    out: State = {}
    for key, value in data.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{what} is a checkpoint of another model: {key!s:.40} is not a tensor")
        for prefix in prefixes:
            key = key.removeprefix(prefix)
        out[key] = value
    return out


def misfit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What keeps a state dict from fitting, to go on from its name: an entry missing, unknown or of another shape.

    Empty if nothing does."""
    for key, tensor in expected.items():
        if key not in state:
            return f"lacks {key}"
        if state[key].shape != tensor.shape:
            return f"has {key} of shape {tuple(state[key].shape)}, expected {tuple(tensor.shape)}"
    extra = sorted(set(state) - set(expected))
    return f"has the unknown entry {extra[0]}" if extra else ""


def load_networks(
    networks: Mapping[str, nn.Module], states: Mapping[str, State], complaint: str, config: str, spare: str
) -> None:
    """Begin with the states there are. The network `spare` need not fit: then it stays as it is.

    Raises WeightsError, "`complaint` the generator of `config`", where another one does not fit."""
    for name, network in networks.items():
        if name not in states:
            continue
        if not misfit(states[name], network.state_dict()):
            network.load_state_dict(states[name])
        elif name != spare:
            raise WeightsError(f"{complaint} the {name} of {config}")


# -- what lies in our own files ---------------------------------------------------------------------------------


def sizes_in(header: Mapping[str, str], kind: type[Sizes], path: Path) -> Sizes:
    """The dataclass of sizes that a header holds as JSON under `config`; lists in it become tuples.

    Raises WeightsError for a damaged header and for sizes this version does not know."""
    try:
        values = json.loads(header["config"])
        if unknown := set(values) - {f.name for f in fields(kind)}:
            raise WeightsError(f"{path} was written by a newer version: unknown size {sorted(unknown)[0]}")
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (KeyError, ValueError, TypeError, AttributeError):
        raise WeightsError(f"{path} has a damaged header") from None


def per_network(tensors: Mapping[str, Tensor]) -> dict[str, State]:
    """Tensors named `<network>.<key>` as the state dicts of those networks."""
    networks: dict[str, State] = {}
    for name, tensor in tensors.items():
        network, _, key = name.partition(".")
        networks.setdefault(network, {})[key] = tensor
    return networks


@dataclass
class Networks(Generic[Sizes]):
    """Networks by name, as state dicts, and their sizes: what our own files hold."""

    config: Sizes
    networks: dict[str, State]
    name: str = ""  # of the configuration
    origin: dict[str, str] = field(default_factory=dict)  # where they come from: file, sha256, epoch ...


def write_networks(path: Path, layout: str, weights: Networks[Any]) -> None:
    """Write networks, sizes and origin; `layout` is how the header names the file's kind. Raises WeightsError."""
    tensors = {f"{n}.{k}": v for n, state in weights.networks.items() for k, v in state.items()}
    header = {
        "format": layout,
        "name": weights.name,
        "config": json.dumps(asdict(weights.config)),
        "origin": json.dumps(weights.origin),
    }
    write_safetensors(path, tensors, header)


def read_networks(path: Path, layout: str, kind: type[Sizes], system: str) -> Networks[Sizes]:
    """Read a file of `write_networks`. Raises WeightsError, also where it is not of this layout."""
    tensors, header = read_safetensors(path)
    if header.get("format") != layout:
        raise WeightsError(f"{path} holds no {system} (its header says so)")
    config = sizes_in(header, kind, path)
    try:
        origin = json.loads(header.get("origin", "{}"))
    except ValueError:
        raise WeightsError(f"{path} has a damaged header") from None
    return Networks(config, per_network(tensors), header.get("name", ""), origin)
