"""What tasks share whose networks are kept by a `Layout`: the step of `Players`, schedules, and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from infinex.errors import InputError, WeightsError, option
from infinex.nn.files import Networks, load_networks
from infinex.nn.stored import Layout
from infinex.training.task import Players


def sizes_of(layout: Layout[Any], name: str) -> Any:
    """The configuration of a recipe. Raises InputError that names those there are."""
    if name not in layout.configs:
        raise InputError(f"{option('set')} config={name}: there are {', '.join(layout.configs)}")
    return layout.configs[name]


class StoredTask(Players):
    """A part of `infinex.training.task.Task`; derive from it and set what stands here in `__init__`."""

    layout: Layout[Any]
    config: Any  # sizes of the networks
    name: str  # of the configuration
    milestones: Sequence[int] = ()  # epochs after which the rates drop to a tenth
    spare: str = "discriminator"  # the network that weights to begin with need not fit
    kept: Sequence[str] = ()  # networks that an earlier stage taught, which stay as they are
    kept_training: bool = False  # whether these work as in training, by the statistics of the batch

    def schedulers(self) -> dict[str, LRScheduler]:
        """See `Task`."""
        return {n: MultiStepLR(o, list(self.milestones), gamma=0.1) for n, o in self.optimizers().items()}

    def stored(self) -> list[str]:
        """Names of the networks that go into the file."""
        return list(self.networks)

    def origin(self) -> dict[str, str]:
        """What the file says of where its networks come from."""
        return {}

    def weights(self) -> Networks[Any]:
        """The networks as they are, to be saved."""
        return Networks(self.config, self.states(self.stored()), self.name, self.origin())

    def save(self, path: Path) -> None:
        """Write the networks as they are to a file of weights."""
        self.layout.save(path, self.weights())

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file, ours or a published checkpoint; a critic of another kind stays as it is.

        Raises WeightsError, also where one of `kept` is not among them."""
        weights = self.layout.read(path)
        if missing := [n for n in self.kept if n not in weights.networks]:
            raise WeightsError(f"{path} has no {missing[0]}: it is the result of an earlier stage")
        self.begin(weights, str(path))

    def begin(self, weights: Networks[Any], what: str = "the weights") -> None:
        """Begin with weights that were read; `what` they are. Raises WeightsError where they do not fit."""
        complaint = f"{what} ({weights.name or 'of another configuration'}) does not fit"
        load_networks(self.networks, weights.networks, complaint, self.name, spare=self.spare)
        self.keep()

    def keep(self) -> None:
        """Let what is kept learn nothing."""
        for name in self.kept:
            self.networks[name].requires_grad_(False).train(self.kept_training)
