"""The linear map of a layer: matrix product and bias in one op."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, is_grad_enabled, op
from .broadcast import sum
from .matmul import matmul, product
from .shape import transpose


@op
def linear(x: Variable, w: Variable, b: Variable | None) -> Any:
    """x wᵀ + b for x (M, C), w (O, C), b (O,) or None: (M, O)."""
    y = product(x, w.like(w.array.T))
    if b is not None:
        x.kernels.add_bias(y, b.array)

    def db(g: Variable) -> Variable:
        return sum(g, 0) if is_grad_enabled() else g.like(g.kernels.bias_grad(g.array))

    return y, lambda g: matmul(g, w), lambda g: matmul(transpose(g, 0, 1), x), db
