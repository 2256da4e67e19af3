"""Our own worker threads: a kernel splits its batch into one contiguous block for each.

`share` is for blocks that are one call of a compiled function, and takes microseconds; `for_blocks` for those that run
Python or NumPy. While these run, NumPy's BLAS is held at one thread, since ours already keep every core busy; it is set
back afterwards, and no other library of the process is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from . import team
from .task import Task

T = TypeVar("T")

# What one thread does in a nanosecond, roughly, to tell work that is worth sharing from work that is not.
PRODUCTS = 40  # multiplications and additions of a matrix product
BYTES = 8  # read or written in a pass over memory,
CACHED = 32  # and in one over what lies in a cache: so few bytes as
FEW_BYTES = 2**19  # do
SMALL = 200_000  # nanoseconds: less is done before another thread has been woken and waited for


def _default_threads() -> int:
    """OMP_NUM_THREADS if that is a positive number, else the CPUs that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _current_cpu() -> Callable[[], int] | None:
    """The function that tells which CPU the calling thread is on; None where there is none, or no CPU to choose."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


class _Inside(threading.local):
    block = False  # whether this thread is running one; to miss an attribute takes a microsecond


class _Workers:
    """The threads of this process, started at the first use."""

    def __init__(self, threads: int):
        self.threads = threads
        self.lock = threading.Lock()
        self.inside = _Inside()
        self.running = 0  # how many callers are inside `for_blocks`
        self.blas_before: list[int] = []
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.started = False
        self.ids: list[int] = []  # the system's
        self.avoided = -1  # the CPU that they keep off

    def start(self) -> None:
        with self.lock:
            if not self.started:
                for i in range(1, self.threads):
                    thread = threading.Thread(target=self.serve, name=f"tinygrad_mnist_{i}", daemon=True)
                    thread.start()
                    self.ids.append(thread.native_id or 0)
                self.started = True

    def step_aside(self) -> None:
        """Keep our threads off the CPU that the calling thread is on.

        In a virtual machine Linux often takes an idle CPU for a busy one, and wakes a thread on the CPU of the thread
        that wakes it: then both share it for the whole block, while the other one is idle.
        """
        current = _current_cpu()
        if current is not None and (cpu := current()) != self.avoided:
            others = os.sched_getaffinity(0) - {cpu}
            if len(others) >= len(self.ids):
                with contextlib.suppress(OSError):  # where that is forbidden, they are only slower
                    for thread in self.ids:
                        os.sched_setaffinity(thread, others)
            self.avoided = cpu

    def serve(self) -> None:
        """What a thread of ours does: task after task, until it is told to stop."""
        self.inside.block = True
        while (task := self.tasks.get()) is not None:
            task.run()
            del task  # nothing of it is kept until the next one comes

    def put(self, tasks: list[Task]) -> None:
        """Wake a thread for each of the tasks."""
        self.start()
        self.step_aside()
        for task in tasks:
            self.tasks.put(task)

    @functools.cached_property
    def team(self) -> team.Team:
        """The same threads, where they wait for calls of compiled functions."""
        return team.Team(self.threads - 1, lambda serve: self.put([Task(serve)]))

    def come_back(self) -> None:
        """Have those that wait for compiled calls leave off, since there are tasks."""
        if "team" in vars(self):
            self.team.dismiss()

    def stop(self) -> None:
        self.come_back()
        if self.started:
            for _ in range(1, self.threads):
                self.tasks.put(None)

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
    _workers.stop()
    _workers = _Workers(n)
    for library in _numpy_blas():
        library.set_num_threads(n)


def pass_over(*arrays: Any) -> float:
    """Nanoseconds that one thread takes to go over these arrays once."""
    nbytes = 0
    for a in arrays:
        nbytes += a.nbytes
    return nbytes / (CACHED if nbytes <= FEW_BYTES else BYTES)


def for_blocks(run: Callable[[int, int], T], n: int, nanoseconds: float = SMALL, blas: bool = True) -> list[T]:
    """`run(start, stop)` over contiguous blocks of range(n), one per thread; their results in order.

    One block, if one thread does it all in less than SMALL `nanoseconds`. What a block raises is raised here, once
    all blocks have ended. Inside a block, `for_blocks` runs on the calling thread alone. `blas` says whether blocks
    call NumPy's BLAS: if not, there is no need to hold it.
    """
    workers = _workers
    count = min(workers.threads, n)
    if count <= 1 or nanoseconds < SMALL or workers.inside.block:
        return [run(0, n)]
    own, *blocks = edges(n, count)
    others = [Task(functools.partial(run, *block)) for block in blocks]
    with one_blas_thread() if blas else contextlib.nullcontext():
        workers.put(others)
        workers.come_back()
        workers.inside.block = True
        try:
            first = run(*own)
        finally:
            for task in others:
                task.run()
            workers.inside.block = False
            for task in others:
                task.wait()
    return [first, *(task.result() for task in others)]


@functools.lru_cache(256)
def edges(n: int, count: int) -> tuple[tuple[int, int], ...]:
    """range(n) cut into `count` blocks, or fewer: where each begins and ends."""
    count = max(1, min(count, n))
    return tuple(itertools.pairwise(n * i // count for i in range(count + 1)))


def share(
    function: Any, arguments: Callable[[int, int], tuple[Any, ...]], n: int, nanoseconds: float
) -> list[tuple[Any, ...]]:
    """The compiled function(slot, *arguments(start, stop)) over contiguous blocks of range(n), one per thread, as
    `for_calls` does it; the arguments of all blocks, in order, for what they hold afterwards.

    One block, if one thread does it all in less than team.SMALL `nanoseconds`.
    """
    if nanoseconds < team.SMALL or _workers.threads == 1:
        call = arguments(0, n)
        function(team.HERE, *call)
        return [call]
    calls = [arguments(*block) for block in edges(n, _workers.threads)]
    for_calls(function, calls)
    return calls


def share_rows(function: Any, arrays: Sequence[Any], nanoseconds: float, *others: Any) -> None:
    """The compiled function(slot, *arrays, *others), the arrays cut along their first axis as `share` cuts range(n)."""
    if nanoseconds < team.SMALL or _workers.threads == 1:
        function(team.HERE, *arrays, *others)
    else:
        for_calls(function, [(*[a[i:j] for a in arrays], *others) for i, j in edges(len(arrays[0]), _workers.threads)])


def for_calls(function: Any, calls: list[tuple[Any, ...]]) -> None:
    """function(slot, *call) for each of some calls of a compiled function that can be handed over.

    That costs a tenth of what it does in `for_blocks`, whose threads have to be woken and run Python: see `team.py`.
    """
    if len(calls) == 1 or _workers.threads == 1 or _workers.inside.block:
        for call in calls:
            function(team.HERE, *call)
    else:
        _workers.team.run(function, calls)


def lead(function: Any, nanoseconds: float, *arguments: Any) -> None:
    """The compiled function(slots, parts, *arguments), which hands over parts of its work itself: see `Team.lead`.

    One part, if one thread does it all in less than team.SMALL `nanoseconds`.
    """
    if nanoseconds < team.SMALL or _workers.threads == 1:
        function(team.HERE, 1, *arguments)
    elif _workers.inside.block:
        function(team.HERE, _workers.threads, *arguments)
    else:
        _workers.team.lead(function, arguments)


def pieces(n: int, nanoseconds: float) -> int:
    """How many pieces each of n things is cut into, so that `for_calls` over all pieces has one for each thread."""
    threads = 1 if nanoseconds < team.SMALL else _workers.threads
    return -(-threads // max(n, 1))


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, NumPy's BLAS has one thread; after the last one to leave, as many as it had."""
    workers = _workers
    workers.hold_blas()
    try:
        yield
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
