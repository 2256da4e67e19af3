"""A linear layer of many rows. BLAS packs both factors anew for each product, and comes to half of its speed where one
is as long and narrow as here: compiled loops for float32, or None where BLAS or other loops are as fast.
"""

from __future__ import annotations

import numpy as np

from . import compiled, parallel
from .fused import FLOAT32, offsets
from .memory import empty

FEW, MANY = 48, 128  # rows of x: up to FEW, dot products are faster; with more than MANY
LONG = 512  # elements are needed in each, or BLAS is
SMALL = 2**18  # multiplications: less take NumPy no longer than our preparations

Array = np.ndarray
NO_BIAS = np.zeros(0, np.float32)


def turned(x: Array, w: Array, b: Array | None = None, relu: bool = False) -> Array | None:
    """x wᵀ + b for x (n, k), w (m, k) and b (m,), then ReLU if asked for.

    Blocks of x are transposed, so that vectors of it are multiplied by numbers of w where these lie. Where that costs
    much, two threads transpose different halves of the rows: their sums are two parts, which are added at the end.
    """
    bias = NO_BIAS if b is None else b
    (n, k), m = x.shape, len(w)
    if n <= FEW or (n > MANY and k < LONG) or not all(a.dtype == FLOAT32 and a.flags.carray for a in (x, w, bias)):
        return None
    code = compiled.load("matmul_turned_compiled")
    if code is None or k % code.LANES or m < code.LANES or n * k * m <= SMALL:
        return None
    rows = offsets((m, k), multiple=code.WIDE_MR).reshape(-1, code.WIDE_MR)
    blocks, parts = -(-n // code.ROWS), 2 if k >= 16 * m else 1
    sums, zeros = empty((blocks, parts, rows.size, code.ROWS), FLOAT32), np.zeros(code.ROWS, FLOAT32)
    tiles, work = blocks * parts * len(rows), n * k * m / parallel.PRODUCTS
    parallel.share(code.turned, lambda i, j: (x, w, rows, sums, zeros, i, j), tiles, work)
    y = empty((n + -n % code.LANES, m), FLOAT32)
    passes = (sums.nbytes + y.nbytes) / parallel.BYTES
    parallel.share(code.add_parts, lambda i, j: (sums, bias, relu, y, i, j), -(-m // code.LANES), passes)
    return y[:n]
