"""The error function: erf(x) = 2 / sqrt(pi) · integral of e^-t² from 0 to x, of any shape.

NumPy has none. Two Chebyshev expansions, made from math.erf at the first call, replace it; for float32 in a compiled
loop:

    |x| < 1:   x · P(x²)
    else:      sign(x) · (1 - e^-x² · Q(t)),  t = 1 / |x|

with as many terms as the dtype resolves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import compiled
from .half import in_float32
from .memory import empty_like
from .parallel import share_rows
from .relu import flat

Array = np.ndarray[Any, Any]

NANOSECONDS = 3  # that a compiled loop takes for an element
FAR = 6.0  # from here on 1 - erf is below the resolution of float64


@in_float32()
def erf(x: Array) -> Array:
    """erf of each element, to a few units in the last place of float32 or float64."""
    code = compiled.load("erf_compiled") if x.dtype == np.float32 else None
    if code:
        return one_pass(code.erf, x)
    near, far = expansions(x.dtype)
    size = np.abs(x)
    small = np.minimum(size, 1)
    large = np.clip(size, 1, FAR)
    tail = 1 - np.exp(-large * large) * _chebyshev(far, 1 / large, 1 / FAR, 1)
    value = np.where(size < 1, small * _chebyshev(near, small * small, 0, 1), tail)
    return np.copysign(np.where(np.isnan(x), x, value), x)


def one_pass(loop: Callable[..., None], *arrays: Array) -> Array:
    """What the compiled `loop` over runs of memory makes of arrays of one shape, laid out as the last of them."""
    last = arrays[-1] if flat(arrays[-1]) is not None else arrays[-1].copy()
    y = empty_like(last)
    runs: list[Any] = [flat(_laid_out_as(last, a)) for a in (*arrays[:-1], last, y)]
    share_rows(loop, runs, NANOSECONDS * last.size)
    return y


def _laid_out_as(x: Array, a: Array) -> Array:
    if a.strides == x.strides:
        return a
    copy = empty_like(x)
    copy[...] = a
    return copy


@functools.cache
def expansions(dtype: np.dtype) -> tuple[Array, Array]:
    def near(z: float) -> float:
        return math.erf(math.sqrt(z)) / math.sqrt(z)

    def far(t: float) -> float:
        return math.erfc(1 / t) * math.exp(1 / t**2)

    tolerance = float(np.finfo(dtype).eps)
    return _expand(near, 0, 1, tolerance).astype(dtype), _expand(far, 1 / FAR, 1, tolerance).astype(dtype)


def _expand(fn: Callable[[float], float], low: float, high: float, tolerance: float) -> Array:
    """The Chebyshev coefficients of fn on low .. high, up to the last above `tolerance`."""
    n = 32
    cosine = [math.cos(math.pi * k / (2 * n)) for k in range(4 * n)]
    values = [fn((low + high + (high - low) * cosine[2 * j + 1]) / 2) for j in range(n)]
    c = [2 / n * math.fsum(v * cosine[k * (2 * j + 1) % (4 * n)] for j, v in enumerate(values)) for k in range(n)]
    c[0] /= 2
    return np.array(c[: max(k for k in range(n) if abs(c[k]) > tolerance) + 1])


def _chebyshev(c: Array, x: Array, low: float, high: float) -> Array:
    """The expansion `c` on low .. high at x, by Clenshaw's recurrence."""
    u = (2 * x - (low + high)) * (2 / (high - low))  # twice the variable on -1 .. 1
    a = np.full_like(u, c[-1])
    b = np.zeros_like(u)
    for term in c[-2:0:-1]:
        a, b = u * a - b + term, a
    return u / 2 * a - b + c[0]
