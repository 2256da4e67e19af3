"""The linear map of a layer: matrix product, bias and perhaps ReLU in one op."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, is_grad_enabled, op
from .activation import relu_grad
from .broadcast import sum
from .matmul import matmul
from .shape import transpose


@op
def linear(x: Variable, w: Variable, b: Variable | None) -> Any:
    """x wᵀ + b for x (M, C), w (O, C), b (O,) or None: (M, O)."""
    y = x.kernels.linear(x.array, w.array, None if b is None else b.array)
    return y, lambda g: matmul(g, w), lambda g: matmul(transpose(g, 0, 1), x), _bias_grad


@op
def linear_relu(x: Variable, w: Variable, b: Variable | None) -> Any:
    """max(x wᵀ + b, 0): `linear` and `relu` in one pass over the result."""
    value = x.kernels.linear(x.array, w.array, None if b is None else b.array, True)
    last: list = [None, None]  # the g seen last, and the gradient before ReLU for it

    def before(g: Variable, y: Variable) -> Variable:
        if is_grad_enabled():
            return relu_grad(g, y)
        if last[0] is not g:
            last[:] = g, relu_grad(g, y)
        return last[1]

    return (
        value,
        lambda g, y: matmul(before(g, y), w),
        lambda g, y: matmul(transpose(before(g, y), 0, 1), x),
        lambda g, y: _bias_grad(before(g, y)),
    )


def _bias_grad(g: Variable) -> Variable:
    return sum(g, 0) if is_grad_enabled() else g.like(g.kernels.bias_grad(g.array))
