"""CUDA graphs: work that is recorded once and then given to the device as a whole, in one call.

While work is captured, nothing is done. Each launch of the graph does all of it, with the same arguments in the same
memory, so new data must be written to where the work reads it. CuPy refuses to capture what waits for the device,
copies to or from the host, cuBLAS, cuRAND and sorting: matrix products are our own kernel's. Kernels that draw random
numbers are told how far the stream has moved since they were captured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import cupy as cp
import numpy as np

_capturable = ContextVar("_capturable", default=False)
_capturing: ContextVar[Graph | None] = ContextVar("_capturing", default=None)


class Draw(NamedTuple):
    """Blocks of the stream `key` that a kernel draws from: see kernels/philox.py."""

    key: int
    block: int
    blocks: int


class _Memory:
    """Memory for the arrays of one graph: it lives as long as any of them, and then gives everything back.

    CuPy's pool alone would take away what its arrays still use when it is dropped, and keep the rest for ever.
    """

    def __init__(self) -> None:
        self._pool = cp.cuda.MemoryPool()

    def allocate(self, size: int) -> Any:
        """For CuPy: a pointer to `size` bytes."""
        block = self._pool.malloc(size)
        memory = cp.cuda.UnownedMemory(block.ptr, size, (self, block), block.device_id)
        return cp.cuda.MemoryPointer(memory, 0)

    def __del__(self) -> None:
        self._pool.free_all_blocks()


class Graph:
    """What `work()` gave to the device, as a CUDA graph; `result` is what it returned, filled anew by each launch.

    The work has memory of its own, where nobody else gets arrays. Whatever else it reads or writes must outlive the
    graph. Any error of `work` is passed on, and the current stream is as it was before.
    """

    def __init__(self, work: Callable[[], Any]):
        self.draws: list[Draw] = []
        self._moved = cp.zeros(1, np.uint64)
        cp.get_default_memory_pool().free_all_blocks()  # what a step used until now, this one will not
        self._memory = _Memory()
        stream = cp.cuda.Stream(non_blocking=True)
        token = _capturing.set(self)
        try:
            with stream, cp.cuda.using_allocator(self._memory.allocate):
                stream.begin_capture()
                try:
                    self.result = work()
                except BaseException:
                    with contextlib.suppress(cp.cuda.runtime.CUDARuntimeError):  # if the error has spoilt the graph
                        stream.end_capture()
                    raise
                self._graph = stream.end_capture()
        finally:
            _capturing.reset(token)

    def launch(self, moved: int) -> None:
        """Do the work, on the current stream; random numbers come from `moved` blocks further on than captured."""
        if self.draws:
            self._moved.fill(np.uint64(moved % 2**64))
        self._graph.launch()


@contextlib.contextmanager
def capturable() -> Iterator[None]:
    """Work inside gives the same bits as in a graph: its matrix products, too, are our own kernel's."""
    token = _capturable.set(True)
    try:
        yield
    finally:
        _capturable.reset(token)


def is_capturable() -> bool:
    """Whether cuBLAS must not be called."""
    return _capturable.get() or cp.cuda.get_current_stream().is_capturing()


def moved(key: int, block: int, blocks: int) -> cp.ndarray | None:
    """The argument of a kernel that draws, by which its graph moves `block` on; None if none is being captured."""
    graph = _capturing.get()
    if graph is None:
        return None
    graph.draws.append(Draw(key, block, blocks))
    return graph._moved
