"""Dropout: a random choice of numbers, and the same choice again for the gradients."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, op


@op
def dropout(x: Variable, kept_shape: tuple[int, ...], p: float, key: int, block: int) -> Any:
    """x / (1 - p) with probability 1 - p, else 0, as the counter-based stream decides. See kernels/dropout.py."""
    scale = 1 / (1 - p) if p < 1 else 0.0
    y, kept = x.kernels.dropout(x.array, kept_shape, p, scale, key, block)
    return y, lambda g: dropout_kept(g, kept, scale)


@op
def dropout_kept(x: Variable, kept: Any, scale: float) -> Any:
    """x · scale where the array `kept` is true, else 0."""
    return x.kernels.dropout_kept(x.array, kept, scale), lambda g: dropout_kept(g, kept, scale)
