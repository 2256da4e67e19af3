"""ReLU, of a sum too, and its gradient, shared out among the worker threads.

    y = max(x, 0);  y = max(a + b, 0);  dx = dy where y > 0, else 0

What is done to runs of memory stands at the end, and for float32 in `relu_compiled.py`, under the same names.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import compiled
from .fused import FLOAT32
from .memory import empty_like
from .parallel import for_blocks, pass_over, share_rows

Array = np.ndarray

BLOCK = 2**15  # elements: the memory that a pass touches stays in the cache
SMALL = 2**16  # below this many elements one thread is faster
FEW = 2**12  # below this many a single call of NumPy is faster than handing arrays to a compiled function


def flat(x: Array) -> Array | None:
    """x as one run of memory, in the order it lies in; None if it is in several."""
    run = x.ravel(order="K")
    return None if run.base is None else run  # a copy is nobody's view


def relu(x: Array) -> Array:
    """y, with the memory layout of x. NaN stays NaN."""
    if x.size < FEW or (run := flat(x)) is None:
        return np.maximum(x, 0)
    y = empty_like(x)
    _share(run_relu, run, y.ravel(order="K"))
    return y


def add_relu(a: Array, b: Array) -> Array:
    """y for a and b of one shape and dtype, with the memory layout of a. NaN stays NaN."""
    if a.size < FEW or a.strides != b.strides or (flat_a := flat(a)) is None or (flat_b := flat(b)) is None:
        return relu(a + b)
    y = empty_like(a)
    _share(run_add_relu, flat_a, flat_b, y.ravel(order="K"))
    return y


def masked(x: Array, keep: Array) -> Array:
    """x where `keep`, 0 elsewhere, even if x is inf or NaN there.

    The bits of x times 1 or 0: one pass without a branch, ten times as fast as numpy.where on a random mask.
    """
    return (x.view(f"i{x.dtype.itemsize}") * keep).view(x.dtype)


def relu_grad(dy: Array, y: Array) -> Array:
    """dx, 0 where y is not above 0 even if dy is inf or NaN there."""
    if dy.size < FEW or dy.strides != y.strides or (flat_dy := flat(dy)) is None or (flat_y := flat(y)) is None:
        return masked(dy, y > 0)
    dx = empty_like(dy)
    _share(run_relu_grad, flat_dy, flat_y, dx.ravel(order="K"))
    return dx


def _share(step: Callable[..., None], *runs: Array) -> None:
    """The step, or its compiled twin, on blocks of the runs."""
    work = pass_over(*runs)
    code = compiled.load("relu_compiled") if runs[0].dtype == runs[-2].dtype == FLOAT32 else None
    if code:
        share_rows(getattr(code, step.__name__), runs, work)
    else:
        for_blocks(lambda start, stop: step(*(run[start:stop] for run in runs)), len(runs[0]), work, blas=False)


def run_relu(x: Array, y: Array) -> None:
    np.maximum(x, 0, out=y)


def run_add_relu(a: Array, b: Array, y: Array) -> None:
    for i in range(0, len(a), BLOCK):
        block = slice(i, i + BLOCK)
        np.add(a[block], b[block], out=y[block])
        np.maximum(y[block], 0, out=y[block])


def run_relu_grad(dy: Array, y: Array, dx: Array) -> None:
    for i in range(0, len(dy), BLOCK):
        block = slice(i, i + BLOCK)
        bits = dx[block].view(f"i{dx.itemsize}")
        np.multiply(dy[block].view(bits.dtype), y[block] > 0, out=bits)
