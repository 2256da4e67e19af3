"""The compiled products of few rows or one column: contract in `matmul_row.py`.

`row` is compiled as this is loaded, the others, which only training needs, when they are first called.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, njit, void

from .fused_compiled import options
from .llvm import widest_vectors
from .team_compiled import handed_over

ROWS = 4  # of the weights, read at once
STRIP = 1024  # columns of them: they stay in the first cache until all rows of x have had them


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


@njit(fastmath={"contract"}, **options)
def combine(
    slot: int, x: np.ndarray, w: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:  # pragma: no cover
    """out[:, first:last] = those columns of x · w; x (M, K), w (K, N), out (M, N)."""
    if handed_over(slot):
        return
    widest_vectors()
    together = len(w) // ROWS * ROWS
    strip = STRIP if len(x) > 1 else last - first  # long runs are read faster
    for start in range(first, last, strip):
        stop = min(start + strip, last)
        out[:, start:stop] = 0
        for k in range(0, together, ROWS):
            a, b, c, d = w[k, start:stop], w[k + 1, start:stop], w[k + 2, start:stop], w[k + 3, start:stop]
            for i in range(len(x)):
                sums = out[i, start:stop]
                for m in range(len(sums)):
                    sums[m] += x[i, k] * a[m] + x[i, k + 1] * b[m] + x[i, k + 2] * c[m] + x[i, k + 3] * d[m]
        for k in range(together, len(w)):
            a = w[k, start:stop]
            for i in range(len(x)):
                sums = out[i, start:stop]
                for m in range(len(sums)):
                    sums[m] += x[i, k] * a[m]


@njit(**options)
def outer(slot: int, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """out[n] = x[n] y; x (N,), y (M,), out (N, M)."""
    if handed_over(slot):
        return
    widest_vectors()
    for n in range(len(x)):
        row = out[n]
        for m in range(len(y)):
            row[m] = x[n] * y[m]
