"""ReLU and its gradient by CuPy's own element-wise kernels; the contract is that of kernels/relu.py."""

from __future__ import annotations

import cupy as cp


def relu(x: cp.ndarray) -> cp.ndarray:
    """See kernels/relu.py."""
    return cp.maximum(x, 0)


def relu_grad(dy: cp.ndarray, y: cp.ndarray) -> cp.ndarray:
    """See kernels/relu.py."""
    return cp.where(y > 0, dy, cp.zeros((), dy.dtype))
