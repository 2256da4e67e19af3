"""Uninitialised arrays whose memory is used again, copies into it, and how much of it a cache holds.

The system takes the memory of a large array back when the array goes, and has to find and clear as much when the
next one comes, at each step of a training loop: at batch 512 that was a tenth to a quarter of the step. Here the
memory waits in a list instead, until an array of about the same size is asked for.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections import deque

import numpy as np

from . import compiled
from .parallel import edges, for_blocks, pass_over, share_rows

LARGE = 2**20  # bytes: smaller arrays are NumPy's own
IN_CACHE = 2**18  # numbers of a piece of work: 1 MiB of float32, half of a common L2
LINE = 64  # bytes of a line of the cache. NumPy's arrays begin at a quarter of one: every vector lies across two
KEPT = 2**29  # bytes that wait at most, from the next loan on

_lent: dict[int, Watched] = {}  # by the id of what was lent
_back: deque[Watched] = deque()  # whose loans are gone
_waiting: dict[int, Raw] = {}  # by their id, those used last at the end


class Raw(np.ndarray):
    """Bytes to lend: a class of its own, or NumPy would take them, and not the loan, for an array's base."""


class Loan(np.ndarray):
    """Bytes that come back when the last array that shows them is gone."""


class Watched(weakref.ref[Loan]):
    """A loan that may be gone, and what was lent. When it goes nothing of Python runs: in a `__del__` Ctrl-C would get
    lost."""

    __slots__ = ("raw",)
    raw: Raw


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An uninitialised C-contiguous array; if it is large, a view of memory that is used again."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if nbytes < LARGE else np.ndarray(shape, dtype, _lend(nbytes))


def empty_nhwc(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised (N, C, H, W) array that lies channels-last in memory."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def empty_like(x: np.ndarray) -> np.ndarray:
    """An uninitialised array of the shape and dtype of x, its axes in the same order in memory."""
    if x.nbytes < LARGE:
        return np.empty_like(x)
    return np.ndarray(x.shape, x.dtype, _lend(x.nbytes), 0, _strides_like(x.shape, x.strides, x.itemsize))


@functools.lru_cache(256)
def _strides_like(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> list[int]:
    """The strides that NumPy gives to an array like one of these strides, which may have gaps."""
    like = np.lib.stride_tricks.as_strided(np.empty(0, np.uint8), shape, strides)
    return [n * itemsize for n in np.empty_like(like).strides]


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
        share_rows(code.gather, (y, x), pass_over(x, y))
    else:
        for_blocks(lambda i, j: np.copyto(y[i:j], x[i:j]), len(x), pass_over(x, y), blas=False)
    return y.reshape(shape)


def chunks(start: int, stop: int, numbers_per_image: int, limit: int = IN_CACHE) -> list[slice]:
    """range(start, stop) in slices of about as many images, which have `limit` numbers at most, or are one image."""
    size = max(1, limit // max(1, numbers_per_image))
    n = stop - start
    return [slice(start + i, start + j) for i, j in edges(n, -(-n // size))] if n else []


def _lend(nbytes: int) -> Loan:
    """At least `nbytes`, and not a quarter more: what was used last, or new."""
    _take_back()
    for key, raw in reversed(list(_waiting.items())):
        if nbytes <= raw.nbytes <= nbytes * 5 // 4 and _waiting.pop(key, None) is not None:  # no other thread took it
            break
    else:
        memory = np.empty(nbytes + LINE, np.uint8)
        raw = memory[-memory.ctypes.data % LINE :][:nbytes].view(Raw)
    loan = raw.view(Loan)
    watched = Watched(loan, _back.append)
    watched.raw = raw
    _lent[id(raw)] = watched
    return loan


def _take_back() -> None:
    """Let wait what nobody uses any more, and forget what waits longest of more than KEPT bytes."""
    try:
        while _back:
            raw = _back.popleft().raw
            del _lent[id(raw)]
            _waiting[id(raw)] = raw
    except IndexError:  # another thread was faster
        pass
    held = sum([raw.nbytes for raw in list(_waiting.values())])
    for key, raw in list(_waiting.items()) if held > KEPT else ():
        if held > KEPT:
            _waiting.pop(key, None)
            held -= raw.nbytes
