"""The compiled softmax cross-entropy, for float32 rows. Contract: `loss.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .exp_compiled import exp

Array = np.ndarray
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}


@njit(**_compile)
def softmax_cross_entropy(x: Array, t: Array, y: Array, lse: Array) -> tuple[float, int]:  # pragma: no cover
    """Also the sum of y, and how many rows have a class at least 0; -1 at once if one is C or more."""
    M, C = x.shape
    total_y, counted, each = 0.0, 0, np.empty(C, np.float32)
    for m in range(M):
        if t[m] >= C:
            return 0.0, -1
        largest = x[m, 0]
        for c in range(1, C):
            largest = x[m, c] if x[m, c] > largest else largest
        for c in range(C):
            each[c] = exp(x[m, c] - largest)  # in vectors; the sum in order
        total = np.float32(0)
        for c in range(C):
            total += each[c]
        lse[m] = np.log(total) + largest
        y[m] = lse[m] - x[m, t[m]] if t[m] >= 0 else np.float32(0)
        total_y += y[m]
        counted += t[m] >= 0
    return total_y, counted


@njit(**_compile)
def softmax_cross_entropy_grad(dy: Array, x: Array, t: Array, lse: Array, dx: Array) -> None:  # pragma: no cover
    M, C = x.shape
    for m in range(M):
        if t[m] < 0:
            dx[m] = np.float32(0)
            continue
        for c in range(C):
            dx[m, c] = exp(x[m, c] - lse[m])
        dx[m, t[m]] -= np.float32(1)
        for c in range(C):
            dx[m, c] *= dy[m]
