"""Convolution as one matrix product for each place (tap) of the kernel: for many weights and few pixels.

    y[:, i, j] = sum over taps (k, l) of x[:, i SH - PH + k DH, j SW - PW + l DW] · w[:, :, k, l]ᵀ

where only the pixels whose tap lies inside the image take part: of 2x2 pixels under a 3x3 kernel, 16 products of 36.
The last layers of a network have more weights than pixels, so that what counts is how often weights are read and
written: here once a pass, where they lie. The worker threads share the channels, not the batch, so that no two of them
need the same weights. (Very few pixels' patches are multiplied all at once instead: see `conv.py`.)
Arrays are channels-last inside, (N, H, W, C), and so are weights, (O, KH, KW, C): those of `models.ResNet` lie like
that in memory, others are copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .fused import nhwc
from .memory import empty
from .parallel import BYTES, PRODUCTS, for_blocks, one_blas_thread

Pair = tuple[int, int]
Index = tuple[slice, slice]

WEIGHTS = 200  # for each output pixel of the batch: with fewer, the other ways are faster
FEWEST = 2**15  # weights: with fewer, the Python between the products costs more than they do


def suits(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> bool:
    """Whether a convolution of these images by these weights, and its gradients, are faster this way."""
    weights = math.prod(w_shape)
    if weights < FEWEST or groups > 1:
        return False
    rows, columns = (out_size(x_shape[2 + a], w_shape[2 + a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return weights >= WEIGHTS * x_shape[0] * rows * columns > 0


def out_size(size: int, k: int, stride: int, padding: int, dilation: int) -> int:
    """OH from H (or OW from W); below 1 when the kernel does not fit."""
    return (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1


@one_blas_thread()
def conv2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair
) -> np.ndarray:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C, KH, KW) and b (O,) or None."""
    size = [out_size(x.shape[2 + a], w.shape[2 + a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    x, O = nhwc(x), len(w)
    y = empty((len(x), *size, O), x.dtype)

    def channels(start: int, stop: int) -> None:
        y[..., start:stop] = 0 if b is None else b[start:stop]
        matrices = _taps_last(w, slice(start, stop))
        for tap, to, at in _taps(w.shape, y.shape[1:3], x.shape[1:3], stride, padding, dilation):
            part = y[:, *to, start:stop]
            part += (_rows(x[:, *at]) @ matrices[:, *tap].T).reshape(part.shape)

    for_blocks(channels, O, work(y, w))
    return y.transpose(0, 3, 1, 2)


@one_blas_thread()
def conv2d_input_grad(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> np.ndarray:
    """dx (N, C, H, W) from dy (N, O, OH, OW)."""
    dy, (N, C, H, W) = nhwc(dy), x_shape
    dx = empty((N, H, W, C), dy.dtype)

    def channels(start: int, stop: int) -> None:
        dx[..., start:stop] = 0
        matrices = _taps_last(w, slice(None), slice(start, stop))
        for tap, at, to in _taps(w.shape, dy.shape[1:3], (H, W), stride, padding, dilation):
            part = dx[:, *to, start:stop]
            part += (_rows(dy[:, *at]) @ matrices[:, *tap]).reshape(part.shape)

    for_blocks(channels, C, work(dy, w))
    return dx.transpose(0, 3, 1, 2)


@one_blas_thread()
def conv2d_weight_grad(
    dy: np.ndarray, x: np.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> np.ndarray:
    """dw (O, C, KH, KW) from x and dy, channels-last in memory."""
    x, dy, (O, C, *kernel) = nhwc(x), nhwc(dy), w_shape
    dw = empty((O, *kernel, C), dy.dtype)

    def channels(start: int, stop: int) -> None:
        for tap, to, at in _taps(w_shape, dy.shape[1:3], x.shape[1:3], stride, padding, dilation):
            np.matmul(_rows(dy[:, *to, start:stop]).T, _rows(x[:, *at]), out=dw[start:stop, *tap])

    for_blocks(channels, O, work(dy, dw))
    return dw.transpose(0, 3, 1, 2)


def work(y: np.ndarray, w: np.ndarray) -> float:
    """Nanoseconds of one thread, for y (N, OH, OW, O)."""
    return y.size // len(w) * w.size / PRODUCTS + w.nbytes / BYTES


def _taps_last(w: np.ndarray, outs: slice, ins: slice = slice(None)) -> np.ndarray:
    """Some channels of w (O, C, KH, KW) as (O, KH, KW, C), each row of C in one run of memory."""
    if w.transpose(0, 2, 3, 1).flags.c_contiguous:
        return w[outs, ins].transpose(0, 2, 3, 1)
    return nhwc(w[outs, ins])


def _rows(pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, h, w, C) as a matrix."""
    return pixels.reshape(-1, pixels.shape[3])


def _taps(
    w_shape: tuple[int, ...], outputs: tuple[int, ...], inputs: tuple[int, ...], stride: Pair, padding: Pair,
    dilation: Pair,
) -> Iterator[tuple[Pair, Index, Index]]:  # fmt: skip
    """Each tap (k, l), the rows and columns of the output for which it lies inside the image, and those of the input
    where it lies then."""
    rows, columns = (
        [span(k * dilation[a], inputs[a], outputs[a], stride[a], padding[a]) for k in range(w_shape[2 + a])]
        for a in (0, 1)
    )
    for k, (oi, xi) in enumerate(rows):
        for l, (oj, xj) in enumerate(columns):
            yield (k, l), (oi, oj), (xi, xj)


def span(k: int, size: int, n: int, stride: int, padding: int) -> tuple[slice, slice]:
    """The outputs, of n, whose window element at offset k lies in an image of `size`, and the elements themselves."""
    first = max(0, -((k - padding) // stride))  # the first i with i stride - padding + k >= 0
    last = min(n - 1, (size - 1 + padding - k) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    start = first * stride - padding + k
    return slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)
