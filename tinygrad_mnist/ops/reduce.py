"""Ops that take many elements to one: sums, means, spreads, norms, products; and running sums and products.

`dim` is one dimension, several, or None for all of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..autograd import Variable, op
from .broadcast import accumulate_dtype, expand, kept_shape, max_array, sum, sum_array, sum_to
from .dims import normalize_dim, normalize_dims
from .elementwise import cast, div, masked, mul, sub, where
from .index import narrow
from .join import cat, flip
from .order import amax, amin
from .shape import reshape
from .unary import abs, exp, pow, sign

__all__ = [
    "all", "any", "cumprod", "cumsum", "expand", "logsumexp", "mean", "norm", "prod", "std", "sum", "sum_to", "var",
]  # fmt: skip

Dim = int | Iterable[int] | None


def _count(shape: tuple[int, ...], dims: tuple[int, ...]) -> int:
    return math.prod(shape[d] for d in dims)


def _require_floating(name: str, x: Variable) -> None:
    if x.dtype.kind != "f":
        raise RuntimeError(f"{name}(): the input dtype must be floating point, got {x.dtype}; call .float() first")


@op
def mean(x: Variable, dim: Dim = None, keepdim: bool = False) -> Any:
    """The sum over `dim` divided by the number of elements; NaN where there are none."""
    _require_floating("mean", x)
    before, dtype = x.shape, x.dtype
    dims = normalize_dims(dim, x.ndim)
    kept, n = kept_shape(before, dims), _count(before, dims)
    total = x.array.sum(axis=dims, keepdims=keepdim, dtype=accumulate_dtype(dtype))
    return (total / n).astype(dtype, copy=False), lambda g: expand(reshape(div(g, n), kept), before)


def _sum_of_squares(x: Variable, dims: tuple[int, ...]) -> Any:
    """The sum over `dims`, kept, of the squared distance from the mean."""
    wide = x.array.astype(accumulate_dtype(x.dtype), copy=False)
    centred = wide - wide.sum(axis=dims, keepdims=True) / _count(x.shape, dims)
    return (centred * centred).sum(axis=dims, keepdims=True)


@op
def var(x: Variable, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """The sum of squared distances from the mean over `dim`, divided by the number of elements - correction."""
    _require_floating("var", x)
    dims = normalize_dims(dim, x.ndim)
    freedom = max(_count(x.shape, dims) - correction, 0)
    kept = kept_shape(x.shape, dims)
    value = (_sum_of_squares(x, dims) / freedom).astype(x.dtype, copy=False)

    def gradient(g: Variable) -> Variable:
        return mul(reshape(g, kept), mul(sub(x, mean(x, dims, True)), 2 / freedom if freedom else math.nan))

    return value if keepdim else value.squeeze(dims), gradient


def _widened(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` of float16 by way of float32: a square is soon more than 65504, the largest float16."""

    @functools.wraps(fn)
    def apply(x: Variable, *args: Any, **kwargs: Any) -> Any:
        if x.dtype != np.float16:
            return fn(x, *args, **kwargs)
        return cast(fn(cast(x, np.dtype(np.float32)), *args, **kwargs), x.dtype)

    return apply


