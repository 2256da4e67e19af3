"""The matrix product, shared out among our worker threads.

NumPy's BLAS has threads of its own, but after a product they keep a core busy waiting for the next one, just
when our workers want it. So large products are cut into blocks of rows or columns, one thread for each.
"""

from __future__ import annotations

import numpy as np

from . import parallel
from .half import in_float32
from .memory import empty

BLAS_SHARES = 2**18  # multiplications: above this BLAS takes threads of its own, if it may


@in_float32()
def matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x (..., n, k) · y (..., k, m), leading dimensions broadcast."""
    if x.ndim != 2 or y.ndim != 2 or x.size * y.shape[1] <= BLAS_SHARES or parallel.get_num_threads() == 1:
        return np.matmul(x, y)
    n, m = x.shape[0], y.shape[1]
    out = empty((n, m), np.result_type(x, y))
    work = max(x.size * m / parallel.PRODUCTS, (x.nbytes + y.nbytes + out.nbytes) / parallel.BYTES)
    if work < parallel.SMALL:
        with parallel.one_blas_thread():
            return np.matmul(x, y, out=out)
    if n >= m:
        parallel.for_blocks(lambda start, stop: np.matmul(x[start:stop], y, out=out[start:stop]), n)
    else:
        parallel.for_blocks(lambda start, stop: np.matmul(x, y[:, start:stop], out=out[:, start:stop]), m)
    return out
