"""What answers with bools, or works on bits: it has no gradient."""

from __future__ import annotations

import operator
from typing import Any

from ..autograd import Variable
from .elementwise import plain


def eq(x: Any, y: Any) -> Any:
    """x == y"""
    return plain(operator.eq, x, y)


def ne(x: Any, y: Any) -> Any:
    """x != y"""
    return plain(operator.ne, x, y)


def lt(x: Any, y: Any) -> Any:
    """x < y"""
    return plain(operator.lt, x, y)


def le(x: Any, y: Any) -> Any:
    """x <= y"""
    return plain(operator.le, x, y)


def gt(x: Any, y: Any) -> Any:
    """x > y"""
    return plain(operator.gt, x, y)


def ge(x: Any, y: Any) -> Any:
    """x >= y"""
    return plain(operator.ge, x, y)


def isnan(x: Variable) -> Any:
    """Whether each element is NaN."""
    return x.like(x.xp.isnan(x.array))


def isinf(x: Variable) -> Any:
    """Whether each element is inf or -inf."""
    return x.like(x.xp.isinf(x.array))


def isfinite(x: Variable) -> Any:
    """Whether each element is neither NaN nor infinite."""
    return x.like(x.xp.isfinite(x.array))


def logical_not(x: Variable) -> Any:
    """Whether each element is 0."""
    return x.like(x.xp.logical_not(x.array))


def logical_and(x: Any, y: Any) -> Any:
    """Whether both are not 0."""
    return plain(lambda a, b: (a != 0) & (b != 0), x, y)


def logical_or(x: Any, y: Any) -> Any:
    """Whether one or both are not 0."""
    return plain(lambda a, b: (a != 0) | (b != 0), x, y)


def logical_xor(x: Any, y: Any) -> Any:
    """Whether exactly one is not 0."""
    return plain(lambda a, b: (a != 0) ^ (b != 0), x, y)


def bitwise_not(x: Variable) -> Any:
    """The bits of integers, or bools, inverted."""
    return x.like(~x.array)


def bitwise_and(x: Any, y: Any) -> Any:
    """x & y of integers or bools"""
    return plain(operator.and_, x, y)


def bitwise_or(x: Any, y: Any) -> Any:
    """x | y of integers or bools"""
    return plain(operator.or_, x, y)


def bitwise_xor(x: Any, y: Any) -> Any:
    """x ^ y of integers or bools"""
    return plain(operator.xor, x, y)
