"""2-d average pooling and its gradient, over windows of one size, or over a number of windows that cut the image up.

Contract and letters: `pool.py`. Each output is a sum of x over a window, divided by a number of its own.
"""

from __future__ import annotations

import numpy as np

from . import compiled
from .conv import Pair, empty_nhwc
from .fused import nhwc
from .half import in_float32
from .parallel import BYTES, share
from .pool import adaptive_windows, pool_shape, window_elements

Windows = tuple[np.ndarray, np.ndarray, np.ndarray]


@in_float32()
def avg_pool2d(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray:
    """y (N, C, OH, OW): the sum of each window of x (N, C, H, W) over its `divisor`."""
    OH, OW = pool_shape(x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    divisor = _divisor(x.shape, (OH, OW), kernel, stride, padding, count_include_pad, divisor_override)
    if _compiled(x):
        return _averages(x, (OH, OW), _windows(x.shape, (OH, OW), kernel, stride, padding, divisor))
    y = empty_nhwc((*x.shape[:2], OH, OW), x.dtype)
    y[...] = 0
    for (oi, oj), (xi, xj), _ in window_elements(x.shape, (OH, OW), kernel, stride, padding, (1, 1)):
        y[:, :, oi, oj] += x[:, :, xi, xj]
    y /= divisor.astype(x.dtype)
    return y


@in_float32()
def avg_pool2d_input_grad(
    dy: np.ndarray,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray:
    """dx (N, C, H, W): the adjoint of avg_pool2d."""
    size = dy.shape[2], dy.shape[3]
    divisor = _divisor(x_shape, size, kernel, stride, padding, count_include_pad, divisor_override)
    if _compiled(dy):
        return _shared(dy, x_shape, _windows(x_shape, size, kernel, stride, padding, divisor))
    share = dy / divisor.astype(dy.dtype)
    dx = empty_nhwc(x_shape, dy.dtype)
    dx[...] = 0
    for (oi, oj), (xi, xj), _ in window_elements(x_shape, size, kernel, stride, padding, (1, 1)):
        dx[:, :, xi, xj] += share[:, :, oi, oj]
    return dx


@in_float32()
def adaptive_avg_pool2d(x: np.ndarray, size: Pair) -> np.ndarray:
    """y (N, C, *size): the mean of each of the windows that cut x (N, C, H, W) into size."""
    if _compiled(x):
        return _averages(x, size, _adaptive(x.shape, size))
    N, C, H, W = x.shape
    rows = np.stack([x[:, :, window].mean(axis=2) for window in adaptive_windows(H, size[0])], axis=1)
    y = empty_nhwc((N, C, *size), x.dtype)
    for j, window in enumerate(adaptive_windows(W, size[1])):
        y[..., j] = rows[..., window].mean(axis=3).transpose(0, 2, 1)  # (N, OH, C) -> (N, C, OH)
    return y


@in_float32()
def adaptive_avg_pool2d_input_grad(dy: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """dx (N, C, H, W): the adjoint of adaptive_avg_pool2d."""
    _, _, H, W = x_shape
    OH, OW = dy.shape[2:]
    if _compiled(dy):
        return _shared(dy, x_shape, _adaptive(x_shape, (OH, OW)))
    dx = empty_nhwc(x_shape, dy.dtype)
    dx[...] = 0
    for i, rows in enumerate(adaptive_windows(H, OH)):
        for j, columns in enumerate(adaptive_windows(W, OW)):
            count = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, :, rows, columns] += dy[:, :, i : i + 1, j : j + 1] / count
    return dx


def _compiled(x: np.ndarray) -> bool:
    return x.dtype == np.float32 and compiled.load("pool_compiled") is not None


def _averages(x: np.ndarray, size: Pair, windows: Windows) -> np.ndarray:
    """y (N, C, *size), by the compiled loop."""
    y, images, code = empty_nhwc((*x.shape[:2], *size), x.dtype), nhwc(x), compiled.load("pool_compiled")

    def part(start: int, stop: int) -> tuple[np.ndarray, ...]:
        return images[start:stop], nhwc(y[start:stop]), *windows

    share(code.avg_pool, part, len(y), (x.nbytes + y.nbytes) / BYTES)
    return y


def _shared(dy: np.ndarray, x_shape: tuple[int, ...], windows: Windows) -> np.ndarray:
    """dx (N, C, H, W), by the compiled loop."""
    dx, images, code = empty_nhwc(x_shape, dy.dtype), nhwc(dy), compiled.load("pool_compiled")

    def part(start: int, stop: int) -> tuple[np.ndarray, ...]:
        return images[start:stop], nhwc(dx[start:stop]), *windows

    share(code.avg_pool_grad, part, len(dx), (dy.nbytes + dx.nbytes) / BYTES)
    return dx


def _windows(
    x_shape: tuple[int, ...], size: Pair, kernel: Pair, stride: Pair, padding: Pair, divisor: np.ndarray
) -> Windows:
    """Where each window begins and ends inside the image, (OH, 2) and (OW, 2), and the divisors in float32."""
    edges = []
    for a in (0, 1):
        start = np.arange(size[a]) * stride[a] - padding[a]
        stop = np.minimum(start + kernel[a], x_shape[2 + a])
        edges.append(np.stack([np.maximum(start, 0), stop], axis=1))
    return edges[0], edges[1], divisor.astype(np.float32)


def _adaptive(x_shape: tuple[int, ...], size: Pair) -> Windows:
    """As `_windows`, for those that cut the image into `size`."""
    rows, columns = (
        np.array([(w.start, w.stop) for w in adaptive_windows(x_shape[2 + a], size[a])], np.int64).reshape(-1, 2)
        for a in (0, 1)
    )
    return rows, columns, np.outer(*(edges[:, 1] - edges[:, 0] for edges in (rows, columns))).astype(np.float32)


def _divisor(
    x_shape: tuple[int, ...],
    size: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray:
    """What each window's sum is divided by, (OH, OW): its elements, with or without the padding, or the override."""
    if divisor_override is not None:
        return np.full(size, divisor_override)
    counts = []
    for a in (0, 1):
        margin = padding[a] if count_include_pad else 0
        start = np.arange(size[a]) * stride[a] - padding[a]
        stop = np.minimum(start + kernel[a], x_shape[2 + a] + margin)
        counts.append(stop - np.maximum(start, -margin))
    return counts[0][:, None] * counts[1]
