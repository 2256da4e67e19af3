"""The matrix product, by cuBLAS; the contract is that of kernels/matmul.py."""

from __future__ import annotations

import cupy as cp


def matmul(x: cp.ndarray, y: cp.ndarray) -> cp.ndarray:
    """See kernels/matmul.py."""
    return cp.matmul(x, y)