@_widened
def std(x: Variable, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """The square root of `var`; its gradient is 0 where it is 0."""
    return _sqrt_flat_at_zero(var(x, dim, correction, keepdim))


@op
def _sqrt_flat_at_zero(x: Variable) -> Any:
    """The square root with gradient 0 at 0."""

    def gradient(g: Variable, y: Variable) -> Variable:
        zero = y.array == 0
        return masked(div(g, mul(where(y.like(zero), 1.0, y), 2)), ~zero)

    return x.xp.sqrt(x.array), gradient


@_widened
def norm(x: Variable, p: float = 2, dim: Dim = None, keepdim: bool = False) -> Any:
    """(sum of |x|^p)^(1/p) over `dim`; p = inf: the largest |x|, -inf: the smallest, 0: how many are not 0.

    Where the norm is 0 its gradient is 0.
    """
    _require_floating("norm", x)
    if p == 2:
        return _sqrt_flat_at_zero(sum(mul(x, x), dim, keepdim))
    if p == 1:
        return sum(abs(x), dim, keepdim)
    if p == math.inf:
        return amax(abs(x), dim, keepdim)
    if p == -math.inf:
        return amin(abs(x), dim, keepdim)
    if p == 0:
        return sum(abs(sign(x)), dim, keepdim)
    return _norm(x, p, dim, keepdim)


@op
def _norm(x: Variable, p: float, dim: Dim, keepdim: bool) -> Any:
    dims = normalize_dims(dim, x.ndim)
    kept = kept_shape(x.shape, dims)
    value = sum_array(x.xp.abs(x.array) ** p, dims, keepdim) ** (1 / p)

    def gradient(g: Variable, y: Variable) -> Variable:
        zero, origin = x.like(x.array == 0), y.like(y.array == 0)
        size = where(zero, 1.0, abs(x))
        scale = mul(g, pow(where(origin, 1.0, y), 1 - p))
        slope = mul(mul(sign(x), pow(size, p - 1)), reshape(masked(scale, ~origin.array), kept))
        return masked(slope, ~zero.array)

    return value, gradient


@op
def logsumexp(x: Variable, dim: Dim, keepdim: bool = False) -> Any:
    """log of the sum of e^x over `dim`, without overflow; -inf where every x is -inf."""
    _require_floating("logsumexp", x)
    dims = normalize_dims(dim, x.ndim)
    kept = kept_shape(x.shape, dims)
    largest = max_array(x.array, dims)
    shift = x.xp.where(x.xp.isfinite(largest), largest, 0)
    value = x.xp.log(sum_array(x.xp.exp(x.array - shift), dims, True)) + shift

    def gradient(g: Variable, y: Variable) -> Variable:
        y = reshape(y, kept)
        return mul(reshape(g, kept), exp(sub(x, where(y.like(y.array == -math.inf), 0.0, y))))

    return value if keepdim else value.squeeze(dims), gradient


def prod(x: Variable, dim: int | None = None, keepdim: bool = False) -> Any:
    """The product over `dim`, as a tree of products of halves: its gradient divides by nothing, so 0 does no harm."""
    if x.dtype.kind != "f":
        x = cast(x, accumulate_dtype(x.dtype))
    before, axis = x.shape, 0
    dims = normalize_dims(dim, x.ndim)
    if dim is None or not before:
        x = reshape(x, (x.array.size,))
    else:
        axis = dims[0]
    n = x.shape[axis]
    if n == 0:
        x = cat([x, x.like(x.xp.ones(kept_shape(x.shape, (axis,)), x.dtype))], axis)
    while n > 1:
        half = n // 2
        pairs = mul(narrow(x, axis, 0, half), narrow(x, axis, half, half))
        x = cat([pairs, narrow(x, axis, 2 * half, 1)], axis) if n % 2 else pairs
        n -= half
    return reshape(x, kept_shape(before, dims) if keepdim else tuple(s for i, s in enumerate(before) if i not in dims))


@op
def cumsum(x: Variable, dim: int) -> Any:
    """The running sum along `dim`; int64 for integers and bool."""
    axis = normalize_dim(dim, x.ndim)
    if not x.ndim:
        return x.array + 0, lambda g: g
    total = x.array.cumsum(axis=axis, dtype=accumulate_dtype(x.dtype))
    value = total.astype(x.dtype, copy=False) if x.dtype.kind == "f" else total
    return value, lambda g: flip(cumsum(flip(g, axis), axis), axis)


def cumprod(x: Variable, dim: int) -> Any:
    """The running product along `dim`, by doubling: after step k each element holds the product of 2^k.

    Its gradient divides by nothing, so 0 does no harm.
    """
    axis = normalize_dim(dim, x.ndim)
    if x.dtype.kind != "f":
        x = cast(x, accumulate_dtype(x.dtype))
    n = x.shape[axis] if x.ndim else 1
    step = 1
    while step < n:
        later = mul(narrow(x, axis, step, n - step), narrow(x, axis, 0, n - step))
        x = cat([narrow(x, axis, 0, step), later], axis)
        step *= 2
    return x


def all(x: Variable, dim: Dim = None, keepdim: bool = False) -> Any:
    """Whether every element over `dim` is not 0."""
    return x.like((x.array != 0).all(axis=normalize_dims(dim, x.ndim), keepdims=keepdim))


def any(x: Variable, dim: Dim = None, keepdim: bool = False) -> Any:
    """Whether some element over `dim` is not 0."""
    return x.like((x.array != 0).any(axis=normalize_dims(dim, x.ndim), keepdims=keepdim))
