"""What the tests of systems that learn from pairs of frames have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Plain:
    """Fabric on one CPU."""

    def backward(self, tensor: Tensor) -> None:
        """See `infinex.training.task.Fabric`."""
        tensor.backward()


def smooth(count: int, size: int, seed: int = 1) -> Tensor:
    """Soft pictures (count, 3, size, size) in 0..1."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=size, mode="bilinear")


def pair(size: int, count: int = 2) -> dict[str, Tensor]:
    """Sources and driving frames."""
    both = smooth(2 * count, size)
    return {"source": both[:count], "driving": both[count:]}


def moved_by(task: Any, batch: Mapping[str, Any], share: float = 0.8) -> dict[str, float]:
    """One step; its terms are numbers, and it moves nearly every parameter of every network."""
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in task.networks.items()}
    terms: dict[str, float] = task.step(batch, Plain())
    assert all(np.isfinite(v) for v in terms.values()), terms
    for name, net in task.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], net.parameters())]
        assert sum(moved) >= share * len(moved), (
            name,
            [n for (n, _), m in zip(net.named_parameters(), moved) if not m],
        )
        assert all(p.grad is None for p in net.parameters())
    return terms


def comes_back(task: Any, other: Any, path: Path) -> None:
    """What a task saves another one loads, tensor by tensor."""
    task.save(path)
    other.load_file(path)
    for name, network in task.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, other.networks[name].state_dict()[key]), (name, key)
