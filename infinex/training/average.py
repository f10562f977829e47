"""The moving average of a network's weights, which is what a run shows and saves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of the parameters of networks; buffers are taken as they are.

    The decay grows with the number of steps, min(decay, (1 + n) / (10 + n)), so that the start is forgotten."""

    def __init__(self, networks: dict[str, nn.Module], decay: float) -> None:
        self.decay, self.count = decay, 0
        self.live = {n: net.state_dict() for n, net in networks.items()}  # the networks' own tensors
        self.state = {n: {k: v.detach().clone() for k, v in state.items()} for n, state in self.live.items()}
        smooth = [(n, k) for n, net in networks.items() for k, p in net.named_parameters() if p.is_floating_point()]
        rest = [(n, k) for n, state in self.live.items() for k in state if (n, k) not in set(smooth)]
        self._smooth = [self.state[n][k] for n, k in smooth], [self.live[n][k] for n, k in smooth]
        self._rest = [(self.state[n][k], self.live[n][k]) for n, k in rest]

    @torch.no_grad()
    def update(self) -> None:
        """After a step."""
        self.count += 1
        if self._smooth[0]:
            torch._foreach_lerp_(*self._smooth, 1 - min(self.decay, (1 + self.count) / (10 + self.count)))
        for mine, theirs in self._rest:
            mine.copy_(theirs)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """The networks hold the average inside this block."""
        own = {n: {k: v.detach().clone() for k, v in state.items()} for n, state in self.live.items()}
        try:
            self._put(self.state)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, dict[str, Tensor]]) -> None:
        for name, state in self.live.items():
            for key, tensor in state.items():
                tensor.copy_(values[name][key])
