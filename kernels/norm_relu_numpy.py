"""The passes of batch norm with ReLU, and 2x2 max pooling, in NumPy: what `norm_relu_compiled.py` and
`norm_pool_compiled.py` do.

Each goes through its images, or rows of channels, in pieces that fit a cache; in smaller ones, threads would wait for
Python's lock too often.
"""

from __future__ import annotations

import math

import numpy as np

from .fused_numpy import pool, squares, unpool
from .memory import chunks
from .norm import batch_norm_grad_sums, batch_norm_input_grad, batch_norm_scale
from .relu import masked

Array = np.ndarray
MANY = 32  # rows of channels that NumPy takes as one, at most: it is slow with short ones


def scale(x: Array, y: Array, mean: Array, scale: Array, shift: Array) -> None:
    """x, y (M, C)"""
    (x, y), vectors = _wide([x, y], mean, scale, shift)
    for rows in chunks(0, len(x), x.shape[1]):
        batch_norm_scale(x[rows], y[rows], *vectors)
        np.maximum(y[rows], 0, out=y[rows])


def pool_scale(x: Array, y: Array, choice: Array, mean: Array, scale: Array, shift: Array) -> None:
    """x (N, H, W, C); y and choice (N, OH, OW, C)"""
    for images in chunks(0, len(x), x[0].size):
        parts = squares(x[images], 1)
        pixels = np.empty((4, *parts[0].shape), x.dtype)
        for part, into in zip(parts, pixels, strict=True):
            into[...] = part
        (rows,), vectors = _wide([pixels.reshape(-1, x.shape[3])], mean, scale, shift)
        batch_norm_scale(rows, rows, *vectors)
        pool(pixels, y[images], choice[images])


def grad_sums(x: Array, y: Array, dy: Array, mean: Array, sums: Array) -> None:
    """x, y, dy (M, C)"""
    (x, y, dy), (wide_mean,) = _wide([x, y, dy], mean)
    wide_sums = np.zeros((2, x.shape[1]))
    for rows in chunks(0, len(x), x.shape[1]):
        batch_norm_grad_sums(x[rows], masked(dy[rows], y[rows] > 0), wide_mean, wide_sums)
    sums += wide_sums.reshape(2, -1, sums.shape[1]).sum(axis=1)


def pool_grad_sums(x: Array, y: Array, choice: Array, dy: Array, mean: Array, sums: Array) -> None:
    """x (N, H, W, C); y, choice and dy (N, OH, OW, C)"""
    for images in chunks(0, len(x), y[0].size):
        taken = np.zeros(y[images].shape, np.int32)  # the bits of the pixels that pooling took
        for k, pixels in enumerate(squares(x[images], 1)):
            taken |= pixels.view(np.int32) & -(choice[images] == k).view(np.int8)
        grad_sums(_rows(taken.view(x.dtype)), _rows(y[images]), _rows(dy[images]), mean, sums)


def input_grad(
    x: Array, y: Array, dy: Array, dx: Array, mean: Array, constant: Array, slope: Array, scale: Array
) -> None:
    """x, y, dy, dx (M, C)"""
    (x, y, dy, dx), vectors = _wide([x, y, dy, dx], mean, constant, slope, scale)
    for rows in chunks(0, len(x), x.shape[1]):
        batch_norm_input_grad(x[rows], masked(dy[rows], y[rows] > 0), dx[rows], *vectors)


def pool_input_grad(
    x: Array, y: Array, choice: Array, dy: Array, dx: Array, mean: Array, constant: Array, slope: Array, scale: Array
) -> None:
    """x, dx (N, H, W, C); y, choice and dy (N, OH, OW, C)"""
    for images in chunks(0, len(x), x[0].size):
        g = np.zeros_like(x[images])  # at the normalised pixels; 0 where no window of the pooling reaches
        unpool(dy[images], y[images], choice[images], squares(g, 1))
        rows = [_rows(a) for a in (x[images], g, dx[images])]
        rows, vectors = _wide(rows, mean, constant, slope, scale)
        batch_norm_input_grad(*rows, *vectors)


def _rows(x: Array) -> Array:
    """x (N, H, W, C) as (N H W, C)."""
    return x.reshape(-1, x.shape[3])


def _wide(rows: list[Array], *vectors: Array) -> tuple[list[Array], list[Array]]:
    """Arrays of rows (M, C) as fewer and longer rows, and vectors (C,) repeated to match."""
    many = math.gcd(len(rows[0]), MANY)
    return [a.reshape(-1, many * a.shape[1]) for a in rows], [np.tile(v, many) for v in vectors]
