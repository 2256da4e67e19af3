"""Batch norm with what follows it, ReLU or ReLU and 2x2 max pooling, in one pass less for each.

    y = pool(max(w z + b, 0)), z as in `norm.py`

Forward, the moments take one pass over x, the rest another. Backward, a gradient is carried through pooling and ReLU
while it is read: once for the sums over the batch, once for dx. What is kept is x, y and one byte for each y.
For images of float32; else do the steps one after the other. The passes are in `norm_relu_compiled.py` and, for NumPy
alone, `norm_relu_numpy.py`.
"""

from __future__ import annotations

import functools

import numpy as np

from . import compiled, norm_relu_numpy
from .fused import RELU, RELU_POOL, Fused, empty_result, nhwc
from .memory import empty
from .norm import batch_gradients, batch_statistics
from .parallel import for_blocks, pass_over, share

Array = np.ndarray


def usable(*images: Array) -> bool:
    """Whether these are images (N, C, H, W) of float32, not empty."""
    return all(x.ndim == 4 and x.dtype == np.float32 and x.size for x in images)


def batch_norm(x: Array, w: Array | None, b: Array | None, eps: float, step: int) -> tuple[Fused, Array, Array]:
    """What `step` (RELU or RELU_POOL) makes of the normalised x (N, C, H, W); the mean and variance (C,) in float64."""
    images = nhwc(x)
    mean, var, vectors = batch_statistics(images.transpose(0, 3, 1, 2), w, b, eps)
    return scale(images, vectors, step), mean, var


def scale(images: Array, vectors: Array, step: int) -> Fused:
    """What `step` makes of (x - mean) scale + shift, the vectors (3, C), of images (N, H, W, C)."""
    N, H, W, C = images.shape
    y, choice = empty_result(N, C, H, W, step)
    if step == RELU:
        _run("scale_relu", [images, y], *vectors)
    else:
        _run("scale_relu_pool", [images, y, choice], *vectors)
    return Fused(step, y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2), (N, C, H, W))


def batch_norm_grad(
    dy: Array, x: Array, w: Array | None, mean: Array, var: Array, eps: float, fused: Fused
) -> tuple[Array, Array, Array]:
    """dx (N, C, H, W), dw (C,), db (C,) from dy, the gradient at fused.y."""
    pool, choice = ("pool_", [nhwc(fused.choice)]) if fused.step == RELU_POOL else ("", [])
    arrays = [nhwc(x), nhwc(fused.y), *choice, nhwc(dy)]
    dx = empty(arrays[0].shape, x.dtype)
    sums = functools.reduce(np.add, _run(f"{pool}grad_sums", arrays, mean.astype(x.dtype), summed=True))
    vectors, dw, db = batch_gradients(sums, x, w, mean, var, eps)
    _run(f"{pool}input_grad", [*arrays, dx], *vectors)
    return dx.transpose(0, 3, 1, 2), dw, db


def _run(name: str, arrays: list[Array], *vectors: Array, summed: bool = False) -> list[Array]:
    """The pass of that name over blocks of images: compiled, or by NumPy. Without pooling it takes (N, H, W, C) as rows
    of channels; if `summed`, it has one more argument for its sums (2, C), and those of each block are returned."""
    code, n, work = compiled.load("norm_relu_compiled"), len(arrays[0]), pass_over(*arrays)
    C = arrays[0].shape[3]

    def arguments(start: int, stop: int) -> tuple[Array, ...]:
        parts = [a[start:stop] if "pool" in name else a[start:stop].reshape(-1, C) for a in arrays]
        return *parts, *vectors, *[np.zeros((2, C))] * summed

    def by_numpy(start: int, stop: int) -> tuple[Array, ...]:
        call = arguments(start, stop)
        getattr(norm_relu_numpy, name)(*call)
        return call

    calls = share(getattr(code, name), arguments, n, work) if code else for_blocks(by_numpy, n, work, blas=False)
    return [call[-1] for call in calls]
