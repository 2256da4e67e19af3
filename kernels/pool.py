"""2-d pooling, its gradients, and what is needed to differentiate those again.

Letters as in `conv.py`. A window is the KH x KW elements that one output looks at; with `ceil_mode` the last
window may hang over the edge, as long as it starts inside. Arrays are NCHW in shape, results lie channels-last.

An index says which element of x an output took: its place h·W + w in the image, as PyTorch counts. Gradients
are gathered: each element of dx adds up its windows in a fixed order, so that every run gives the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from . import compiled
from .conv_patches import Pair
from .conv_taps import span
from .fused import nhwc
from .half import in_float32
from .memory import chunks, empty_nhwc
from .parallel import for_blocks, pass_over, share_rows
from .relu import masked


def pool_size(size: int, k: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """OH from H (or OW from W): how many windows of k elements, `dilation` apart, fit."""
    room = size + 2 * padding - dilation * (k - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    n = -(-room // stride) + 1
    return n - 1 if (n - 1) * stride >= size + padding else n  # the last window must start inside


def max_pool2d(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    """y (N, C, OH, OW): the largest element of each window of x (N, C, H, W); and its index (int32).

    A NaN is larger than everything; of equal elements the first wins. Padding never wins.
    """
    N, C, H, W = x.shape
    OH, OW = pool_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    y = empty_nhwc((N, C, OH, OW), x.dtype)
    index = empty_nhwc((N, C, OH, OW), np.dtype(np.int32))
    first = _first_inside((H, W), (OH, OW), stride, padding, dilation)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    code, work = compiled.load("pool_compiled"), pass_over(x, y, index)
    if code and x.dtype == np.float32:
        arrays, window = [nhwc(a) for a in (x, y, index)], (*kernel, *stride, *padding, *dilation)
        share_rows(code.max_pool, arrays, work, first, window)
        return y, index

    def run(start: int, stop: int) -> None:
        for images in chunks(start, stop, C * OH * OW * 4):
            part = x[images]
            y[images], index[images] = lowest, first
            for (oi, oj), (xi, xj), at in window_elements(x.shape, (OH, OW), kernel, stride, padding, dilation):
                value, best = part[:, :, xi, xj], y[images, :, oi, oj]
                wins = (value > best) | (value != value)  # a NaN differs from itself
                np.maximum(best, value, out=best)
                index[images, :, oi, oj] += (at - index[images, :, oi, oj]) * wins

    for_blocks(run, N, work, blas=False)
    return y, index


@in_float32()
def max_pool2d_input_grad(
    dy: np.ndarray, index: np.ndarray, x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> np.ndarray:  # fmt: skip
    """dx (N, C, H, W): each dy (N, C, OH, OW) at its index; the adjoint of max_pool2d_at."""
    dx = empty_nhwc(x_shape, dy.dtype)
    size = dy.shape[2:]
    code, work = compiled.load("pool_compiled"), pass_over(dy, index, dx)
    if code and dy.dtype == np.float32:
        arrays = [nhwc(a) for a in (dy, index.astype(np.int32, copy=False), dx)]
        window = (*kernel, *stride, *padding, *dilation)
        share_rows(code.max_pool_grad, arrays, work, window)
        return dx

    def run(start: int, stop: int) -> None:
        for images in chunks(start, stop, dx[:1].size):
            part, at_images = dx[images], index[images].astype(np.int32, copy=False)
            part[...] = 0
            for (oi, oj), (xi, xj), at in window_elements(x_shape, size, kernel, stride, padding, dilation):
                part[:, :, xi, xj] += masked(dy[images, :, oi, oj], at_images[:, :, oi, oj] == at)

    for_blocks(run, x_shape[0], work, blas=False)
    return dx


def max_pool2d_at(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """y[n, c, i, j] = x[n, c] at index[n, c, i, j]: max pooling whose choice is given, linear in x."""
    N, C, H, W = x.shape
    places = index.reshape(N, C, index.shape[2] * index.shape[3])  # -1 would be ambiguous for an empty batch
    taken = np.take_along_axis(x.reshape(N, C, H * W), places, axis=2)
    return taken.reshape(index.shape)


@in_float32()
def max_unpool2d(y: np.ndarray, index: np.ndarray, size: Pair) -> np.ndarray:
    """x (N, C, *size): zero but for the sum of each y (N, C, OH, OW) at its index; the adjoint of max_pool2d_at."""
    N, C = y.shape[:2]
    x = np.zeros((N, C, size[0] * size[1]), y.dtype)
    n, c = np.arange(N)[:, None, None], np.arange(C)[:, None]
    places = N, C, index.shape[2] * index.shape[3]
    np.add.at(x, (n, c, index.reshape(places)), y.reshape(places))
    return x.reshape(N, C, *size)


def adaptive_max_pool2d(x: np.ndarray, size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """y (N, C, *size): the largest element of each of the windows that cut x into size; and its index (int32)."""
    N, C, _, W = x.shape
    y = empty_nhwc((N, C, *size), x.dtype)
    index = empty_nhwc((N, C, *size), np.dtype(np.int32))
    for i, rows in enumerate(adaptive_windows(x.shape[2], size[0])):
        for j, columns in enumerate(adaptive_windows(x.shape[3], size[1])):
            window = x[:, :, rows, columns]
            values = window.reshape(N, C, window.shape[2] * window.shape[3])
            best = values.argmax(axis=2)  # the first largest, or the first NaN
            row, column = np.divmod(best, window.shape[3])
            y[:, :, i, j] = np.take_along_axis(values, best[:, :, None], axis=2)[:, :, 0]
            index[:, :, i, j] = (rows.start + row) * W + columns.start + column
    return y, index


def adaptive_windows(size: int, n: int) -> list[slice]:
    """The n windows that adaptive pooling cuts `size` elements into: floor(i size / n) to ceil((i + 1) size / n)."""
    return [slice(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]


def pool_shape(
    x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Pair:
    OH, OW = (pool_size(x_shape[2 + a], kernel[a], stride[a], padding[a], dilation[a], ceil_mode) for a in (0, 1))
    return OH, OW


@functools.lru_cache(256)
def _first_inside(image: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """The index of the first element that each window has inside the image, (OH, OW), int32. Not to be written to."""
    places = []
    for a in (0, 1):
        start = np.arange(size[a], dtype=np.int32) * stride[a] - padding[a]
        places.append(np.minimum(np.where(start < 0, start % dilation[a], start), image[a] - 1).astype(np.int32))
    return places[0][:, None] * image[1] + places[1]


def window_elements(
    x_shape: tuple[int, ...], size: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], np.ndarray]]:
    """For each place in the window: the outputs that have it inside the image, its elements in x, their indices."""
    _, _, H, W = x_shape
    for k in range(kernel[0]):
        oi, xi = span(k * dilation[0], H, size[0], stride[0], padding[0])
        rows = np.arange(xi.start, xi.stop, xi.step, dtype=np.int32)
        for l in range(kernel[1]):
            oj, xj = span(l * dilation[1], W, size[1], stride[1], padding[1])
            columns = np.arange(xj.start, xj.stop, xj.step, dtype=np.int32)
            yield (oi, oj), (xi, xj), rows[:, None] * W + columns
