"""Rectified Adam (Liu et al. 2019), and Ranger: lookahead (Zhang et al. 2019) and centred gradients (Yong et al.)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class RAdam(Optimizer):
    """As its reference of 2019 has it, which is not PyTorch's; `betas` and `eps` as Adam's.

    While the variance of the step is unknown (fewer than `threshold` samples of it) it steps down the mean gradient."""

    threshold = 5.0

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of every tensor that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
        (b1, b2), lr = group["betas"], group["lr"]
        state["step"] += 1
        t = state["step"]
        state["mean"].mul_(b1).add_(grad, alpha=1 - b1)
        state["square"].mul_(b2).addcmul_(grad, grad, value=1 - b2)
        most = 2 / (1 - b2) - 1  # samples of the variance in the end, and now
        known = most - 2 * t * b2**t / (1 - b2**t)
        size = lr / (1 - b1**t)
        if known > self.threshold:
            share = (known - 4) / (most - 4) * (known - 2) / known * most / (most - 2)
            size *= math.sqrt((1 - b2**t) * share)
            p.addcdiv_(state["mean"], state["square"].sqrt().add_(group["eps"]), value=-size)
        else:
            p.add_(state["mean"], alpha=-size)


class Ranger(RAdam):
    """Every `every` steps the weights return a share `alpha` of the way to where they were then."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        alpha: float = 0.5,
        every: int = 6,
    ) -> None:
        super().__init__(params, lr, betas, eps)
        self.alpha, self.every = alpha, every

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        slow = self.state[p]["slow"] if self.state[p] else p.detach().clone()
        if grad.dim() > 1:
            grad = grad - grad.mean(dim=tuple(range(1, grad.dim())), keepdim=True)
        super()._update(p, grad, group)
        self.state[p]["slow"] = slow
        if self.state[p]["step"] % self.every == 0:
            slow.add_(p - slow, alpha=self.alpha)
            p.copy_(slow)
