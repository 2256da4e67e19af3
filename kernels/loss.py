"""Softmax cross-entropy with class indices, fused.

For logits x (M, C) and labels t (M,), integers: with lse = log sum over c of exp x[m, c],

    y[m] = lse[m] - x[m, t[m]]
    dx[m, c] = dy[m] (exp(x[m, c] - lse[m]) - [c = t[m]])

A label below 0 says that the row does not count: y and dx are 0 there. `class_labels` makes them so.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def softmax_cross_entropy(x: Array, t: Array) -> tuple[Array, Array]:
    """y (M,) and lse (M,)."""
    largest = x.max(axis=1, keepdims=True)
    lse = np.log(np.exp(x - largest).sum(axis=1)) + largest[:, 0]
    y = lse - x[np.arange(len(t)), np.maximum(t, 0)]
    y[t < 0] = 0
    return y, lse


def softmax_cross_entropy_grad(dy: Array, x: Array, t: Array, lse: Array) -> Array:
    """dx (M, C)."""
    dx = np.exp(x - lse[:, None])
    dx[np.arange(len(t)), np.maximum(t, 0)] -= 1
    dx *= dy[:, None]
    dx[t < 0] = 0
    return dx


def class_labels(t: Array, C: int, ignore_index: int) -> Array:
    """The classes t (any integers, any shape) as int64 in one row, -1 where they are `ignore_index`.

    Raises IndexError for a class outside 0 .. C - 1.
    """
    labels = t.reshape(-1).astype(np.int64, copy=False)
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
