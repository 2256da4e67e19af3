"""Convolution without a patch matrix: what `conv.py` does, for float32, by the compiled loops.

The element of output pixel p and patch place q lies at x[pixel[p] + patch[q]] (see `conv_compiled.py`), so all that is
made here are tables of such offsets. Each function can take the step after the convolution with it, ReLU or
ReLU and 2x2 max pooling: forward it is done while an image's result is in the cache, and a gradient is carried
back through it while it is copied to where the product reads it. Without Numba all of this is done by `conv_patches`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import compiled, conv_patches, winograd
from .bands import Band, cut, for_bands, frame_of, phase
from .fused import NO_CHOICE, NONE, RELU, RELU_POOL, Fused, Gradient, empty_result, in_blocks, nhwc, offsets, step_of
from .fused_numpy import flat_index
from .kept import FEW, kept
from .memory import empty, empty_like
from .parallel import PRODUCTS, pieces, share

__all__ = [
    "NONE", "RELU", "RELU_POOL", "Fused", "conv2d", "conv2d_gradients", "conv2d_input_grad", "conv2d_weight_grad",
    "flat_index", "usable",
]  # fmt: skip

Pair = tuple[int, int]

SCATTER = 1.2  # adding patches up costs so much more than the products that make them


def usable(
    x: np.ndarray, y: np.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> bool:
    """Whether a convolution or gradient of these two arrays is done here: they are float32, and not empty."""
    return x.dtype.char == y.dtype.char == "f" and x.size > 0 < y.size


def conv2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    step: int = NONE,
) -> Fused:  # fmt: skip
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW) and b (O,) or None; then `step`."""
    if winograd.suits(w.shape, stride, padding, dilation, groups):
        return winograd.conv2d(x, w, b, padding, step)
    code, tile = compiled.load("conv_compiled"), compiled.load("tile")
    if code is None:
        return conv_patches.conv2d(x, w, b, stride, padding, dilation, groups, step)
    (N, _, H, _), (O, C, KH, _) = x.shape, w.shape
    OG, (OH, OW, width, taps, run) = O // groups, _plan(x.shape, w.shape, stride, padding, dilation)
    y, choice = empty_result(N, O, OH, OW, step)

    def tables() -> tuple[list[np.ndarray], np.ndarray]:
        columns = w.reshape(groups, OG, C, -1).transpose(0, 3, 2, 1)  # (G, KH KW, C, O/G)
        matrices = [in_blocks(group, tile.COLUMNS) for group in columns]
        bias = np.zeros((groups, matrices[0].shape[0] * tile.COLUMNS), np.float32)
        if b is not None:
            bias[:, :OG] = b.reshape(groups, OG)
        return matrices, bias

    matrices, bias = kept(tables, groups, w, b) if N <= FEW else tables()

    def arguments(n: slice, band: Band, g: int = 0) -> tuple[Any, ...]:
        """What the loop takes for some images of a group, and where that group's results come."""
        frame = band.height, width, band.top, padding[1]
        pixels = offsets((band.size, stride[0] * width * C), (OW, stride[1] * C), multiple=tile.MR)
        xg, outs = nhwc(x[n, g * C : (g + 1) * C, band.x]), slice(g * OG, (g + 1) * OG)
        chosen = _room(choice[n, band.y], outs) if step == RELU_POOL else NO_CHOICE
        return (
            xg, xg, NO_CHOICE, NONE, frame, pixels, 1, taps, run, matrices[g], bias[g],
            _room(y[n, band.y], outs), chosen, step, OW, EVERY_PIXEL,
        )  # fmt: skip

    work = N * OH * OW * w.size / PRODUCTS
    bands = cut(1 if groups > 1 else pieces(N, work), H, KH, step, stride[0], padding[0], dilation[0])

    def group(g: int) -> None:
        calls = share(code.conv, lambda i, j: arguments(slice(i, j), bands[0], g), N, work / groups)
        outs = slice(g * OG, (g + 1) * OG)
        y[..., outs] = np.concatenate([call[RESULT] for call in calls])
        if step == RELU_POOL:
            choice[..., outs] = np.concatenate([call[RESULT + 1] for call in calls])

    if groups == 1:
        for_bands(code.conv, arguments, N, bands, work)
    else:
        for g in range(groups):
            group(g)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), (N, O, OH, OW))


def conv2d_input_grad(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
    fused: Fused | None = None,
) -> np.ndarray:  # fmt: skip
    """dx (N, C, H, W) from dy, the gradient at the fused step's result, else at the convolution's.

    By Winograd's tiles, by adding patches up, or by gathering, whichever is fastest.
    """
    tile = compiled.load("tile")
    N, C, H, W = x_shape
    size = dy.shape[2:] if fused is None else fused.conv_shape[2:]
    if winograd.suits(w.shape, stride, padding, dilation, groups) and winograd.fits(x_shape, size, padding):
        return winograd.conv2d_input_grad(dy, w, x_shape, padding, fused)
    if tile is None:
        no_x = np.broadcast_to(np.float32(0), x_shape)
        return conv_patches.conv2d_gradients(dy, no_x, w, stride, padding, dilation, groups, fused, (True, False))[0]
    dx = empty((N, H, W, C), np.float32)
    _, CG, KH, KW = w.shape
    # Multiplications of both ways, with what does not fill a tile.
    gathered = H * W // (stride[0] * stride[1]) * KH * KW * (CG + -CG % tile.COLUMNS)
    pixels, patch = size[0] * size[1], KH * KW * CG
    scattered = (pixels + -pixels % tile.MR) * (patch + -patch % tile.COLUMNS)
    way = _scatter if scattered * SCATTER < gathered else _gather
    way(dx, dy, w, size, stride, padding, dilation, groups, fused)
    return dx.transpose(0, 3, 1, 2)


