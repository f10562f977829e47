"""What a system gives the trainer, and what tasks have in common: the kit that a new one is made of."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler


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

    Derive from it and fill `networks` and `optimizers()`."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.networks = networks
        self._optimizers: dict[str, Optimizer] = {}

    def optimizers(self) -> dict[str, Optimizer]:
        """By the names of their networks; the same dictionary on every call."""
        return self._optimizers

    def schedulers(self) -> dict[str, LRScheduler]:
        """None: rates stay as they are."""
        return {}

    def update(self, names: Sequence[str], terms: dict[str, Tensor], fabric: Fabric, scale: float = 1.0) -> None:
        """One step of some networks down the sum of `terms`, times `scale`; the others are left alone.

        Raises FloatingPointError, before a network is touched, where a term is not a finite number."""
        checked(terms)
        for name in names:
            self.optimizers()[name].zero_grad(set_to_none=True)
        fabric.backward(scale * torch.stack(list(terms.values())).sum())
        for name in names:
            self.optimizers()[name].step()
        for optimizer in self.optimizers().values():  # others that the terms went through as well
            optimizer.zero_grad(set_to_none=True)

    def states(self, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
        """Copies of the state dicts of those that there are, to be saved."""
        return {
            name: {k: v.detach().cpu().contiguous().clone() for k, v in self.networks[name].state_dict().items()}
            for name in names
            if name in self.networks
        }


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
    """Terms of a loss as numbers, for the table."""
    return {k: float(v.detach()) for k, v in terms.items()}


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
