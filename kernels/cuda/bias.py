"""Launches of the kernels in bias.cu; the contracts are those of kernels/bias.py."""

from __future__ import annotations

import math

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch, max_blocks, sum_type
from .matmul import matmul
from .parts import rounded_sum

FILE = "bias.cu"
COLUMNS = 32  # of a block of column_sums
ROWS = 512  # of a part of such a sum, at least


def linear(x: cp.ndarray, w: cp.ndarray, b: cp.ndarray | None, relu: bool = False) -> cp.ndarray:
    """See kernels/bias.py."""
    y = matmul(x, w.T)
    if b is not None or relu:
        add_bias(y, b, relu)
    return y


def add_bias(y: cp.ndarray, b: cp.ndarray | None, relu: bool = False) -> None:
    """See kernels/bias.py."""
    bias = None if b is None else contiguous(b)
    launch(FILE, "add_bias", y.dtype, y.size, y, bias, y.size, y.shape[1], int(relu))


def bias_grad(dy: cp.ndarray) -> cp.ndarray:
    """See kernels/bias.py; the sum is cut into parts that are added in a fixed order."""
    N, C = dy.shape[:2]
    area = math.prod(dy.shape[2:])
    name, sizes = ("column_sums", [N, C]) if area == 1 else ("channel_sums", [N, C, area])
    if area == 1:
        parts = max(1, min(64, N // ROWS))
        blocks = -(-C // COLUMNS) * parts
    else:
        parts = max(1, min(N, max_blocks(cp.cuda.runtime.getDevice()) // 4 // max(C, 1)))
        blocks = C * parts
    partial = empty((parts, C) if parts > 1 else (C,), sum_type(dy.dtype))
    launch(FILE, name, dy.dtype, blocks, contiguous(dy), partial, *sizes, parts, per_block=1)
    return rounded_sum(partial, dy.dtype)


def count_correct(x: cp.ndarray, t: cp.ndarray) -> cp.ndarray:
    """See kernels/bias.py."""
    M, C = x.shape
    correct = empty((), np.int64)
    labels = contiguous(t.astype(np.int64, copy=False))
    launch(FILE, "count_correct", x.dtype, 1, contiguous(x), labels, correct, M, C)
    return correct
