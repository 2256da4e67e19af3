"""2-d convolution as a matrix product over patches, and its two adjoints.

Letters: N batch, C in-channels, H W image, O out-channels, KH KW kernel, OH OW output, S stride, P padding,
D dilation, G groups. With OH = floor((H + 2 PH - DH (KH - 1) - 1) / SH) + 1 and OW likewise:

    y[n, o, i, j] = b[o] + sum over c, k, l of w[o, c, k, l] * x[n, c, i SH - PH + k DH, j SW - PW + l DW]

with c over the C / G channels of o's group and x zero outside. All arrays are NCHW in shape; results lie
channels-last in memory (an NHWC array seen as NCHW), which is what the products like to read.

`conv_patches` computes that by NumPy alone, for numbers of every type. float32 goes to `conv_direct`, which has faster
ways; layers with many weights and few pixels go to `conv_taps`, if Winograd's tiles are not faster.
"""

from __future__ import annotations

import math

import numpy as np

from . import compiled, conv_direct, conv_few, conv_patches, conv_taps, winograd
from .conv_patches import Pair, col2im, out_sizes, patches
from .fused import NONE, nhwc
from .half import in_float32
from .matmul import matmul

PIXELS = 128  # of the whole batch: up to so many, one product with all their patches is faster than one for each tap
TILES = 48  # of Winograd's: from so many on they are faster than a product for each tap, but for weight gradients
PRODUCT = 2**26  # multiplications: beyond, a product for each tap is faster, without the pixels outside the image


@in_float32()
def conv2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW) and b (O,) or None."""
    geometry = stride, padding, dilation, groups
    if conv_taps.suits(x.shape, w.shape, *geometry):
        if conv_few.usable(x, w, *geometry):
            return conv_few.conv2d(x, w, b, None, None, False, stride, padding, dilation)
        if not _by_tiles(x, w, x.shape, *geometry):
            OH, OW = out_sizes(x.shape, w.shape[2:], stride, padding, dilation)
            few = len(x) * OH * OW <= PIXELS
            return (_one_product if few else conv_taps.conv2d)(x, w, b, stride, padding, dilation)
    way = conv_direct if conv_direct.usable(x, w, w.shape, *geometry) else conv_patches
    return way.conv2d(x, w, b, *geometry, NONE).y


def _by_tiles(
    a: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> bool:
    """Whether Winograd's tiles are faster than a product for each tap, for a, x or dy: not where an image has one tile,
    since most taps lie outside the image then."""
    geometry = stride, padding, dilation, groups
    if not (conv_direct.usable(a, w, w.shape, *geometry) and winograd.suits(w.shape, *geometry)):
        return False
    rows, columns = (-(-n // 2) for n in out_sizes(x_shape, w.shape[2:], stride, padding, dilation))
    return compiled.load("winograd_compiled") is not None and len(a) * rows * columns >= TILES and rows * columns > 1


def _one_product(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair
) -> np.ndarray:
    """y from the patches of all images at once: for few pixels, which cost less than reading the weights once."""
    O, C, KH, KW = w.shape
    cols = patches(x, (KH, KW), stride, padding, dilation)
    if w.flags.c_contiguous:
        rows, cols = w.reshape(O, -1), cols.transpose(0, 1, 2, 5, 3, 4)
    else:
        rows = w.transpose(0, 2, 3, 1).reshape(O, -1)
    y = matmul(cols.reshape(-1, KH * KW * C), rows.T)  # (N OH OW, O)
    if b is not None:
        y += b
    return y.reshape(*cols.shape[:3], O).transpose(0, 3, 1, 2)


def _is_one_product(dy: np.ndarray, weights: int) -> bool:
    """Whether gradients, too, are faster by one product with all patches."""
    pixels = dy.size // dy.shape[1]
    return pixels <= PIXELS and pixels * weights <= PRODUCT


def _one_product_input_grad(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> np.ndarray:
    """dx from the gradients of all patches, added up where they overlap."""
    O, C, KH, KW = w.shape
    pixels, as_shape = dy.transpose(0, 2, 3, 1), w.flags.c_contiguous
    rows = (w if as_shape else w.transpose(0, 2, 3, 1)).reshape(O, -1)
    cols = matmul(pixels.reshape(-1, O), rows).reshape(*pixels.shape[:3], *((C, KH, KW) if as_shape else (KH, KW, C)))
    dx = col2im(cols.transpose(0, 1, 2, 4, 5, 3) if as_shape else cols, x_shape, stride, padding, dilation)
    return nhwc(dx).transpose(0, 3, 1, 2)


def _one_product_weight_grad(
    dy: np.ndarray, x: np.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> np.ndarray:
    """dw from the patches of all images at once."""
    O, C, KH, KW = w_shape
    cols = patches(x, (KH, KW), stride, padding, dilation)[:, : dy.shape[2], : dy.shape[3]]
    dw = matmul(dy.transpose(1, 0, 2, 3).reshape(O, -1), cols.reshape(-1, KH * KW * C))
    return dw.reshape(O, KH, KW, C).transpose(0, 3, 1, 2)


@in_float32()
def conv2d_input_grad(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """dx (N, C, H, W): the adjoint of conv2d in x, which is also the transposed convolution."""
    geometry = stride, padding, dilation, groups
    if conv_taps.suits(x_shape, w.shape, *geometry) and not _by_tiles(dy, w, x_shape, *geometry):
        way = _one_product_input_grad if _is_one_product(dy, w.size) else conv_taps.conv2d_input_grad
        return way(dy, w, x_shape, stride, padding, dilation)
    if conv_direct.usable(dy, w, w.shape, *geometry):
        return conv_direct.conv2d_input_grad(dy, w, x_shape, *geometry)
    no_x = np.broadcast_to(dy.dtype.type(0), x_shape)
    return conv_patches.conv2d_gradients(dy, no_x, w, *geometry, None, (True, False))[0]


@in_float32()
def conv2d_weight_grad(
    dy: np.ndarray, x: np.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """dw (O, C/G, KH, KW): the adjoint of conv2d in w."""
    geometry = stride, padding, dilation, groups
    if conv_taps.suits(x.shape, w_shape, *geometry):
        way = _one_product_weight_grad if _is_one_product(dy, math.prod(w_shape)) else conv_taps.conv2d_weight_grad
        return way(dy, x, w_shape, stride, padding, dilation)
    if conv_direct.usable(dy, x, w_shape, *geometry):
        return conv_direct.conv2d_weight_grad(dy, x, w_shape, *geometry)
    no_w = nhwc(np.zeros(w_shape, dy.dtype)).transpose(0, 3, 1, 2)
    return conv_patches.conv2d_gradients(dy, x, no_w, *geometry, None, (False, True))[1]
