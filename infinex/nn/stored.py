"""The weights of one system: named configurations, published files, and our own; each system states a `Layout`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    read_checkpoint,
    read_networks,
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
    ) -> None:
        """`build` makes fresh networks by name; `published` those of what a checkpoint holds, under our key names, and
        raises WeightsError for another model's. `allowed` are classes that such a checkpoint may hold as data;
        `sized` takes what the data decided, such as a number of labels, from the tensors into the sizes."""
        self.kind, self.configs, self.build, self.system, self.layout = kind, configs, build, system, layout
        self.required, self.published, self.allowed, self.sized = required, published, allowed, sized

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
        """Weights under our key names, checked against `config` or, without one, against every named one.

        Raises WeightsError."""
        for name in self.required:
            if not networks.get(name):
                raise WeightsError(f"{what} is no {self.system}: it has no {name}")
        if isinstance(config, str) and config not in self.configs:
            raise WeightsError(f"unknown configuration {config!r}; known: {', '.join(self.configs)}")
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
        if len(misfits) == 1:
            raise WeightsError(f"{what} does not fit the configuration {first or 'given'}: {why}")
        raise WeightsError(f"{what} fits none of the configurations {', '.join(misfits)} (of {first}: {why})")

    def read_published(self, path: str | Path, config: str | Sizes | None = None) -> Networks[Sizes]:
        """A checkpoint of the authors' code. Raises WeightsError."""
        path = Path(path)
        networks = self.published(read_checkpoint(path, self.allowed), path)
        return self.fit(networks, config, str(path), {"file": path.name, "sha256": sha256(path)})

    def save(self, path: str | Path, weights: Networks[Sizes]) -> None:
        """Write our own file, whole or not at all. Raises WeightsError."""
        write_networks(Path(path), self.layout, weights)

    def load(self, path: str | Path) -> Networks[Sizes]:
        """Read a file of `save`. Raises WeightsError."""
        stored = read_networks(Path(path), self.layout, self.kind, self.system)
        weights = self.fit(stored.networks, stored.config, str(path), stored.origin)
        weights.name = stored.name
        return weights

    def read(self, path: str | Path) -> Networks[Sizes]:
        """Either kind of file, told apart by its first bytes. Raises WeightsError."""
        return self.load(path) if is_safetensors(Path(path)) else self.read_published(path)

    def convert(self, source: str | Path, target: str | Path, config: str | None = None) -> Networks[Sizes]:
        """Turn a published checkpoint into our own file, once. Raises WeightsError."""
        weights = self.read_published(source, config if config in self.configs else None)
        self.save(target, weights)
        return weights

    def networks(self, weights: Networks[Sizes]) -> dict[str, nn.Module]:
        """The networks that `weights` hold, in evaluation mode."""
        built = {name: net for name, net in self.build(weights.config).items() if name in weights.networks}
        for name, net in built.items():
            net.load_state_dict(weights.networks[name])
            net.eval().requires_grad_(False)
        return built


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
