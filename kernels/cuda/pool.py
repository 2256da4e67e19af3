"""Launches of the kernels in pool.cu; the contracts are those of kernels/pool.py, results lie NCHW in memory."""

from __future__ import annotations

from typing import Any

import cupy as cp
import numpy as np

from ..conv import Pair
from ..half import in_float32
from ..pool import pool_size
from .launch import contiguous, empty, launch

FILE = "pool.cu"
NAMES = ["N", "C", "H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW"]
POOL = np.dtype([(name, np.int32) for name in NAMES])
ONE = (1, 1)


def _pool(
    x_shape: tuple[int, ...],
    out: Pair,
    kernel: Pair = ONE,
    stride: Pair = ONE,
    padding: Pair = (0, 0),
    dilation: Pair = ONE,
) -> Any:
    """The struct Pool of pool.cu."""
    return np.array((*x_shape, *out, *kernel, *stride, *padding, *dilation), POOL)[()]


def _out(x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    OH, OW = (pool_size(x_shape[2 + a], kernel[a], stride[a], padding[a], dilation[a], ceil_mode) for a in (0, 1))
    return OH, OW


def _indices(index: cp.ndarray) -> cp.ndarray:
    """Indices as kernels take them: PyTorch's are int64, ours int32."""
    return contiguous(index.astype(np.int32, copy=False))


def max_pool2d(
    x: cp.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[cp.ndarray, cp.ndarray]:
    """See kernels/pool.py."""
    out = _out(x.shape, kernel, stride, padding, dilation, ceil_mode)
    y = empty((*x.shape[:2], *out), x.dtype)
    index = empty(y.shape, np.int32)
    lowest = -float("inf") if x.dtype.kind == "f" else int(np.iinfo(x.dtype).min)
    v = _pool(x.shape, out, kernel, stride, padding, dilation)
    launch(FILE, "max_pool2d", x.dtype, y.size, contiguous(x), y, index, v, lowest)
    return y, index


def max_pool2d_input_grad(
    dy: cp.ndarray,
    index: cp.ndarray,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> cp.ndarray:
    """See kernels/pool.py."""
    dx = empty(x_shape, dy.dtype)
    v = _pool(x_shape, dy.shape[2:], kernel, stride, padding, dilation)
    launch(FILE, "max_pool2d_input_grad", dy.dtype, dx.size, contiguous(dy), _indices(index), dx, v)
    return dx


def max_pool2d_at(x: cp.ndarray, index: cp.ndarray) -> cp.ndarray:
    """See kernels/pool.py."""
    N, C, H, W = x.shape
    y = empty(index.shape, x.dtype)
    taken = index.shape[2] * index.shape[3]
    launch(FILE, "max_pool2d_at", x.dtype, y.size, contiguous(x), _indices(index), y, N * C, H * W, taken)
    return y


@in_float32()
def max_unpool2d(y: cp.ndarray, index: cp.ndarray, size: Pair) -> cp.ndarray:
    """See kernels/pool.py."""
    N, C, OH, OW = y.shape
    x = empty((N, C, *size), y.dtype)
    launch(FILE, "max_unpool2d", y.dtype, N * C, contiguous(y), _indices(index), x, N * C, size[0] * size[1], OH * OW)
    return x


def adaptive_max_pool2d(x: cp.ndarray, size: Pair) -> tuple[cp.ndarray, cp.ndarray]:
    """See kernels/pool.py."""
    y = empty((*x.shape[:2], *size), x.dtype)
    index = empty(y.shape, np.int32)
    launch(FILE, "adaptive_max_pool2d", x.dtype, y.size, contiguous(x), y, index, _pool(x.shape, size))
    return y, index


def avg_pool2d(
    x: cp.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> cp.ndarray:
    """See kernels/pool.py."""
    out = _out(x.shape, kernel, stride, padding, ONE, ceil_mode)
    y = empty((*x.shape[:2], *out), x.dtype)
    v = _pool(x.shape, out, kernel, stride, padding)
    launch(FILE, "avg_pool2d", x.dtype, y.size, contiguous(x), y, v, int(count_include_pad), divisor_override or 0)
    return y


def avg_pool2d_input_grad(
    dy: cp.ndarray,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
) -> cp.ndarray:
    """See kernels/pool.py."""
    dx = empty(x_shape, dy.dtype)
    v = _pool(x_shape, dy.shape[2:], kernel, stride, padding)
    launch(
        FILE,
        "avg_pool2d_input_grad",
        dy.dtype,
        dx.size,
        contiguous(dy),
        dx,
        v,
        int(count_include_pad),
        divisor_override or 0,
    )
    return dx


def adaptive_avg_pool2d(x: cp.ndarray, size: Pair) -> cp.ndarray:
    """See kernels/pool.py."""
    y = empty((*x.shape[:2], *size), x.dtype)
    launch(FILE, "adaptive_avg_pool2d", x.dtype, y.size, contiguous(x), y, _pool(x.shape, size))
    return y


def adaptive_avg_pool2d_input_grad(dy: cp.ndarray, x_shape: tuple[int, ...]) -> cp.ndarray:
    """See kernels/pool.py."""
    dx = empty(x_shape, dy.dtype)
    launch(FILE, "adaptive_avg_pool2d_input_grad", dy.dtype, dx.size, contiguous(dy), dx, _pool(x_shape, dy.shape[2:]))
    return dx
