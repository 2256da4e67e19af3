"""The compiled matrix products, for float32 factors of which one is long and narrow. Contract: `matmul.py`.

`panels` multiplies with a matrix (K, N), as the gradients of a linear layer do: the first tile of some columns copies
them into a panel that stays in the cache. `dots` multiplies a few rows with the transpose of a matrix (N, K), as a
linear layer does: vectors along both factors' rows, a chunk of K at a time. Each result is the sum of the same numbers
in the same order, however the work is shared out.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, void

from .fused_compiled import clear, options, table
from .room import give_back, image_at, take
from .team_compiled import handed_over
from .tile import (
    DOT_COLUMNS,
    DOT_ROWS,
    DOTS,
    LANES,
    PANEL,
    PANEL_MR,
    copy_vector,
    copying_tile,
    dot_tile,
    panel_tile,
)  # fmt: skip

FEW_ROWS, ROOM = 128, 9 * 2**13  # with more rows, panels of so many numbers are used in turn: x is read less often
CHUNK = 32 * LANES  # elements of a row that `dots` takes at a time: DOT_COLUMNS times as many fit into half of the L1

_matrix = float32[:, ::1]


@njit(void(int64, _matrix, table, _matrix, _matrix, float32[::1], int64, int64), **options)
def panels(
    slot: int, x: np.ndarray, rows: np.ndarray, y: np.ndarray, out: np.ndarray, zeros: np.ndarray,
    first: int, last: int,
) -> None:  # fmt: skip  # pragma: no cover
    """The blocks first to last of the PANEL columns of out (M, N) = x · y, with x[i, 0] at rows[i] and y (K, N).

    M is at least PANEL_MR and N at least PANEL: last tiles that would not be full overlap those before.
    """
    if handed_over(slot):
        return
    (M, N), K = out.shape, len(y)
    together = 1 if M <= FEW_ROWS else max(1, ROOM // (K * PANEL))
    panel_at = take(together * K * PANEL)
    x_at, y_at, out_at = x.ctypes.data, y.ctypes.data, out.ctypes.data
    rows_at, zeros_at = rows.ctypes.data, zeros.ctypes.data
    for block in range(first, last, together):
        for m in range(0, M, PANEL_MR):
            row = min(m, M - PANEL_MR)
            for p in range(min(together, last - block)):
                column, copy = min((block + p) * PANEL, N - PANEL), panel_at + 4 * p * K * PANEL
                c_at = out_at + 4 * (row * N + column)
                if m == 0:
                    copying_tile(c_at, N, zeros_at, 0, x_at, rows_at, 1, rows_at, 1, K, y_at + 4 * column, N, copy)
                else:
                    panel_tile(c_at, N, zeros_at, 0, x_at, rows_at + 8 * row, 1, rows_at, 1, K, copy, PANEL)
    give_back(panel_at)


@njit(void(int64, _matrix, _matrix, int64[:, ::1], float32[:, :]), **options)
def dots(slot: int, x: np.ndarray, y: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """out (M, N) = x · rows of y, for x (M, K) and y with K columns, a multiple of LANES.

    `rows` (N / DOT_COLUMNS, DOT_COLUMNS) says where these begin, the last repeated.
    """
    if handed_over(slot):
        return
    (M, K), N = x.shape, out.shape[1]
    tall, wide = -(-M // DOT_ROWS), len(rows)
    chunk = CHUNK if tall > 1 else K  # long rows are read faster, but only where they are read once
    sums_at, panel_at = take(tall * wide * DOTS), take(tall * DOT_ROWS * chunk)
    x_at, y_at, rows_at, sums = x.ctypes.data, y.ctypes.data, rows.ctypes.data, image_at(sums_at, tall, wide, DOTS)
    clear(sums)
    for start in range(0, K, chunk):
        vectors = min(chunk, K - start) // LANES
        for m in range(M):
            to = panel_at + 4 * (m // DOT_ROWS * DOT_ROWS * chunk + m % DOT_ROWS * LANES)
            for v in range(vectors):
                copy_vector(to + 4 * v * DOT_ROWS * LANES, x_at + 4 * (m * K + start + v * LANES))
        for n in range(wide):
            for m in range(tall):
                dot_tile(
                    sums_at + 4 * (m * wide + n) * DOTS, panel_at + 4 * m * DOT_ROWS * chunk,
                    y_at + 4 * start, rows_at + 8 * n * DOT_COLUMNS, vectors,
                )  # fmt: skip
    for m in range(M):
        for n in range(N):
            out[m, n] = sums[m // DOT_ROWS, n // DOT_COLUMNS, m % DOT_ROWS * DOT_COLUMNS + n % DOT_COLUMNS]
    give_back(sums_at)
    give_back(panel_at)
