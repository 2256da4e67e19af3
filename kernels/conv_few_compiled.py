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
    void(
        int64, images, table, table, int64[:, ::1], boolean[:, ::1], float32[:, ::1], int64[:, ::1], float32[:, :],
        _row, _row, boolean,
    ),
    **options,
)  # fmt: skip
def patches_by_rows(
    slot: int, x: np.ndarray, pixels: np.ndarray, places: np.ndarray, tiles: np.ndarray, inside: np.ndarray,
    w: np.ndarray, rows: np.ndarray, out: np.ndarray, scale: np.ndarray, shift: np.ndarray, relu: bool,
) -> None:  # fmt: skip  # pragma: no cover
    """out (M, N) = scale · (patches of x · rows of w) + shift.

    Vector v of patch m is at pixels[m] + places[v] of x; `rows` (N / DOT_COLUMNS, DOT_COLUMNS) says where those of w
    begin, the last repeated. `tiles` (T, DOT_ROWS) are patches that are multiplied together, and `inside` (T, parts)
    says which parts of them are: the others, of equal size, are zero.
    """
    if handed_over(slot):
        return
    N, V, tall, parts, wide = out.shape[1], len(places), len(tiles), inside.shape[1], len(rows)
    chunk = CHUNK // LANES if tall > 1 else V  # long rows are read faster, but only where they are read once
    sums_at, panel_at = take(tall * wide * DOTS), take(tall * DOT_ROWS * chunk * LANES)
    x_at, w_at, rows_at, sums = x.ctypes.data, w.ctypes.data, rows.ctypes.data, image_at(sums_at, tall, wide, DOTS)
    clear(sums)
    for part in range(parts):
        end = V // parts * (part + 1)
        for start in range(V // parts * part, end, chunk):
            vectors = min(chunk, end - start)
            for t in range(tall):
                for i in range(DOT_ROWS if inside[t, part] else 0):
                    to = panel_at + 4 * LANES * (t * DOT_ROWS * chunk + i)
                    for v in range(vectors):
                        copy_vector(to + 4 * LANES * v * DOT_ROWS, x_at + 4 * (pixels[tiles[t, i]] + places[start + v]))
            for n in range(wide):
                for t in range(tall):
                    if inside[t, part]:
                        dot_tile(
                            sums_at + 4 * (t * wide + n) * DOTS, panel_at + 4 * LANES * t * DOT_ROWS * chunk,
                            w_at + 4 * LANES * start, rows_at + 8 * n * DOT_COLUMNS, vectors,
                        )  # fmt: skip
    for t in range(tall):
        for i in range(DOT_ROWS):
            for n in range(N):
                y = sums[t, n // DOT_COLUMNS, i * DOT_COLUMNS + n % DOT_COLUMNS] * scale[n] + shift[n]
                out[tiles[t, i], n] = ZERO if relu and y <= ZERO else y  # NaN stays
    give_back(sums_at)
    give_back(panel_at)
