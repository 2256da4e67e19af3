"""The matrix product, shared out among our worker threads.

NumPy's BLAS has threads of its own, but after a product they keep a core busy waiting for the next one, just
when our workers want it. So large products are cut into blocks of rows or columns, one thread for each. BLAS reaches
half of its speed only where a factor is long and narrow, as those of linear layers; float32 goes to compiled loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled, matmul_row, matmul_turned, parallel
from .fused import FLOAT32, offsets
from .matmul_turned import FEW
from .memory import empty

SMALL = 2**18  # multiplications: above this BLAS takes threads of its own, if it may
BATCHED = 8  # times what a large product of as many operations takes: what a small one does
LONG = 512  # terms of the sums of `panels`: with more BLAS is as fast

Array = np.ndarray


def matmul(x: Array, y: Array) -> Array:
    """x (..., n, k) · y (..., k, m), leading dimensions broadcast."""
    if x.ndim > 2 and x.shape[:-2] == y.shape[:-2]:
        return _batched(x, y)
    if x.ndim != 2 or y.ndim != 2 or x.size * y.shape[1] <= SMALL:
        return np.matmul(x, y)
    if (of_few := matmul_row.product(x, y)) is not None:
        return of_few
    if (of_many := matmul_turned.turned(x, y.T)) is not None:
        return of_many
    out = empty((x.shape[0], y.shape[1]), np.result_type(x, y))
    passes = (x.nbytes + y.nbytes) / (2 * parallel.BYTES)  # reading alone is twice as fast
    work = max(x.size * y.shape[1] / parallel.PRODUCTS, passes)
    if not _compiled(x, y, out, work):
        _blas(x, y, out, work)
    return out


def _batched(x: Array, y: Array) -> Array:
    """One product after the other, shared out along the first dimension."""
    out = empty((*x.shape[:-1], y.shape[-1]), np.result_type(x, y))
    parallel.for_blocks(
        lambda start, stop: np.matmul(x[start:stop], y[start:stop], out=out[start:stop]),
        len(x), BATCHED * x.size * y.shape[-1] / parallel.PRODUCTS,
    )  # fmt: skip
    return out


def _compiled(x: Array, y: Array, out: Array, work: float) -> bool:
    """Whether the compiled loops were the right ones, and did it."""
    fits = x.dtype == y.dtype == FLOAT32 and all(a.flags.aligned and a.flags.writeable for a in (x, y))
    code = compiled.load("matmul_compiled") if fits else None
    if code is None:
        return False
    (n, k), m = x.shape, y.shape[1]
    if y.flags.c_contiguous and k <= LONG and n >= code.PANEL_MR and m >= code.PANEL:
        x = np.ascontiguousarray(x)  # read again for each of y's blocks of columns
        rows, zeros = offsets((n, k)), np.zeros(code.PANEL, np.float32)
        parallel.share(code.panels, lambda i, j: (x, rows, y, out, zeros, i, j), -(-m // code.PANEL), work)
        return True
    if n <= FEW and x.flags.c_contiguous and y.T.flags.c_contiguous and k % code.LANES == 0:
        rows = offsets((m, k), multiple=code.DOT_COLUMNS).reshape(-1, code.DOT_COLUMNS)
        wide = code.DOT_COLUMNS

        def columns(start: int, stop: int) -> tuple[Any, ...]:
            return x, y.T, rows[start:stop], out[:, start * wide : stop * wide]

        parallel.share(code.dots, columns, len(rows), work)
        return True
    return False


def _blas(x: Array, y: Array, out: Array, work: float) -> None:
    n, m = out.shape
    if parallel.get_num_threads() == 1:
        np.matmul(x, y, out=out)
    elif work < parallel.SMALL:
        with parallel.one_blas_thread():
            np.matmul(x, y, out=out)
    elif n == 1:  # np.matmul keeps Python's lock in small products, np.dot does not
        parallel.for_blocks(lambda start, stop: np.dot(x, y[:, start:stop], out=out[:, start:stop]), m)
    elif n >= m:
        parallel.for_blocks(lambda start, stop: np.matmul(x[start:stop], y, out=out[start:stop]), n)
    else:
        parallel.for_blocks(lambda start, stop: np.matmul(x, y[:, start:stop], out=out[:, start:stop]), m)
