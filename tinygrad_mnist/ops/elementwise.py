"""Arithmetic on each element alone. Operands of different dtype or shape are promoted and broadcast first.

A Python number among the operands stays a number: it costs no array, no broadcasting and no entry on the tape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Variable, check_same_device, op
from ..dtypes import get_default_dtype, result_type, scalar_dtype
from .broadcast import broadcast

_KEEPS_DTYPE = {"f": (float, int, bool), "i": (int, bool), "u": (int, bool), "b": (bool,)}


@op
def cast(x: Variable, dtype: np.dtype) -> Any:
    """x in another dtype (its own array if it has it already)."""
    before = x.dtype
    value = x.array.astype(dtype, copy=False)
    return (value, lambda g: cast(g, before)) if dtype.kind == "f" else (value,)


def promote(*operands: Any, floating: bool = False) -> list[Any]:
    """Tensors cast to the one dtype the operands meet in (see `dtypes.result_type`), numbers as Python numbers.

    With `floating`, integers and bools become the default float.
    """
    kinds = []
    for x in operands:
        if isinstance(x, Variable):
            kinds.append((x.dtype, 2 if x.ndim else 1))
        elif isinstance(x, bool | int | float | np.generic):
            kinds.append((scalar_dtype(x), 0))
        else:
            raise TypeError(f"expected a tensor or a number, got {type(x).__qualname__}: {x!r}; use tensor(...)")
    if all(strength == 0 for _, strength in kinds):
        raise TypeError(f"expected at least one tensor, got only numbers: {operands}")
    dtype = result_type(kinds)
    if floating and dtype.kind != "f":
        dtype = get_default_dtype()
    return [_meet(x, dtype) for x in operands]


def _meet(x: Any, dtype: np.dtype) -> Any:
    if isinstance(x, Variable):
        return x if x.dtype == dtype else cast(x, dtype)
    return x.item() if isinstance(x, np.generic) else x


def _ready(operands: tuple[Any, ...], floating: bool) -> bool:
    """Whether the operands are tensors of one dtype and shape, and numbers that leave the dtype as it is."""
    arrays = [x.array for x in operands if isinstance(x, Variable)]
    if not arrays:
        return False
    dtype, shape = arrays[0].dtype, arrays[0].shape
    if floating and dtype.kind != "f":
        return False
    for x in operands:
        if isinstance(x, Variable):
            if x.array.dtype != dtype or x.array.shape != shape:
                return False
        elif type(x) not in _KEEPS_DTYPE[dtype.kind]:
            return False
    return True


def raw(x: Any) -> Any:
    """The array of a Variable; a number as it is."""
    return x.array if isinstance(x, Variable) else x


def elementwise(fn: Callable[..., tuple], floating: bool = False) -> Callable[..., Any]:
    """An op whose operands (tensors and numbers, at least one tensor) are promoted and broadcast first."""
    inner = op(fn)

    @functools.wraps(fn)
    def apply(*operands: Any) -> Variable:
        if not _ready(operands, floating):
            operands = tuple(broadcast(*promote(*operands, floating=floating)))
        return inner(*operands)

    apply.is_op = True  # type: ignore[attr-defined]  # see autograd.op
    return apply


def floating(fn: Callable[..., tuple]) -> Callable[..., Any]:
    """An elementwise op that makes the default float of integers and bools."""
    return elementwise(fn, floating=True)


def zeros_like(x: Variable) -> Any:
    """Zeros in the shape and dtype of x: the gradient of what is flat almost everywhere."""
    return x.like(x.xp.zeros_like(x.array))


@op
def masked(x: Variable, keep: Any) -> Any:
    """x where the bool array `keep` is True, 0 elsewhere, also where x is inf or NaN.

    The bits of x times 1 or 0: one pass without a branch, ten times as fast as numpy.where on a random mask.
    """
    bits = x.array.view(f"i{x.dtype.itemsize}")
    return (bits * keep).view(x.dtype), lambda g: masked(g, keep)


@elementwise
def add(x: Any, y: Any) -> Any:
    """x + y"""
    return raw(x) + raw(y), lambda g: g, lambda g: g


@elementwise
def sub(x: Any, y: Any) -> Any:
    """x - y"""
    return raw(x) - raw(y), lambda g: g, lambda g: neg(g)


@elementwise
def mul(x: Any, y: Any) -> Any:
    """x · y"""
    return raw(x) * raw(y), lambda g: mul(g, y), lambda g: mul(g, x)


@floating
def div(x: Any, y: Any) -> Any:
    """x / y; integers give floats."""
    return raw(x) / raw(y), lambda g: div(g, y), lambda g, q: neg(div(mul(g, q), y))


@op
def neg(x: Variable) -> Any:
    """-x"""
    return -x.array, lambda g: neg(g)


def plain(fn: Callable[..., Any], *operands: Any) -> Any:
    """fn of the arrays of the promoted operands, as a Variable without history."""
    if not _ready(operands, False):
        operands = tuple(broadcast(*promote(*operands)))
    inputs = [x for x in operands if isinstance(x, Variable)]
    check_same_device(fn.__name__, inputs)
    with np.errstate(all="ignore"):
        return inputs[0].like(fn(*map(raw, operands)))


def floor_divide(x: Any, y: Any) -> Any:
    """x / y rounded down; it has no gradient."""
    return plain(_floor_divide, x, y)


def _floor_divide(x: Any, y: Any) -> Any:
    _refuse_zero("floor_divide", x, y)
    return x // y


def _refuse_zero(name: str, x: Any, y: Any) -> None:
    """Integers have no infinity to answer with."""
    kinds = [v.dtype.kind for v in (x, y) if hasattr(v, "dtype")]
    if kinds[0] != "f" and (y == 0 if isinstance(y, int) else (y == 0).any()):
        raise RuntimeError(f"{name}: integer division by zero (ZeroDivisionError)")


@elementwise
def remainder(x: Any, y: Any) -> Any:
    """x - floor(x / y) · y, with the sign of y."""
    _refuse_zero("remainder", raw(x), raw(y))
    return raw(x) % raw(y), lambda g: g, lambda g: neg(mul(g, floor_divide(x, y)))


@elementwise
def maximum(x: Any, y: Any) -> Any:
    """The larger of x and y, NaN if one is; where they are equal each gets half of the gradient."""
    return (
        _module(x, y).maximum(raw(x), raw(y)),
        lambda g: _share(g, raw(x) < raw(y), raw(x) == raw(y)),
        lambda g: _share(g, raw(x) > raw(y), raw(x) == raw(y)),
    )


@elementwise
def minimum(x: Any, y: Any) -> Any:
    """The smaller of x and y, NaN if one is; where they are equal each gets half of the gradient."""
    return (
        _module(x, y).minimum(raw(x), raw(y)),
        lambda g: _share(g, raw(x) > raw(y), raw(x) == raw(y)),
        lambda g: _share(g, raw(x) < raw(y), raw(x) == raw(y)),
    )


def _share(g: Variable, loses: Any, ties: Any) -> Variable:
    """g, halved at ties, 0 for the loser; NaN has no loser."""
    return masked(mul(g, g.like(1 - ties * g.dtype.type(0.5))), ~loses)


@elementwise
def clamp_min(x: Any, low: Any) -> Any:
    """max(x, low); where they are equal x gets the gradient."""
    return (
        _module(x, low).maximum(raw(x), raw(low)),
        lambda g: masked(g, raw(x) >= raw(low)),
        lambda g: masked(g, raw(x) < raw(low)),
    )


@elementwise
def clamp_max(x: Any, high: Any) -> Any:
    """min(x, high); where they are equal x gets the gradient."""
    return (
        _module(x, high).minimum(raw(x), raw(high)),
        lambda g: masked(g, raw(x) <= raw(high)),
        lambda g: masked(g, raw(x) > raw(high)),
    )


def clamp(x: Variable, min: Any = None, max: Any = None) -> Any:
    """x limited to min .. max (tensors, numbers or None); max where min > max."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of 'min' or 'max' must not be None")
    above = x if min is None else clamp_min(x, min)
    return above if max is None else clamp_max(above, max)


