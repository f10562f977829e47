"""What tasks share whose networks are kept by a `Layout`: optimisers, schedules, files and the advance of one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from infinex.errors import InputError, option
from infinex.nn.files import Networks, load_networks
from infinex.nn.stored import Layout
from infinex.training.task import Fabric, checked


def sizes_of(layout: Layout[Any], name: str) -> Any:
    """The configuration of a recipe. Raises InputError that names those there are."""
    if name not in layout.configs:
        raise InputError(f"{option('set')} config={name}: there are {', '.join(layout.configs)}")
    return layout.configs[name]


class StoredTask:
    """A part of `infinex.training.task.Task`; derive from it and set what stands here in `__init__`."""

    layout: Layout[Any]
    config: Any  # sizes of the networks
    name: str  # of the configuration
    milestones: Sequence[int] = ()  # epochs after which the rates drop to a tenth
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit
    networks: dict[str, nn.Module]
    _optimizers: dict[str, Optimizer]

    def optimizers(self) -> dict[str, Optimizer]:
        """See `Task`."""
        return self._optimizers

    def schedulers(self) -> dict[str, LRScheduler]:
        """See `Task`."""
        return {n: MultiStepLR(o, list(self.milestones), gamma=0.1) for n, o in self.optimizers().items()}

    def advance(self, terms: Mapping[str, Tensor], fabric: Fabric, *names: str) -> dict[str, Tensor]:
        """Step the networks `names` down the sum of `terms`, all of which are finite; the terms, detached.

        Gradients left behind in other networks are dropped. Raises FloatingPointError before anything moves."""
        kept = checked(dict(terms))
        for optimizer in self.optimizers().values():
            optimizer.zero_grad(set_to_none=True)
        fabric.backward(torch.stack(list(kept.values())).sum())
        for name in names:
            if self.clip_gradient > 0:
                nn.utils.clip_grad_norm_(self.networks[name].parameters(), self.clip_gradient)
            self.optimizers()[name].step()
        for network in self.networks.values():
            network.zero_grad(set_to_none=True)
        return {k: v.detach() for k, v in kept.items()}

    def weights(self) -> Networks[Any]:
        """The networks as they are, to be saved."""
        states = {
            name: {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
            for name, network in self.networks.items()
        }
        return Networks(self.config, states, self.name)

    def save(self, path: Path) -> None:
        """Write the networks as they are to a file of weights."""
        self.layout.save(path, self.weights())

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file, ours or a published checkpoint; a discriminator of another kind stays as it
        is. Raises WeightsError."""
        self.begin(self.layout.read(path))

    def begin(self, weights: Networks[Any]) -> None:
        """Begin with weights that were read. Raises WeightsError where they do not fit."""
        complaint = f"the weights are of {weights.name or 'another configuration'} and do not fit"
        load_networks(self.networks, weights.networks, complaint, self.name, spare="discriminator")


def numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Terms as plain numbers, in one transfer."""
    return dict(zip(terms, torch.stack([t.float() for t in terms.values()]).tolist()))
