"""The compiled batch norm with ReLU and 2x2 max pooling. Contract: `norm_relu.py`.

Images are channels-last; the threads share out the rows of pixels of all images. The inner loops run over channels, and
choose among what has been read already: without a branch, so that the compiler makes vector instructions of them.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64, njit, uint8, void

from .ahead import AHEAD, read_soon, write_soon
from .llvm import apart, widest_vectors
from .norm_compiled import ZERO, add_up, batch_norm_grad_vectors, batch_norm_statistics, clear, lines_ahead
from .team_compiled import finish_parts, handed_over, inner, options, slot_of

_images, _choices = float32[:, :, :, ::1], uint8[:, :, :, ::1]
_rows, _row = float32[:, ::1], float32[::1]
_sums, _exact_row = float64[:, ::1], float64[::1]


@apart
@njit(void(int64, _images, _images, _choices, _row, _row, _row, int64, int64), **inner)
def _scale_relu_pool(
    slot: int, x: np.ndarray, y: np.ndarray, choice: np.ndarray, mean: np.ndarray, scale: np.ndarray,
    shift: np.ndarray, first: int, last: int,
) -> None:  # fmt: skip  # pragma: no cover
    """The rows first to last of the pixels of all y."""
    if handed_over(slot):
        return
    widest_vectors()
    _, H, W, C = y.shape
    for row in range(first, last):
        n, h = row // H, row % H
        for w in range(W):
            for c in range(C):
                best, at = (x[n, 2 * h, 2 * w, c] - mean[c]) * scale[c] + shift[c], np.int32(0)
                for k in range(1, 4):
                    value = (x[n, 2 * h + k // 2, 2 * w + k % 2, c] - mean[c]) * scale[c] + shift[c]
                    wins = value > best or value != value
                    best, at = value if wins else best, np.int32(k) if wins else at
                y[n, h, w, c] = ZERO if best <= ZERO else best
                choice[n, h, w, c] = at


@njit(void(int64, int64, _rows, _row, _row, float64, _sums, _sums, _rows, _images, _images, _choices), **options)
def batch_norm(
    slots: int, parts: int, rows: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float, room: np.ndarray,
    moments: np.ndarray, vectors: np.ndarray, x: np.ndarray, y: np.ndarray, choice: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """Both passes, the second with ReLU and pooling; `rows` are those of x."""
    M, C = y.shape[0] * y.shape[1], len(w)
    batch_norm_statistics(slots, parts, rows, w, b, eps, room, moments, vectors)
    for i in range(parts - 1, -1, -1):
        _scale_relu_pool(
            slot_of(slots, i), x, y, choice, vectors[0, :C], vectors[1, :C], vectors[2, :C],
            M * i // parts, M * (i + 1) // parts,
        )  # fmt: skip
    finish_parts(slots, parts)


@apart
@njit(void(int64, _images, _images, _choices, _images, _row, _sums, int64, int64), **inner)
def _grad_sums(
    slot: int, x: np.ndarray, y: np.ndarray, choice: np.ndarray, dy: np.ndarray, mean: np.ndarray, sums: np.ndarray,
    first: int, last: int,
) -> None:  # fmt: skip  # pragma: no cover
    """Of the rows first to last of the pixels of all y."""
    if handed_over(slot):
        return
    widest_vectors()
    _, H, W, C = y.shape
    total, along = sums[0], sums[1]
    for row in range(first, last):
        n, h = row // H, row % H
        for w in range(W):
            for c in range(C):
                k, g = choice[n, h, w, c], dy[n, h, w, c]
                x0, x1 = x[n, 2 * h, 2 * w, c], x[n, 2 * h, 2 * w + 1, c]
                x2, x3 = x[n, 2 * h + 1, 2 * w, c], x[n, 2 * h + 1, 2 * w + 1, c]
                above, below = x1 if k == 1 else x0, x3 if k == 3 else x2
                g = g if y[n, h, w, c] > ZERO else ZERO
                total[c] += g
                along[c] += g * ((below if k > 1 else above) - mean[c])


@apart
@njit(void(int64, _images, _images, _choices, _images, _images, _row, _row, _row, _row, int64, int64), **inner)
def _input_grad(
    slot: int, x: np.ndarray, y: np.ndarray, choice: np.ndarray, dy: np.ndarray, dx: np.ndarray, mean: np.ndarray,
    constant: np.ndarray, slope: np.ndarray, scale: np.ndarray, first: int, last: int,
) -> None:  # fmt: skip  # pragma: no cover
    """The rows first to last of the pixels of all x. No window of the pooling reaches a last odd row or column."""
    if handed_over(slot):
        return
    N, H, W, C = x.shape
    OH, OW = y.shape[1], y.shape[2]
    x_at, dx_at, lines = x.ctypes.data + AHEAD, dx.ctypes.data + AHEAD, lines_ahead(N * H * W, C)
    for row in range(first, last):
        n, h = row // H, row % H
        for w in range(W):
            pixel = row * W + w
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


@njit(
    void(
        int64, int64, _images, _images, _choices, _images, _row, _exact_row, _exact_row, float64, _sums, _rows, _images,
        _row, _row,
    ), **options
)  # fmt: skip
def batch_norm_grad(
    slots: int, parts: int, x: np.ndarray, y: np.ndarray, choice: np.ndarray, dy: np.ndarray, w: np.ndarray,
    mean: np.ndarray, var: np.ndarray, eps: float, room: np.ndarray, vectors: np.ndarray, dx: np.ndarray,
    dw: np.ndarray, db: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """All gradients."""
    C, parts = len(w), min(parts, len(room) // 3)
    for c in range(C):
        vectors[0, c] = mean[c]
    M = y.shape[0] * y.shape[1]
    for i in range(parts - 1, -1, -1):
        sums = room[3 * i + 1 : 3 * i + 3]
        clear(sums)
        _grad_sums(slot_of(slots, i), x, y, choice, dy, vectors[0], sums, M * i // parts, M * (i + 1) // parts)
    finish_parts(slots, parts)
    add_up(room, parts, C)
    batch_norm_grad_vectors(room[1:3], mean, var, w, eps, x.size // C, vectors, dw, db)
    M = x.shape[0] * x.shape[1]
    for i in range(parts - 1, -1, -1):
        _input_grad(
            slot_of(slots, i), x, y, choice, dy, dx, vectors[0], vectors[1], vectors[2], vectors[3],
            M * i // parts, M * (i + 1) // parts,
        )  # fmt: skip
    finish_parts(slots, parts)
