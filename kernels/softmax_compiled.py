"""The compiled softmax and its gradient, for rows of float32. Contract: `softmax.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .exp_compiled import exp, maximum
from .team_compiled import handed_over

Array = np.ndarray
# Sums may be made of several partial ones, so that they, too, are of vectors.
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc"}}
BLOCK = 2**12  # elements of rows that are gone through together: short rows alone would not fill vectors


@njit(**_compile)
def softmax(slot: int, x: Array, y: Array) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, C = x.shape
    step = max(1, BLOCK // C)
    for start in range(0, M, step):
        stop = min(start + step, M)
        for m in range(start, stop):
            largest = x[m, 0]
            for c in range(1, C):
                largest = maximum(largest, x[m, c])
            for c in range(C):
                y[m, c] = x[m, c] - largest
        run = y[start:stop].reshape(-1)
        for i in range(len(run)):
            run[i] = exp(run[i])
        for m in range(start, stop):
            total = np.float32(0)
            for c in range(C):
                total += y[m, c]
            share = np.float32(1) / total
            for c in range(C):
                y[m, c] *= share


@njit(**_compile)
def softmax_grad(slot: int, dy: Array, y: Array, dx: Array) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, C = y.shape
    for m in range(M):
        total = np.float32(0)
        for c in range(C):
            total += dy[m, c] * y[m, c]
        for c in range(C):
            dx[m, c] = (dy[m, c] - total) * y[m, c]
