"""The compiled passes of batch norm with ReLU, and 2x2 max pooling. Contract: `norm_relu.py`.

Images are channels-last, contiguous float32; `mean`, `scale` and the like have one number a channel. The inner loops
run over channels, and choose among what has been read already: without a branch, so that the compiler makes vector
instructions of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .ahead import AHEAD, read_soon, write_soon
from .llvm import widest_vectors
from .norm_compiled import PARTS, lines_ahead
from .team_compiled import handed_over

Array = np.ndarray
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy"}
ZERO: Any = np.float32(0)


@njit(**_compile)
def scale_relu(slot: int, x: Array, y: Array, mean: Array, scale: Array, shift: Array) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, C = x.shape
    x_at, y_at, lines = x.ctypes.data + AHEAD, y.ctypes.data + AHEAD, lines_ahead(M, C)
    for m in range(M):
        read_soon(x_at + 4 * m * C, lines)
        write_soon(y_at + 4 * m * C, lines)
        for c in range(C):
            value = (x[m, c] - mean[c]) * scale[c] + shift[c]
            y[m, c] = ZERO if value <= ZERO else value  # NaN stays


@njit(**_compile)
def scale_relu_pool(
    slot: int, x: Array, y: Array, choice: Array, mean: Array, scale: Array, shift: Array
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    widest_vectors()
    N, H, W, C = y.shape
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    best, at = (x[n, 2 * h, 2 * w, c] - mean[c]) * scale[c] + shift[c], np.int32(0)
                    for k in range(1, 4):
                        value = (x[n, 2 * h + k // 2, 2 * w + k % 2, c] - mean[c]) * scale[c] + shift[c]
                        wins = value > best or value != value
                        best, at = value if wins else best, np.int32(k) if wins else at
                    y[n, h, w, c] = ZERO if best <= ZERO else best
                    choice[n, h, w, c] = at


@njit(**_compile)
def grad_sums(slot: int, x: Array, y: Array, dy: Array, mean: Array, sums: Array) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    widest_vectors()
    M, C = x.shape
    total, along, part = sums[0], sums[1], M // PARTS
    for m in range(part):
        for c in range(C):
            first = second = 0.0
            for p in range(PARTS):
                i = m + p * part
                g = dy[i, c]
                g = g if y[i, c] > ZERO else ZERO
                first += g
                second += g * (x[i, c] - mean[c])
            total[c] += first
            along[c] += second
    for m in range(PARTS * part, M):
        for c in range(C):
            g = dy[m, c]
            g = g if y[m, c] > ZERO else ZERO
            total[c] += g
            along[c] += g * (x[m, c] - mean[c])


@njit(**_compile)
def pool_grad_sums(
    slot: int, x: Array, y: Array, choice: Array, dy: Array, mean: Array, sums: Array
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    widest_vectors()
    N, H, W, C = y.shape
    total, along = sums[0], sums[1]
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    k, g = choice[n, h, w, c], dy[n, h, w, c]
                    x0, x1 = x[n, 2 * h, 2 * w, c], x[n, 2 * h, 2 * w + 1, c]
                    x2, x3 = x[n, 2 * h + 1, 2 * w, c], x[n, 2 * h + 1, 2 * w + 1, c]
                    above, below = x1 if k == 1 else x0, x3 if k == 3 else x2
                    g = g if y[n, h, w, c] > ZERO else ZERO
                    total[c] += g
                    along[c] += g * ((below if k > 1 else above) - mean[c])


@njit(**_compile)
def input_grad(
    slot: int, x: Array, y: Array, dy: Array, dx: Array, mean: Array, constant: Array, slope: Array, scale: Array
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    M, C = x.shape
    x_at, y_at, dy_at = x.ctypes.data + AHEAD, y.ctypes.data + AHEAD, dy.ctypes.data + AHEAD
    dx_at, lines = dx.ctypes.data + AHEAD, lines_ahead(M, C)
    for m in range(M):
        read_soon(x_at + 4 * m * C, lines)
        read_soon(y_at + 4 * m * C, lines)
        read_soon(dy_at + 4 * m * C, lines)
        write_soon(dx_at + 4 * m * C, lines)
        for c in range(C):
            g = dy[m, c]
            g = g if y[m, c] > ZERO else ZERO
            dx[m, c] = (g - constant[c] - (x[m, c] - mean[c]) * slope[c]) * scale[c]


@njit(**_compile)
def pool_input_grad(
    slot: int,
    x: Array,
    y: Array,
    choice: Array,
    dy: Array,
    dx: Array,
    mean: Array,
    constant: Array,
    slope: Array,
    scale: Array,
) -> None:  # pragma: no cover
    """Also where no window of the pooling reaches: a last odd row or column."""
    if handed_over(slot):
        return
    N, H, W, C = x.shape
    OH, OW = y.shape[1], y.shape[2]
    x_at, dx_at, lines = x.ctypes.data + AHEAD, dx.ctypes.data + AHEAD, lines_ahead(N * H * W, C)
    for n in range(N):
        for h in range(H):
            for w in range(W):
                pixel = (n * H + h) * W + w
                read_soon(x_at + 4 * pixel * C, lines)
                write_soon(dx_at + 4 * pixel * C, lines)
                if h // 2 < OH and w // 2 < OW:
                    k = 2 * (h % 2) + w % 2
                    for c in range(C):
                        g = dy[n, h // 2, w // 2, c]
                        g = g if (choice[n, h // 2, w // 2, c] == k) & (y[n, h // 2, w // 2, c] > ZERO) else ZERO
                        dx[n, h, w, c] = (g - constant[c] - (x[n, h, w, c] - mean[c]) * slope[c]) * scale[c]
                else:
                    for c in range(C):
                        dx[n, h, w, c] = (-constant[c] - (x[n, h, w, c] - mean[c]) * slope[c]) * scale[c]
