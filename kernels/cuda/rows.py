"""Launches of the kernels in rows.cu; the contracts are those of kernels/rows.py."""

from __future__ import annotations

import math

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch

FILE = "rows.cu"


def take_rows(x: cp.ndarray, index: cp.ndarray) -> cp.ndarray:
    """See kernels/rows.py; here the IndexError comes when the device is next waited for."""
    y = empty((index.size, *x.shape[1:]), x.dtype)
    arguments = contiguous(x), _int64(index), y, index.size, math.prod(x.shape[1:]), len(x)
    launch(FILE, "take_rows", x.dtype, y.size, *arguments)
    return y


def look_up_rows(x: cp.ndarray, index: cp.ndarray | None, table: cp.ndarray) -> cp.ndarray:
    """See kernels/rows.py; here the IndexError comes when the device is next waited for."""
    N, H, W, C = x.shape
    n = N if index is None else index.size
    y = empty((n, C, H, W), table.dtype)
    rows = None if index is None else _int64(index)
    launch(FILE, "look_up_rows", table.dtype, y.size, contiguous(x), rows, contiguous(table), y, n, C, H * W, N)
    return y


def _int64(index: cp.ndarray) -> cp.ndarray:
    return contiguous(index.astype(np.int64, copy=False))
