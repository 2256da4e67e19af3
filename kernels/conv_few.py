"""Convolution of few pixels by many weights: each weight is read once, from memory, and that takes most of the time.

    y[p, o] = norm(patch p · w[o] + b[o]) + plus[p, o], then max(y, 0) if asked for

for the patches p of all output pixels of the batch. They are not copied to memory: number q of patch p is element
pixels[p] + places[q] of the images in a frame of zeros, where the compiled loop finds it. It takes a tile of patches at
a time: a few by dot products, more by turning them, so that one vector is of many patches. From as many images on as
fill a tile, pixels that lie at the same place of their images go together, without the taps of the kernel that lie
outside the image there: of 2x2 pixels under a 3x3 kernel, with 4 of 9. norm is a batch norm that follows, whose
statistics are known, (y - mean) / sqrt(var + eps) · weight + bias; plus is what a residual block adds.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from . import compiled, conv_taps
from .fused import FLOAT32, nhwc, offsets
from .memory import empty
from .parallel import share

Array = np.ndarray
Pair = tuple[int, int]
Norm = tuple[Array, Array, Array | None, Array | None, float]  # mean, var, weight and bias (O,), eps

# How long a patch's vector takes in a tile of dot products, and in a turned one of one and of several vectors.
COSTS = 4, 3.4, 2
ADDED_UP = 4  # vectors, whose dot products take as long as it takes to add up the sums of a tile
PIXELS = 256  # of the whole batch: with more, other ways are as fast


def usable(x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    """Whether the compiled loop is for these, and is the fastest way."""
    if not (x.dtype == w.dtype == FLOAT32 and compiled.load("conv_few_compiled")):
        return False
    return _suits(x.shape, w.shape, stride, padding, dilation, groups) and w.transpose(0, 2, 3, 1).flags.carray


@functools.lru_cache(256)
def _suits(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> bool:
    """Whether there are many weights and few pixels, and whole vectors of channels."""
    if not conv_taps.suits(x_shape, w_shape, stride, padding, dilation, groups):
        return False
    OH, OW = (conv_taps.out_size(x_shape[2 + a], w_shape[2 + a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return x_shape[0] * OH * OW <= PIXELS and x_shape[1] % compiled.load("tile").LANES == 0


def conv2d(
    x: Array, w: Array, b: Array | None, norm: Norm | None, plus: Array | None, relu: bool,
    stride: Pair, padding: Pair, dilation: Pair,
) -> Array:  # fmt: skip
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C, KH, KW) and, if given, b (O,), norm and plus (N, O, OH, OW)."""
    plan, O, images = _plan(x.shape, w.shape, stride, padding, dilation), len(w), nhwc(x)
    y = empty(plan.shape, FLOAT32)
    weights, out, width = w.transpose(0, 2, 3, 1).reshape(O, -1), y.reshape(-1, O), plan.rows.shape[1]
    *vectors, eps = _norm_of_sums(O, b, norm)
    more = out[:0] if plus is None else nhwc(plus).reshape(-1, O)

    def columns(start: int, stop: int) -> tuple[Any, ...]:
        some = slice(start * width, stop * width)
        here = out[:, some], *(v[some] for v in vectors), eps, more[:, some], relu
        return images, *plan.tables, weights, plan.rows[start:stop], *here

    share(plan.function, columns, len(plan.rows), conv_taps.work(y, w))
    return y.transpose(0, 3, 1, 2)


def _norm_of_sums(O: int, b: Array | None, norm: Norm | None) -> tuple[Any, ...]:
    """The norm, without None, that does what is to be done to the sums over patches, b too."""
    zeros, ones = _constants(O)
    mean, var, weight, bias, eps = (zeros, ones, None, b, 0.0) if norm is None else norm
    if norm is not None and b is not None:
        mean = mean - b
    weight, bias = ones if weight is None else weight, zeros if bias is None else bias
    return *(np.ascontiguousarray(a, FLOAT32) for a in (mean, var, weight, bias)), eps


@functools.lru_cache(256)
def _constants(O: int) -> tuple[Array, Array]:
    """Zeros and ones (O,). Not to be written to."""
    return np.zeros(O, FLOAT32), np.ones(O, FLOAT32)


class _Plan(NamedTuple):
    """What a convolution of such shapes needs: see `conv_few_compiled`."""

    shape: tuple[int, int, int, int]  # of the result, (N, OH, OW, O)
    function: Any
    tables: tuple[Any, ...]  # frame, starts, places, tiles, inside
    rows: Array  # where the rows of weights begin, as many together as a tile has


@functools.lru_cache(256)
def _plan(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> _Plan:
    code: Any = compiled.load("conv_few_compiled")
    (N, C, *image), (O, _, KH, KW) = x_shape, w_shape
    H, W = image[0] + 2 * padding[0], image[1] + 2 * padding[1]
    OH, OW = (conv_taps.out_size(image[a], w_shape[2 + a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    pixels = offsets((N, H * W * C), (OH, stride[0] * W * C), (OW, stride[1] * C))
    places = offsets((KH, dilation[0] * W * C), (KW, dilation[1] * C), (C // code.LANES, code.LANES))
    taps = _taps_inside((OH, OW), (image[0], image[1]), (KH, KW), stride, padding, dilation)
    tiles, inside = _tiles(N, taps, C // code.LANES, (code.DOT_ROWS, code.LANES, code.WIDE))
    dots = tiles.shape[1] == code.DOT_ROWS
    rows = offsets((O, KH * KW * C), multiple=code.DOT_COLUMNS if dots else code.WIDE_MR)
    return _Plan(
        (N, OH, OW, O),
        code.patches_by_rows if dots else code.patches_turned,
        ((H, W, *padding), pixels[tiles], places, tiles, inside),
        rows.reshape(-1, code.DOT_COLUMNS if dots else code.WIDE_MR),
    )


def _taps_inside(outputs: Pair, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Which taps of the kernel lie inside the image at each output pixel: (OH OW, KH KW)."""
    along = []
    for a in (0, 1):
        first, tap = np.arange(outputs[a])[:, None] * stride[a] - padding[a], np.arange(kernel[a]) * dilation[a]
        along.append((first + tap >= 0) & (first + tap < size[a]))  # (OH, KH) or (OW, KW)
    return (along[0][:, None, :, None] & along[1][:, None]).reshape(outputs[0] * outputs[1], -1)


def _tiles(N: int, taps: Array, vectors: int, widths: tuple[int, ...]) -> tuple[Array, Array]:
    """The output pixels of N images in tiles of one of the widths, the last of some repeated, and which parts of their
    patches to multiply: all, or each tap of the kernel, of so many vectors, on its own. The fastest of these ways.

    `taps` (pixels, KH KW) says which taps lie inside the image.
    """
    pixels, ways = np.arange(N * len(taps)), []
    for width, cost, added_up in zip(widths, COSTS, (ADDED_UP, 0, 0), strict=True):
        together = np.pad(pixels, (0, -len(pixels) % width), mode="edge").reshape(-1, width)
        seconds = cost * together.size * (taps.shape[1] * vectors + added_up)
        ways.append((seconds, together, np.ones((len(together), 1), bool)))
        apart = np.pad(pixels.reshape(N, -1).T, ((0, 0), (0, -N % width)), mode="edge").reshape(-1, width)
        inside = np.repeat(taps, len(apart) // len(taps), 0)
        ways.append((cost * width * inside.sum() * (vectors + added_up), np.ascontiguousarray(apart), inside))
    return min(ways, key=lambda way: way[0])[1:]