def _scatter(
    dx: np.ndarray, dy: np.ndarray, w: np.ndarray, size: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
    groups: int, fused: Fused | None,
) -> None:  # fmt: skip
    """dx (N, H, W, C): each pixel's patch of gradients is dy · w; they are added up where they overlap."""
    code, tile = compiled.load("conv_compiled"), compiled.load("tile")
    N, H, W, _ = dx.shape
    O, CG, KH, KW = w.shape
    OG, frame = O // groups, (H + 2 * padding[0], W + 2 * padding[1], *padding)
    row = frame[1] * CG
    pixels = offsets((size[0] * size[1], OG), multiple=tile.MR)
    starts = offsets((size[0], stride[0] * row), (size[1], stride[1] * CG))
    taps, run = _taps((KH, KW), CG, row, dilation)
    matrices = [in_blocks(part.transpose(0, 2, 3, 1).reshape(OG, -1), tile.COLUMNS) for part in np.split(w, groups)]

    def group(g: int) -> None:
        gradient = step_of(dy, fused, slice(g * OG, (g + 1) * OG))
        part = _room(dx, slice(g * CG, (g + 1) * CG))

        def images(start: int, stop: int) -> tuple[Any, ...]:
            product = size, pixels, starts, taps, run, matrices[g], frame
            return *gradient.of(start, stop), *product, part[start:stop]

        share(code.scatter, images, N, N * size[0] * size[1] * OG * CG * KH * KW / PRODUCTS)
        if groups > 1:
            dx[..., g * CG : (g + 1) * CG] = part

    for g in range(groups):
        group(g)


def _gather(
    dx: np.ndarray, dy: np.ndarray, w: np.ndarray, size: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
    groups: int, fused: Fused | None,
) -> None:  # fmt: skip
    """dx[h] (N, H, W, C) gathers w[k] dy[(h + PH - k DH) / SH] over the k that divide.

    For the pixels h of one remainder modulo SH these are always the same k, so each remainder is a convolution of dy
    with some of the taps.
    """
    code, tile = compiled.load("conv_compiled"), compiled.load("tile")
    N, H, W, _ = dx.shape
    O, CG, KH, KW = w.shape
    OG = O // groups
    rows = [phase(r, H, KH, stride[0], padding[0], dilation[0]) for r in range(min(stride[0], H))]
    columns = [phase(r, W, KW, stride[1], padding[1], dilation[1]) for r in range(min(stride[1], W))]
    (height, top), (width, left) = frame_of(rows, size[0]), frame_of(columns, size[1])

    def remainder(r: int, s: int, gradient: Gradient, weights: np.ndarray, part: np.ndarray) -> None:
        """The pixels of part whose row is r and whose column is s modulo the stride."""
        (n_rows, row_taps), (n_columns, column_taps) = rows[r], columns[s]
        pixels = offsets((n_rows, width * OG), (n_columns, OG), multiple=tile.MR)
        taps = np.array([((i + top) * width + j + left) * OG for _, i in row_taps for _, j in column_taps], np.int64)
        chosen = weights[:, :, [tap for tap, _ in row_taps]][..., [tap for tap, _ in column_taps]]
        matrix = in_blocks(chosen.transpose(2, 3, 0, 1).reshape(-1, CG), tile.COLUMNS)
        bias = np.zeros(matrix.shape[0] * tile.COLUMNS, np.float32)
        product = (height, width, top, left), pixels, 1, taps, OG, matrix, bias
        end = NO_CHOICE, NONE, n_columns, (r, stride[0], s, stride[1])

        def images(start: int, stop: int) -> tuple[Any, ...]:
            return *gradient.of(start, stop), *product, part[start:stop], *end

        share(code.conv, images, N, N * n_rows * n_columns * chosen.size / PRODUCTS)

    for g in range(groups):
        outs = slice(g * OG, (g + 1) * OG)
        gradient, part = step_of(dy, fused, outs), _room(dx, slice(g * CG, (g + 1) * CG))
        for r in range(len(rows)):
            for s in range(len(columns)):
                remainder(r, s, gradient, w[outs], part)
        if groups > 1:
            dx[..., g * CG : (g + 1) * CG] = part


