"""The matrix product, by cuBLAS or by matmul.cu; the contract is that of kernels/matmul.py.

cuBLAS refuses to be captured into a CUDA graph. There, and where the bits must be a graph's, it is our own kernel.
"""

from __future__ import annotations

import math

import cupy as cp
import numpy as np

from ..half import in_float32
from .graph import is_capturable
from .launch import contiguous, empty
from .product import Size, product

NAMES = ["rows", "columns", "terms", "products", "x_row", "x_term", "x_next", "y_term", "y_column", "y_next"]
PRODUCT = np.dtype([(name, np.int32) for name in NAMES])


def matmul(x: cp.ndarray, y: cp.ndarray) -> cp.ndarray:
    """See kernels/matmul.py."""
    if x.dtype.char in "efd" and is_capturable():
        return own_matmul(x, y)
    return cp.matmul(x, y)


@in_float32()
def own_matmul(x: cp.ndarray, y: cp.ndarray) -> cp.ndarray:
    """x (..., M, K) y (..., K, N) by matmul.cu; leading dimensions are broadcast."""
    (M, K), N = x.shape[-2:], y.shape[-1]
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    z = empty((*batch, M, N), x.dtype)
    x, x_by_columns = _in_memory(_batched(x, batch))
    y, y_by_columns = _in_memory(_batched(y, batch))
    if x_by_columns and y_by_columns:
        y, y_by_columns = contiguous(y.swapaxes(-1, -2)), False
    numbers = (
        M, N, K, math.prod(batch), *((1, M) if x_by_columns else (K, 1)), 0 if x.ndim == 2 else M * K,
        *((1, K) if y_by_columns else (N, 1)), 0 if y.ndim == 2 else K * N,
    )  # fmt: skip
    name = "matmul_tn" if x_by_columns else "matmul_nt" if y_by_columns else "matmul_nn"
    product("matmul.cu", name, Size(M, N, math.prod(batch), K), (x, y), z, np.array(numbers, PRODUCT)[()])
    return z


def _batched(x: cp.ndarray, batch: tuple[int, ...]) -> cp.ndarray:
    """x as one matrix that all products share, or as one for each of them."""
    if x.size == math.prod(x.shape[-2:]):
        return x.reshape(x.shape[-2:])
    return cp.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(-1, *x.shape[-2:])


def _in_memory(x: cp.ndarray) -> tuple[cp.ndarray, bool]:
    """x, or its transposed, C-contiguous, and whether it is the transposed."""
    transposed = x.swapaxes(-1, -2)
    if transposed.flags.c_contiguous and not x.flags.c_contiguous:
        return transposed, True
    return contiguous(x), False
