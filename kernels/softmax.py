"""Softmax over the last axis and its gradient, for float32 by compiled loops only; else they are made of ops.

    y = e^x / sum of e^x;  dx = y (dy - sum of dy y)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compiled
from .memory import empty
from .parallel import share_rows

NANOSECONDS = 3  # that an element takes


def usable(x: np.ndarray) -> bool:
    """Whether x is float32 and has elements, and compiled kernels may be used."""
    return x.dtype == np.float32 and x.size > 0 and compiled.load("softmax_compiled") is not None


def softmax(x: np.ndarray) -> np.ndarray:
    """y (..., C), C-contiguous. A row with a NaN, or with infinity, or of -infinity alone, is NaN."""
    return _by_rows(compiled.load("softmax_compiled").softmax, x)


def softmax_grad(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dx (..., C), C-contiguous."""
    return _by_rows(compiled.load("softmax_compiled").softmax_grad, dy, y)


def _by_rows(loop: Any, *arrays: np.ndarray) -> np.ndarray:
    shape = arrays[0].shape
    rows = [np.ascontiguousarray(a).reshape(-1, shape[-1]) for a in arrays]
    out = empty(rows[0].shape, np.float32)
    rows.append(out)
    share_rows(loop, rows, NANOSECONDS * out.size)
    return out.reshape(shape)
