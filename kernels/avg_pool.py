"""2-d average pooling and its gradient, over windows of one size, or over a number of windows that cut the image up.

Contract and letters: `pool.py`. Each output is a sum of x over a window, divided by a number of its own.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from . import compiled
from .conv_patches import Pair
from .fused import nhwc
from .half import in_float32
from .memory import empty_nhwc
from .parallel import pass_over, share
from .pool import adaptive_windows, pool_shape, window_elements


class Windows(NamedTuple):
    """Where windows lie, and what their sums are divided by. Kept for the next call, and not to be written to."""

    rows: np.ndarray  # (OH, 2): where each begins and ends, inside the image
    columns: np.ndarray  # (OW, 2)
    divisor: np.ndarray  # (OH, OW)


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
    count = count_include_pad, divisor_override
    windows = _windows(x.shape[2:], (OH, OW), kernel, stride, padding, *count, x.dtype)
    if _compiled(x):
        return _averages(x, (OH, OW), windows)
    y = empty_nhwc((*x.shape[:2], OH, OW), x.dtype)
    y[...] = 0
    for (oi, oj), (xi, xj), _ in window_elements(x.shape, (OH, OW), kernel, stride, padding, (1, 1)):
        y[:, :, oi, oj] += x[:, :, xi, xj]
    y /= windows.divisor
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
    count = count_include_pad, divisor_override
    windows = _windows(x_shape[2:], size, kernel, stride, padding, *count, dy.dtype)
    if _compiled(dy):
        return _shared(dy, x_shape, windows)
    share = dy / windows.divisor
    dx = empty_nhwc(x_shape, dy.dtype)
    dx[...] = 0
    for (oi, oj), (xi, xj), _ in window_elements(x_shape, size, kernel, stride, padding, (1, 1)):
        dx[:, :, xi, xj] += share[:, :, oi, oj]
    return dx


@in_float32()
def adaptive_avg_pool2d(x: np.ndarray, size: Pair) -> np.ndarray:
    """y (N, C, *size): the mean of each of the windows that cut x (N, C, H, W) into size."""
    if _compiled(x):
        return _averages(x, size, _adaptive(x.shape[2:], size))
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
        return _shared(dy, x_shape, _adaptive(x_shape[2:], (OH, OW)))
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

    share(code.avg_pool, part, len(y), pass_over(x, y))
    return y


def _shared(dy: np.ndarray, x_shape: tuple[int, ...], windows: Windows) -> np.ndarray:
    """dx (N, C, H, W), by the compiled loop."""
    dx, images, code = empty_nhwc(x_shape, dy.dtype), nhwc(dy), compiled.load("pool_compiled")

    def part(start: int, stop: int) -> tuple[np.ndarray, ...]:
        return images[start:stop], nhwc(dx[start:stop]), *windows

    share(code.avg_pool_grad, part, len(dx), pass_over(dy, dx))
    return dx


@functools.lru_cache(256)
def _windows(
    image: Pair,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
    dtype: np.dtype,
) -> Windows:
    """Those of one size. A sum is divided by its number of elements, with or without the padding, or the override."""
    edges, counts = [], []
    for a in (0, 1):
        margin = padding[a] if count_include_pad else 0
        start = np.arange(size[a]) * stride[a] - padding[a]
        stop = start + kernel[a]
        edges.append(np.stack([np.maximum(start, 0), np.minimum(stop, image[a])], axis=1))
        counts.append(np.minimum(stop, image[a] + margin) - np.maximum(start, -margin))
    divisor = np.outer(*counts) if divisor_override is None else np.full(size, divisor_override)
    return Windows(edges[0], edges[1], divisor.astype(dtype))


@functools.lru_cache(256)
def _adaptive(image: Pair, size: Pair) -> Windows:
    """Those that cut the image into `size`."""
    edges = [
        np.array([(w.start, w.stop) for w in adaptive_windows(image[a], size[a])], np.int64).reshape(-1, 2)
        for a in (0, 1)
    ]
    return Windows(edges[0], edges[1], np.outer(*(e[:, 1] - e[:, 0] for e in edges)).astype(np.float32))
