"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, arrays, check_at_least_0, gradients


class Adadelta(Optimizer):
    """v <- rho v + (1 - rho) g²;  d = g sqrt(u + eps) / sqrt(v + eps);  u <- rho u + (1 - rho) d²;  p <- p - lr d

    g is the gradient (its negative if `maximize`) plus weight_decay p.

    Source: https://arxiv.org/abs/1212.5701
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ):
        check_at_least_0(lr=lr)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_0(eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update(self, kernels: Any, params: list[Tensor], group: Group) -> None:
        self._count_steps(params)
        kernels.adadelta(
            arrays(params),
            gradients(params),
            self._buffers(params, "square_avg"),
            self._buffers(params, "acc_delta"),
            float(group["lr"]),
            float(group["rho"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            group["maximize"],
        )
