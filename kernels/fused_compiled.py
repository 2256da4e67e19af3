"""What compiled convolutions do to an image while it is in the cache: the fused step, and the way back through it.

Arrays are channels-last, contiguous float32: x (N, H, W, C), y and dy (N, OH, OW, O).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, njit, types, uint8, void

from .fused import NONE, RELU, RELU_POOL
from .llvm import apart
from .team_compiled import handed_over
from .tile import MR, tile

images, choices = float32[:, :, :, ::1], uint8[:, :, :, ::1]
table, four = int64[::1], types.UniTuple(int64, 4)
options: Any = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
inner: Any = {**options, "no_cpython_wrapper": True}  # of what only other compiled functions call
image = float32[:, :, ::1]


@njit(void(int64, images, float32[:, :, :, :]), **options)
def gather(slot: int, y: np.ndarray, x: np.ndarray) -> None:  # pragma: no cover
    """y = x, where x (N, H, W, C) lies in memory in another order: one image, which fits the cache, at a time."""
    if handed_over(slot):
        return
    N, H, W, C = x.shape
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    y[n, h, w, c] = x[n, h, w, c]


@apart
@njit(void(image), **inner)
def clear(x: np.ndarray) -> None:  # pragma: no cover
    for h in range(x.shape[0]):
        for w in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[h, w, c] = 0


@apart
@njit(void(image, int64, int64, image, int64, int64, int64, int64), **inner)
def copy(
    to: np.ndarray, to_top: int, to_left: int, x: np.ndarray, top: int, left: int, H: int, W: int
) -> None:  # pragma: no cover
    """H x W pixels of x, from (top, left) on, into as many of another image."""
    C = x.shape[2] if x.shape[2] < to.shape[2] else to.shape[2]
    for h in range(H):
        for w in range(W):
            for c in range(C):
                to[to_top + h, to_left + w, c] = x[top + h, left + w, c]


@apart
@njit(void(image, image, image, uint8[:, :, ::1], int64, int64, int64), **inner)
def fill(
    padded: np.ndarray, dy: np.ndarray, y: np.ndarray, choice: np.ndarray, epilogue: int, top: int, left: int
) -> None:  # pragma: no cover
    """dy of one image, carried back through the epilogue, into a larger image whose rest stays as it is."""
    H, W, O = dy.shape
    if epilogue == NONE:
        copy(padded, top, left, dy, 0, 0, H, W)
    elif epilogue == RELU:
        for h in range(H):
            for w in range(W):
                for o in range(O):
                    padded[top + h, left + w, o] = dy[h, w, o] if y[h, w, o] > 0 else np.float32(0)
    else:
        for row in range(2 * H):
            for column in range(2 * W):
                h, w, k = row // 2, column // 2, row % 2 * 2 + column % 2
                for o in range(O):
                    taken = (choice[h, w, o] == k) & (y[h, w, o] > 0)
                    padded[top + row, left + column, o] = dy[h, w, o] if taken else np.float32(0)


@apart
@njit(void(image, uint8[:, :, ::1], float32[:, ::1], int64, int64, four), **inner)
def finish(
    y: np.ndarray, choice: np.ndarray, sums: np.ndarray, epilogue: int, width: int, grid: tuple[int, ...]
) -> None:  # pragma: no cover
    """One image's sums (pixels, O or more), rows of `width` pixels, through the step into y (OH, OW, O)."""
    H, W, O = y.shape
    h0, SH, w0, SW = grid
    if epilogue == RELU_POOL:
        for h in range(H):
            for w in range(W):
                corner = 2 * h * width + 2 * w
                for o in range(O):
                    best, at = sums[corner, o], np.int32(0)
                    for k in range(1, 4):
                        value = sums[corner + (k // 2) * width + k % 2, o]
                        wins = value > best or value != value
                        best, at = value if wins else best, np.int32(k) if wins else at
                    y[h, w, o] = np.float32(0) if best < 0 else best
                    choice[h, w, o] = at
    else:
        for i, h in enumerate(range(h0, H, SH)):
            for j, w in enumerate(range(w0, W, SW)):
                for o in range(O):
                    value = sums[i * width + j, o]
                    y[h, w, o] = np.float32(0) if epilogue == RELU and value < 0 else value


@apart
@njit(void(float32[:, ::1], image), **inner)
def add_pixels(total: np.ndarray, image: np.ndarray) -> None:  # pragma: no cover
    """total[0] += the sum of image (H, W, O) over its pixels; total[1] is room for it, zero before and after."""
    H, W, O = image.shape
    for h in range(H):
        for w in range(W):
            for o in range(O):
                total[1, o] += image[h, w, o]
    for o in range(O):
        total[0, o] += total[1, o]
        total[1, o] = 0


@apart
@njit(void(*[int64] * 13), **inner)
def product(
    m: int, c: int, c_stride: int, init: int, init_stride: int, a: int, rows: int, a_step: int, segments: int,
    n_segments: int, run: int, b: int, b_stride: int,
) -> None:  # fmt: skip  # pragma: no cover
    """Tiles one below the other until they have m rows or more: the arguments of `tile`, of which rows has as many."""
    for i in range(0, m, MR):
        tile(
            c + 4 * i * c_stride, c_stride, init + 4 * i * init_stride, init_stride,
            a, rows + 8 * i, a_step, segments, n_segments, run, b, b_stride,
        )  # fmt: skip
