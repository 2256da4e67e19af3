"""Launches of the kernels in loss.cu; the contracts are those of kernels/loss.py."""

from __future__ import annotations

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch, sum_type
from .parts import rounded_sum

FILE = "loss.cu"
ROWS = 8  # of a block: one for each warp


def class_labels(t: cp.ndarray, C: int, ignore_index: int) -> cp.ndarray:
    """See kernels/loss.py; here the IndexError comes when the device is next waited for."""
    labels = empty((t.size,), np.int64)
    launch("index.cu", "class_labels", t.dtype, t.size, contiguous(t), labels, t.size, C, ignore_index)
    return labels


def check_probabilities(x: cp.ndarray) -> None:
    """See kernels/loss.py; here the RuntimeError comes when the device is next waited for."""
    launch(FILE, "check_probabilities", x.dtype, x.size, contiguous(x), x.size)


def _labels(t: cp.ndarray) -> cp.ndarray:
    return contiguous(t.astype(np.int64, copy=False))


def _with_labels(
    x: cp.ndarray, t: cp.ndarray, ignore_index: int, smoothing: float
) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray]:
    """y, lse, both in the type of sums, and the classes."""
    M, C = x.shape
    y, lse, labels = empty((M,), sum_type(x.dtype)), empty((M,), sum_type(x.dtype)), empty((M,), np.int64)
    arrays = contiguous(x), _labels(t.reshape(-1)), y, lse, labels
    launch(FILE, "softmax_cross_entropy", x.dtype, M, *arrays, M, C, smoothing, ignore_index, per_block=ROWS)
    return y, lse, labels


def _apart(dy: cp.ndarray) -> tuple[cp.ndarray, int]:
    """dy, and how far its elements lie apart: not at all where all are one, as in the gradient of a mean."""
    shared = dy.size > 0 and dy.strides in ((), (0,))
    return (contiguous(dy.reshape(-1)[:1]), 0) if shared else (contiguous(dy), 1)


def softmax_cross_entropy(x: cp.ndarray, t: cp.ndarray, smoothing: float = 0.0) -> tuple[cp.ndarray, cp.ndarray]:
    """See kernels/loss.py."""
    y, lse, _ = _with_labels(x, t, -1, smoothing)
    return rounded_sum(y, x.dtype), lse


def softmax_cross_entropy_grad(
    dy: cp.ndarray, x: cp.ndarray, t: cp.ndarray, lse: cp.ndarray, smoothing: float = 0.0
) -> cp.ndarray:
    """See kernels/loss.py."""
    return _grad(dy, x, _labels(t), lse, None, smoothing)


def _grad(
    dy: cp.ndarray, x: cp.ndarray, labels: cp.ndarray, lse: cp.ndarray, count: cp.ndarray | None, smoothing: float
) -> cp.ndarray:
    """dx, for dy over `count`."""
    M, C = x.shape
    dx = empty(x.shape, x.dtype)
    g, step = _apart(dy)
    arrays = g, contiguous(x), labels, contiguous(lse), count, dx
    launch(FILE, "softmax_cross_entropy_grad", x.dtype, x.size, *arrays, M, C, step, smoothing)
    return dx


def mean_cross_entropy(
    x: cp.ndarray, t: cp.ndarray, ignore_index: int, smoothing: float
) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray, cp.ndarray]:
    """See kernels/loss.py; here the IndexError comes when the device is next waited for."""
    y, lse, labels = _with_labels(x, t, ignore_index, smoothing)
    mean, count = empty((), x.dtype), empty((), sum_type(x.dtype))
    launch(FILE, "counted_mean", x.dtype, 1, y, labels, mean, count, len(y))
    return mean, labels, lse, count


def mean_cross_entropy_grad(
    dy: cp.ndarray, x: cp.ndarray, labels: cp.ndarray, lse: cp.ndarray, count: cp.ndarray, smoothing: float
) -> cp.ndarray:
    """See kernels/loss.py."""
    return _grad(dy, x, labels, lse, count, smoothing)


def soft_cross_entropy(x: cp.ndarray, p: cp.ndarray, smoothing: float) -> tuple[cp.ndarray, cp.ndarray]:
    """See kernels/loss.py."""
    M, C = x.shape
    y, lse = empty((M,), x.dtype), empty((M,), sum_type(x.dtype))
    arrays = contiguous(x), contiguous(p), y, lse
    launch(FILE, "soft_cross_entropy", x.dtype, M, *arrays, M, C, smoothing, per_block=ROWS)
    return y, lse


def soft_cross_entropy_grad(
    dy: cp.ndarray, x: cp.ndarray, p: cp.ndarray, lse: cp.ndarray, smoothing: float
) -> cp.ndarray:
    """See kernels/loss.py."""
    M, C = x.shape
    dx = empty(x.shape, x.dtype)
    g, step = _apart(dy)
    arrays = g, contiguous(x), contiguous(p), contiguous(lse), dx
    launch(FILE, "soft_cross_entropy_grad", x.dtype, M, *arrays, M, C, step, smoothing, per_block=ROWS)
    return dx
