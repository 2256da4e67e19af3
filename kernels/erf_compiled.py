"""The compiled error function and GELU, for float32 in one run of memory. Contracts: `erf.py`, `gelu.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.polynomial.chebyshev import cheb2poly

from .erf import FAR, expansions
from .exp_compiled import exp, fma, polynomial
from .team_compiled import handed_over

_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy"}
_near, _far = (polynomial(*cheb2poly(terms.astype(np.float64))) for terms in expansions(np.dtype(np.float32)))
ONE, TWO, HALF, LARGEST = np.float32(1), np.float32(2), np.float32(0.5), np.float32(FAR)
# 1/6 to 1 as -1 to 1
SCALE, SHIFT = np.float32(2 / (1 - 1 / FAR)), np.float32(-(1 + 1 / FAR) / (1 - 1 / FAR))
ROOT, DENSITY = np.float32(math.sqrt(0.5)), np.float32(1 / math.sqrt(2 * math.pi))


@njit(inline="always", error_model="numpy")
def _erf(x: Any) -> Any:  # pragma: no cover
    size = abs(x)
    square = ONE if size > ONE else size * size
    near = x * _near(fma(TWO, square, -ONE))
    large = LARGEST if size > LARGEST else (ONE if size < ONE else size)
    far = ONE - exp(-large * large) * _far(fma(ONE / large, SCALE, SHIFT))
    return near if size < ONE else (far if x >= ONE else (-far if x <= -ONE else x))  # x is NaN at the end


@njit(**_compile)
def erf(slot: int, x: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(x)):
        y[i] = _erf(x[i])


@njit(**_compile)
def gelu(slot: int, x: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(x)):
        y[i] = x[i] * (HALF * (ONE + _erf(x[i] * ROOT)))


@njit(**_compile)
def gelu_grad(slot: int, dy: np.ndarray, x: np.ndarray, dx: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(x)):
        z = x[i]
        dx[i] = dy[i] * (HALF * (ONE + _erf(z * ROOT)) + z * (DENSITY * exp(-HALF * z * z)))
