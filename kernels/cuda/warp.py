"""Launches of the kernels in warp.cu; the contracts are those of kernels/warp.py."""

from __future__ import annotations

from typing import Any

import cupy as cp
import numpy as np

from ..half import in_float32
from ..warp import RANDOM_BLOCKS
from .graph import moved
from .launch import contiguous, empty, launch

FILE = "warp.cu"
SAMPLE = np.dtype([(name, np.int32) for name in ["N", "C", "H", "W", "OH", "OW"]])
RANGES = np.dtype([("low", np.float64, 6), ("high", np.float64, 6), ("center", np.float64, 2)])


@in_float32()
def random_affine(
    x: cp.ndarray, low: np.ndarray, high: np.ndarray, center: np.ndarray, nearest: bool, fill: Any, key: int, block: int
) -> cp.ndarray:
    """See kernels/warp.py; one launch."""
    y = empty(x.shape, x.dtype)
    each, plane = _plane(x, fill)
    ranges = np.array((low, high, center), RANGES)[()]
    drawn = key, block, moved(key, block, RANDOM_BLOCKS * len(x))
    arguments = contiguous(x), each, y, _sizes(x, x.shape[2:]), ranges, plane, int(nearest), *drawn
    launch(FILE, "random_affine", x.dtype, len(x), *arguments, per_block=1)
    return y


@in_float32()
def warp(x: cp.ndarray, maps: cp.ndarray, nearest: bool, fill: Any) -> cp.ndarray:
    """See kernels/warp.py."""
    y = empty(x.shape, x.dtype)
    each, plane = _plane(x, fill)
    arguments = contiguous(x), contiguous(maps), each, y, _sizes(x, x.shape[2:]), plane, int(nearest)
    launch(FILE, "warp", x.dtype, y.size, *arguments)
    return y


@in_float32()
def sample(x: cp.ndarray, u: cp.ndarray, v: cp.ndarray, nearest: bool = False, fill: Any = 0) -> cp.ndarray:
    """See kernels/warp.py."""
    y = empty((*x.shape[:2], *u.shape[1:]), x.dtype)
    each, plane = _plane(x, fill)
    points = (contiguous(p.astype(np.float64, copy=False)) for p in (u, v))
    arguments = contiguous(x), *points, each, y, _sizes(x, u.shape[1:]), plane, int(nearest)
    launch(FILE, "sample", x.dtype, y.size, *arguments)
    return y


def _sizes(x: cp.ndarray, out: tuple[int, ...]) -> Any:
    """The struct Sample of warp.cu."""
    return np.array((*x.shape, *out), SAMPLE)[()]


def _plane(x: cp.ndarray, fill: Any) -> tuple[cp.ndarray | None, float]:
    """`fill` as an array with a number for each channel, or None and one number."""
    if np.ndim(fill) == 0:
        return None, float(fill)
    return cp.broadcast_to(cp.asarray(fill, np.float64), (x.shape[1],)).copy(), 0.0
