"""Uninitialised arrays whose memory is used again, and copies into it.

The system takes the memory of a large array back when the array goes, and has to find and clear as much when the
next one comes, at each step of a training loop: at batch 512 that was a tenth to a quarter of the step. Here the
memory waits in a list instead, until an array of about the same size is asked for.
"""

from __future__ import annotations

import math

import numpy as np

from . import compiled
from .parallel import for_blocks, pass_over, share

LARGE = 2**20  # bytes: smaller arrays are NumPy's own
LINE = 64  # bytes of a line of the cache. NumPy's arrays begin at a quarter of one: every vector lies across two

_waiting: dict[int, np.ndarray] = {}  # raw bytes by their id, those used last at the end


class Loan:
    """Memory that comes back when the last array that shows it is gone."""

    kept = 2**29  # bytes that wait at most

    def __init__(self, raw: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype):
        self.raw = raw
        address = raw.__array_interface__["data"]
        self.__array_interface__ = {
            "version": 3, "data": address, "shape": shape, "strides": strides, "typestr": dtype.str,
        }  # fmt: skip

    def __del__(self, waiting: dict[int, np.ndarray] = _waiting) -> None:  # bound here: at exit there are no globals
        waiting[id(self.raw)] = self.raw
        arrays = list(waiting.items())
        held = sum(raw.nbytes for _, raw in arrays)
        for key, raw in arrays:
            if held > self.kept:
                waiting.pop(key, None)
                held -= raw.nbytes


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An uninitialised C-contiguous array; if it is large, a view of memory that is used again."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < LARGE:
        return np.empty(shape, dtype)
    return np.asarray(Loan(_take(nbytes), shape, None, dtype))


def empty_like(x: np.ndarray) -> np.ndarray:
    """An uninitialised array of the shape and dtype of x, its axes in the same order in memory."""
    if x.nbytes < LARGE:
        return np.empty_like(x)
    strides, step = [0] * x.ndim, x.itemsize
    for axis in sorted(range(x.ndim), key=lambda axis: (abs(x.strides[axis]), -axis)):
        strides[axis] = step
        step *= x.shape[axis]
    return np.asarray(Loan(_take(x.nbytes), x.shape, tuple(strides), x.dtype))


def reshape(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x.reshape(shape), a view where memory allows. A large copy (images channels-last, made flat) is shared among the
    threads."""
    if x.nbytes < LARGE or x.flags.c_contiguous or len(x) != shape[0]:
        return x.reshape(shape)
    if np.may_share_memory(x, x[:1].reshape(1, *shape[1:])):  # nothing is to be copied
        return x.reshape(shape)
    y = empty(x.shape, x.dtype)
    code = compiled.load("fused_compiled") if x.dtype == np.float32 and x.ndim == 4 and x.flags.aligned else None
    if code:
        share(code.gather, lambda i, j: (y[i:j], x[i:j]), len(x), pass_over(x, y))
    else:
        for_blocks(lambda i, j: np.copyto(y[i:j], x[i:j]), len(x), pass_over(x, y), blas=False)
    return y.reshape(shape)


def _take(nbytes: int) -> np.ndarray:
    """Raw memory of at least `nbytes`, and not a quarter more: what was used last, or new."""
    for key, raw in reversed(list(_waiting.items())):
        if nbytes <= raw.nbytes <= nbytes * 5 // 4 and _waiting.pop(key, None) is not None:  # no other thread took it
            return raw
    raw = np.empty(nbytes + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + nbytes]
