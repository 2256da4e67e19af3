"""Convolution of few pixels by many weights: each weight is read once, from memory, and that takes most of the time.

    y[p, o] = scale[o] · (patch p · w[o]) + shift[o], then max(y, 0) if asked for

for the patches p of all output pixels of the batch. They are not copied to memory: number q of patch p is element
pixels[p] + places[q] of the images in a frame of zeros, where the compiled loop finds it. Scale and shift are those of
a batch norm that follows, whose statistics are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled, conv_taps
from .fused import FLOAT32, nhwc, offsets
from .memory import empty
from .parallel import share

Array = np.ndarray
Pair = tuple[int, int]

PIXELS = 128  # of the whole batch: with more, products for each tap are as fast


def usable(x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    """Whether the compiled loop is for these, and is the fastest way."""
    if not (x.dtype == w.dtype == FLOAT32 and conv_taps.suits(x.shape, w.shape, stride, padding, dilation, groups)):
        return False
    OH, OW = (conv_taps.out_size(x.shape[2 + a], w.shape[2 + a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    code = compiled.load("conv_few_compiled") if len(x) * OH * OW <= PIXELS else None
    return code is not None and x.shape[1] % code.LANES == 0 and w.transpose(0, 2, 3, 1).flags.carray


def conv2d(
    x: Array, w: Array, scale: Array | None, shift: Array | None, relu: bool,
    stride: Pair, padding: Pair, dilation: Pair,
) -> Array:  # fmt: skip
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C, KH, KW), scale (O,) or None for 1, shift (O,) or None for 0."""
    code: Any = compiled.load("conv_few_compiled")
    O, C, KH, KW = w.shape
    frame = _framed(x, padding)  # (N, H, W, C)
    N, H, W, _ = frame.shape
    OH, OW = (conv_taps.out_size(frame.shape[1 + a], w.shape[2 + a], stride[a], 0, dilation[a]) for a in (0, 1))
    pixels = offsets((N, H * W * C), (OH, stride[0] * W * C), (OW, stride[1] * C))
    places = offsets((KH, dilation[0] * W * C), (KW, dilation[1] * C), (C // code.LANES, code.LANES))
    rows = offsets((O, KH * KW * C), multiple=code.DOT_COLUMNS).reshape(-1, code.DOT_COLUMNS)
    y = empty((N, OH, OW, O), FLOAT32)
    weights, out = w.transpose(0, 2, 3, 1).reshape(O, -1), y.reshape(-1, O)
    scale = np.ones(O, FLOAT32) if scale is None else np.ascontiguousarray(scale, FLOAT32)
    shift = np.zeros(O, FLOAT32) if shift is None else np.ascontiguousarray(shift, FLOAT32)

    def columns(start: int, stop: int) -> tuple[Any, ...]:
        some = slice(start * code.DOT_COLUMNS, stop * code.DOT_COLUMNS)
        return frame, pixels, places, weights, rows[start:stop], out[:, some], scale[some], shift[some], relu

    share(code.patches_by_rows, columns, len(rows), conv_taps.work(y, w))
    return y.transpose(0, 3, 1, 2)


def _framed(x: Array, padding: Pair) -> Array:
    """x (N, C, H, W) as (N, H, W, C) with zeros around it."""
    if padding == (0, 0):
        return nhwc(x)
    N, C, H, W = x.shape
    frame = np.zeros((N, H + 2 * padding[0], W + 2 * padding[1], C), FLOAT32)
    frame[:, padding[0] : padding[0] + H, padding[1] : padding[1] + W] = x.transpose(0, 2, 3, 1)
    return frame
