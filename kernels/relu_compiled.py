"""The compiled ReLU and its gradient, for float32 in runs of memory. Contract: `relu.py`."""

from __future__ import annotations

import numpy as np
from numba import njit

from .team_compiled import handed_over

ZERO = np.float32(0)


@njit(nogil=True, cache=True)
def run_relu(slot: int, x: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(x)):
        y[i] = ZERO if x[i] <= ZERO else x[i]  # NaN is not at most 0, and stays


@njit(nogil=True, cache=True)
def run_relu_grad(slot: int, dy: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(dy)):
        dx[i] = dy[i] if y[i] > ZERO else ZERO
