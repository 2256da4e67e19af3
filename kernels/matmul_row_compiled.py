"""A linear layer of one row: contract in `matmul.py`. A file of its own, since only that has it compiled."""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, njit, void

from .fused_compiled import options
from .team_compiled import handed_over
from .tile import widest_vectors

ROWS = 4  # of the weights, read at once


@njit(
    void(int64, float32[::1], float32[:, ::1], float32[::1], boolean, float32[::1]),
    fastmath={"reassoc", "contract"}, **options,
)  # fmt: skip
def row(
    slot: int, x: np.ndarray, w: np.ndarray, bias: np.ndarray, relu: bool, out: np.ndarray
) -> None:  # pragma: no cover
    """out (N,) = w x + bias, and then ReLU if asked for; x (K,), w (N, K), bias (N,) or (0,).

    ROWS rows of w are read at once: more loads are under way than with one.
    """
    if handed_over(slot):
        return
    widest_vectors()
    N, K = w.shape
    together = N // ROWS * ROWS
    for n in range(0, together, ROWS):
        a = b = c = d = np.float32(0)
        for k in range(K):
            a += w[n, k] * x[k]
            b += w[n + 1, k] * x[k]
            c += w[n + 2, k] * x[k]
            d += w[n + 3, k] * x[k]
        out[n], out[n + 1], out[n + 2], out[n + 3] = a, b, c, d
    for n in range(together, N):
        a = np.float32(0)
        for k in range(K):
            a += w[n, k] * x[k]
        out[n] = a
    for n in range(len(bias)):
        out[n] += bias[n]
    if relu:
        for n in range(N):
            out[n] = np.float32(0) if out[n] < 0 else out[n]  # NaN stays NaN
