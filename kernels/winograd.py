"""Winograd's convolution for 3x3 kernels with stride 1: as `conv_direct`, with 2.25 times fewer multiplications.

All that is made here are tables and transformed kernels; the loops are in `winograd_compiled`. Rounding errors
are as large as those of a direct convolution. A NaN or infinity reaches every pixel of the 2x2 tiles that see it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import compiled, winograd_numpy
from .bands import Band, cut, for_bands
from .fused import NO_CHOICE, NONE, RELU_POOL, Fused, empty_result, nhwc, offsets, step_of
from .kept import FEW, kept
from .memory import empty, empty_like
from .parallel import PRODUCTS, pass_over, pieces, share

Pair = tuple[int, int]

CHANNELS = 16  # with fewer, the transforms cost more than the products that they save
SUMS = 13  # the place of du among the arguments of the compiled `gradients`; then comes db
GROUP = 144  # tiles: images are taken together until they have so many


def suits(w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    """Whether a convolution is of the kind that this is for, and faster here."""
    usual = w_shape[2:] == (3, 3) and stride == dilation == (1, 1) and groups == 1 and max(padding) <= 2
    if not usual or min(w_shape[:2]) < CHANNELS:
        return False
    return compiled.load("winograd_compiled") is not None or winograd_numpy.pays(w_shape)


def fits(x_shape: tuple[int, ...], size: tuple[int, ...], padding: Pair) -> bool:
    """Whether a gradient of `size` pixels covers every place that the kernel has in x, or need not."""
    full = x_shape[2] + 2 * padding[0] - 2, x_shape[3] + 2 * padding[1] - 2
    return size == full or compiled.load("winograd_compiled") is None


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, padding: Pair, step: int = NONE) -> Fused:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C, 3, 3) and b (O,) or None; then `step`."""
    code, tile = compiled.load("winograd_compiled"), compiled.load("tile")
    if code is None:
        return winograd_numpy.conv2d(x, w, b, padding, step)
    (N, C, H, W), O = x.shape, len(w)
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    y, choice = empty_result(N, O, OH, OW, step)

    columns, channels = O + -O % tile.COLUMNS, C + -C % tile.LANES

    def tables() -> tuple[np.ndarray, np.ndarray]:
        bias = np.zeros((2, columns), np.float32)
        if b is not None:
            bias[0, :O] = b
        return _kernels(w.transpose(2, 3, 1, 0), tile.COLUMNS), bias

    u, bias = kept(tables, "winograd", w, b) if N <= FEW else tables()
    rows = offsets((code.BLOCK, channels))

    def arguments(n: slice, band: Band) -> tuple[Any, ...]:
        places = _tiles((band.size, OW), (band.top, padding[1]), channels, columns)
        chosen = choice[n, band.y] if step == RELU_POOL else NO_CHOICE
        return nhwc(x[n, :, band.x]), *places, rows, u, bias, y[n, band.y], chosen, step

    work = N * OH * OW * u.size / (4 * PRODUCTS)
    for_bands(code.conv, arguments, N, cut(pieces(N, work), H, 3, step, padding=padding[0]), work)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), (N, O, OH, OW))


def conv2d_input_grad(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], padding: Pair, fused: Fused | None
) -> Any:
    """dx (N, C, H, W)."""
    no_x = np.broadcast_to(np.float32(0), x_shape)
    return conv2d_gradients(dy, no_x, w, padding, fused, (True, False))[0]


def conv2d_gradients(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, padding: Pair, fused: Fused | None, wanted: tuple[bool, bool]
) -> tuple[Any, Any, Any]:
    """dx (N, C, H, W), and dw (O, C, 3, 3), in memory as w, and db (O,), in one pass over dy. `wanted` says which of dx
    and dw are: the others are None."""
    want_dx, want_dw = wanted
    code, tile = compiled.load("winograd_compiled"), compiled.load("tile")
    if code is None:
        gradients = winograd_numpy.conv2d_gradients(dy, x, w, padding, fused, wanted)
        return gradients[0] if want_dx else None, *(gradients[1:] if want_dw else (None, None))
    O, C = w.shape[:2]
    OH, OW = dy.shape[2:] if fused is None else fused.conv_shape[2:]
    columns = O + -O % tile.COLUMNS
    d_rows, rows = offsets((code.BLOCK, columns)), offsets((C, 1), multiple=tile.LOW_MR)
    frame, *tables = _tiles((OH, OW), padding, C + -C % tile.LANES, columns)
    u = _kernels(w.transpose(2, 3, 0, 1), tile.COLUMNS)
    dx = empty((len(x), *x.shape[2:], C) if want_dx else (0, 0, 0, 0), np.float32)

    gradient, read = step_of(dy, fused), nhwc(x) if want_dw else dx  # without dw nothing is read

    def images(start: int, stop: int) -> tuple[Any, ...]:
        sums = np.zeros((16 if want_dw else 0, len(rows), columns), np.float32), np.zeros((2, columns), np.float32)
        return read[start:stop], frame, *gradient.of(start, stop), *tables, d_rows, rows, u, dx[start:stop], *sums

    calls = share(code.gradients, images, len(x), 2 * len(x) * OH * OW * u.size / (4 * PRODUCTS))
    dx_or_none = dx.transpose(0, 3, 1, 2) if want_dx else None
    if not want_dw:
        return dx_or_none, None, None
    du, db = (functools.reduce(np.add, [call[i] for call in calls]) for i in (SUMS, SUMS + 1))
    dg = _of_each_kernel(code.kernels_grad, du, np.empty((9, *du.shape[1:]), np.float32))
    dw = empty_like(w)
    dw[...] = dg[:, :C, :O].reshape(3, 3, C, O).transpose(3, 2, 0, 1)
    return dx_or_none, dw, db[0, :O]


def _kernels(w: np.ndarray, columns: int) -> np.ndarray:
    """G w Gᵀ of w (3, 3, K, M) in blocks of columns, zeros where the last is not full: (16, blocks, K, columns)."""
    *_, K, M = w.shape
    g = np.zeros((9, -(-M // columns), K, columns), np.float32)
    for i in range(g.shape[1]):
        part = w[..., i * columns : (i + 1) * columns]
        g[:, i, :, : part.shape[3]] = part.reshape(9, K, -1)
    return _of_each_kernel(compiled.load("winograd_compiled").kernels, g, np.empty((16, *g.shape[1:]), np.float32))


def _of_each_kernel(function: Any, of: np.ndarray, to: np.ndarray) -> np.ndarray:
    """`to`, with what the compiled function makes `of` 3x3 or 4x4 numbers, the first axis, of each kernel."""
    code, tables = compiled.load("winograd_compiled"), (of.reshape(len(of), -1), to.reshape(len(to), -1))
    share(function, lambda i, j: (*tables, i, j), to[0].size // code.LANES, pass_over(of, to))
    return to


@functools.lru_cache(256)
def _tiles(size: Pair, padding: Pair, channels: int, columns: int) -> tuple[Any, ...]:
    """The frame that holds all tiles, where they begin in framed images and in results, and how many an image has."""
    rows, across = -(-size[0] // 2), -(-size[1] // 2)
    height, width = 2 * rows + 2, 2 * across + 2
    group = -(-GROUP // (rows * across))
    tiles = offsets((group, height * width * channels), (rows, 2 * width * channels), (across, 2 * channels))
    outs = offsets((group, 4 * rows * across * columns), (rows, 4 * across * columns), (across, 2 * columns))
    return (height, width, *padding), tiles, outs, rows * across
