"""Batch norm with what follows it, ReLU or ReLU and 2x2 max pooling, in one pass less for each.

    y = pool(max(w z + b, 0)), z as in `norm.py`

Forward, the moments take one pass over x, the rest another. Backward, a gradient is carried through pooling and ReLU
while it is read: once for the sums over the batch, once for dx. What is kept is x, y and one byte for each y.
For images of float32; else do the steps one after the other. The passes are in `norm_relu_compiled.py`, with pooling in
`norm_pool_compiled.py` and, for NumPy alone, in `norm_relu_numpy.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import compiled, norm_relu_numpy
from .fused import RELU, RELU_POOL, Fused, empty_result, nhwc
from .memory import empty
from .norm import batch_gradients, batch_statistics, for_gradients, for_statistics, pixels
from .parallel import for_blocks, lead, pass_over

Array = np.ndarray


def usable(*images: Array) -> bool:
    """Whether these are images (N, C, H, W) of float32, not empty."""
    return all(x.ndim == 4 and x.dtype == np.float32 and x.size for x in images)


def batch_norm(x: Array, w: Array | None, b: Array | None, eps: float, step: int) -> tuple[Fused, Array, Array]:
    """What `step` (RELU or RELU_POOL) makes of the normalised x (N, C, H, W); the mean and variance (C,) in float64."""
    images = nhwc(x)
    N, H, W, C = images.shape
    y, choice = empty_result(N, C, H, W, step)
    if code := _code(step):
        rows = images.reshape(-1, pixels(C, images.size) * C)
        given, moments, vectors = for_statistics(rows, C, w, b, eps)
        more = (y.reshape(rows.shape),) if step == RELU else (images, y, choice)
        lead(code.batch_norm, pass_over(images, y), *given, moments, vectors, *more)
        mean, var = moments
    else:
        mean, var, vectors = batch_statistics(images.transpose(0, 3, 1, 2), w, b, eps)
        _by_numpy("scale", step, [images, y] if step == RELU else [images, y, choice], *vectors)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), (N, C, H, W)), mean, var


def batch_norm_grad(
    dy: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float, fused: Fused
) -> tuple[Array, Array, Array]:
    """dx (N, C, H, W), dw (C,), db (C,) from dy, the gradient at fused.y."""
    choice = [] if fused.step == RELU else [nhwc(fused.choice)]
    arrays = [nhwc(x), nhwc(fused.y), *choice, nhwc(dy)]
    dx, C = empty(arrays[0].shape, x.dtype), x.shape[1]
    if code := _code(fused.step):
        wide = C if choice else pixels(C, x.size) * C
        given, dw, db = for_gradients(wide, C, w, mean, var, eps)
        *read, written = [*arrays, dx] if choice else [a.reshape(-1, wide) for a in (*arrays, dx)]
        lead(code.batch_norm_grad, pass_over(*arrays, dx), *read, *given, written, dw, db)
    else:
        sums = functools.reduce(np.add, _by_numpy("grad_sums", fused.step, arrays, mean.astype(x.dtype), summed=True))
        vectors, dw, db = batch_gradients(sums, x, w, mean, var, eps)
        _by_numpy("input_grad", fused.step, [*arrays, dx], *vectors)
    return dx.transpose(0, 3, 1, 2), dw, db


def _code(step: int) -> Any:
    """The compiled passes, if they may be used."""
    return compiled.load("norm_pool_compiled" if step == RELU_POOL else "norm_relu_compiled")


def _by_numpy(name: str, step: int, arrays: list[Array], *vectors: Array, summed: bool = False) -> list[Array]:
    """A pass over blocks of images. Without pooling it takes (N, H, W, C) as rows of channels; if `summed`, it has one
    more argument for its sums (2, C), and those of each block are returned."""
    run, C = getattr(norm_relu_numpy, f"pool_{name}" if step == RELU_POOL else name), arrays[0].shape[3]

    def block(start: int, stop: int) -> Array:
        parts, sums = [a[start:stop] for a in arrays], np.zeros((2, C))
        run(*(parts if step == RELU_POOL else [a.reshape(-1, C) for a in parts]), *vectors, *[sums] * summed)
        return sums

    return for_blocks(block, len(arrays[0]), pass_over(*arrays), blas=False)
