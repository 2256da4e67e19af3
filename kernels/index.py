"""Indexing with arrays: its adjoint, and the check that no index is out of range.

    scatter_sum: out[p] = sum of the values whose position is p        out (size,)
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def scatter_sum(positions: Array, values: Array, size: int) -> Array:
    """out (size,) in the dtype of `values`, which has the shape of `positions` (integers in 0 .. size - 1).

    Floats are summed in float64, in the order in which they stand: the result does not depend on chance.
    """
    if values.dtype.kind == "f":
        return np.bincount(positions.ravel(), values.ravel(), size).astype(values.dtype)
    out = np.zeros(size, values.dtype)
    np.add.at(out, positions, values)
    return out


def check_index(shape: tuple[int, ...], index: tuple[Any, ...]) -> None:
    """Raise IndexError if an integer array in `index` (of arrays, slices and `...`) leaves `shape`.

    NumPy finds that out while it indexes, so nothing is looked at here.
    """
