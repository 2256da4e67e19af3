"""Launches of the kernels in conv.cu; the contracts are those of kernels/conv.py, results lie NCHW in memory."""

from __future__ import annotations

from typing import Any

import cupy as cp
import numpy as np

from ..conv import Pair, out_size
from .launch import contiguous, empty, launch, max_blocks

FILE = "conv.cu"
TILE = 64  # rows and columns of the result that a block computes
NAMES = ["N", "C", "H", "W", "O", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW", "G"]
CONV = np.dtype([(name, np.int32) for name in NAMES])


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


def _tiles(rows: int, columns: int) -> int:
    return -(-rows // TILE) * -(-columns // TILE)


def im2col(x: cp.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> cp.ndarray:
    """See kernels/conv.py."""
    N, C = x.shape[:2]
    out = _out(x.shape, kernel, stride, padding, dilation)
    cols = empty((N, *out, *kernel, C), x.dtype)
    v = _conv(x.shape, (0, C, *kernel), out, stride, padding, dilation, 1)
    launch(FILE, "im2col", x.dtype, cols.size, contiguous(x), cols, v)
    return cols


def col2im(cols: cp.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> cp.ndarray:
    """See kernels/conv.py."""
    _, OH, OW, KH, KW, C = cols.shape
    x = empty(x_shape, cols.dtype)
    v = _conv(x_shape, (0, C, KH, KW), (OH, OW), stride, padding, dilation, 1)
    launch(FILE, "col2im", cols.dtype, x.size, contiguous(cols), x, v)
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
    OH, OW = out = _out(x.shape, w.shape[2:], stride, padding, dilation)
    y = empty((N, out_channels, OH, OW), x.dtype)
    v = _conv(x.shape, w.shape, out, stride, padding, dilation, groups)
    bias = None if b is None else contiguous(b)
    work = groups * _tiles(out_channels // groups, N * OH * OW)
    launch(FILE, "conv2d", x.dtype, work, contiguous(x), contiguous(w), bias, y, v, int(relu), per_block=1)
    return y


def conv2d_input_grad(
    dy: cp.ndarray, w: cp.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> cp.ndarray:
    """See kernels/conv.py."""
    N, C, H, W = x_shape
    dx = empty(x_shape, dy.dtype)
    v = _conv(x_shape, w.shape, dy.shape[2:], stride, padding, dilation, groups)
    work = groups * _tiles(C // groups, N * H * W)
    launch(FILE, "conv2d_input_grad", dy.dtype, work, contiguous(dy), contiguous(w), dx, v, per_block=1)
    return dx


def conv2d_weight_grad(
    dy: cp.ndarray, x: cp.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> cp.ndarray:
    """See kernels/conv.py."""
    out_channels, CG, KH, KW = w_shape
    v = _conv(x.shape, w_shape, dy.shape[2:], stride, padding, dilation, groups)
    tiles = groups * _tiles(out_channels // groups, CG * KH * KW)
    parts = _parts(tiles, dy.size // max(out_channels, 1))
    partial = empty((parts, *w_shape), dy.dtype)
    launch(
        FILE,
        "conv2d_weight_grad",
        dy.dtype,
        tiles * parts,
        contiguous(dy),
        contiguous(x),
        partial,
        v,
        parts,
        per_block=1,
    )
    if parts == 1:
        return partial[0]
    dw = empty(w_shape, dy.dtype)
    launch(FILE, "sum_parts", dy.dtype, dw.size, partial, dw, dw.size, parts)
    return dw


def _parts(tiles: int, pixels: int) -> int:
    """Into how many parts to cut a sum over pixels: to fill the device, but with at least 256 pixels in each."""
    blocks_at_once = max_blocks(cp.cuda.runtime.getDevice()) // 4
    return max(1, min(blocks_at_once // max(tiles, 1), pixels // 256))