def where(condition: Variable, x: Any, y: Any) -> Any:
    """x where the bool tensor `condition` is True, else y."""
    if condition.dtype.kind != "b":
        raise RuntimeError(f"where: expected a bool tensor as condition, got {condition.dtype}")
    if isinstance(x, Variable) or isinstance(y, Variable):
        x, y = promote(x, y)
    else:
        x = condition.like(condition.xp.asarray(x, result_type([(scalar_dtype(v), 0) for v in (x, y)])))
    return _where(*broadcast(condition, x, y))


@op
def _where(condition: Variable, x: Any, y: Any) -> Any:
    return (
        condition.xp.where(condition.array, raw(x), raw(y)),
        None,
        lambda g: masked(g, condition.array),
        lambda g: masked(g, ~condition.array),
    )


@elementwise
def lerp(start: Any, end: Any, weight: Any) -> Any:
    """start + weight · (end - start)"""
    return (
        raw(start) + raw(weight) * (raw(end) - raw(start)),
        lambda g: mul(g, sub(1, weight) if isinstance(weight, Variable) else 1 - weight),
        lambda g: mul(g, weight),
        lambda g: mul(g, sub(end, start)),
    )


def _module(*operands: Any) -> Any:
    """The array module of the first tensor."""
    return next(x.xp for x in operands if isinstance(x, Variable))
