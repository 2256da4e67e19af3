"""Launches of the kernels in norm.cu; the contracts are those of kernels/norm.py."""

from __future__ import annotations

import math

import cupy as cp

from .launch import contiguous, empty, launch, max_blocks, sum_type

FILE = "norm.cu"


def _optional(w: cp.ndarray | None) -> cp.ndarray | None:
    return None if w is None else contiguous(w)


def _sizes(x: cp.ndarray) -> tuple[int, int, int, int]:
    """C, elements of an image, elements of a channel, and into how many parts to cut those to fill the device."""
    N, C = x.shape[:2]
    count = x.size // max(C, 1)
    blocks_at_once = max_blocks(cp.cuda.runtime.getDevice()) // 4
    return C, count // max(N, 1), count, max(1, min(blocks_at_once // max(C, 1), count // 1024))


def batch_norm(
    x: cp.ndarray, w: cp.ndarray | None, b: cp.ndarray | None, eps: float
) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray]:
    """See kernels/norm.py."""
    C, area, count, parts = _sizes(x)
    y = empty(x.shape, x.dtype)
    if not count:
        return y, cp.zeros(C), cp.zeros(C)
    x = contiguous(x)
    mean, var, moments = cp.empty(C), cp.empty(C), cp.empty((C, parts, 2))
    launch(FILE, "batch_norm_moments", x.dtype, C * parts, x, moments, C, area, count, parts, per_block=1)
    arrays = x, _optional(w), _optional(b), moments, y, mean, var
    launch(FILE, "batch_norm", x.dtype, C * parts, *arrays, eps, C, area, count, parts, per_block=1)
    return y, mean, var


def channel_affine(x: cp.ndarray, w: cp.ndarray, b: cp.ndarray) -> cp.ndarray:
    """See kernels/norm.py."""
    y, C = empty(x.shape, x.dtype), x.shape[1]
    area = math.prod(x.shape[2:])
    launch(FILE, "channel_affine", x.dtype, x.size, contiguous(x), contiguous(w), contiguous(b), y, x.size, C, area)
    return y


def batch_norm_grad(
    dy: cp.ndarray, x: cp.ndarray, w: cp.ndarray | None, mean: cp.ndarray, var: cp.ndarray, eps: float
) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray]:
    """See kernels/norm.py."""
    C, area, count, parts = _sizes(x)
    dx, dw, db = empty(x.shape, x.dtype), empty((C,), x.dtype), empty((C,), x.dtype)
    if not count:
        return dx, cp.zeros_like(dw), cp.zeros_like(db)
    dy, x, sums = contiguous(dy), contiguous(x), cp.empty((C, parts, 2))
    sizes = eps, C, area, count, parts
    launch(FILE, "batch_norm_sums", x.dtype, C * parts, dy, x, mean, var, sums, *sizes, per_block=1)
    launch(
        FILE,
        "batch_norm_grad",
        x.dtype,
        C * parts,
        dy,
        x,
        _optional(w),
        mean,
        var,
        sums,
        dx,
        dw,
        db,
        *sizes,
        per_block=1,
    )
    return dx, dw, db


def layer_norm(
    x: cp.ndarray, w: cp.ndarray | None, b: cp.ndarray | None, eps: float
) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray]:
    """See kernels/norm.py."""
    M, D = x.shape
    y, (mean, r) = empty(x.shape, x.dtype), (empty((M, 1), sum_type(x.dtype)) for _ in range(2))
    launch(
        FILE, "layer_norm", x.dtype, M, contiguous(x), _optional(w), _optional(b), y, mean, r, eps, M, D, per_block=8
    )
    return y, mean, r


def layer_norm_grad(
    dy: cp.ndarray, x: cp.ndarray, w: cp.ndarray | None, mean: cp.ndarray, r: cp.ndarray
) -> tuple[cp.ndarray, cp.ndarray, cp.ndarray]:
    """See kernels/norm.py."""
    M, D = x.shape
    dy, x, mean, r = (contiguous(a) for a in (dy, x, mean, r))
    dx, dw, db = empty(x.shape, x.dtype), empty((D,), x.dtype), empty((D,), x.dtype)
    launch(FILE, "layer_norm_grad", x.dtype, M, dy, x, _optional(w), mean, r, dx, M, D, per_block=8)
    launch(FILE, "layer_norm_weight_grad", x.dtype, D, dy, x, mean, r, dw, db, M, D, per_block=32)
    return dx, dw, db
