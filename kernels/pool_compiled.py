"""The compiled pooling: channels-last images, float32, each image by one thread. Contract: `pool.py`.

The window of a maximum is passed as (KH, KW, SH, SW, PH, PW, DH, DW). The inner loops run over channels, which lie
side by side, and choose without branching, so that the compiler makes vector instructions of them.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, njit, types, void

from .team_compiled import handed_over

_images, _indices = float32[:, :, :, ::1], int32[:, :, :, ::1]
_window = types.UniTuple(int64, 8)
LOWEST = np.float32(-np.inf)


@njit(void(int64, _images, _images, _indices, int32[:, ::1], _window), nogil=True, cache=True)
def max_pool(
    slot: int, x: np.ndarray, y: np.ndarray, index: np.ndarray, first: np.ndarray, window: tuple[int, ...]
) -> None:  # pragma: no cover
    """y and index, from -inf and the first place of each window that is inside the image, (OH, OW)."""
    if handed_over(slot):
        return
    KH, KW, SH, SW, PH, PW, DH, DW = window
    N, OH, OW, C = y.shape
    H, W = x.shape[1], x.shape[2]
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                best, at = y[n, i, j], index[n, i, j]
                for c in range(C):
                    best[c], at[c] = LOWEST, first[i, j]
                for k in range(KH):
                    h = i * SH - PH + k * DH
                    if h < 0 or h >= H:
                        continue
                    for l in range(KW):
                        w = j * SW - PW + l * DW
                        if w < 0 or w >= W:
                            continue
                        place = np.int32(h * W + w)
                        for c in range(C):
                            value = x[n, h, w, c]
                            wins = value > best[c] or value != value
                            best[c] = value if wins else best[c]
                            at[c] = place if wins else at[c]


@njit(void(int64, _images, _indices, _images, _window), nogil=True, cache=True)
def max_pool_grad(
    slot: int, dy: np.ndarray, index: np.ndarray, dx: np.ndarray, window: tuple[int, ...]
) -> None:  # pragma: no cover
    """dx from dy: for each place of each window, what was taken there."""
    if handed_over(slot):
        return
    KH, KW, SH, SW, PH, PW, DH, DW = window
    N, OH, OW, C = dy.shape
    H, W = dx.shape[1], dx.shape[2]
    for n in range(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for k in range(KH):
                    h = i * SH - PH + k * DH
                    if h < 0 or h >= H:
                        continue
                    for l in range(KW):
                        w = j * SW - PW + l * DW
                        if w < 0 or w >= W:
                            continue
                        place = h * W + w
                        for c in range(C):
                            dx[n, h, w, c] += dy[n, i, j, c] if index[n, i, j, c] == place else np.float32(0)


@njit(nogil=True, cache=True, error_model="numpy")
def avg_pool(
    slot: int, x: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray, divisor: np.ndarray
) -> None:  # pragma: no cover
    """Output (i, j) looks at x from rows[i, 0] to rows[i, 1] and columns[j, 0] to columns[j, 1]."""
    if handed_over(slot):
        return
    N, OH, OW, C = y.shape
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    y[n, i, j, c] = 0
                for h in range(rows[i, 0], rows[i, 1]):
                    for w in range(columns[j, 0], columns[j, 1]):
                        for c in range(C):
                            y[n, i, j, c] += x[n, h, w, c]
                for c in range(C):
                    y[n, i, j, c] /= divisor[i, j]


@njit(nogil=True, cache=True, error_model="numpy")
def avg_pool_grad(
    slot: int, dy: np.ndarray, dx: np.ndarray, rows: np.ndarray, columns: np.ndarray, divisor: np.ndarray
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    N, OH, OW, C = dy.shape
    share = np.empty(C, np.float32)
    for n in range(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    share[c] = dy[n, i, j, c] / divisor[i, j]
                for h in range(rows[i, 0], rows[i, 1]):
                    for w in range(columns[j, 0], columns[j, 1]):
                        for c in range(C):
                            dx[n, h, w, c] += share[c]
