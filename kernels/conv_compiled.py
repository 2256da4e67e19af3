"""The compiled convolutions: one image at a time through `tile`, with everything else done while it is in the cache.

Arrays here are channels-last, contiguous float32: x (N, H, W, C), y and dy (N, OH, OW, O). `conv.py` chooses
between these and NumPy, and makes the tables of offsets. A fused step follows each image's product at once
(`EPILOGUE`), and its gradient is undone while dy is copied to where the product reads it (`_fill`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, njit, types, uint8, void

from .conv_direct import NONE, RELU, RELU_POOL
from .tile import COLUMNS, MR, tile

_images, _choices = float32[:, :, :, ::1], uint8[:, :, :, ::1]
_blocks, _table = float32[:, :, ::1], int64[::1]
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(void(_images, float32[:, :, :, :]), **_compile)
def gather(y: np.ndarray, x: np.ndarray) -> None:  # pragma: no cover
    """y = x, where x (N, H, W, C) lies in memory in another order: one image, which fits the cache, at a time."""
    N, H, W, C = x.shape
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    y[n, h, w, c] = x[n, h, w, c]


@njit(**_compile)
def _copy(padded: np.ndarray, x: np.ndarray, top: int, left: int) -> None:  # pragma: no cover
    H, W, C = x.shape
    for h in range(H):
        for w in range(W):
            for c in range(C):
                padded[top + h, left + w, c] = x[h, w, c]


@njit(**_compile)
def _fill(
    padded: np.ndarray, dy: np.ndarray, y: np.ndarray, choice: np.ndarray, epilogue: int, top: int, left: int
) -> None:  # pragma: no cover
    """dy of one image, carried back through the epilogue, into a larger image whose rest stays as it is."""
    H, W, O = dy.shape
    if epilogue == NONE:
        _copy(padded, dy, top, left)
    elif epilogue == RELU:
        for h in range(H):
            for w in range(W):
                for o in range(O):
                    padded[top + h, left + w, o] = dy[h, w, o] if y[h, w, o] > 0 else np.float32(0)
    else:
        for h in range(H):
            for w in range(W):
                for k in range(4):
                    into = padded[top + 2 * h + k // 2, left + 2 * w + k % 2]
                    for o in range(O):
                        taken = choice[h, w, o] == k and y[h, w, o] > 0
                        into[o] = dy[h, w, o] if taken else np.float32(0)


@njit(**_compile)
def _finish(
    y: np.ndarray, choice: np.ndarray, sums: np.ndarray, epilogue: int, width: int, grid: tuple[int, ...]
) -> None:  # pragma: no cover
    """One image's sums (pixels, O or more), `width` pixels a row, through the epilogue into y (OH, OW, O)."""
    H, W, O = y.shape
    h0, SH, w0, SW = grid
    if epilogue == RELU_POOL:
        for h in range(H):
            for w in range(W):
                corner = 2 * h * width + 2 * w
                for o in range(O):
                    best, at = sums[corner, o], 0
                    for k in range(1, 4):
                        value = sums[corner + (k // 2) * width + k % 2, o]
                        if value > best or value != value:
                            best, at = value, k
                    y[h, w, o] = np.float32(0) if best < 0 else best
                    choice[h, w, o] = at
    else:
        pixel = 0
        for h in range(h0, H, SH):
            for w in range(w0, W, SW):
                for o in range(O):
                    value = sums[pixel, o]
                    y[h, w, o] = np.float32(0) if epilogue == RELU and value < 0 else value
                pixel += 1


@njit(**_compile)
def _product(
    sums: np.ndarray, a: int, rows: np.ndarray, step: int, segments: np.ndarray, run: int, w: np.ndarray, bias: np.ndarray
) -> None:  # pragma: no cover
    """sums (rows, columns) = bias + patches · w, with w (column blocks, patch, COLUMNS)."""
    stride = sums.shape[1]
    for block in range(w.shape[0]):
        column = block * COLUMNS
        for row in range(0, len(rows), MR):
            tile(
                sums[row, column:].ctypes.data, stride, bias[column:].ctypes.data, 0,
                a, rows[row:].ctypes.data, step, segments.ctypes.data, len(segments), run, w[block].ctypes.data, COLUMNS,
            )  # fmt: skip


_frame = types.UniTuple(int64, 4)


@njit(
    void(
        _images, _images, _choices, int64, _frame, _table, int64, _table, int64, _blocks, float32[::1],
        _images, _choices, int64, int64, _frame,
    ),
    **_compile,
)  # fmt: skip
def conv(
    x: np.ndarray, x_out: np.ndarray, x_choice: np.ndarray, undo: int, frame: tuple[int, ...], pixels: np.ndarray, step: int,
    segments: np.ndarray, run: int, w: np.ndarray, bias: np.ndarray, y: np.ndarray, choice: np.ndarray, epilogue: int,
    width: int, grid: tuple[int, ...],
) -> None:  # fmt: skip  # pragma: no cover
    """y[:, h0::SH, w0::SW] = epilogue(patches of x · w + bias), with grid = (h0, SH, w0, SW).

    frame = (height, width, top, left) says in what larger image, zero around it, x is laid; `undo` is the
    epilogue that x, a gradient, is carried back through on the way there.
    """
    N, H, W, C = x.shape
    framed = frame[0] != H or frame[1] != W or undo != NONE
    image = np.zeros((frame[0], frame[1], C) if framed else (0, 0, 0), np.float32)
    sums = np.empty((len(pixels), len(bias)), np.float32)
    for n in range(N):
        if framed:
            _fill(image, x[n], x_out[n % len(x_out)], x_choice[n % len(x_choice)], undo, frame[2], frame[3])
            a = image.ctypes.data
        else:
            a = x[n].ctypes.data
        _product(sums, a, pixels, step, segments, run, w, bias)
        _finish(y[n], choice[n % len(choice)], sums, epilogue, width, grid)


@njit(
    void(_images, _frame, _images, _images, _choices, int64, int64, _table, int64, _table, int64, _blocks),
    **_compile,
)
def weight_grad(
    x: np.ndarray, frame: tuple[int, ...], dy: np.ndarray, dy_out: np.ndarray, dy_choice: np.ndarray, undo: int, width: int,
    patch: np.ndarray, step: int, segments: np.ndarray, run: int, dw: np.ndarray,
) -> None:  # fmt: skip  # pragma: no cover
    """dw (column blocks, patch, COLUMNS) += patches of x, transposed, · dy; a row of dy has `width` pixels."""
    N, H, W, C = x.shape
    framed = frame[0] != H or frame[1] != W
    image = np.zeros((frame[0], frame[1], C) if framed else (0, 0, 0), np.float32)
    columns = dw.shape[0] * COLUMNS
    gradient = np.zeros((len(segments), width, columns), np.float32)
    for n in range(N):
        if framed:
            _copy(image, x[n], frame[2], frame[3])
            a = image.ctypes.data
        else:
            a = x[n].ctypes.data
        _fill(gradient, dy[n], dy_out[n % len(dy_out)], dy_choice[n % len(dy_choice)], undo, 0, 0)
        for block in range(dw.shape[0]):
            b = gradient[0, 0, block * COLUMNS :].ctypes.data
            for row in range(0, len(patch), MR):
                c = dw[block, row].ctypes.data
                tile(
                    c, COLUMNS, c, COLUMNS,
                    a, patch[row:].ctypes.data, step, segments.ctypes.data, len(segments), run, b, columns,
                )  # fmt: skip


@njit(void(_images, _images, int64, float32[::1]), **_compile)
def bias_grad(dy: np.ndarray, dy_out: np.ndarray, undo: int, db: np.ndarray) -> None:  # pragma: no cover
    """db (O,) += the sum of dy over images and pixels, carried back through the epilogue."""
    N, H, W, O = dy.shape
    row = np.empty(O, np.float32)
    for n in range(N):
        row[:] = 0
        for h in range(H):
            for w in range(W):
                for o in range(O):
                    passed = undo == NONE or dy_out[n % len(dy_out), h, w, o] > 0
                    row[o] += dy[n, h, w, o] if passed else np.float32(0)
        for o in range(O):
            db[o] += row[o]
