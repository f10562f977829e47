"""What a system gives the trainer, and what tasks have in common: the kit that a new one is made of."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


@dataclass(frozen=True)
class TrainerOptions:
    """How a run is carried out, whatever is trained; a recipe may bring its own under the name `trainer`."""

    seed: int = 0
    max_steps: int = 0  # 0: as many as the recipe's epochs make
    devices: int = 1  # per machine
    nodes: int = 1
    accelerator: str = "auto"
    precision: str = "auto"  # bf16-mixed on a GPU that has it, else 32-true
    strategy: str = "auto"
    ema: float = 0.999  # decay of the average of the weights that is saved and shown; 0: none
    compile: bool = False
    workers: int = 0  # processes that load samples
    threads: int = 1  # of PyTorch on a CPU; small networks are fastest on one
    log_every: int = 1
    checkpoint_every: int = 500
    checkpoint_minutes: float = 10.0  # or sooner, after this long
    panel_every: int = 1000
    panel_rows: int = 4
    tensorboard: bool = True


class Fabric(Protocol):
    """What a step needs of Lightning Fabric."""

    def backward(self, tensor: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients of `tensor`, scaled and shared between processes as need be."""


class Task(Protocol):
    """What a system gives the trainer. The trainer replaces the entries of `networks` and of the dictionary
    that `optimizers()` returns by Fabric's wrappers before the first step."""

    networks: dict[str, nn.Module]
    panel: str  # what stands in the columns of `sample_panel`, for people

    def optimizers(self) -> dict[str, Optimizer]:
        """By the names of their networks; the same dictionary on every call."""

    def schedulers(self) -> dict[str, LRScheduler]:
        """By the names of their optimisers; stepped once an epoch. May be empty."""

    def step(self, batch: dict[str, Any], fabric: Any) -> dict[str, float]:
        """Update the networks once, backward passes through `fabric.backward`; the terms by name.

        Raises FloatingPointError, before a network is touched, where a loss is not a finite number."""

    def sample_panel(self, batch: dict[str, Any]) -> NDArray[np.uint8]:
        """A picture (H, W, 3) of what the networks make of a few held-back samples; none: an empty array."""

    def measure(self, batch: dict[str, Any]) -> dict[str, float]:
        """Figures of merit on held-back samples; may be empty."""

    def save(self, path: Path) -> None:
        """Write the networks as they are as a file of weights."""

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file. Raises WeightsError where they do not fit."""


def checked(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of a loss, if all are finite. Raises FloatingPointError that names those that are not."""
    finite = torch.isfinite(torch.stack([t.detach().float() for t in terms.values()]))
    if not finite.all():
        bad = [name for name, ok in zip(terms, finite.tolist()) if not ok]
        raise FloatingPointError(f"not a finite number: {', '.join(bad)}")
    return terms


# -- the kit --------------------------------------------------------------------------------------


