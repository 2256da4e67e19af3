"""Batch and layer normalisation with their gradients.

With the mean m and the biased variance v over a set of elements, r = 1 / sqrt(v + eps) and z = (x - m) r:

    y = w z + b
    db = sum dy,  dw = sum dy z,  dx = r (dy w - mean(dy w) - z mean(dy w z))

Batch norm takes m and v over all axes but the channels (axis 1), w and b (C,); layer norm over the last axis of
x (M, D), w and b (D,). w and b may be None: 1 and 0. Sums over more than one image row are taken in float64.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def batch_norm(x: Array, w: Array | None, b: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y (N, C, ...), and the mean and biased variance (C,) of the batch in float64."""
    count = x.size // max(x.shape[1], 1)
    mean = channel_sum(x) / max(count, 1)
    y = x - _channels(mean, x)
    var = channel_sum(y * y) / max(count, 1)
    scale = 1 / np.sqrt(var + eps)
    y *= _channels(scale if w is None else scale * w, x)
    if b is not None:
        y += _channels(b, x)
    return y, mean, var


def batch_norm_grad(
    dy: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """dx (N, C, ...), dw (C,), db (C,)."""
    count = max(x.size // max(x.shape[1], 1), 1)
    scale = 1 / np.sqrt(var + eps)
    dx = x - _channels(mean, x)
    dx *= _channels(scale, x)  # z
    db, dw = channel_sum(dy), channel_sum(dy * dx)
    dx *= _channels(-dw / count, x)
    dx += dy
    dx -= _channels(db / count, x)
    dx *= _channels(scale if w is None else scale * w, x)
    return dx, dw.astype(x.dtype), db.astype(x.dtype)


def channel_sum(x: Array) -> Array:
    """The sums (C,) of x (N, C, ...) in float64."""
    if x.ndim > 2:
        x = x.sum(axis=-1)
    return x.sum(axis=(0, *range(2, x.ndim)), dtype=np.float64)


def _channels(v: Array, x: Array) -> Array:
    """v (C,) so that it broadcasts against x (N, C, ...)."""
    return v.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2))


def layer_norm(x: Array, w: Array | None, b: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y (M, D), and the mean and r of each row, (M, 1)."""
    mean = x.mean(axis=1, keepdims=True)
    y = x - mean
    r = 1 / np.sqrt((y * y).mean(axis=1, keepdims=True) + x.dtype.type(eps))
    y *= r
    if w is not None:
        y *= w
    if b is not None:
        y += b
    return y, mean, r


def layer_norm_grad(dy: Array, x: Array, w: Array | None, mean: Array, r: Array) -> tuple[Array, Array, Array]:
    """dx (M, D), dw (D,), db (D,)."""
    z = x - mean
    z *= r
    dw = (dy * z).sum(axis=0, dtype=np.float64).astype(x.dtype)
    db = dy.sum(axis=0, dtype=np.float64).astype(x.dtype)
    dx = dy.copy() if w is None else dy * w
    along_z = (dx * z).mean(axis=1, keepdims=True)
    dx -= dx.mean(axis=1, keepdims=True)
    z *= along_z
    dx -= z
    dx *= r
    return dx, dw, db
