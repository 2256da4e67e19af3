"""2-d convolution as a matrix product over patches, and its two adjoints.

Letters: N batch, C in-channels, H W image, O out-channels, KH KW kernel, OH OW output, S stride, P padding,
D dilation, G groups. With OH = floor((H + 2 PH - DH (KH - 1) - 1) / SH) + 1 and OW likewise:

    y[n, o, i, j] = b[o] + sum over c, k, l of w[o, c, k, l] * x[n, c, i SH - PH + k DH, j SW - PW + l DW]

with c over the C / G channels of o's group and x zero outside. All arrays are NCHW in shape; results lie
channels-last in memory (an NHWC array seen as NCHW), which is what the products like to read.

Each worker thread goes through its images a few at a time, so that their patches stay in its cache. Where
Numba is installed, float32 goes to `conv_direct` instead; layers with many weights and few pixels to `conv_taps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from . import conv_direct, conv_few, conv_taps, memory
from .conv_taps import out_size
from .half import in_float32
from .matmul import matmul
from .parallel import for_blocks

Pair = tuple[int, int]

IN_CACHE = 2**18  # numbers of patches and pixels together: 1 MiB of float32, half of a common L2


def _out_sizes(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    OH, OW = (out_size(x.shape[2 + a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return OH, OW


def empty_nhwc(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised (N, C, H, W) array that lies channels-last in memory."""
    n, c, h, w = shape
    return memory.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def patches(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """The patches of x (N, C, H, W), (N, OH, OW, KH, KW, C), as a view: each number of x lies in several."""
    N, C, H, W = x.shape
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = kernel, stride, padding, dilation
    OH, OW = _out_sizes(x, kernel, stride, padding, dilation)
    xp = x.transpose(0, 2, 3, 1)
    if PH or PW:
        xp = np.zeros((N, H + 2 * PH, W + 2 * PW, C), x.dtype)
        xp[:, PH : PH + H, PW : PW + W] = x.transpose(0, 2, 3, 1)
    n, h, w, c = xp.strides
    return as_strided(xp, (N, OH, OW, KH, KW, C), (n, h * SH, w * SW, h * DH, w * DW, c), writeable=False)


def im2col(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """The patches of x (N, C, H, W) as rows: (N, OH, OW, KH, KW, C)."""
    return np.ascontiguousarray(patches(x, kernel, stride, padding, dilation))


@in_float32()
def col2im(cols: np.ndarray, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """The adjoint of im2col: add each patch of `cols` (N, OH, OW, KH, KW, C) back to where it was cut out."""
    N, C, H, W = x_shape
    _, OH, OW, KH, KW, _ = cols.shape
    (SH, SW), (PH, PW), (DH, DW) = stride, padding, dilation
    xp = np.zeros((N, H + 2 * PH, W + 2 * PW, C), cols.dtype)
    for k in range(KH):
        for l in range(KW):
            h, w = k * DH, l * DW
            xp[:, h : h + SH * (OH - 1) + 1 : SH, w : w + SW * (OW - 1) + 1 : SW] += cols[:, :, :, k, l]
    return xp[:, PH : PH + H, PW : PW + W].transpose(0, 3, 1, 2)


def chunk_size(numbers_per_image: int) -> int:
    """How many images go into the cache together: at least one."""
    return max(1, IN_CACHE // max(1, numbers_per_image))


def chunks(start: int, stop: int, numbers_per_image: int) -> Iterator[slice]:
    """range(start, stop) in slices of `chunk_size` images."""
    step = chunk_size(numbers_per_image)
    for n in range(start, stop, step):
        yield slice(n, min(n + step, stop))


def _room_for_patches(n: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory for the patches of n images, (n, OH, OW, KH, KW, C), in the order in which they are copied fastest."""
    if shape[-1] > 1:
        return np.empty((n, *shape), dtype)
    OH, OW, KH, KW, C = shape
    return np.empty((KH, KW, C, n, OH, OW), dtype).transpose(3, 4, 5, 0, 1, 2)  # rows of an image are longer


@in_float32()
def conv2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW) and b (O,) or None."""
    N = x.shape[0]
    O, CG, KH, KW = w.shape
    OH, OW = _out_sizes(x, (KH, KW), stride, padding, dilation)
    if conv_few.usable(x, w, stride, padding, dilation, groups):
        return conv_few.conv2d(x, w, None, b, False, stride, padding, dilation)
    if conv_taps.suits(x.shape, w.shape, stride, padding, dilation, groups):
        few = N * OH * OW <= conv_few.PIXELS
        return (_one_product if few else conv_taps.conv2d)(x, w, b, stride, padding, dilation)
    if conv_direct.usable(x, w, w.shape, stride, padding, dilation, groups):
        return conv_direct.conv2d(x, w, b, stride, padding, dilation, groups).y
    OG, K = O // groups, KH * KW * CG
    y = memory.empty((N, OH * OW, O), x.dtype)
    matrices = w.reshape(groups, OG, CG, KH, KW).transpose(0, 3, 4, 2, 1).reshape(groups, K, OG)

    def run(start: int, stop: int) -> None:
        room = _room_for_patches(chunk_size(OH * OW * (K + O)), (OH, OW, KH, KW, CG), x.dtype)
        for images in chunks(start, stop, OH * OW * (K + O)):
            pixels = y[images].reshape(-1, O)
            for g in range(groups):
                part = x[images, g * CG : (g + 1) * CG]
                cols = room[: len(part)]
                np.copyto(cols, patches(part, (KH, KW), stride, padding, dilation))
                np.matmul(cols.reshape(-1, K), matrices[g], out=pixels[:, g * OG : (g + 1) * OG])
            if b is not None:
                pixels += b

    for_blocks(run, N)
    return y.reshape(N, OH, OW, O).transpose(0, 3, 1, 2)


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
    if conv_taps.suits(x_shape, w.shape, stride, padding, dilation, groups):
        return conv_taps.conv2d_input_grad(dy, w, x_shape, stride, padding, dilation)
    if conv_direct.usable(dy, w, w.shape, stride, padding, dilation, groups):
        return conv_direct.conv2d_input_grad(dy, w, x_shape, stride, padding, dilation, groups)
    N, C, H, W = x_shape
    O, CG, KH, KW = w.shape
    OG = O // groups
    OH, OW = dy.shape[2:]
    margin = dilation[0] * (KH - 1) - padding[0], dilation[1] * (KW - 1) - padding[1]
    if stride == (1, 1) and min(margin) >= 0 and _out_sizes(dy, (KH, KW), stride, margin, dilation) == (H, W):
        # dx is dy convolved with the kernel turned round: faster than adding the patches up.
        turned = w.reshape(groups, OG, CG, KH, KW)[..., ::-1, ::-1].transpose(0, 2, 1, 3, 4)
        return conv2d(dy, turned.reshape(C, OG, KH, KW), None, stride, margin, dilation, groups)
    dy = dy.transpose(0, 2, 3, 1)
    dx = empty_nhwc((N, C, H, W), dy.dtype)
    matrices = w.reshape(groups, OG, CG, KH, KW).transpose(0, 1, 3, 4, 2).reshape(groups, OG, -1)

    def run(start: int, stop: int) -> None:
        for images in chunks(start, stop, OH * OW * KH * KW * CG):
            for g in range(groups):
                cols = dy[images, ..., g * OG : (g + 1) * OG].reshape(-1, OG) @ matrices[g]
                part = dx[images, g * CG : (g + 1) * CG]
                part[...] = col2im(cols.reshape(-1, OH, OW, KH, KW, CG), part.shape, stride, padding, dilation)

    for_blocks(run, N)
    return dx


@in_float32()
def conv2d_weight_grad(
    dy: np.ndarray, x: np.ndarray, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> np.ndarray:
    """dw (O, C/G, KH, KW): the adjoint of conv2d in w."""
    if conv_taps.suits(x.shape, w_shape, stride, padding, dilation, groups):
        return conv_taps.conv2d_weight_grad(dy, x, w_shape, stride, padding, dilation)
    if conv_direct.usable(dy, x, w_shape, stride, padding, dilation, groups):
        return conv_direct.conv2d_weight_grad(dy, x, w_shape, stride, padding, dilation, groups)
    O, CG, KH, KW = w_shape
    OG, K = O // groups, KH * KW * CG
    OH, OW = dy.shape[2:]
    dy = dy.transpose(0, 2, 3, 1)

    def run(start: int, stop: int) -> np.ndarray:
        dw = np.zeros((groups, K, OG), dy.dtype)
        room = _room_for_patches(chunk_size(OH * OW * (K + O)), (OH, OW, KH, KW, CG), x.dtype)
        for images in chunks(start, stop, OH * OW * (K + O)):
            for g in range(groups):
                part = x[images, g * CG : (g + 1) * CG]
                cols = room[: len(part)]
                np.copyto(cols, patches(part, (KH, KW), stride, padding, dilation)[:, :OH, :OW])
                dw[g] += cols.reshape(-1, K).T @ dy[images, ..., g * OG : (g + 1) * OG].reshape(-1, OG)
        return dw

    dw: Any = sum(for_blocks(run, dy.shape[0]))
    return np.ascontiguousarray(dw.transpose(0, 2, 1)).reshape(O, KH, KW, CG).transpose(0, 3, 1, 2)
