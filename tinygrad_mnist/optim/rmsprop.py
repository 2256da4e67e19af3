"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, arrays, check_at_least_0, gradients


class RMSprop(Optimizer):
    """v <- alpha v + (1 - alpha) g²;  b <- momentum b + g / (sqrt(v) + eps);  p <- p - lr b

    g is the gradient (its negative if `maximize`) plus weight_decay p. `centered` takes v - a² in place of v, with
    a <- alpha a + (1 - alpha) g.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        check_at_least_0(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, kernels: Any, params: list[Tensor], group: Group) -> None:
        self._count_steps(params)
        kernels.rmsprop(
            arrays(params),
            gradients(params),
            self._buffers(params, "square_avg"),
            self._buffers(params, "grad_avg") if group["centered"] else [],
            self._buffers(params, "momentum_buffer") if group["momentum"] else [],
            float(group["lr"]),
            float(group["alpha"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            float(group["momentum"]),
            group["centered"],
            group["maximize"],
        )
