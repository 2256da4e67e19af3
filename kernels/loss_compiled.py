"""The compiled softmax cross-entropy, for float32 rows. Contract: `loss.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}


@njit(**_compile)
def softmax_cross_entropy(x: Array, t: Array, y: Array, lse: Array) -> tuple[float, int]:  # pragma: no cover
    """Also the sum of y, and how many rows have a class at least 0; -1 at once if one is C or more."""
    M, C = x.shape
    total_y, counted = 0.0, 0
    for m in range(M):
        if t[m] >= C:
            return 0.0, -1
        largest = x[m, 0]
        for c in range(1, C):
            largest = x[m, c] if x[m, c] > largest else largest
        total = np.float32(0)
        for c in range(C):
            total += np.exp(x[m, c] - largest)
        lse[m] = np.log(total) + largest
        y[m] = lse[m] - x[m, t[m]] if t[m] >= 0 else np.float32(0)
        total_y += y[m]
        counted += t[m] >= 0
    return total_y, counted


@njit(**_compile)
def softmax_cross_entropy_grad(dy: Array, x: Array, t: Array, lse: Array, dx: Array) -> None:  # pragma: no cover
    M, C = x.shape
    for m in range(M):
        for c in range(C):
            p = np.exp(x[m, c] - lse[m]) - np.float32(c == t[m])
            dx[m, c] = dy[m] * p if t[m] >= 0 else np.float32(0)
