"""Convolution of few pixels by many weights: each weight is read once, from memory, and that takes most of the time.

    y[p, o] = scale[o] · (patch p · w[o]) + shift[o], then max(y, 0) if asked for

for the patches p of all output pixels of the batch. They are not copied to memory: number q of patch p is element
pixels[p] + places[q] of the images in a frame of zeros, where the compiled loop finds it. From as many images on as
fill its tiles, pixels that lie at the same place of their images go together, without the taps of the kernel that lie
outside the image there: of 2x2 pixels under a 3x3 kernel, with 4 of 9. Scale and shift are those of a batch norm that
follows, whose statistics are known.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import compiled, conv_taps
from .fused import FLOAT32, nhwc, offsets
from .memory import empty
from .parallel import share

Array = np.ndarray
Pair = tuple[int, int]

ADDED_UP = 4  # vectors, whose products take as long as it takes to add up the sums of a tile
PIXELS = 256  # of the whole batch: with more, other ways are as fast


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
    tiles, inside = _tiles((N, OH, OW), x.shape[2:], (KH, KW), C // code.LANES, stride, padding, dilation)
    y = empty((N, OH, OW, O), FLOAT32)
    weights, out = w.transpose(0, 2, 3, 1).reshape(O, -1), y.reshape(-1, O)
    scale = np.ones(O, FLOAT32) if scale is None else np.ascontiguousarray(scale, FLOAT32)
    shift = np.zeros(O, FLOAT32) if shift is None else np.ascontiguousarray(shift, FLOAT32)

    def columns(start: int, stop: int) -> tuple[Any, ...]:
        some = slice(start * code.DOT_COLUMNS, stop * code.DOT_COLUMNS)
        of_weights = weights, rows[start:stop], out[:, some], scale[some], shift[some], relu
        return frame, pixels, places, tiles, inside, *of_weights

    share(code.patches_by_rows, columns, len(rows), conv_taps.work(y, w))
    return y.transpose(0, 3, 1, 2)


@functools.lru_cache(256)
def _tiles(
    outputs: tuple[int, ...], size: tuple[int, ...], kernel: Pair, vectors: int, stride: Pair, padding: Pair,
    dilation: Pair,
) -> tuple[Array, Array]:  # fmt: skip
    """The output pixels (N, OH, OW) in tiles, the last of some repeated, and which parts of their patches to multiply:
    each tap of the kernel, of so many vectors, on its own, or all together, whichever is faster."""
    (N, *_), tile = outputs, compiled.load("tile")
    along = []
    for a in (0, 1):
        first, tap = np.arange(outputs[1 + a])[:, None] * stride[a] - padding[a], np.arange(kernel[a]) * dilation[a]
        along.append((first + tap >= 0) & (first + tap < size[a]))  # (OH, KH) or (OW, KW)
    inside = (along[0][:, None, :, None] & along[1][:, None]).reshape(outputs[1] * outputs[2], -1)
    pixels = np.arange(N * len(inside))
    apart = np.pad(pixels.reshape(N, -1).T, ((0, 0), (0, -N % tile.DOT_ROWS)), mode="edge")
    tiles = np.ascontiguousarray(apart).reshape(-1, tile.DOT_ROWS)
    inside = np.repeat(inside, len(tiles) // len(inside), 0)
    together = np.pad(pixels, (0, -len(pixels) % tile.DOT_ROWS), mode="edge").reshape(-1, tile.DOT_ROWS)
    if inside.sum() * (vectors + ADDED_UP) < len(together) * inside.shape[1] * vectors:
        return tiles, inside
    return together, np.ones((len(together), 1), bool)


def _framed(x: Array, padding: Pair) -> Array:
    """x (N, C, H, W) as (N, H, W, C) with zeros around it."""
    if padding == (0, 0):
        return nhwc(x)
    N, C, H, W = x.shape
    frame = np.zeros((N, H + 2 * padding[0], W + 2 * padding[1], C), FLOAT32)
    frame[:, padding[0] : padding[0] + H, padding[1] : padding[1] + W] = x.transpose(0, 2, 3, 1)
    return frame
