"""2-d convolution as a matrix product over patches, and its two adjoints.

Letters: N batch, C in-channels, H W image, O out-channels, KH KW kernel, OH OW output, S stride, P padding,
D dilation, G groups. With OH = floor((H + 2 PH - DH (KH - 1) - 1) / SH) + 1 and OW likewise:

    y[n, o, i, j] = b[o] + sum over c, k, l of w[o, c, k, l] * x[n, c, i SH - PH + k DH, j SW - PW + l DW]

with c over the C / G channels of o's group and x zero outside. All arrays are NCHW in shape; results lie
channels-last in memory (an NHWC array seen as NCHW), which is what the products like to read.

`conv_patches` computes that by NumPy alone, for numbers of every type. float32 goes to `conv_direct`, which has faster
ways; layers with many weights and few pixels go to `conv_taps`.
"""

from __future__ import annotations

import numpy as np

from . import conv_direct, conv_few, conv_patches, conv_taps
from .conv_patches import Pair, out_sizes, patches
from .fused import NONE, nhwc
from .half import in_float32
from .matmul import matmul


@in_float32()
def conv2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW) and b (O,) or None."""
    geometry = stride, padding, dilation, groups
    if conv_few.usable(x, w, *geometry):
        return conv_few.conv2d(x, w, None, b, False, stride, padding, dilation)
    if conv_taps.suits(x.shape, w.shape, *geometry):
        OH, OW = out_sizes(x.shape, w.shape[2:], stride, padding, dilation)
        few = len(x) * OH * OW <= conv_few.PIXELS
        return (_one_product if few else conv_taps.conv2d)(x, w, b, stride, padding, dilation)
    way = conv_direct if conv_direct.usable(x, w, w.shape, *geometry) else conv_patches
    return way.conv2d(x, w, b, *geometry, NONE).y


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


@in_float32()
def conv2d_input_grad(
    dy: np.ndarray, w: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """dx (N, C, H, W): the adjoint of conv2d in x, which is also the transposed convolution."""
    geometry = stride, padding, dilation, groups
    if conv_taps.suits(x_shape, w.shape, *geometry):
        return conv_taps.conv2d_input_grad(dy, w, x_shape, stride, padding, dilation)
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
        return conv_taps.conv2d_weight_grad(dy, x, w_shape, stride, padding, dilation)
    if conv_direct.usable(dy, x, w_shape, *geometry):
        return conv_direct.conv2d_weight_grad(dy, x, w_shape, *geometry)
    no_w = nhwc(np.zeros(w_shape, dy.dtype)).transpose(0, 3, 1, 2)
    return conv_patches.conv2d_gradients(dy, x, no_w, *geometry, None, (False, True))[1]
