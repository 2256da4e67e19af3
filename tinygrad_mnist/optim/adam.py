"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, arrays, check_at_least_0, gradients


class Adam(Optimizer):
    """m <- β1 m + (1 - β1) g;  v <- β2 v + (1 - β2) g²;  p <- p - lr m / (1 - β1^t) / (sqrt(v / (1 - β2^t)) + eps)

    g is the gradient (its negative if `maximize`) plus weight_decay p, t counts the steps of p from 1. `amsgrad`
    takes the largest v so far. `decoupled_weight_decay` multiplies p by 1 - lr weight_decay first instead.

    Source: https://arxiv.org/abs/1412.6980
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        check_at_least_0(lr=lr, eps=eps)
        for i, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        check_at_least_0(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, kernels: Any, params: list[Tensor], group: Group) -> None:
        steps = self._count_steps(params)
        beta1, beta2 = group["betas"]
        kernels.adam(
            arrays(params),
            gradients(params),
            self._buffers(params, "exp_avg"),
            self._buffers(params, "exp_avg_sq"),
            self._buffers(params, "max_exp_avg_sq") if group["amsgrad"] else [],
            steps,
            float(group["lr"]),
            float(beta1),
            float(beta2),
            float(group["eps"]),
            float(group["weight_decay"]),
            group["decoupled_weight_decay"],
            group["amsgrad"],
            group["maximize"],
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: p <- p - lr weight_decay p first, and g has none.

    Source: https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
        )
