"""Convolution as a matrix product over patches, in NumPy alone, with the step after it; and its gradients.

With the patches of all pixels as rows, and dm the gradient carried back through the step,

    y = step(patches · wᵀ + b),   dw = dmᵀ · patches,   dpatches = dm · w, added up where they overlap

Letters and shapes are those of `conv.py`. Each worker thread goes through its images a few at a time, so that all of
this stays in its cache. Where pixels meet their neighbours, in pooling and where patches are added up, the images that
are taken together lie inside, (OH, OW, n, O) in memory: NumPy is fast where it finds long rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .conv_taps import out_size
from .fused import RELU, RELU_POOL, Fused, empty_result
from .fused_numpy import pool, squares, unpool
from .half import in_float32
from .memory import chunks, empty, empty_like
from .parallel import for_blocks
from .relu import masked

Pair = tuple[int, int]
Array = np.ndarray

AT_ONCE = 2**20  # numbers of patches and pixels together: 4 MiB; with less, threads wait for Python's lock too often


def out_sizes(x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(OH, OW)"""
    OH, OW = (out_size(x_shape[2 + a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return OH, OW


def patches(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """The patches of x (N, C, H, W), (N, OH, OW, KH, KW, C), as a view: each number of x lies in several."""
    return _windows(_framed(x, padding), kernel, stride, dilation)


def im2col(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """The patches of x (N, C, H, W) as rows: (N, OH, OW, KH, KW, C)."""
    return np.ascontiguousarray(patches(x, kernel, stride, padding, dilation))


@in_float32()
def col2im(cols: Array, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """The adjoint of im2col: add each patch of `cols` (N, OH, OW, KH, KW, C) back to where it was cut out."""
    N, C, H, W = x_shape
    _, OH, OW, KH, KW, _ = cols.shape
    (SH, SW), (PH, PW), (DH, DW) = stride, padding, dilation
    xp = np.zeros((H + 2 * PH, W + 2 * PW, N, C), cols.dtype).transpose(2, 0, 1, 3)
    for k in range(KH):
        for l in range(KW):
            h, w = k * DH, l * DW
            xp[:, h : h + SH * (OH - 1) + 1 : SH, w : w + SW * (OW - 1) + 1 : SW] += cols[:, :, :, k, l]
    return xp[:, PH : PH + H, PW : PW + W].transpose(0, 3, 1, 2)


def conv2d(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Pair, dilation: Pair, groups: int, step: int
) -> Fused:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW) and b (O,) or None; then `step`."""
    N, (O, C, *kernel) = len(x), w.shape
    geometry = tuple(kernel), stride, padding, dilation
    size = out_sizes(x.shape, *geometry)
    y, choice = empty_result(N, O, *size, step, x.dtype)
    matrices, K, OG = _matrices(w, groups).transpose(0, 2, 1), w[0].size, O // groups
    together = step == RELU_POOL
    numbers = math.prod(size) * (K + O)

    def run(start: int, stop: int) -> None:
        pieces = chunks(start, stop, numbers, AT_ONCE)
        n = _largest(pieces) * math.prod(size)
        room, room_for_y = empty((n * K,), x.dtype), empty((n * O if together else 0,), x.dtype)
        for images in pieces:
            part = x[images]
            m = _in(room_for_y, *size, len(part), O) if together else y[images]
            pixels = m.reshape(-1, O)
            for g in range(groups):
                cols = _columns(part[:, g * C : (g + 1) * C], geometry, size, together, room)
                np.matmul(cols, matrices[g], out=pixels[:, g * OG : (g + 1) * OG])
            if b is not None:
                rows = m.reshape(-1, m.shape[2] * O)  # long ones
                rows += np.tile(b, m.shape[2])
            if step == RELU:
                np.maximum(m, 0, out=m)
            elif step == RELU_POOL:
                pooled = np.empty((*choice.shape[1:3], len(part), O), x.dtype)
                chosen = np.empty(pooled.shape, np.uint8)
                pool(squares(m, 0), pooled, chosen)
                y[images], choice[images] = pooled.transpose(2, 0, 1, 3), chosen.transpose(2, 0, 1, 3)

    for_blocks(run, N)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), (N, O, *size))


def conv2d_gradients(
    dy: Array, x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int, fused: Fused | None,
    wanted: tuple[bool, bool],
) -> tuple[Any, Any, Any]:  # fmt: skip
    """dx (N, C, H, W), dw (O, C/G, KH, KW) and db (O,) from dy, the gradient at the fused step's result, else at the
    convolution's. dw lies in memory as w. `wanted`: whether dx is, and whether dw and db are; what is not is None."""
    want_dx, want_dw = wanted
    N, (O, C, *kernel) = len(x), w.shape
    size = dy.shape[2:] if fused is None else fused.conv_shape[2:]
    geometry = tuple(kernel), stride, padding, dilation
    together = want_dx or (fused is not None and fused.step == RELU_POOL)
    matrices, K, OG = _matrices(w, groups), w[0].size, O // groups
    taps = matrices.reshape(groups, OG, -1, C).transpose(0, 2, 1, 3)  # (G, KH KW, O/G, C/G)
    dx = empty((N, *x.shape[2:], x.shape[1]) if want_dx else (0, 0, 0, 0), dy.dtype).transpose(0, 3, 1, 2)
    numbers = math.prod(size) * (K + O)

    def run(start: int, stop: int) -> tuple[Array, Array]:
        dw, db = np.zeros((groups, OG, K), dy.dtype), np.zeros(O, dy.dtype)
        pieces = chunks(start, stop, numbers, AT_ONCE)
        room = empty((_largest(pieces) * math.prod(size) * K,), dy.dtype)
        for images in pieces:
            dm, part = _gradient(dy, fused, images, size, together), x[images]
            if want_dw:
                db += np.dot(np.ones(len(dm), dm.dtype), dm)
            for g in range(groups):
                of_group, ins = dm[:, g * OG : (g + 1) * OG], slice(g * C, (g + 1) * C)
                if want_dw:
                    cols = _columns(part[:, ins], geometry, size, together, room)
                    dw[g] += np.dot(of_group.T, cols)  # np.matmul would keep Python's lock if dw is small
                if want_dx:
                    cols = np.matmul(of_group, taps[g], out=_in(room, len(taps[g]), len(dm), C))
                    cols = cols.reshape(*kernel, *size, len(part), C).transpose(4, 2, 3, 0, 1, 5)
                    dx[images, ins] = col2im(cols, (len(part), C, *x.shape[2:]), stride, padding, dilation)
        return dw, db

    parts = for_blocks(run, N)
    if not want_dw:
        return dx, None, None
    sums: Any = sum(dw for dw, _ in parts)
    db: Any = sum(db for _, db in parts)
    dw = empty_like(w)
    dw[...] = sums.reshape(O, *kernel, C).transpose(0, 3, 1, 2)
    return dx if want_dx else None, dw, db


def _matrices(w: Array, groups: int) -> Array:
    """w (O, C/G, KH, KW) as a matrix for each group: (G, O/G, KH KW C/G)."""
    return np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(groups, len(w) // groups, w[0].size)


def _largest(pieces: list[slice]) -> int:
    """How many images the largest piece has."""
    return max((piece.stop - piece.start for piece in pieces), default=0)


def _in(room: Array, *shape: int) -> Array:
    """The beginning of `room` as an array of that shape."""
    return room[: math.prod(shape)].reshape(shape)


def _framed(x: Array, padding: Pair) -> Array:
    """x (n, C, H, W) with its padding, as (n, H + 2 PH, W + 2 PW, C)."""
    x, (PH, PW) = x.transpose(0, 2, 3, 1), padding
    if not (PH or PW):
        return np.ascontiguousarray(x)
    n, H, W, C = x.shape
    framed = np.zeros((n, H + 2 * PH, W + 2 * PW, C), x.dtype)
    framed[:, PH : PH + H, PW : PW + W] = x
    return framed


def _windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair) -> Array:
    """The patches (n, OH, OW, KH, KW, C) of x (n, H, W, C), as a view."""
    OH, OW = (out_size(x.shape[1 + a], kernel[a], stride[a], 0, dilation[a]) for a in (0, 1))
    n, h, w, c = x.strides
    strides = n, h * stride[0], w * stride[1], h * dilation[0], w * dilation[1], c
    return as_strided(x, (len(x), OH, OW, *kernel, x.shape[3]), strides, writeable=False)


def _columns(x: Array, geometry: tuple[Pair, ...], size: tuple[int, ...], together: bool, room: Array) -> Array:
    """The patches of some images x (n, C, H, W) for pixels (n, OH, OW), or (OH, OW, n) if `together`: a matrix of
    (pixels, KH KW C)."""
    kernel, stride, padding, dilation = geometry
    x = _framed(x, padding)
    if x.shape[3] > 1:  # patches one after the other: KW C numbers lie in a row
        view = _windows(x, kernel, stride, dilation)[:, : size[0], : size[1]]
        view = view.transpose(1, 2, 0, 3, 4, 5) if together else view
        cols = _in(room, *view.shape)
        np.copyto(cols, view)
        return cols.reshape(-1, math.prod(view.shape[3:]))
    if together:
        x = np.ascontiguousarray(x.transpose(1, 2, 0, 3)).transpose(2, 0, 1, 3)
    view = _windows(x, kernel, stride, dilation)[:, : size[0], : size[1]]
    view = view.transpose(3, 4, 5, 1, 2, 0) if together else view.transpose(3, 4, 5, 0, 1, 2)
    cols = _in(room, *view.shape)  # one place of the patch after the other: a row of the image lies in a row
    np.copyto(cols, view)
    return cols.reshape(math.prod(kernel), -1).T


def _gradient(dy: Array, fused: Fused | None, images: slice, size: tuple[int, ...], together: bool) -> Array:
    """The gradient at the convolution's result for some images: (pixels, O), in the order of `_columns`."""
    axes = (2, 3, 0, 1) if together else (0, 2, 3, 1)
    part = np.ascontiguousarray(dy[images].transpose(axes))
    if fused is not None and fused.step == RELU_POOL:
        y, choice = (np.ascontiguousarray(a[images].transpose(axes)) for a in (fused.y, fused.choice))
        dm = empty((*size, *part.shape[2:]), part.dtype)
        dm[size[0] // 2 * 2 :], dm[:, size[1] // 2 * 2 :] = 0, 0  # what pooling left out
        unpool(part, y, choice, squares(dm, 0))
        part = dm
    elif fused is not None:
        part = masked(part, np.ascontiguousarray(fused.y[images].transpose(axes)) > 0)
    return part.reshape(-1, part.shape[3])
