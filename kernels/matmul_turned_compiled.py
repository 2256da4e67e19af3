"""The compiled loops of a linear layer of many rows. Contract: `matmul_turned.py`.

Each result is the sum of the same numbers in the same order, however the work is shared out.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, njit, void

from .fused_compiled import options
from .room import give_back, image_at, take
from .team_compiled import handed_over
from .tile import LANES, WIDE, WIDE_MR, turn, wide_tile

ROWS = 64  # of x that `turned` takes at a time,
RUN = 768  # elements of each: long enough for the processor to read ahead, short enough for the L2

_matrix = float32[:, ::1]


@njit(void(int64, _matrix, _matrix, int64[:, ::1], float32[:, :, :, ::1], float32[::1], int64, int64), **options)
def turned(
    slot: int, x: np.ndarray, y: np.ndarray, rows: np.ndarray, sums: np.ndarray, zeros: np.ndarray,
    first: int, last: int,
) -> None:  # fmt: skip  # pragma: no cover
    """The tiles first to last of sums (blocks, parts, N', ROWS): its parts add up to y times a block of x transposed.

    x is (M, K), K a multiple of LANES; `rows` (N' / WIDE_MR, WIDE_MR) says where those of y begin, the last repeated.
    A tile is a row of that table with a block of ROWS rows of x, in one part of K.
    """
    if handed_over(slot):
        return
    (M, K), tall, parts = x.shape, len(rows), sums.shape[1]
    panel_at = take(RUN * ROWS)
    x_at, y_at, rows_at, zeros_at = x.ctypes.data, y.ctypes.data, rows.ctypes.data, zeros.ctypes.data
    for moved in range(0, K // parts + LANES, RUN):  # outside, so that this much of y stays in the L2 for all blocks
        for piece in range(first // tall, -(-last // tall)):
            block, part = divmod(piece, parts)
            begin, stop = K // LANES * part // parts * LANES, K // LANES * (part + 1) // parts * LANES
            start, run = begin + moved, min(RUN, stop - begin - moved)
            if run <= 0:
                continue
            for row in range(0, ROWS, LANES):
                for k in range(0, run, LANES):
                    to = panel_at + 4 * (row // WIDE * RUN * WIDE + k * WIDE + row % WIDE)
                    from_, end = x_at + 4 * ((block * ROWS + row) * K + start + k), x_at + 4 * ((M - 1) * K + start + k)
                    turn(to, WIDE, from_, K, end)
            for i in range(max(0, first - piece * tall), min(tall, last - piece * tall)):
                for column in range(0, ROWS, WIDE):
                    out = sums.ctypes.data + 4 * ((piece * tall + i) * WIDE_MR * ROWS + column)
                    init, stride = (zeros_at, 0) if moved == 0 else (out, ROWS)
                    wide_tile(
                        out, ROWS, init, stride,
                        y_at + 4 * start, rows_at + 8 * i * WIDE_MR, 1, zeros_at, 1, run,
                        panel_at + 4 * column * RUN, WIDE,
                    )  # fmt: skip
    give_back(panel_at)


@njit(void(int64, float32[:, :, :, ::1], float32[::1], boolean, _matrix, int64, int64), **options)
def add_parts(
    slot: int, sums: np.ndarray, bias: np.ndarray, relu: bool, out: np.ndarray, first: int, last: int
) -> None:  # pragma: no cover
    """out (M, N) = what `turned` left in sums, + bias (N,) or (0,), then ReLU if asked for; M is a multiple of LANES.

    The blocks first to last of the LANES columns. N is at least LANES: a last block that is not full overlaps another.
    """
    if handed_over(slot):
        return
    (M, N), panel_at = out.shape, take(LANES * ROWS)
    panel = image_at(panel_at, 1, LANES, ROWS)[0]
    for column in range(first, last):
        n = min(column * LANES, N - LANES)
        for start in range(0, M, ROWS):
            for i in range(LANES):
                b = bias[n + i] if len(bias) else np.float32(0)
                for m in range(ROWS):
                    panel[i, m] = sums[start // ROWS, 0, n + i, m] + b
                for part in range(1, sums.shape[1]):
                    for m in range(ROWS):
                        panel[i, m] += sums[start // ROWS, part, n + i, m]
                if relu:
                    for m in range(ROWS):
                        panel[i, m] = np.float32(0) if panel[i, m] < 0 else panel[i, m]  # NaN stays NaN
            for m in range(0, min(ROWS, M - start), LANES):
                to, from_ = out.ctypes.data + 4 * ((start + m) * N + n), panel_at + 4 * m
                turn(to, N, from_, ROWS, panel_at + 4 * LANES * ROWS)
    give_back(panel_at)
