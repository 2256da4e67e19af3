"""Winograd's convolution for 3x3 kernels with stride 1, by NumPy alone: every step of it is a matrix product.

A tile of 2x2 output pixels is seen from a patch of 4x4 input pixels. With Winograd's matrices A, B, G (explained in
docs/convolution.md) and their Kronecker squares, and e for the 16 elements of a tile,

    v    = (B ⊗ B)ᵀ patches      (16, tiles, C)
    u    = (G ⊗ G) w             (16, C, O)
    m[e] = v[e] u[e]             (16, tiles, O)
    y    = (A ⊗ A)ᵀ m            (4, tiles, O)

and backward the same by the transposes:

    dm = (A ⊗ A) dy,   du[e] = v[e]ᵀ dm[e],   dv[e] = dm[e] u[e]ᵀ,   dpatches = (B ⊗ B) dv, added up where they overlap

So few tiles are taken at a time that all of this stays in the cache of a core. If 2x2 pooling follows, its windows
are the tiles.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015), https://arxiv.org/abs/1509.09308
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .fused import NONE, RELU, RELU_POOL, Fused, empty_result
from .fused_numpy import pool, unpool
from .matmul import matmul
from .memory import empty, empty_like
from .parallel import for_blocks
from .relu import masked

Pair = tuple[int, int]

A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], np.float32)
B = np.array([[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]], np.float32)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
AA, BB, GG = np.kron(A, A), np.kron(B, B), np.kron(G, G)  # (16, 4), (16, 16), (16, 9)
ALL_FOUR = 5  # this element of m is added to all four pixels of the tile; of dm, it is their sum
LOWEST = {NONE: -np.inf, RELU: 0}  # what the step after the convolution leaves at the least
IN_CACHE = 2**19  # numbers of v and m together: 2 MiB; with half of that, threads wait for each other too often
SHORT_ROW = 256  # numbers
FEWEST = 64  # tiles: with fewer the 16 products are slow
CHANNELS = range(32, 129)  # with fewer the transforms cost more than the products that they save; with more, u does


def pays(w_shape: tuple[int, ...]) -> bool:
    """Whether a 3x3 convolution is faster this way than by its patches."""
    return w_shape[0] in CHANNELS and w_shape[1] in CHANNELS


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, padding: Pair, step: int = NONE) -> Fused:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C, 3, 3) and b (O,) or None; then `step`."""
    (N, C, H, W), O = x.shape, len(w)
    size = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    rows, columns = _grid(size, step)
    y, choice = empty_result(N, O, *size, step)
    u = _transformed(w)
    n_images, n_rows = _at_once(rows, columns, C + O)

    def run(start: int, stop: int) -> None:
        room, other = np.empty((2, 16 * n_images * n_rows * columns * max(C, O)), np.float32)
        for images, band in itertools.product(_slices(start, stop, n_images), _slices(0, rows, n_rows)):
            v = _mix(BB.T, _patches(x[images], band, columns, padding, room), other)
            m = _products(v, u, room)
            if b is not None:
                m[ALL_FOUR] += b
            pixels = _mix(AA.T, m, other)
            if step == RELU_POOL:
                pool(pixels, y[images, band], choice[images, band])
                continue
            for k, (i, j) in enumerate(np.ndindex(2, 2)):
                part = y[images, 2 * band.start + i : 2 * band.stop : 2, j::2]
                np.maximum(pixels[k, :, : part.shape[1], : part.shape[2]], LOWEST[step], out=part)

    for_blocks(run, N)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), (N, O, *size))


