"""The linear map of a layer: matrix product, bias and perhaps ReLU in one op."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, is_grad_enabled, op
from .activation import before_relu
from .broadcast import sum
from .matmul import matmul
from .shape import transpose


@op
def linear(x: Variable, w: Variable, b: Variable | None) -> Any:
    """x wᵀ + b for x (M, C), w (O, C), b (O,) or None: (M, O)."""
    y = x.kernels.linear(x.array, w.array, None if b is None else b.array)
    return y, lambda g: _input_grad(g, w), lambda g: _weight_grad(g, x), _bias_grad


@op
def linear_relu(x: Variable, w: Variable, b: Variable | None) -> Any:
    """max(x wᵀ + b, 0): `linear` and `relu` in one pass over the result."""
    value = x.kernels.linear(x.array, w.array, None if b is None else b.array, True)
    before = before_relu()
    return (
        value,
        lambda g, y: _input_grad(before(g, y), w),
        lambda g, y: _weight_grad(before(g, y), x),
        lambda g, y: _bias_grad(before(g, y)),
    )


# The gradients, in ops where they are to be differentiated again; a kernel's call takes a tenth of their Python.


def _input_grad(g: Variable, w: Variable) -> Variable:
    return matmul(g, w) if is_grad_enabled() else g.like(g.kernels.matmul(g.array, w.array))


def _weight_grad(g: Variable, x: Variable) -> Variable:
    return matmul(transpose(g, 0, 1), x) if is_grad_enabled() else g.like(g.kernels.matmul(g.array.T, x.array))


def _bias_grad(g: Variable) -> Variable:
    return sum(g, 0) if is_grad_enabled() else g.like(g.kernels.bias_grad(g.array))
