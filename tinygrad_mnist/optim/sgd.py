"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, arrays, check_at_least_0, gradients


class SGD(Optimizer):
    """b <- momentum b + (1 - dampening) g;  g <- g + momentum b if nesterov else b;  p <- p - lr g

    g is the gradient (its negative if `maximize`) plus weight_decay p; b starts as the first g.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html

    >>> from tinygrad_mnist import tensor
    >>> p = tensor([1.0], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> SGD([p], lr=0.1).step()
    >>> p
    tensor([0.8000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        check_at_least_0(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, kernels: Any, params: list[Tensor], group: Group) -> None:
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        parts = [(params, dampening)]
        if momentum and dampening:  # the first gradient enters the buffer whole
            first = [p for p in params if "momentum_buffer" not in self.state[p]]
            later = [p for p in params if "momentum_buffer" in self.state[p]]
            parts = [(first, 0.0), (later, dampening)]
        for some, damp in parts:
            kernels.sgd(
                arrays(some),
                gradients(some),
                self._buffers(some, "momentum_buffer") if momentum else [],
                float(group["lr"]),
                momentum,
                damp,
                float(group["weight_decay"]),
                group["nesterov"],
                group["maximize"],
            )
