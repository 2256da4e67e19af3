"""Our own worker threads: a kernel splits its batch into one contiguous block for each.

While blocks run, NumPy's BLAS is held at one thread, since ours already keep every core busy; it is set back
afterwards, and no other library of the process is touched.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def _default_threads() -> int:
    """OMP_NUM_THREADS if that is a positive number, else the CPUs that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Workers:
    """The threads of this process, started at the first use."""

    def __init__(self, threads: int):
        self.threads = threads
        self.lock = threading.Lock()
        self.inside = threading.local()  # .block is set in a thread that is running a block
        self.running = 0  # how many callers are inside `for_blocks`
        self.blas_before: list[int] = []
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        with self.lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads - 1, "tinygrad_mnist")
            return self._pool

    def hold_blas(self) -> None:
        with self.lock:
            self.running += 1
            if self.running == 1:
                self.blas_before = [library.num_threads for library in _numpy_blas()]
                for library in _numpy_blas():
                    library.set_num_threads(1)

    def release_blas(self) -> None:
        with self.lock:
            self.running -= 1
            if self.running == 0:
                for library, threads in zip(_numpy_blas(), self.blas_before, strict=True):
                    library.set_num_threads(threads)


@functools.cache
def _numpy_blas() -> list[Any]:
    """threadpoolctl's handles of the BLAS that NumPy uses: the one in its wheel, else all that are loaded."""
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [library for library in libraries if "numpy" in library.filepath] or libraries


_workers = _Workers(_default_threads())


def get_num_threads() -> int:
    """How many threads the kernels use: OMP_NUM_THREADS, or all CPUs, or what was set."""
    return _workers.threads


def set_num_threads(n: int) -> None:
    """Let the kernels, and NumPy's matrix products, use n threads."""
    global _workers
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"set_num_threads: expected an int, got {type(n).__name__}")
    if n < 1:
        raise ValueError(f"set_num_threads: expected at least 1 thread, got {n}")
    if _workers._pool is not None:
        _workers._pool.shutdown()
    _workers = _Workers(n)
    for library in _numpy_blas():
        library.set_num_threads(n)


def for_blocks(run: Callable[[int, int], T], n: int) -> list[T]:
    """`run(start, stop)` over contiguous blocks of range(n), one per thread; their results in order.

    What a block raises is raised here, once all blocks have ended. Inside a block, `for_blocks` runs on
    the calling thread alone.
    """
    workers = _workers
    count = 1 if getattr(workers.inside, "block", False) else min(workers.threads, n)
    if count <= 1:
        return [run(0, n)]
    edges = [n * i // count for i in range(count + 1)]

    def block(start: int, stop: int) -> T:
        workers.inside.block = True
        try:
            return run(start, stop)
        finally:
            workers.inside.block = False

    workers.hold_blas()
    try:
        others = [
            # NumPy keeps its errstate in the context.
            workers.pool.submit(contextvars.copy_context().run, block, start, stop)
            for start, stop in itertools.pairwise(edges[1:])
        ]
        try:
            first = block(edges[0], edges[1])
        finally:
            for other in others:
                other.exception()  # waits
        return [first, *(other.result() for other in others)]
    finally:
        workers.release_blas()


def _after_fork() -> None:
    """Threads do not survive a fork: the child starts its own when it needs them."""
    global _workers
    held, threads = _workers.running > 0, _workers.blas_before
    _workers = _Workers(_workers.threads)
    if held:
        for library, n in zip(_numpy_blas(), threads, strict=True):
            library.set_num_threads(n)


if hasattr(os, "register_at_fork"):  # pragma: no branch  (Windows has no fork)
    os.register_at_fork(after_in_child=_after_fork)