def conv2d_weight_grad(
    dy: np.ndarray, x: np.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
    fused: Fused | None = None,
) -> np.ndarray:  # fmt: skip
    """dw (O, C/G, KH, KW) from x and dy, the gradient at the fused step's result, else at the convolution's."""
    size = dy.shape[2:] if fused is None else fused.conv_shape[2:]
    no_w = np.zeros((w_shape[0], *w_shape[2:], w_shape[1]), np.float32).transpose(0, 3, 1, 2)
    if winograd.suits(w_shape, stride, padding, dilation, groups) and winograd.fits(x.shape, size, padding):
        return winograd.conv2d_gradients(dy, x, no_w, padding, fused, (False, True))[1]
    if compiled.load("conv_compiled") is None:
        return conv_patches.conv2d_gradients(dy, x, no_w, stride, padding, dilation, groups, fused, (False, True))[1]
    return _weight_and_bias_grad(dy, x, no_w, stride, padding, dilation, groups, fused)[0]


def conv2d_gradients(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    fused: Fused | None, wanted: tuple[bool, bool],
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """dx, dw (in memory as w) and db from dy, the gradient at the fused step's result, else at the convolution's.

    `wanted` says whether dx is, and whether dw or db are.
    """
    want_dx, want_dw = wanted
    geometry = stride, padding, dilation, groups
    if want_dw and winograd.suits(w.shape, *geometry):
        return winograd.conv2d_gradients(dy, x, w, padding, fused, wanted)
    if compiled.load("conv_compiled") is None:
        return conv_patches.conv2d_gradients(dy, x, w, *geometry, fused, wanted)
    dy = nhwc(dy).transpose(0, 3, 1, 2)
    dx = conv2d_input_grad(dy, w, x.shape, *geometry, fused) if want_dx else None
    return (dx, *(_weight_and_bias_grad(dy, x, w, *geometry, fused) if want_dw else (None, None)))


def _weight_and_bias_grad(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    fused: Fused | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    code, tile = compiled.load("conv_compiled"), compiled.load("tile")
    N, _, H, W = x.shape
    O, C, KH, KW = w.shape
    OG, (OH, OW) = O // groups, dy.shape[2:] if fused is None else fused.conv_shape[2:]
    frame = (H + 2 * padding[0], W + 2 * padding[1], *padding)
    row = frame[1] * C
    patch = offsets((KH, dilation[0] * row), (KW, dilation[1] * C), (C, 1), multiple=tile.MR)
    lines = offsets((OH, stride[0] * row))
    blocks = -(-OG // tile.COLUMNS)
    dw, db = empty_like(w), np.empty(O, np.float32)

    def group(g: int) -> None:
        gradient, xg = step_of(dy, fused, slice(g * OG, (g + 1) * OG)), nhwc(x[:, g * C : (g + 1) * C])

        def images(start: int, stop: int) -> tuple[Any, ...]:
            part, table = gradient.of(start, stop), (patch, stride[1] * C, lines, OW)
            sums = np.zeros((blocks, len(patch), tile.COLUMNS), np.float32)
            return xg[start:stop], frame, *part, *table, sums, np.zeros((2, blocks * tile.COLUMNS), np.float32)

        calls = share(code.weight_grad, images, N, N * OH * OW * OG * C * KH * KW / PRODUCTS)
        sums, (bias, _) = (functools.reduce(np.add, [call[i] for call in calls]) for i in (SUMS, SUMS + 1))
        db[g * OG : (g + 1) * OG] = bias[:OG]
        for block in range(blocks):
            part = dw[g * OG : (g + 1) * OG][block * tile.COLUMNS : (block + 1) * tile.COLUMNS]
            columns = sums[block, : KH * KW * C, : len(part)]
            part[...] = columns.reshape(KH, KW, C, -1).transpose(3, 2, 0, 1)

    for g in range(groups):
        group(g)
    return dw, db


RESULT = 11  # the place of y among the arguments of the compiled loop; then comes choice
SUMS = 10  # that of dw among those of `weight_grad`; then comes db
EVERY_PIXEL = (0, 1, 0, 1)  # the first row and the step between rows, then the same for columns


def _room(y: np.ndarray, channels: slice) -> np.ndarray:
    """Contiguous memory for some channels of y (N, OH, OW, O): y's own, if these are all."""
    *pixels, O = y.shape
    return y if (n := channels.stop - channels.start) == O else np.empty((*pixels, n), y.dtype)


@functools.lru_cache(256)
def _plan(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> tuple[int, int, int, np.ndarray, int]:
    """Height and width of the result, the width of the framed images, and what `_taps` returns for them."""
    _, C, KH, KW = w_shape
    height, width = x_shape[2] + 2 * padding[0], x_shape[3] + 2 * padding[1]
    OH = (height - dilation[0] * (KH - 1) - 1) // stride[0] + 1
    OW = (width - dilation[1] * (KW - 1) - 1) // stride[1] + 1
    return OH, OW, width, *_taps((KH, KW), C, width * C, dilation)


def _taps(kernel: Pair, C: int, row: int, dilation: Pair) -> tuple[np.ndarray, int]:
    """Where the pieces of a patch begin that lie in one run of memory, and how long the run is."""
    if dilation[1] == 1:
        return offsets((kernel[0], dilation[0] * row)), kernel[1] * C
    return offsets((kernel[0], dilation[0] * row), (kernel[1], dilation[1] * C)), C
