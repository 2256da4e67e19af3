"""Softmax cross-entropy with classes, or with probabilities of classes, as targets; fused.

For logits x (M, C) let lse = log sum over c of exp x[m, c], and q (M, C) the targets, softened by a label smoothing s:

    q[m, c] = (1 - s) [c = t[m]] + s / C        for classes t (M,)
    q[m, c] = (1 - s) p[m, c] + s / C           for probabilities p (M, C)

    y[m] = sum over c of q[m, c] (lse[m] - x[m, c])
    dx[m, c] = dy[m] (exp(x[m, c] - lse[m]) sum of q[m] - q[m, c])

A class below 0 says that the row does not count: y and dx are 0 there. `class_labels` makes them so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled
from .fused import FLOAT32
from .half import in_float32

Array = np.ndarray
INT64 = np.dtype(np.int64)
NO_PROBABILITIES = (
    "binary_cross_entropy: all elements of input should be between 0 and 1; for logits use "
    "binary_cross_entropy_with_logits"
)


def _log_sum_exp(x: Array) -> Array:
    largest = x.max(axis=1, keepdims=True)
    return np.log(np.exp(x - largest).sum(axis=1)) + largest[:, 0]


@in_float32(1)
def softmax_cross_entropy(x: Array, t: Array, smoothing: float = 0.0) -> tuple[Array, Array]:
    """y (M,) and lse (M,)."""
    code = None if smoothing else _code(x, t)
    if code:
        y, lse = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
        if code.softmax_cross_entropy(x, t, y, lse)[1] < 0:
            raise IndexError("a label is out of bounds for the number of classes")
        return y, lse
    lse = _log_sum_exp(x)
    y = lse - x[np.arange(len(t)), np.maximum(t, 0)]
    if smoothing:
        y = (1 - smoothing) * y + smoothing * (lse - x.mean(axis=1))
    y[t < 0] = 0
    return y, lse


@in_float32()
def softmax_cross_entropy_grad(dy: Array, x: Array, t: Array, lse: Array, smoothing: float = 0.0) -> Array:
    """dx (M, C)."""
    code = None if smoothing else _code(x, t)
    if code:
        dx = np.empty_like(x)
        code.softmax_cross_entropy_grad(np.ascontiguousarray(dy), x, t, lse, dx)
        return dx
    dx = np.exp(x - lse[:, None])
    if smoothing:
        dx -= smoothing / x.shape[1]
    dx[np.arange(len(t)), np.maximum(t, 0)] -= 1 - smoothing
    dx *= dy[:, None]
    dx[t < 0] = 0
    return dx


@in_float32(1)
def mean_cross_entropy(x: Array, t: Array, ignore_index: int, smoothing: float) -> tuple[Array, Array, Array, Array]:
    """The mean () of y over the rows whose class is not `ignore_index` (NaN if there is none); then what its gradient
    needs: the classes as `class_labels` has them, lse (M,), and how many rows count, ().
    """
    code = None if smoothing or 0 <= ignore_index < x.shape[1] else _code(x, labels := t.reshape(-1))
    if code:
        y, lse = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
        total, counted = code.softmax_cross_entropy(x, labels, y, lse)
        if counted == len(x):  # the usual case: every label is a class, every row counts
            return np.array(total / counted, x.dtype), labels, lse, np.array(counted, x.dtype)
    labels = class_labels(t, x.shape[1], ignore_index)
    y, lse = softmax_cross_entropy(x, labels, smoothing)
    count = np.asarray(np.count_nonzero(labels >= 0), x.dtype)
    return np.asarray(y.sum() / count), labels, lse, count


@in_float32()
def mean_cross_entropy_grad(dy: Array, x: Array, labels: Array, lse: Array, count: Array, smoothing: float) -> Array:
    """dx (M, C) from dy ()."""
    each = np.empty(len(labels), dy.dtype)
    each.fill(dy / count)
    return softmax_cross_entropy_grad(each, x, labels, lse, smoothing)


@in_float32(1)
def soft_cross_entropy(x: Array, p: Array, smoothing: float) -> tuple[Array, Array]:
    """y (M,) and lse (M,) for probabilities p (M, C)."""
    lse = _log_sum_exp(x)
    return (_softened(p, smoothing) * (lse[:, None] - x)).sum(axis=1), lse


@in_float32()
def soft_cross_entropy_grad(dy: Array, x: Array, p: Array, lse: Array, smoothing: float) -> Array:
    """dx (M, C)."""
    q = _softened(p, smoothing)
    dx = np.exp(x - lse[:, None]) * q.sum(axis=1, keepdims=True)
    dx -= q
    dx *= dy[:, None]
    return dx


def _softened(p: Array, smoothing: float) -> Array:
    return p * (1 - smoothing) + smoothing / p.shape[1] if smoothing else p


def check_probabilities(x: Array) -> None:
    """Raise RuntimeError if an element of x is not in 0 .. 1 (NaN is not)."""
    if not ((x >= 0) & (x <= 1)).all():
        raise RuntimeError(NO_PROBABILITIES)


def _code(x: Array, t: Array) -> Any:
    """The compiled loops, if they are for arrays like these."""
    fits = x.dtype == FLOAT32 and t.dtype == INT64 and x.size and x.flags.c_contiguous and t.flags.c_contiguous
    return compiled.load("loss_compiled") if fits else None


def class_labels(t: Array, C: int, ignore_index: int) -> Array:
    """The classes t (any integers, any shape) as int64 in one row, -1 where they are `ignore_index`.

    Raises IndexError for a class outside 0 .. C - 1.
    """
    labels = t.reshape(-1).astype(np.int64, copy=False)
    if labels.size and labels.min() >= 0 and labels.max() < C and not 0 <= ignore_index < C:
        return labels  # the usual case, in half the time
    outside = (labels < 0) | (labels >= C)
    bad = outside & (labels != ignore_index)
    if bad.any():
        first = int(bad.argmax())
        place = tuple(int(i) for i in np.unravel_index(first, t.shape))
        raise IndexError(
            f"target {labels[first]} at position {place} is out of bounds for {C} classes: "
            f"expected 0 to {C - 1} (or ignore_index {ignore_index})"
        )
    return np.where(labels == ignore_index, -1, labels) if ignore_index >= 0 or outside.any() else labels
