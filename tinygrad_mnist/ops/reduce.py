"""Ops that take many elements to one: sums, means, extremes, norms."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, op


@op
def sum(x: Variable, axes: tuple[int, ...], keepdim: bool = False) -> Any:
    """The sum over `axes`."""
    before = x.shape
    kept = tuple(1 if i in axes else n for i, n in enumerate(before))
    value = x.array.sum(axis=axes, keepdims=keepdim)
    return value, lambda g: expand(reshape(g, kept), before)


def sum_to(x: Variable, shape: tuple[int, ...]) -> Variable:
    """x summed over the axes that broadcasting from `shape` made: the adjoint of expand."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    axes = tuple(i for i in range(x.ndim) if i < extra or (shape[i - extra] == 1 and x.shape[i] != 1))
    return reshape(sum(x, axes), shape)


from .shape import expand, reshape  # noqa: E402  (the adjoint of a sum is an expansion, and the other way round)
