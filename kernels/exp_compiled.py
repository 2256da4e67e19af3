"""e^x, polynomials and maxima of single float32 numbers without a branch, so that loops of them become vectors.

The compiler makes no vectors of calls into the C library, and its e^x costs five times as much.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Float, Int = ir.FloatType(), ir.IntType(32)
ZERO, LOWEST, HIGHEST = np.float32(0), np.float32(-87.3), np.float32(88.3)  # between them 2^n is a normal number
LOG2_E, LOG_2 = np.float32(1 / math.log(2)), np.float32(math.log(2))
REST = np.float32(math.log(2) - float(LOG_2))
ROUND = np.float32(1.5 * 2**23)  # what is added to it is rounded, and stands in its last bits as a whole number


def polynomial(*coefficients: float) -> Any:  # pragma: no cover
    """The compiled function x -> c0 + c1 x + c2 x² + ..., by Horner's rule."""
    *others, highest = (ir.Constant(Float, float(np.float32(c))) for c in coefficients)

    @intrinsic
    def horner(typing_context: Any, x: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            total = highest
            for c in reversed(others):
                total = builder.fma(total, args[0], c)
            return total

        return types.float32(types.float32), emit

    return horner


@intrinsic
def fma(typing_context: Any, x: Any, y: Any, z: Any) -> Any:  # pragma: no cover
    """x y + z, rounded once."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), emit


@intrinsic
def maximum(typing_context: Any, x: Any, y: Any) -> Any:  # pragma: no cover
    """The larger one; NaN if one of them is."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(Float, [Float, Float])
        return builder.call(builder.module.declare_intrinsic("llvm.maximum", [Float], kind), args)

    return types.float32(types.float32, types.float32), emit


@intrinsic
def _two_to(typing_context: Any, n: Any) -> Any:  # pragma: no cover
    """2^n of ROUND + n: its last bits become the exponent."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        exponent = builder.shl(builder.bitcast(args[0], Int), ir.Constant(Int, 23))
        return builder.bitcast(builder.add(exponent, ir.Constant(Int, 127 << 23)), Float)

    return types.float32(types.float32), emit


_series = polynomial(*[1 / math.factorial(k) for k in range(8)])


@njit(inline="always")
def exp(x: Any) -> Any:  # pragma: no cover
    """e^x, to one unit in the last place; 0 below LOWEST, at most e^HIGHEST above it.

    With n the whole number nearest to x log2(e), and r = x - n log(2): 2^n (1 + r + r²/2 + ... + r⁷/7!).
    """
    z = HIGHEST if x > HIGHEST else (LOWEST if x < LOWEST else x)
    shifted = fma(z, LOG2_E, ROUND)
    n = shifted - ROUND
    r = fma(n, -REST, fma(n, -LOG_2, z))
    return ZERO if x < LOWEST else _series(r) * _two_to(shifted)
