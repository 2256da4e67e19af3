"""Launches of the kernels in warp.cu; the contract is that of kernels/warp.py."""

from __future__ import annotations

from typing import Any

import cupy as cp
import numpy as np

from .launch import contiguous, empty, launch

FILE = "warp.cu"
SAMPLE = np.dtype([(name, np.int32) for name in ["N", "C", "H", "W", "OH", "OW"]])


def sample(x: cp.ndarray, u: cp.ndarray, v: cp.ndarray, nearest: bool = False, fill: Any = 0) -> cp.ndarray:
    """See kernels/warp.py."""
    N, C = x.shape[:2]
    out = u.shape[1:]
    y = empty((N, C, *out), x.dtype)
    points = (contiguous(p.astype(np.float64, copy=False)) for p in (u, v))
    number = fill if np.isscalar(fill) else None
    each = None if number is not None else cp.broadcast_to(cp.asarray(fill, x.dtype), (C,)).copy()
    plane = x.dtype.type(number or 0).item()
    kernel = "sample_nearest" if nearest else "sample_bilinear"
    s = np.array((*x.shape, *out), SAMPLE)[()]
    launch(FILE, kernel, x.dtype, y.size, contiguous(x), *points, each, y, s, plane)
    return y
