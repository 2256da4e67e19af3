"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, arrays, check_at_least_0, gradients


class Adagrad(Optimizer):
    """s <- s + g²;  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    g is the gradient (its negative if `maximize`) plus weight_decay p, t counts the steps of p from 1.

    Source: https://jmlr.org/papers/v12/duchi11a.html
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        check_at_least_0(
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, kernels: Any, params: list[Tensor], group: Group) -> None:
        steps = self._count_steps(params)
        kernels.adagrad(
            arrays(params),
            gradients(params),
            self._buffers(params, "sum", group["initial_accumulator_value"]),
            steps,
            float(group["lr"]),
            float(group["lr_decay"]),
            float(group["weight_decay"]),
            float(group["eps"]),
            group["maximize"],
        )
