"""Rows of a data set: how a batch is gathered, in one pass over the memory of the batch.

    take_rows:     y[i] = x[index[i]]
    look_up_rows:  y[i, c, h, w] = table[c, x[index[i], h, w, c]]

x of look_up_rows are images (N, H, W, C) as files have them, uint8, and `table` (C, 256) is what becomes of each value:
value / 255, less the mean, over the standard deviation, for instance. So the result has the bits that these operations
give one after the other.
"""

from __future__ import annotations

import numpy as np

from . import memory

Array = np.ndarray


def take_rows(x: Array, index: Array) -> Array:
    """y (n, ...) from x (N, ...) and index (n,), integers from -N to N - 1. Raises IndexError for another."""
    return x[index]


def look_up_rows(x: Array, index: Array | None, table: Array) -> Array:
    """y (n, C, H, W) in the dtype of `table`; all rows of x in order if `index` is None."""
    images = x if index is None else x[index]
    N, H, W, C = images.shape
    y = memory.empty((N, C, H, W), table.dtype)
    for c in range(C):
        np.take(table[c], images[..., c], out=y[:, c], mode="wrap")  # every value has an entry; no mode looks less
    return y
