"""Launch of the kernel in parts.cu, which puts together what several blocks have summed."""

from __future__ import annotations

from typing import Any

import cupy as cp

from .launch import empty, launch


def sum_parts(partial: cp.ndarray, total: cp.ndarray, bias: cp.ndarray | None = None, relu: bool = False) -> None:
    """total = the sum of partial (parts, ...) over the parts; of images (N, O, H, W) plus `bias` (O,), then ReLU."""
    channels, area = (total.shape[1], total.shape[2] * total.shape[3]) if bias is not None else (1, 1)
    sizes = total.size, len(partial), area, channels, int(relu)
    launch("parts.cu", "sum_parts", total.dtype, total.size, partial, bias, total, *sizes)


def rounded_sum(partial: cp.ndarray, dtype: Any) -> cp.ndarray:
    """The sum of partial (parts, n) over the parts, or partial (n,) itself, in `dtype`."""
    if partial.ndim == 1 and partial.dtype == dtype:
        return partial
    total = empty(partial.shape[-1:], dtype)
    sum_parts(partial if partial.ndim == 2 else partial[None], total)
    return total