def conv2d_gradients(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, padding: Pair, fused: Fused | None, wanted: tuple[bool, bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx (N, C, H, W), and dw (O, C, 3, 3), in memory as w, and db (O,), from the gradient at the fused step's result.

    `wanted` says which of dx and dw are wanted; the other is empty or zero.
    """
    (N, C, H, W), O = x.shape, len(w)
    size, step = (dy.shape[2:], NONE) if fused is None else (fused.conv_shape[2:], fused.step)
    rows, columns = _grid(size, step)
    u = np.ascontiguousarray(_transformed(w).transpose(0, 2, 1))
    n_images, n_rows = _at_once(rows, columns, C + O)
    dx = empty((N, H, W, C) if wanted[0] else (0, 0, 0, 0), np.float32)

    def run(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        du, db = np.zeros((16, C, O), np.float32), np.zeros(O, np.float32)
        room, other, third = np.empty((3, 16 * n_images * n_rows * columns * max(C, O)), np.float32)
        for images in _slices(start, stop, n_images):
            blocks = np.zeros((2, 2, images.stop - images.start, rows + 1, columns + 1, C), np.float32)
            for band in _slices(0, rows, n_rows):
                dm = _mix(AA, _gradient(dy, fused, images, band, columns, room), third)
                db += dm[ALL_FOUR].sum((0, 1, 2))
                if wanted[1]:
                    v = _mix(BB.T, _patches(x[images], band, columns, padding, room), other)
                    du += v.reshape(16, -1, C).transpose(0, 2, 1) @ dm.reshape(16, -1, O)
                if wanted[0]:
                    dpatches = _mix(BB, _products(dm, u, room), other)
                    _add_up(dpatches.reshape(4, 4, *dpatches.shape[1:]), blocks[:, :, :, band.start : band.stop + 1])
            if wanted[0]:
                _cut_out(blocks, padding, dx[images])
        return du, db

    parts = for_blocks(run, N)
    du: Any = sum(du for du, _ in parts)
    db: Any = sum(db for _, db in parts)
    dw = empty_like(w)
    dw[...] = matmul(GG.T, du.reshape(16, -1)).reshape(3, 3, C, O).transpose(3, 2, 0, 1)
    return dx.transpose(0, 3, 1, 2), dw, db


def _grid(size: tuple[int, ...], step: int) -> Pair:
    """Rows and columns of the tiles that a result of `size` pixels has; what pooling leaves out is in none."""
    extra = 0 if step == RELU_POOL else 1
    return (size[0] + extra) // 2, (size[1] + extra) // 2


def _at_once(rows: int, columns: int, channels: int) -> Pair:
    """How many images, and how many of their rows of tiles, are transformed together."""
    tiles = max(FEWEST, IN_CACHE // (16 * channels))
    bands = -(-rows * columns // tiles)
    return max(1, tiles // max(1, rows * columns)), -(-rows // max(1, bands))


def _slices(start: int, stop: int, step: int) -> list[slice]:
    return [slice(i, min(i + step, stop)) for i in range(start, stop, step)]


def _in(room: np.ndarray, *shape: int) -> np.ndarray:
    """The beginning of `room` as an array of that shape."""
    return room[: math.prod(shape)].reshape(shape)


def _transformed(w: np.ndarray) -> np.ndarray:
    """u (16, C, O) of w (O, C, 3, 3)."""
    return matmul(GG, w.transpose(2, 3, 1, 0).reshape(9, -1)).reshape(16, w.shape[1], len(w))


def _mix(matrix: np.ndarray, x: np.ndarray, room: np.ndarray) -> np.ndarray:
    """matrix (j, k) · x (k, n, rows, columns, C), some columns at a time: BLAS is slow where rows are long."""
    _, n, rows, columns, C = x.shape
    result = _in(room, len(matrix), n, rows, columns, C)
    pieces = n * rows if columns * C >= SHORT_ROW else n
    x, y = (a.reshape(len(a), pieces, -1).transpose(1, 0, 2) for a in (x, result))
    np.matmul(matrix, x, out=y)
    return result


def _products(v: np.ndarray, u: np.ndarray, room: np.ndarray) -> np.ndarray:
    """v[e] (n, rows, columns, C) · u[e] (C, O) for the 16 elements e."""
    m = _in(room, *v.shape[:-1], u.shape[2])
    np.matmul(v.reshape(16, -1, v.shape[-1]), u, out=m.reshape(16, -1, u.shape[2]))
    return m


def _patches(x: np.ndarray, band: slice, columns: int, padding: Pair, room: np.ndarray) -> np.ndarray:
    """The patches (16, n, rows, columns, C) of the tiles in some rows of some images x (n, C, H, W)."""
    rows = band.stop - band.start
    x = _framed(x, 2 * band.start - padding[0], 2 * rows + 2, -padding[1], 2 * columns + 2)
    N, H, W, C = x.strides
    view = as_strided(x, (4, 4, len(x), rows, columns, x.shape[3]), (H, W, N, 2 * H, 2 * W, C), writeable=False)
    patches = _in(room, *view.shape)
    np.copyto(patches, view)
    return patches.reshape(16, *view.shape[2:])


def _framed(x: np.ndarray, top: int, height: int, left: int, width: int) -> np.ndarray:
    """That part of x (n, C, H, W), zero outside of x, as (n, height, width, C)."""
    n, C, H, W = x.shape
    rows, columns = slice(max(top, 0), min(top + height, H)), slice(max(left, 0), min(left + width, W))
    part = x[:, :, rows, columns].transpose(0, 2, 3, 1)
    if part.shape[1:3] == (height, width):
        return part
    framed = np.zeros((n, height, width, C), x.dtype)
    framed[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return framed


def _gradient(
    dy: np.ndarray, fused: Fused | None, images: slice, band: slice, columns: int, room: np.ndarray
) -> np.ndarray:
    """The gradient at the convolution's result, for the tiles of some rows of some images: (4, n, rows, columns, O)."""
    n, rows, O = images.stop - images.start, band.stop - band.start, dy.shape[1]
    pixels = _in(room, 4, n, rows, columns, O)
    if fused is not None and fused.step == RELU_POOL:
        arrays = (a[images, :, band].transpose(0, 2, 3, 1) for a in (dy, fused.y, fused.choice))
        part, y, choice = map(np.ascontiguousarray, arrays)
        unpool(part, y, choice, pixels)
        return pixels
    part = _framed(dy[images], 2 * band.start, 2 * rows, 0, 2 * columns)
    if fused is not None:
        y = _framed(fused.y[images], 2 * band.start, 2 * rows, 0, 2 * columns)
        part = masked(np.ascontiguousarray(part), y > 0)
    into = pixels.reshape(2, 2, n, rows, columns, O)
    into[...] = part.reshape(n, rows, 2, columns, 2, O).transpose(2, 4, 0, 1, 3, 5)
    return pixels


def _add_up(dpatches: np.ndarray, blocks: np.ndarray) -> None:
    """blocks += patches (4, 4, n, rows, columns, C), where pixel (2i + k, 2j + l) of a block is at [k, l, :, i, j]."""
    half = np.zeros((2, 4, *blocks.shape[2:4], *dpatches.shape[4:]), np.float32)
    half[:, :, :, :-1] = dpatches[:2]
    half[:, :, :, 1:] += dpatches[2:]
    blocks[..., :-1, :] += half[:, :2]
    blocks[..., 1:, :] += half[:, 2:]


def _cut_out(blocks: np.ndarray, padding: Pair, dx: np.ndarray) -> None:
    """dx (n, H, W, C): the image of the blocks without its padding, zeros where no kernel was."""
    if blocks.shape[3] * 2 < dx.shape[1] + padding[0] or blocks.shape[4] * 2 < dx.shape[2] + padding[1]:
        dx[...] = 0
    for k, l in np.ndindex(2, 2):
        into = dx[:, (k - padding[0]) % 2 :: 2, (l - padding[1]) % 2 :: 2]
        part = blocks[k, l, :, (padding[0] + 1 - k) // 2 :, (padding[1] + 1 - l) // 2 :]
        rows, columns = (min(a, b) for a, b in zip(into.shape[1:3], part.shape[1:3], strict=True))
        into[:, :rows, :columns] = part[:, :rows, :columns]
