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
from .parallel import PRODUCTS, edges, for_calls, pass_over, pieces, share

Pair = tuple[int, int]

CHANNELS = 16  # with fewer, the transforms cost more than the products that they save
GROUP = 144  # tiles: images are taken together until they have so many


def suits(w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int) -> bool:
    """Whether a convolution is of the kind that this is for, and faster here."""
    if w_shape[0] < CHANNELS or w_shape[1] < CHANNELS or w_shape[2:] != (3, 3):
        return False
    if not (stride == dilation == (1, 1) and groups == 1 and max(padding) <= 2):
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
        return _kernels(w, True), bias

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
    u = _kernels(w, False)
    dx = empty((len(x), *x.shape[2:], C) if want_dx else (0, 0, 0, 0), np.float32)

    gradient, read = step_of(dy, fused), nhwc(x) if want_dw else dx  # without dw nothing is read
    work = 2 * len(x) * OH * OW * u.size / (4 * PRODUCTS)
    blocks = edges(len(x), pieces(1, work))
    du = empty((len(blocks), 16 if want_dw else 0, len(rows), columns), np.float32)
    db = np.zeros((len(blocks), 2, columns), np.float32)

    def images(start: int, stop: int, *sums: np.ndarray) -> tuple[Any, ...]:
        return read[start:stop], frame, *gradient.of(start, stop), *tables, d_rows, rows, u, dx[start:stop], *sums

    for_calls(code.gradients, [images(*block, *sums) for block, *sums in zip(blocks, du, db, strict=True)])
    dx_or_none = dx.transpose(0, 3, 1, 2) if want_dx else None
    return dx_or_none, *((_kernels_grad(du, w), db[:, 0, :O].sum(0)) if want_dw else (None, None))


def _kernels(w: np.ndarray, for_output: bool) -> np.ndarray:
    """G g Gᵀ of w (O, C, 3, 3) for a product that has O columns, else C, in blocks, zeros where the last is not full:
    (16, blocks, C or O, COLUMNS)."""
    code, tile = compiled.load("winograd_weights_compiled"), compiled.load("tile")
    K, M = (w.shape[1], w.shape[0]) if for_output else w.shape[:2]
    blocks = -(-M // tile.COLUMNS)
    u = empty((16, blocks, K, tile.COLUMNS), np.float32)
    if _in_vectors(w):
        function, n = (code.kernels_for_output, M // tile.LANES) if for_output else (code.kernels_for_input, K)
        rows = w.transpose(0, 2, 3, 1)
        share(function, lambda i, j: (rows, u, i, j), n, pass_over(w, u))
        return u
    g, w = np.zeros((9, *u.shape[1:]), np.float32), w.transpose(2, 3, *((1, 0) if for_output else (0, 1)))
    for i in range(blocks):
        part = w[..., i * tile.COLUMNS : (i + 1) * tile.COLUMNS]
        g[:, i, :, : part.shape[3]] = part.reshape(9, K, -1)
    return _of_each_kernel(code.kernels, g, u)


def _kernels_grad(du: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Gᵀ du G, where du is the sum of parts (parts, 16, C or more, O or more): of w's shape (O, C, 3, 3), and in memory
    as w. What is in the parts is lost."""
    code, tile = compiled.load("winograd_weights_compiled"), compiled.load("tile")
    dw, (O, C) = empty_like(w), w.shape[:2]
    if _in_vectors(dw):
        rows = dw.transpose(0, 2, 3, 1)
        share(code.kernels_grad_of, lambda i, j: (du, rows, i, j), O // tile.LANES, pass_over(du, dw))
        return dw
    total = functools.reduce(np.add, du)
    dg = _of_each_kernel(code.kernels_grad, total, np.empty((9, *total.shape[1:]), np.float32))
    dw[...] = dg[:, :C, :O].reshape(3, 3, C, O).transpose(3, 2, 0, 1)
    return dw


def _in_vectors(w: np.ndarray) -> bool:
    """Whether w (O, C, 3, 3) lies channels-last in memory, and has as many channels as fill blocks of columns."""
    columns = compiled.load("tile").COLUMNS
    return w.transpose(0, 2, 3, 1).flags.carray and not (w.shape[0] % columns or w.shape[1] % columns)


def _of_each_kernel(function: Any, of: np.ndarray, to: np.ndarray) -> np.ndarray:
    """`to`, with what the compiled function makes `of` 3x3 or 4x4 numbers, the first axis, of each kernel."""
    tile, tables = compiled.load("tile"), (of.reshape(len(of), -1), to.reshape(len(to), -1))
    share(function, lambda i, j: (*tables, i, j), to[0].size // tile.LANES, pass_over(of, to))
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
