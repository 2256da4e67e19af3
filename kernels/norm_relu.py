"""Batch norm with what follows it, ReLU or ReLU and 2x2 max pooling, in one pass less for each.

    y = pool(max(w z + b, 0)), z as in `norm.py`

Forward, the moments take one pass over x, the rest another. Backward, a gradient is carried through pooling and ReLU
while it is read: once for the sums over the batch, once for dx. What is kept is x, y and one byte for each y.
For images of float32; else do the steps one after the other. The passes are in `norm_relu_compiled.py` and, for NumPy
alone, `norm_relu_numpy.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled, norm_relu_numpy
from .fused import RELU, RELU_POOL, Fused, empty_result, nhwc
from .memory import empty
from .norm import batch_moments, optional_weights
from .parallel import BYTES, for_blocks

Array = np.ndarray


def usable(*images: Array) -> bool:
    """Whether these are images (N, C, H, W) of float32, not empty."""
    return all(x.ndim == 4 and x.dtype == np.float32 and x.size for x in images)


def _passes() -> Any:
    return compiled.load("norm_relu_compiled") or norm_relu_numpy


def batch_norm(x: Array, w: Array | None, b: Array | None, eps: float, step: int) -> tuple[Fused, Array, Array]:
    """What `step` (RELU or RELU_POOL) makes of the normalised x (N, C, H, W); the mean and variance (C,) in float64."""
    x = nhwc(x).transpose(0, 3, 1, 2)
    mean, var = batch_moments(x)
    r = 1 / np.sqrt(var + eps)
    return channel_affine(x, mean, r if w is None else r * w, b, step), mean, var


def channel_affine(x: Array, mean: Array, scale: Array, shift: Array | None, step: int) -> Fused:
    """What `step` makes of (x - mean) scale + shift."""
    code, images = _passes(), nhwc(x)
    N, H, W, C = images.shape
    y, choice = empty_result(N, C, H, W, step)
    vectors = mean.astype(x.dtype), *optional_weights(scale, shift, C, x.dtype)

    def part(start: int, stop: int) -> None:
        if step == RELU:
            code.scale_relu(_rows(images[start:stop]), _rows(y[start:stop]), *vectors)
        else:
            code.scale_relu_pool(images[start:stop], y[start:stop], choice[start:stop], *vectors)

    for_blocks(part, N, (x.nbytes + y.nbytes) / BYTES, blas=False)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), x.shape)


def batch_norm_grad(
    dy: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float, fused: Fused
) -> tuple[Array, Array, Array]:
    """dx (N, C, H, W), dw (C,), db (C,) from dy, the gradient at fused.y."""
    code, pooled = _passes(), fused.step == RELU_POOL
    arrays = [nhwc(x), nhwc(fused.y), *([nhwc(fused.choice)] if pooled else []), nhwc(dy)]
    dx, r = empty(arrays[0].shape, x.dtype), 1 / np.sqrt(var + eps)
    work = sum(a.nbytes for a in arrays) / BYTES

    def sums(start: int, stop: int) -> Array:
        total = np.zeros((2, x.shape[1]))
        if pooled:
            code.pool_grad_sums(*(a[start:stop] for a in arrays), mean.astype(x.dtype), total)
        else:
            code.grad_sums(*(_rows(a[start:stop]) for a in arrays), mean.astype(x.dtype), total)
        return total

    db, along = np.sum(for_blocks(sums, len(dx), work, blas=False), axis=0)
    dw, count = along * r, x.size // x.shape[1]
    vectors = [v.astype(x.dtype) for v in (mean, db / count, dw * r / count, r if w is None else r * w)]

    def part(start: int, stop: int) -> None:
        if pooled:
            code.pool_input_grad(*(a[start:stop] for a in (*arrays, dx)), *vectors)
        else:
            code.input_grad(*(_rows(a[start:stop]) for a in (*arrays, dx)), *vectors)

    for_blocks(part, len(dx), work + dx.nbytes / BYTES, blas=False)
    return dx.transpose(0, 3, 1, 2), dw.astype(x.dtype), db.astype(x.dtype)


def _rows(x: Array) -> Array:
    """x (N, H, W, C) as (N H W, C)."""
    return x.reshape(-1, x.shape[3])
