"""ReLU and its gradient, shared out among the worker threads.

    y = max(x, 0);  dx = dy where y > 0, else 0
"""

from __future__ import annotations

import numpy as np

from .parallel import for_blocks

BLOCK = 2**15  # elements: the memory that a pass touches stays in the cache
SMALL = 2**16  # below this many elements one thread is faster


def _flat(x: np.ndarray) -> np.ndarray | None:
    """x as one run of memory, in the order it lies in; None if it is in several."""
    order = sorted(range(x.ndim), key=lambda axis: x.strides[axis], reverse=True)
    flat = x.transpose(order)
    return flat.reshape(-1) if flat.flags.c_contiguous else None


def relu(x: np.ndarray) -> np.ndarray:
    """y, with the memory layout of x. NaN stays NaN."""
    flat = _flat(x)
    if flat is None or x.size < SMALL:
        return np.maximum(x, 0)
    y = np.empty_like(x)
    into = _flat(y)
    assert into is not None
    for_blocks(lambda start, stop: np.maximum(flat[start:stop], 0, out=into[start:stop]), x.size)
    return y


def masked(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """x where `keep`, 0 elsewhere, even if x is inf or NaN there.

    The bits of x times 1 or 0: one pass without a branch, ten times as fast as numpy.where on a random mask.
    """
    return (x.view(f"i{x.dtype.itemsize}") * keep).view(x.dtype)


def relu_grad(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dx, 0 where y is not above 0 even if dy is inf or NaN there."""
    flat_dy, flat_y = _flat(dy), _flat(y)
    if flat_dy is None or flat_y is None or dy.strides != y.strides or dy.size < SMALL:
        return masked(dy, y > 0)
    dx = np.empty_like(dy)
    into = _flat(dx)
    assert into is not None

    def run(start: int, stop: int) -> None:
        for i in range(start, stop, BLOCK):
            block = slice(i, min(i + BLOCK, stop))
            into[block] = masked(flat_dy[block], flat_y[block] > 0)

    for_blocks(run, dy.size)
    return dx
