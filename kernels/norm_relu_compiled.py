"""The compiled batch norm with ReLU. Contract: `norm_relu.py`; with pooling, too: `norm_pool_compiled.py`.

It goes over rows of channels, one or several pixels long, as `norm_compiled.py` does; `mean`, `scale` and the like are
as long as a row. A gradient is chosen without a branch, so that the compiler makes vector instructions of it.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64, njit, void

from .ahead import AHEAD, read_soon, write_soon
from .llvm import apart, widest_vectors
from .norm_compiled import (
    PARTS,
    ZERO,
    add_up,
    batch_norm_grad_vectors,
    batch_norm_statistics,
    clear,
    lines_ahead,
    repeat,
)  # fmt: skip
from .team_compiled import finish_parts, handed_over, inner, options, slot_of

_rows, _row = float32[:, ::1], float32[::1]
_sums, _exact_row = float64[:, ::1], float64[::1]


@apart
@njit(void(int64, _rows, _rows, _row, _row, _row), **inner)
def _scale_relu(
    slot: int, x: np.ndarray, y: np.ndarray, mean: np.ndarray, scale: np.ndarray, shift: np.ndarray
) -> None:  # pragma: no cover
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


@njit(void(int64, int64, _rows, _row, _row, float64, _sums, _sums, _rows, _rows), **options)
def batch_norm(
    slots: int, parts: int, x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float, room: np.ndarray,
    moments: np.ndarray, vectors: np.ndarray, y: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """Both passes, the second with ReLU."""
    M = len(x)
    batch_norm_statistics(slots, parts, x, w, b, eps, room, moments, vectors)
    for i in range(parts - 1, -1, -1):
        first, last = M * i // parts, M * (i + 1) // parts
        _scale_relu(slot_of(slots, i), x[first:last], y[first:last], vectors[0], vectors[1], vectors[2])
    finish_parts(slots, parts)


@apart
@njit(void(int64, _rows, _rows, _rows, _row, _sums), **inner)
def _grad_sums(
    slot: int, x: np.ndarray, y: np.ndarray, dy: np.ndarray, mean: np.ndarray, sums: np.ndarray
) -> None:  # pragma: no cover
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


@apart
@njit(void(int64, _rows, _rows, _rows, _rows, _row, _row, _row, _row), **inner)
def _input_grad(
    slot: int, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray, mean: np.ndarray, constant: np.ndarray,
    slope: np.ndarray, scale: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
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


@njit(
    void(
        int64, int64, _rows, _rows, _rows, _row, _exact_row, _exact_row, float64, _sums, _rows, _rows, _row, _row
    ), **options
)  # fmt: skip
def batch_norm_grad(
    slots: int, parts: int, x: np.ndarray, y: np.ndarray, dy: np.ndarray, w: np.ndarray, mean: np.ndarray,
    var: np.ndarray, eps: float, room: np.ndarray, vectors: np.ndarray, dx: np.ndarray, dw: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """All gradients."""
    M, C, parts = len(x), len(w), min(parts, len(room) // 3)
    for c in range(vectors.shape[1]):
        vectors[0, c] = mean[c % C]
    for i in range(parts - 1, -1, -1):
        first, last, sums = M * i // parts, M * (i + 1) // parts, room[3 * i + 1 : 3 * i + 3]
        clear(sums)
        _grad_sums(slot_of(slots, i), x[first:last], y[first:last], dy[first:last], vectors[0], sums)
    finish_parts(slots, parts)
    add_up(room, parts, C)
    batch_norm_grad_vectors(room[1:3], mean, var, w, eps, x.size // C, vectors, dw, db)
    repeat(vectors, C)
    for i in range(parts - 1, -1, -1):
        first, last = M * i // parts, M * (i + 1) // parts
        _input_grad(
            slot_of(slots, i), x[first:last], y[first:last], dy[first:last], dx[first:last],
            vectors[0], vectors[1], vectors[2], vectors[3],
        )  # fmt: skip
    finish_parts(slots, parts)
