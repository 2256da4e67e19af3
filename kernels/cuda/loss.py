"""Launches of the kernels in loss.cu; the contracts are those of kernels/loss.py."""

from __future__ import annotations

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch

FILE = "loss.cu"
ROWS = 8  # of a block: one for each warp


def class_labels(t: cp.ndarray, C: int, ignore_index: int) -> cp.ndarray:
    """See kernels/loss.py; here the IndexError comes when the device is next waited for."""
    labels = empty((t.size,), np.int64)
    launch("index.cu", "class_labels", t.dtype, t.size, contiguous(t), labels, t.size, C, ignore_index)
    return labels


def _labels(t: cp.ndarray) -> cp.ndarray:
    return contiguous(t.astype(np.int64, copy=False))


def softmax_cross_entropy(x: cp.ndarray, t: cp.ndarray) -> tuple[cp.ndarray, cp.ndarray]:
    """See kernels/loss.py."""
    M, C = x.shape
    y, lse = empty((M,), x.dtype), empty((M,), x.dtype)
    launch(FILE, "softmax_cross_entropy", x.dtype, M, contiguous(x), _labels(t), y, lse, M, C, per_block=ROWS)
    return y, lse


def softmax_cross_entropy_grad(dy: cp.ndarray, x: cp.ndarray, t: cp.ndarray, lse: cp.ndarray) -> cp.ndarray:
    """See kernels/loss.py."""
    M, C = x.shape
    dx = empty(x.shape, x.dtype)
    shared = dy.size > 0 and dy.strides == (0,)  # the gradient of a mean, for instance
    g = dy[:1] if shared else dy
    arrays = contiguous(g), contiguous(x), _labels(t), contiguous(lse), dx
    launch(FILE, "softmax_cross_entropy_grad", x.dtype, x.size, *arrays, M, C, 0 if shared else 1)
    return dx
