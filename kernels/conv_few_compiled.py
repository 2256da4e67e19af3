"""The compiled convolution of few pixels by many weights. Contract: `conv_few.py`."""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, njit, void

from .fused_compiled import clear, images, options, table
from .matmul_compiled import CHUNK
from .room import give_back, image_at, take
from .team_compiled import handed_over
from .tile import DOT_COLUMNS, DOT_ROWS, DOTS, LANES, copy_vector, dot_tile

ZERO = np.float32(0)
_row = float32[::1]


@njit(
    void(int64, images, table, table, float32[:, ::1], int64[:, ::1], float32[:, :], _row, _row, boolean), **options
)
def patches_by_rows(
    slot: int, x: np.ndarray, pixels: np.ndarray, places: np.ndarray, w: np.ndarray, rows: np.ndarray,
    out: np.ndarray, scale: np.ndarray, shift: np.ndarray, relu: bool,
) -> None:  # fmt: skip  # pragma: no cover
    """out (M, N) = scale · (patches of x · rows of w) + shift.

    Vector v of patch m is at pixels[m] + places[v] of x; `rows` (N / DOT_COLUMNS, DOT_COLUMNS) says where those of w
    begin, the last repeated.
    """
    if handed_over(slot):
        return
    (M, N), V = out.shape, len(places)
    tall, wide = -(-M // DOT_ROWS), len(rows)
    chunk = CHUNK // LANES if tall > 1 else V  # long rows are read faster, but only where they are read once
    sums_at, panel_at = take(tall * wide * DOTS), take(tall * DOT_ROWS * chunk * LANES)
    x_at, w_at, rows_at, sums = x.ctypes.data, w.ctypes.data, rows.ctypes.data, image_at(sums_at, tall, wide, DOTS)
    clear(sums)
    for start in range(0, V, chunk):
        vectors = min(chunk, V - start)
        for m in range(M):
            to = panel_at + 4 * LANES * (m // DOT_ROWS * DOT_ROWS * chunk + m % DOT_ROWS)
            for v in range(vectors):
                copy_vector(to + 4 * LANES * v * DOT_ROWS, x_at + 4 * (pixels[m] + places[start + v]))
        for n in range(wide):
            for m in range(tall):
                dot_tile(
                    sums_at + 4 * (m * wide + n) * DOTS, panel_at + 4 * LANES * m * DOT_ROWS * chunk,
                    w_at + 4 * LANES * start, rows_at + 8 * n * DOT_COLUMNS, vectors,
                )  # fmt: skip
    for m in range(M):
        for n in range(N):
            total = sums[m // DOT_ROWS, n // DOT_COLUMNS, m % DOT_ROWS * DOT_COLUMNS + n % DOT_COLUMNS]
            y = total * scale[n] + shift[n]
            out[m, n] = ZERO if relu and y <= ZERO else y  # NaN stays
    give_back(sums_at)
    give_back(panel_at)
