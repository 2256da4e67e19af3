"""The compiled matrix products, for float32 factors with few rows, which BLAS is slow with. Contract: `matmul.py`.

`panels` multiplies with a matrix (K, N) whose rows are long, as the gradients of a linear layer do: it copies a few
blocks of columns into a panel that stays in the cache. `dots` multiplies with the transpose of a matrix (N, K), as a
linear layer does: both factors' rows are read along, a chunk of K at a time. Each result is the sum of the same
numbers in the same order, however the work is shared out.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, void

from .fused_compiled import inner, options, table
from .tile import (
    COLUMNS,
    DOT_COLUMNS,
    DOT_ROWS,
    DOTS,
    LANES,
    LOW_MR,
    copy_vector,
    dot_tile,
    low_tile,
)  # fmt: skip

PANEL = 2  # blocks of columns that are copied together
CHUNK = 32 * LANES  # elements of a row that `dots` takes at a time: DOT_COLUMNS times as many fit into half of the L1

_matrix = float32[:, ::1]


@njit(float32[::1](float32[::1]), **inner)
def aligned(numbers: np.ndarray) -> np.ndarray:  # pragma: no cover
    """The numbers from the first place on where no vector lies across two lines of the cache; Numba's arrays may begin
    at half a line, which made `panels` a fifth slower in every second process.

    An array, not an address: Numba gives an array's memory back after the last line that names it.
    """
    return numbers[-(numbers.ctypes.data // 4) % LANES :]


@njit(void(_matrix, table, _matrix, _matrix, float32[::1], int64, int64), **options)
def panels(
    x: np.ndarray, rows: np.ndarray, y: np.ndarray, out: np.ndarray, zeros: np.ndarray, first: int, last: int
) -> None:  # pragma: no cover
    """The blocks first to last of the COLUMNS of out (M, N) = x · y, with x[i, 0] at rows[i] and y (K, N).

    M is at least LOW_MR and N at least COLUMNS: last tiles that would not be full overlap those before.
    """
    (M, N), K = out.shape, len(y)
    panel = aligned(np.empty(PANEL * K * COLUMNS + LANES, np.float32))
    for block in range(first, last, PANEL):
        count = min(PANEL, last - block)
        for k in range(K):
            for p in range(count):
                from_ = y.ctypes.data + 4 * (k * N + min((block + p) * COLUMNS, N - COLUMNS))
                to = panel.ctypes.data + 4 * (p * K + k) * COLUMNS
                for c in range(0, COLUMNS, LANES):
                    copy_vector(to + 4 * c, from_ + 4 * c)
        for m in range(0, M, LOW_MR):
            row = min(m, M - LOW_MR)
            for p in range(count):
                column = min((block + p) * COLUMNS, N - COLUMNS)
                low_tile(
                    out.ctypes.data + 4 * (row * N + column), N, zeros.ctypes.data, 0,
                    x.ctypes.data, rows.ctypes.data + 8 * row, 1, rows.ctypes.data, 1, K,
                    panel.ctypes.data + 4 * p * K * COLUMNS, COLUMNS,
                )  # fmt: skip


@njit(void(_matrix, _matrix, int64[:, ::1], float32[:, :]), **options)
def dots(x: np.ndarray, y: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """out (M, N) = x · rows of y, for x (M, K) and y with K columns, a multiple of LANES.

    `rows` (N / DOT_COLUMNS, DOT_COLUMNS) says where these begin, the last repeated.
    """
    (M, K), N = x.shape, out.shape[1]
    tall, wide = -(-M // DOT_ROWS), len(rows)
    chunk = CHUNK if tall > 1 else K  # long rows are read faster, but only where they are read once
    sums = np.zeros((tall, wide, DOTS), np.float32)
    panel = aligned(np.zeros(tall * DOT_ROWS * chunk + LANES, np.float32))
    for start in range(0, K, chunk):
        vectors = min(chunk, K - start) // LANES
        for m in range(M):
            to = panel.ctypes.data + 4 * (m // DOT_ROWS * DOT_ROWS * chunk + m % DOT_ROWS * LANES)
            for v in range(vectors):
                copy_vector(to + 4 * v * DOT_ROWS * LANES, x.ctypes.data + 4 * (m * K + start + v * LANES))
        for n in range(wide):
            for m in range(tall):
                dot_tile(
                    sums.ctypes.data + 4 * (m * wide + n) * DOTS, panel.ctypes.data + 4 * m * DOT_ROWS * chunk,
                    y.ctypes.data + 4 * start, rows.ctypes.data + 8 * n * DOT_COLUMNS, vectors,
                )  # fmt: skip
    for m in range(M):
        for n in range(N):
            out[m, n] = sums[m // DOT_ROWS, n // DOT_COLUMNS, m % DOT_ROWS * DOT_COLUMNS + n % DOT_COLUMNS]
