"""Launches of the kernels in bias.cu; the contracts are those of kernels/bias.py."""

from __future__ import annotations

import math

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch, max_blocks

FILE = "bias.cu"
COLUMNS = 32  # of a block of column_sums
ROWS = 512  # of a part of such a sum, at least


def add_bias(y: cp.ndarray, b: cp.ndarray | None, relu: bool = False) -> None:
    """See kernels/bias.py."""
    bias = None if b is None else contiguous(b)
    launch(FILE, "add_bias", y.dtype, y.size, y, bias, y.size, y.shape[1], int(relu))


def bias_grad(dy: cp.ndarray) -> cp.ndarray:
    """See kernels/bias.py; the sum is cut into parts that are added in a fixed order."""
    N, C = dy.shape[:2]
    area = math.prod(dy.shape[2:])
    if dy.dtype == np.float16:
        return dy.sum(axis=(0, *range(2, dy.ndim)))
    if area == 1:
        return _column_sums(contiguous(dy), N, C)
    parts = max(1, min(N, max_blocks(cp.cuda.runtime.getDevice()) // 4 // max(C, 1)))
    partial = empty((parts, C) if parts > 1 else (C,), dy.dtype)
    launch(FILE, "channel_sums", dy.dtype, parts * C, contiguous(dy), partial, N, C, area, parts, per_block=1)
    return _column_sums(partial, parts, C) if parts > 1 else partial


def _column_sums(dy: cp.ndarray, M: int, C: int) -> cp.ndarray:
    """The sums (C,) of the columns of dy (M, C)."""
    parts = max(1, min(64, M // ROWS))
    partial = empty((parts, C) if parts > 1 else (C,), dy.dtype)
    launch(FILE, "column_sums", dy.dtype, -(-C // COLUMNS) * parts, dy, partial, M, C, parts, per_block=1)
    return _column_sums(partial, parts, C) if parts > 1 else partial


def count_correct(x: cp.ndarray, t: cp.ndarray) -> cp.ndarray:
    """See kernels/bias.py."""
    M, C = x.shape
    if x.dtype == np.float16:
        x = x.astype(np.float32)
    correct = empty((), np.int64)
    labels = contiguous(t.astype(np.int64, copy=False))
    launch(FILE, "count_correct", x.dtype, 1, contiguous(x), labels, correct, M, C)
    return correct
