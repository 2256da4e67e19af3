"""Launches of the kernels in dropout.cu; the contracts are those of kernels/dropout.py."""

from __future__ import annotations

import math

import cupy as cp
import numpy as np

from ..dropout import threshold
from ..philox import blocks_for
from .graph import moved
from .launch import contiguous, empty, launch

FILE = "dropout.cu"


def dropout(
    x: cp.ndarray, kept_shape: tuple[int, ...], p: float, scale: float, key: int, block: int
) -> tuple[cp.ndarray, cp.ndarray]:
    """See kernels/dropout.py."""
    y, kept = empty(x.shape, x.dtype), empty(kept_shape, np.bool_)
    shared = x.size // max(math.prod(kept_shape), 1)
    further = moved(key, block, blocks_for(kept.size))
    arguments = contiguous(x), y, kept, x.size, shared, scale, threshold(p), key, block, further
    launch(FILE, "dropout", x.dtype, -(-x.size // 8), *arguments)
    return y, kept


def dropout_kept(x: cp.ndarray, kept: cp.ndarray, scale: float) -> cp.ndarray:
    """See kernels/dropout.py."""
    y = empty(x.shape, x.dtype)
    shared = x.size // max(kept.size, 1)
    launch(FILE, "dropout_kept", x.dtype, x.size, contiguous(x), kept, y, x.size, shared, scale)
    return y
