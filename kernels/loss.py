"""Softmax cross-entropy with class indices, fused.

For logits x (M, C) and labels t (M,), integers: with lse = log sum over c of exp x[m, c],

    y[m] = lse[m] - x[m, t[m]]
    dx[m, c] = dy[m] (exp(x[m, c] - lse[m]) - [c = t[m]])

A label below 0 says that the row does not count: y and dx are 0 there.
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
