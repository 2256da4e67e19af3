"""Ops that treat each element alone: arithmetic, powers, unary functions, choices.

Operands of different shape are broadcast and of different dtype promoted before an op sees them, each by an
op of its own, so that the formulas here are those of one number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import Variable, op
from .shape import expand


@op
def cast(x: Variable, dtype: np.dtype) -> Any:
    """x in another dtype (its own array if it has it already)."""
    before = x.dtype
    value = x.array.astype(dtype, copy=False)
    return value, lambda g: cast(g, before)


def promote(*operands: Any) -> list[Variable]:
    """Tensors and Python numbers as Variables of the one dtype they meet in (see `dtypes.result_type`)."""
    first = next(x for x in operands if isinstance(x, Variable))
    kinds = [
        (x.dtype, 2 if x.ndim else 1) if isinstance(x, Variable) else (dtypes.scalar_dtype(x), 0) for x in operands
    ]
    dtype = dtypes.result_type(kinds)
    return [
        (x if x.dtype == dtype else cast(x, dtype)) if isinstance(x, Variable) else first.like(first.xp.asarray(x, dtype))
        for x in operands
    ]


def broadcast(*operands: Variable) -> list[Variable]:
    """The operands, each expanded to the shape they have in common."""
    shapes = [x.shape for x in operands]
    if all(s == shapes[0] for s in shapes):
        return list(operands)
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        sizes = " and ".join(str(tuple(s)) for s in shapes)
        raise RuntimeError(
            f"shapes {sizes} cannot be broadcast: counted from the right, sizes must be equal or 1"
        ) from None
    return [x if x.shape == shape else expand(x, shape) for x in operands]


def elementwise(fn: Callable[..., tuple]) -> Callable[..., Any]:
    """An op of several operands that are promoted and broadcast first; at least one is a Variable."""
    inner = op(fn)

    @functools.wraps(fn)
    def apply(*operands: Any) -> Variable:
        return inner(*broadcast(*promote(*operands)))

    apply.is_op = True  # type: ignore[attr-defined]  # see autograd.op
    return apply


@elementwise
def add(x: Variable, y: Variable) -> Any:
    """x + y"""
    return x.array + y.array, lambda g: g, lambda g: g


@elementwise
def sub(x: Variable, y: Variable) -> Any:
    """x - y"""
    return x.array - y.array, lambda g: g, lambda g: neg(g)


@elementwise
def mul(x: Variable, y: Variable) -> Any:
    """x · y"""
    return x.array * y.array, lambda g: mul(g, y), lambda g: mul(g, x)


@op
def neg(x: Variable) -> Any:
    """-x"""
    return -x.array, lambda g: neg(g)


@op
def exp(x: Variable) -> Any:
    """e^x"""
    return x.xp.exp(x.array), lambda g, y: mul(g, y)


@op
def log(x: Variable) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    return x.xp.log(x.array), lambda g: div(g, x)


@elementwise
def div(x: Variable, y: Variable) -> Any:
    """x / y"""
    return x.array / y.array, lambda g: div(g, y), lambda g, q: neg(div(mul(g, q), y))
