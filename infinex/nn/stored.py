"""The weights of one system: named configurations, published files, and our own; each system states a `Layout`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import (
    Networks,
    State,
    is_safetensors,
    misfit,
    read_networks,
    read_weights,
    sha256,
    write_networks,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Sizes = TypeVar("Sizes", bound="DataclassInstance")


class Layout(Generic[Sizes]):
    """How the networks of one system are kept in files."""

    def __init__(
        self,
        kind: type[Sizes],
        configs: Mapping[str, Sizes],
        build: Callable[[Sizes], Mapping[str, nn.Module]],
        system: str,
        layout: str,
        required: tuple[str, ...],
        published: Callable[[Any, Path], dict[str, State]],
        allowed: tuple[type, ...] = (),
        sized: Callable[[Sizes, Mapping[str, State]], Sizes] | None = None,
        measured: Callable[[Mapping[str, State]], Sizes] | None = None,
        files: Callable[[Path], Sequence[Path]] | None = None,
    ) -> None:
        """`build` makes fresh networks by name; `published` those of what a checkpoint holds, under our key names, and
        raises WeightsError for another model's. `allowed` are classes that such a checkpoint may hold as data;
        `sized` takes what the data decided, such as a number of labels, from the tensors into the sizes. `measured`
        reads all sizes off the tensors where none are stated, instead of trying `configs`; it raises KeyError,
        IndexError, TypeError, ValueError or StopIteration for another model's. `files` names the authors' files in
        what a user gives, where they are several; it raises WeightsError."""
        self.kind, self.configs, self.build, self.system, self.layout = kind, configs, build, system, layout
        self.required, self.published, self.allowed, self.sized = required, published, allowed, sized
        self.measured, self.files = measured, files

    def _misfit(self, config: Sizes, networks: Mapping[str, State]) -> str:
        with torch.device("meta"):  # shapes and no numbers
            expected = {k: net.state_dict() for k, net in self.build(config).items()}
        if strange := sorted(set(networks) - set(expected)):
            return f"there is no network {strange[0]}"
        for name, state in networks.items():
            if why := misfit(state, expected[name]):
                return f"{name} {why}"
        return ""

    def fit(
        self,
        networks: Mapping[str, State],
        config: str | Sizes | None = None,
        what: str = "the checkpoint",
        origin: Mapping[str, str] | None = None,
    ) -> Networks[Sizes]:
        """Weights under our key names, checked against `config` or, without one, the sizes they have.

        Raises WeightsError."""
        if not self.required and not any(networks.values()):
            raise WeightsError(f"{what} is no {self.system}: it has no networks")
        for name in self.required:
            if not networks.get(name):
                raise WeightsError(f"{what} is no {self.system}: it has no {name}")
        if isinstance(config, str) and config not in self.configs:
            raise WeightsError(f"unknown configuration {config!r}; known: {', '.join(self.configs)}")
        if config is None and self.measured:
            try:
                config = self.measured(networks)
            except (KeyError, IndexError, TypeError, ValueError, StopIteration):
                raise WeightsError(f"{what} is a checkpoint of another model") from None
        choices: dict[str, Sizes]
        if config is None:
            choices = dict(self.configs)
        else:
            choices = {config: self.configs[config]} if isinstance(config, str) else {"": config}
        if self.sized:
            choices = {name: self.sized(sizes, networks) for name, sizes in choices.items()}
        misfits = {name: self._misfit(sizes, networks) for name, sizes in choices.items()}
        for name, why in misfits.items():
            if not why:
                return Networks(choices[name], dict(networks), name, dict(origin or {}))
        first, why = next(iter(misfits.items()))
        if not first:
            raise WeightsError(f"{what} does not fit: {why}")
        if len(misfits) == 1:
            raise WeightsError(f"{what} does not fit the configuration {first}: {why}")
        raise WeightsError(f"{what} fits none of the configurations {', '.join(misfits)} (of {first}: {why})")

    def read_published(
        self, path: str | Path, *further: str | Path, config: str | Sizes | None = None
    ) -> Networks[Sizes]:
        """A checkpoint of the authors' code, and `further` ones such as its critic's. Raises WeightsError."""
        path = Path(path)
        networks: dict[str, State] = {}
        origin: dict[str, str] = {}
        for file in [*(self.files(path) if self.files else [path]), *map(Path, further)]:
            data = read_weights(file, self.allowed)
            networks |= self.published(data, file)
            # One file: its name and its hash; several: the hash of each.
            origin |= {file.name: sha256(file)} if self.files else {"file": file.name, "sha256": sha256(file)}
            if isinstance(data, Mapping) and isinstance(data.get("epoch"), int):
                origin["epoch"] = str(data["epoch"])
        return self.fit(networks, config, str(path), origin)

    def save(self, path: str | Path, weights: Networks[Sizes], half: bool = False) -> None:
        """Write our own file, whole or not at all; `half` stores 16 bits a number. Raises WeightsError."""
        if half:
            states = {
                n: {k: v.half() if v.dtype == torch.float32 else v for k, v in state.items()}
                for n, state in weights.networks.items()
            }
            weights = replace(weights, networks=states)
        write_networks(Path(path), self.layout, weights)

    def load(self, path: str | Path) -> Networks[Sizes]:
        """Read a file of `save`; numbers of 16 bits have 32 again. Raises WeightsError."""
        stored = read_networks(Path(path), self.layout, self.kind, self.system)
        states = {n: {k: _wide(v) for k, v in state.items()} for n, state in stored.networks.items()}
        weights = self.fit(states, stored.config, str(path), stored.origin)
        weights.name = stored.name
        return weights

    def read(self, path: str | Path) -> Networks[Sizes]:
        """Either kind of file, told apart by its first bytes. Raises WeightsError."""
        return self.load(path) if is_safetensors(Path(path)) else self.read_published(path)

    def convert(self, source: str | Path, target: str | Path, config: str = "") -> Networks[Sizes]:
        """Turn a published checkpoint into our own file called `config`, once. Raises WeightsError."""
        known = config if config in self.configs and not self.measured else None
        weights = self.read_published(source, config=known)
        weights.name = weights.name or config
        self.save(target, weights)
        return weights

    def networks(self, weights: Networks[Sizes]) -> dict[str, nn.Module]:
        """The networks that `weights` hold, in evaluation mode and as they stay."""
        built = {name: net for name, net in self.build(weights.config).items() if name in weights.networks}
        for name, net in built.items():
            net.load_state_dict(weights.networks[name])
            net.eval().requires_grad_(False)
        return built

    def network(self, weights: Networks[Sizes], name: str) -> Any:
        """One of them, in evaluation mode. Raises WeightsError where it is not among these."""
        if name not in weights.networks:
            raise WeightsError(f"{weights.name or 'these weights'}: there is no {name} among them")
        network = self.build(weights.config)[name]
        network.load_state_dict(weights.networks[name])
        return network.eval()

    def untrained(self, path: str | Path, config: str, seed: int = 0) -> None:
        """Write networks as they are before training: enough to try an engine, and nothing to look at."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            states = {n: net.state_dict() for n, net in self.build(self.configs[config]).items()}
        self.save(path, Networks(self.configs[config], states, config))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def states_in(data: Any, path: Path, wanted: Mapping[str, str], system: str) -> dict[str, State]:
    """State dicts in the content of a checkpoint, `wanted` from their names to ours; those it lacks are left out.

    A `module.` prefix is dropped. Raises WeightsError where there is none of them."""
    out: dict[str, State] = {}
    for theirs, ours in wanted.items():
        state = data.get(theirs) if isinstance(data, Mapping) else None
        if state is None:
            continue
        if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
            raise WeightsError(f"{path}: {theirs} is not a state dict")
        out[ours] = {str(k).removeprefix("module."): v for k, v in state.items()}
    if not out:
        found = sorted(str(k) for k in data)[:4] if isinstance(data, Mapping) else []
        inside = f"holds {', '.join(found)}" if found else "holds no named networks"
        raise WeightsError(f"{path} is no {system}: it {inside}, not {', '.join(wanted)}")
    return out
