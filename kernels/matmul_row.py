"""Products in which each number of a matrix is read or written once, so that memory takes the time: of one row or a few
with a matrix, and of a column with a row. Compiled loops for float32; None says that they cannot do it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled, parallel
from .fused import FLOAT32
from .memory import empty

Array = np.ndarray
NO_BIAS = np.zeros(0, np.float32)
FEW = 7  # rows: with more, the products take longer than reading the matrix, and other loops are faster


def product(x: Array, y: Array) -> Array | None:
    """x · y for x (n, k) of up to FEW rows and y (k, m), or x (n, 1) and y (1, m); None for others."""
    if len(y) == 1:
        return outer(x[:, 0], y[0])
    if len(x) <= FEW and y.flags.c_contiguous:
        return combine(x, y)
    one = row(x[0], y.T) if len(x) == 1 else None
    return None if one is None else one[None]


def row(x: Array, w: Array, b: Array | None = None, relu: bool = False) -> Array | None:
    """w x + b for x (k,), w (m, k) and b (m,), then ReLU if asked for."""
    bias = NO_BIAS if b is None else b
    code = _code(x, w, bias)
    if code is None:
        return None
    y = np.empty(len(w), FLOAT32)

    def rows(start: int, stop: int) -> tuple[Any, ...]:
        block = slice(start * code.ROWS, stop * code.ROWS)
        return x, w[block], bias[block], relu, y[block]

    parallel.share(code.row, rows, -(-len(w) // code.ROWS), w.nbytes / (2 * parallel.BYTES))
    return y


def combine(x: Array, w: Array) -> Array | None:
    """x · w for x (n, k) and w (k, m): the rows of w, each times its number of a row of x, added up."""
    code = _code(x, w)
    if code is None:
        return None
    y = empty((len(x), w.shape[1]), FLOAT32)
    work = w.nbytes / (2 * parallel.BYTES) + (len(x) - 1) * w.size / parallel.PRODUCTS
    parallel.share(code.combine, lambda i, j: (x, w, y, i, j), w.shape[1], work)
    return y


def outer(x: Array, y: Array) -> Array | None:
    """The products of each number of x (n,) with each of y (m,): (n, m)."""
    code = _code(x, y)
    if code is None:
        return None
    out = empty((len(x), len(y)), FLOAT32)
    parallel.share(code.outer, lambda i, j: (x[i:j], y, out[i:j]), len(x), out.nbytes / parallel.BYTES)
    return out


def _code(*arrays: Array) -> Any:
    """The compiled loops, if they take the arrays as they are: contiguous, aligned and writeable."""
    fits = all(a.dtype == FLOAT32 and a.flags.carray for a in arrays)
    return compiled.load("matmul_row_compiled") if fits else None
