"""The linear map of a layer, what it adds, the gradient of that, and how many answers of a classifier are right.

    linear:         y[m, o] = x[m] · w[o] + b[o], then y = max(y, 0) if asked for
    add_bias:       y[m, o] += b[o], then y = max(y, 0) if asked for
    bias_grad:      db[c] = the sum of dy[n, c, ...] over everything but c
    count_correct:  the number of rows m of x (M, C) whose largest element is at t[m] (the first, if there are several)
"""

from __future__ import annotations

import numpy as np

from .half import in_float32
from .matmul import matmul
from .matmul_row import row
from .matmul_turned import turned
from .memory import chunks
from .parallel import for_blocks
from .relu import SMALL

Array = np.ndarray


def linear(x: Array, w: Array, b: Array | None, relu: bool = False) -> Array:
    """y (M, O) from x (M, C), w (O, C) and b (O,) or None. NaN stays NaN."""
    one = row(x[0], w, b, relu) if len(x) == 1 else None
    if one is not None:
        return one[None]
    many = turned(x, w, b, relu)
    if many is not None:
        return many
    y = matmul(x, w.T)
    if b is not None or relu:
        add_bias(y, b, relu)
    return y


def add_bias(y: Array, b: Array | None, relu: bool = False) -> None:
    """y (M, O) is changed in place; b (O,) or None. NaN stays NaN."""

    def run(part: Array) -> None:
        if b is not None:
            part += b
        if relu:
            np.maximum(part, 0, out=part)

    def block(start: int, stop: int) -> None:
        for rows in chunks(start, stop, y.shape[1]):
            run(y[rows])

    if y.size < SMALL:
        run(y)
    else:
        for_blocks(block, len(y))


@in_float32()
def bias_grad(dy: Array) -> Array:
    """db (C,) from dy (N, C, ...)."""
    small = dy.size < SMALL or dy.dtype.char not in "fd"
    if small or not (rows := np.moveaxis(dy, 1, -1)).flags.c_contiguous:
        return dy.sum(axis=(0, *range(2, dy.ndim)))
    rows = rows.reshape(-1, rows.shape[-1])
    # A product with ones is three times as fast as NumPy's sum over rows, and more exact.
    parts = for_blocks(lambda start, stop: np.ones(stop - start, dy.dtype) @ rows[start:stop], len(rows))
    return np.sum(parts, axis=0)


def count_correct(x: Array, t: Array) -> Array:
    """An int64 number, (), from x (M, C) and integers t (M,). A NaN is larger than everything."""
    return np.asarray(np.count_nonzero(x.argmax(axis=1) == t), np.int64)
