"""The compiled ReLU and its gradient, for float32 in runs of memory. Contract: `relu.py`.

Memory is asked for ahead, a few lines of the cache at a time, where that helps: see `ahead.py`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .ahead import AHEAD, IN_RUNS, LINE, read_soon, write_soon
from .team_compiled import handed_over

ZERO = np.float32(0)
LINES = 4
BLOCK = LINES * LINE // 4  # numbers


@njit(nogil=True, cache=True)
def run_relu(slot: int, x: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    x_at, y_at, whole = x.ctypes.data + AHEAD, y.ctypes.data + AHEAD, len(x) - len(x) % BLOCK
    for i in range(0, whole, BLOCK):
        if IN_RUNS:
            read_soon(x_at + 4 * i, LINES)
            write_soon(y_at + 4 * i, LINES)
        for j in range(BLOCK):
            y[i + j] = _relu(x[i + j])
    for i in range(whole, len(x)):
        y[i] = _relu(x[i])


@njit(nogil=True, cache=True)
def run_add_relu(slot: int, a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    a_at, b_at, y_at = a.ctypes.data + AHEAD, b.ctypes.data + AHEAD, y.ctypes.data + AHEAD
    whole = len(a) - len(a) % BLOCK
    for i in range(0, whole, BLOCK):
        if IN_RUNS:
            read_soon(a_at + 4 * i, LINES)
            read_soon(b_at + 4 * i, LINES)
            write_soon(y_at + 4 * i, LINES)
        for j in range(BLOCK):
            y[i + j] = _relu(a[i + j] + b[i + j])
    for i in range(whole, len(a)):
        y[i] = _relu(a[i] + b[i])


@njit(nogil=True, cache=True)
def run_relu_grad(slot: int, dy: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    dy_at, y_at, dx_at = dy.ctypes.data + AHEAD, y.ctypes.data + AHEAD, dx.ctypes.data + AHEAD
    whole = len(dy) - len(dy) % BLOCK
    for i in range(0, whole, BLOCK):
        if IN_RUNS:
            read_soon(dy_at + 4 * i, LINES)
            read_soon(y_at + 4 * i, LINES)
            write_soon(dx_at + 4 * i, LINES)
        for j in range(BLOCK):
            dx[i + j] = dy[i + j] if y[i + j] > ZERO else ZERO
    for i in range(whole, len(dy)):
        dx[i] = dy[i] if y[i] > ZERO else ZERO


@njit(inline="always")
def _relu(x: np.float32) -> np.float32:  # pragma: no cover
    return ZERO if x <= ZERO else x  # NaN is not at most 0, and stays
