"""Launch of the kernel in erf.cu; the contract is that of kernels/erf.py."""

from __future__ import annotations

import cupy as cp

from ..half import in_float32
from .launch import contiguous, empty, launch


@in_float32()
def erf(x: cp.ndarray) -> cp.ndarray:
    """See kernels/erf.py."""
    y = empty(x.shape, x.dtype)
    launch("erf.cu", "erf_of", x.dtype, x.size, contiguous(x), y, x.size)
    return y
