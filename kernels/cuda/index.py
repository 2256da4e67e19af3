"""Launches of the kernels in index.cu; the contracts are those of kernels/index.py."""

from __future__ import annotations

from typing import Any

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch

FILE = "index.cu"


def scatter_sum(positions: cp.ndarray, values: cp.ndarray, size: int) -> cp.ndarray:
    """See kernels/index.py."""
    if values.dtype == np.float16:
        return scatter_sum(positions, values.astype(np.float32), size).astype(np.float16)
    flat = positions.ravel().astype(np.int64, copy=False)
    order = cp.argsort(flat, kind="stable")
    starts = cp.searchsorted(flat[order], cp.arange(size + 1))
    out = empty((size,), values.dtype)
    launch(FILE, "scatter_sum", values.dtype, size, order, starts, contiguous(values), out, size)
    return out


def check_index(shape: tuple[int, ...], index: tuple[Any, ...]) -> None:
    """See kernels/index.py; here the IndexError comes when the device is next waited for."""
    arrays_at = [i for i, part in enumerate(index) if hasattr(part, "dtype")]
    ellipsis = next((i for i, part in enumerate(index) if part is Ellipsis), len(index))
    widths = [_dimensions(part) for part in index]
    for i in arrays_at:
        part = index[i]
        # Counted from the left before the `...`, from the right after it.
        dimension = sum(widths[:i]) if i < ellipsis else len(shape) - sum(widths[i:])
        if part.dtype.kind != "b":
            launch(FILE, "check_index", part.dtype, part.size, contiguous(part), part.size, shape[dimension])


def _dimensions(part: Any) -> int:
    """How many dimensions of the array a part of an index stands for."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if getattr(part, "dtype", None) == np.bool_ else 1
