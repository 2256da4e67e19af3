"""Functions of one number: exponentials, logarithms, powers, roots, angles, rounding.

Where the result is no integer, integers become the default float first.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Variable, op
from .elementwise import add, div, elementwise, floating, masked, mul, neg, raw, sub, zeros_like


@floating
def exp(x: Variable) -> Any:
    """e^x"""
    return x.xp.exp(x.array), lambda g, y: mul(g, y)


@floating
def exp2(x: Variable) -> Any:
    """2^x"""
    return x.xp.exp2(x.array), lambda g, y: mul(g, mul(y, math.log(2)))


@floating
def expm1(x: Variable) -> Any:
    """e^x - 1, exact also where x is small."""
    return x.xp.expm1(x.array), lambda g, y: mul(g, add(y, 1))


@floating
def log(x: Variable) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    return x.xp.log(x.array), lambda g: div(g, x)


@floating
def log2(x: Variable) -> Any:
    """The logarithm to base 2."""
    return x.xp.log2(x.array), lambda g: div(g, mul(x, math.log(2)))


@floating
def log10(x: Variable) -> Any:
    """The logarithm to base 10."""
    return x.xp.log10(x.array), lambda g: div(g, mul(x, math.log(10)))


@floating
def log1p(x: Variable) -> Any:
    """log(1 + x), exact also where x is small."""
    return x.xp.log1p(x.array), lambda g: div(g, add(x, 1))


@floating
def sqrt(x: Variable) -> Any:
    """The square root; NaN below 0."""
    return x.xp.sqrt(x.array), lambda g, y: div(g, mul(y, 2))


@floating
def rsqrt(x: Variable) -> Any:
    """1 / sqrt(x)"""
    return 1 / x.xp.sqrt(x.array), lambda g, y: mul(mul(g, -0.5), pow(y, 3))


@floating
def reciprocal(x: Variable) -> Any:
    """1 / x"""
    return 1 / x.array, lambda g, y: neg(mul(g, mul(y, y)))


@op
def square(x: Variable) -> Any:
    """x²"""
    return x.array * x.array, lambda g: mul(g, mul(x, 2))


@elementwise
def pow(x: Any, y: Any) -> Any:
    """x^y. The gradient at y is 0 where x = 0 and y >= 0, the gradient at x is 0 where y = 0."""
    if isinstance(y, int) and y < 0 and isinstance(x, Variable) and x.dtype.kind in "iu":  # CuPy would give zeros
        raise RuntimeError("pow: Integers to negative integer powers are not allowed.")
    try:
        value = raw(x) ** raw(y)
    except ValueError as error:  # the same with powers in a tensor
        raise RuntimeError(f"pow: {error}") from None

    def at_x(g: Variable) -> Variable:
        if isinstance(y, Variable):
            return masked(mul(g, mul(y, pow(x, sub(y, 1)))), y.array != 0)
        return mul(g, mul(pow(x, y - 1), y)) if y else zeros_like(g)

    def at_y(g: Variable, value: Variable) -> Variable:
        if isinstance(x, Variable):
            return masked(mul(g, mul(value, log(x))), ~((x.array == 0) & (y.array >= 0)))
        ln = math.log(x) if x > 0 else -math.inf if x == 0 else math.nan
        slope = mul(g, mul(value, ln))
        return masked(slope, y.array < 0) if x == 0 else slope

    return value, at_x, at_y


@op
def abs(x: Variable) -> Any:
    """|x|; its gradient at 0 is 0."""
    return x.xp.abs(x.array), lambda g: mul(g, sign(x))


@op
def sign(x: Variable) -> Any:
    """-1, 0 or 1"""
    return x.xp.sign(x.array), lambda g: zeros_like(g)


@floating
def sin(x: Variable) -> Any:
    """sin x, x in radians"""
    return x.xp.sin(x.array), lambda g: mul(g, cos(x))


@floating
def cos(x: Variable) -> Any:
    """cos x, x in radians"""
    return x.xp.cos(x.array), lambda g: neg(mul(g, sin(x)))


@floating
def tan(x: Variable) -> Any:
    """tan x, x in radians"""
    return x.xp.tan(x.array), lambda g, y: mul(g, add(mul(y, y), 1))


@floating
def tanh(x: Variable) -> Any:
    """(e^x - e^-x) / (e^x + e^-x)"""
    return x.xp.tanh(x.array), lambda g, y: mul(g, sub(1, mul(y, y)))


@floating
def sigmoid(x: Variable) -> Any:
    """1 / (1 + e^-x)"""
    return 1 / (1 + x.xp.exp(-x.array)), lambda g, y: mul(g, mul(y, sub(1, y)))


@floating
def erf(x: Variable) -> Any:
    """2 / sqrt(pi) times the integral of e^-t² from 0 to x."""
    return x.kernels.erf(x.array), lambda g: mul(g, mul(exp(neg(mul(x, x))), 2 / math.sqrt(math.pi)))


@op
def floor(x: Variable) -> Any:
    """x rounded down"""
    return x.xp.floor(x.array), lambda g: zeros_like(g)


@op
def ceil(x: Variable) -> Any:
    """x rounded up"""
    return x.xp.ceil(x.array), lambda g: zeros_like(g)


@op
def round(x: Variable, decimals: int = 0) -> Any:
    """x rounded to `decimals` places, halves to the even neighbour."""
    return x.xp.round(x.array, decimals), lambda g: zeros_like(g)


@op
def trunc(x: Variable) -> Any:
    """x rounded towards 0"""
    return x.xp.trunc(x.array), lambda g: zeros_like(g)