class Adams(dict[str, Optimizer]):
    """One Adam for each network, made at once; the dictionary that `Task.optimizers` returns on every call."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        rates: float | Mapping[str, float],
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        """`rates` for all, or by the name of the network."""
        super().__init__()
        for name, network in networks.items():
            rate = rates if isinstance(rates, (int, float)) else rates[name]
            self[name] = Adam(network.parameters(), lr=rate, betas=betas)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """The networks are in evaluation mode inside this block, and as they were after it."""
    modes = [(n, n.training) for n in networks]
    for network, _ in modes:
        network.eval()
    try:
        yield
    finally:
        for network, mode in modes:
            network.train(mode)


def pixels(x: Tensor, low: float = 0.0) -> NDArray[np.uint8]:
    """Pictures (B, 3 or 1, H, W) from `low` (0 or -1) to 1, as (B, H, W, 3) uint8."""
    x = ((x.float() - low) * (255 / (1 - low))).round().clamp(0, 255).byte()
    return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()


def grid(columns: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """A panel (B·H, N·W, 3) of N columns of pictures (B, H, W, 3), a sample each row."""
    return np.concatenate([np.concatenate(row, axis=1) for row in zip(*columns)], axis=0)


class Players:
    """A task whose networks are updated by name, some against others: the optimisers, one step, and states to save.

    Derive from it and fill `networks` and `_optimizers`."""

    networks: dict[str, nn.Module]
    _optimizers: dict[str, Optimizer]
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit

    def optimizers(self) -> dict[str, Optimizer]:
        """By the names of their networks; the same dictionary on every call."""
        return self._optimizers

    def schedulers(self) -> dict[str, LRScheduler]:
        """None: rates stay as they are."""
        return {}

    def update(
        self, names: Sequence[str], terms: Mapping[str, Tensor], fabric: Fabric, scale: float = 1.0
    ) -> dict[str, Tensor]:
        """One step of some networks down the sum of `terms`, times `scale`; the terms, detached.

        The others are left alone: gradients that passed through them are dropped. Raises FloatingPointError, before a
        network is touched, where a term is not a finite number."""
        kept = checked(dict(terms))
        for name in names:
            self.optimizers()[name].zero_grad(set_to_none=True)
        total = torch.stack(list(kept.values())).sum()
        fabric.backward(total if scale == 1 else scale * total)
        self.advance(names)
        return {k: v.detach() for k, v in kept.items()}

    def advance(self, names: Iterable[str]) -> None:
        """One step of some networks down the gradients that are there; then all gradients are dropped."""
        for name in names:
            if self.clip_gradient > 0:
                nn.utils.clip_grad_norm_(self.networks[name].parameters(), self.clip_gradient)
            self.optimizers()[name].step()
        for network in self.networks.values():
            network.zero_grad(set_to_none=True)

    def updates(self, name: str) -> int:
        """Updates of a network so far, as its optimiser counts them: a resumed run goes on in turn."""
        return next((int(state["step"]) for state in self.optimizers()[name].state.values()), 0)

    def states(self, names: Sequence[str] = ()) -> dict[str, dict[str, Tensor]]:
        """Copies of the state dicts of those that there are, to be saved; without names, of all."""
        return {
            name: {k: v.detach().cpu().contiguous().clone() for k, v in self.networks[name].state_dict().items()}
            for name in names or self.networks
            if name in self.networks
        }


def falling(
    optimizers: Mapping[str, Optimizer], epochs: int, decay_epochs: int, to: float = 0.0, ahead: int = 0
) -> dict[str, LRScheduler]:
    """Constant rates that fall in a line over the last `decay_epochs`, to the share `to` of them, `ahead` sooner."""
    first = epochs - decay_epochs - ahead

    def share(epoch: int) -> float:
        return 1 - min(1.0, max(0.0, (epoch + 1 - first) / (decay_epochs + 1))) * (1 - to)

    return {name: LambdaLR(optimizer, share) for name, optimizer in optimizers.items()}


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """The networks pass gradients on and keep none, inside this block."""
    parameters = [(p, p.requires_grad) for n in networks for p in n.parameters()]
    for parameter, _ in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, wanted in parameters:
            parameter.requires_grad_(wanted)


def plain(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Terms of a loss as numbers, for the table, in one transfer."""
    return dict(zip(terms, torch.stack([t.detach().float() for t in terms.values()]).tolist())) if terms else {}


def draw_keypoints(images: NDArray[np.uint8], points: Tensor) -> NDArray[np.uint8]:
    """Coloured dots at `points` (B, K, 2) in -1..1 on a copy of `images` (B, H, W, 3)."""
    out = images.copy()
    h, w = images.shape[1:3]
    ys, xs = np.mgrid[:h, :w]
    radius = max(1.5, h / 64)
    count = points.shape[1]
    for picture, dots in zip(out, points.float().cpu().numpy()):
        for k, (x, y) in enumerate(dots):
            near = (xs - (x + 1) / 2 * (w - 1)) ** 2 + (ys - (y + 1) / 2 * (h - 1)) ** 2 <= radius**2
            picture[near] = np.round(255 * np.array(colorsys.hsv_to_rgb(k / count, 0.9, 1.0)))
    return out
