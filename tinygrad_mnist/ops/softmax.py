"""Softmax and its logarithm, safe for large inputs."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, is_grad_enabled, op
from .broadcast import max_array, sum, sum_array
from .dims import normalize_dims
from .elementwise import mul, sub
from .unary import exp


def _shifted(x: Variable, dim: int) -> tuple[Any, tuple[int, ...]]:
    """x - max(x) along `dim`, so that no exponential overflows; and dim, counted from the left."""
    if x.dtype.kind != "f":
        raise NotImplementedError(f"softmax: expected a floating dtype, got {x.dtype}; call .float() first")
    dims = normalize_dims(dim, x.ndim)
    return x.array - max_array(x.array, dims), dims


@op
def softmax(x: Variable, dim: int) -> Any:
    """e^x / (sum of e^x along `dim`)"""
    rows = getattr(x.kernels, "softmax", None)  # kernels for the last axis
    rows = rows if rows is not None and x.ndim and dim in (-1, x.ndim - 1) and rows.usable(x.array) else None

    def gradient(g: Variable, y: Variable) -> Variable:
        if rows is not None and not is_grad_enabled():
            return g.like(rows.softmax_grad(g.array, y.array))
        gy = mul(g, y)
        return sub(gy, mul(y, sum(gy, dims, True)))

    if rows is not None:
        dims: tuple[int, ...] = (x.ndim - 1,)
        return rows.softmax(x.array), gradient
    shifted, dims = _shifted(x, dim)
    e = x.xp.exp(shifted)
    return e / sum_array(e, dims, True), gradient


@op
def log_softmax(x: Variable, dim: int) -> Any:
    """x - log(sum of e^x along `dim`), exact also where softmax is 0."""
    shifted, dims = _shifted(x, dim)
    return (
        shifted - x.xp.log(sum_array(x.xp.exp(shifted), dims, True)),
        lambda g, y: sub(g, mul(exp(y), sum(g, dims, True))),
    )
