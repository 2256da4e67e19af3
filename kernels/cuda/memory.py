"""Copies; the contract is that of kernels/memory.py."""

from __future__ import annotations

import cupy as cp


def reshape(x: cp.ndarray, shape: tuple[int, ...]) -> cp.ndarray:
    """See kernels/memory.py."""
    return x.reshape(shape)
