"""Launches of the kernels in conv.cu; the contracts are those of kernels/conv.py, results lie NCHW in memory."""

from __future__ import annotations

import functools
from typing import Any

import cupy as cp
import numpy as np

from ..conv_taps import Pair, out_size
from ..half import in_float32
from .launch import contiguous, empty, launch
from .product import Size, product

FILE = "conv.cu"
NAMES = ["N", "C", "H", "W", "O", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW", "G"]
CONV = np.dtype([(name, np.int32) for name in NAMES])


@functools.cache
def _conv(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    out: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Any:
    """The struct Conv of conv.cu."""
    out_channels, _, KH, KW = w_shape
    return np.array((*x_shape, out_channels, KH, KW, *out, *stride, *padding, *dilation, groups), CONV)[()]


def _out(x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(OH, OW)."""
    OH, OW = (out_size(x_shape[2 + a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return OH, OW


@in_float32()
def im2col(x: cp.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> cp.ndarray:
    """See kernels/conv.py."""
    N, C = x.shape[:2]
    out = _out(x.shape, kernel, stride, padding, dilation)
    cols = empty((N, *out, *kernel, C), x.dtype)
    v = _conv(x.shape, (0, C, *kernel), out, stride, padding, dilation, 1)
    launch("im2col.cu", "im2col", x.dtype, cols.size, contiguous(x), cols, v)
    return cols


@in_float32()
def col2im(cols: cp.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> cp.ndarray:
    """See kernels/conv.py."""
    _, OH, OW, KH, KW, C = cols.shape
    x = empty(x_shape, cols.dtype)
    v = _conv(x_shape, (0, C, KH, KW), (OH, OW), stride, padding, dilation, 1)
    launch("im2col.cu", "col2im", cols.dtype, x.size, contiguous(cols), x, v)
    return x


def conv2d(
    x: cp.ndarray, w: cp.ndarray, b: cp.ndarray | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> cp.ndarray:
    """See kernels/conv.py."""
    return conv2d_then(x, w, b, stride, padding, dilation, groups, relu=False)


def conv2d_then(
    x: cp.ndarray,
    w: cp.ndarray,
    b: cp.ndarray | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    *,
    relu: bool,
) -> cp.ndarray:
    """conv2d, and max(y, 0) if `relu`, in one launch."""
    N, out_channels = x.shape[0], w.shape[0]
    out = _out(x.shape, w.shape[2:], stride, padding, dilation)
    y = empty((N, out_channels, *out), x.dtype)
    v = _conv(x.shape, w.shape, out, stride, padding, dilation, groups)
    bias = None if b is None else contiguous(b)
    size = Size(out_channels // groups, N * out[0] * out[1], groups, w[0].size)
    product(FILE, "conv2d", size, (contiguous(x), contiguous(w)), y, v, bias=bias, relu=relu)
    return y


def conv2d_input_grad(
    dy: cp.ndarray, w: cp.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> cp.ndarray:
    """See kernels/conv.py."""
    N, C, H, W = x_shape
    dx = empty(x_shape, dy.dtype)
    v = _conv(x_shape, w.shape, dy.shape[2:], stride, padding, dilation, groups)
    size = Size(C // groups, N * H * W, groups, w.shape[0] // groups * w.shape[2] * w.shape[3])
    name = "conv2d_input_grad" if stride == (1, 1) else "conv2d_input_grad_strided"
    product(FILE, name, size, (contiguous(dy), contiguous(w)), dx, v)
    return dx


def conv2d_weight_grad(
    dy: cp.ndarray, x: cp.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> cp.ndarray:
    """See kernels/conv.py."""
    out_channels, CG, KH, KW = w_shape
    dw = empty(w_shape, dy.dtype)
    v = _conv(x.shape, w_shape, dy.shape[2:], stride, padding, dilation, groups)
    size = Size(out_channels // groups, CG * KH * KW, groups, dy.size // max(out_channels, 1))
    product(FILE, "conv2d_weight_grad", size, (contiguous(dy), contiguous(x)), dw, v)
    return dw
