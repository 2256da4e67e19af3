"""Worker processes that fetch batches for a DataLoader.

Each worker has one pipe that brings tasks and one that takes batches back. There is no shared queue, so a worker that
is killed at any moment holds no lock that the others need, and its closed pipe tells the main process at once.

Workers are forked on Linux, as PyTorch's are: datasets need not be picklable and scripts need no main guard. A fork
copies only the thread that forks. That is safe here because a worker runs NumPy alone (OpenBLAS prepares for forks
itself), computes with one thread and never waits for a thread that it did not start. A dataset that needs more than
that, a CUDA device for example, asks for `multiprocessing_context="spawn"`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import queue
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ... import backend
from .fetch import Fetcher, FetcherArgs, Task, seed_all

PARENT_CHECK = 2.0  # seconds between a waiting worker's looks at whether its parent still lives
GRACE = 5.0  # seconds that a worker gets to end before it is killed


@dataclass
class WorkerInfo:
    """What `get_worker_info` tells a dataset about the worker it runs in."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process: its id, num_workers, seed and dataset. None in the main process."""
    return _info


@dataclass
class NewEpoch:
    """Tells a worker to start its dataset again, and the seed of the epoch."""

    seed: int


@dataclass
class Failure:
    """An exception of a worker, pickled, and its traceback as text."""

    error: bytes | None
    trace: str


class Workers:
    """`num_workers` processes that fetch what is sent to them, each in the order it was sent.

    See `epoch.Here` for the same without processes.
    """

    def __init__(
        self,
        num_workers: int,
        ahead: int,
        fetcher_args: FetcherArgs,
        worker_init_fn: Callable[[int], None] | None,
        context: BaseContext,
        timeout: float,
        seed: int,
    ):
        self.num_workers = num_workers
        self.ahead = ahead  # batches to ask for before they are wanted
        self.timeout = timeout or None
        self.processes: list[BaseProcess] = []
        self._tasks: list[Connection] = []
        self._results: list[Connection] = []
        self._waiting = [0] * num_workers  # how many results of each worker are still to be received
        self._stop = weakref.finalize(self, _terminate, os.getpid(), self.processes, self._tasks, self._results)
        for i in range(num_workers):
            tasks_out, tasks_in = context.Pipe(duplex=False)
            results_out, results_in = context.Pipe(duplex=False)
            self._tasks.append(tasks_in)
            self._results.append(results_out)
            # A forked worker inherits our ends of the pipes and must close them; a spawned one has none.
            ours = [*self._tasks, *self._results] if context.get_start_method() == "fork" else []
            info = WorkerInfo(i, num_workers, seed + i, fetcher_args[0])
            process = context.Process(  # type: ignore[attr-defined]  # every context has it, says the documentation
                target=_work, args=(info, fetcher_args, worker_init_fn, tasks_out, results_in, ours), daemon=True
            )
            self.processes.append(process)
            with warnings.catch_warnings():
                # Python 3.12 and later warn of any fork in a process with threads; why ours is safe stands above.
                warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
                process.start()
            tasks_out.close()
            results_in.close()

    @property
    def closed(self) -> bool:
        """Whether the processes have been ended."""
        return not self._stop.alive

    def start_epoch(self, seed: int) -> None:
        """Forget what was not received, and let every worker start its dataset again."""
        for i in range(self.num_workers):
            while self._waiting[i]:
                self._receive(i)
            self._send(i, NewEpoch(seed))

    def submit(self, worker: int, task: Task) -> None:
        """Let a worker fetch `task`, after what it was sent before."""
        self._send(worker, task)
        self._waiting[worker] += 1

    def result(self, worker: int) -> Any:
        """The next batch of a worker (or End). Raises what the worker raised."""
        result = self._receive(worker)
        if isinstance(result, Failure):
            _raise(result, f"in DataLoader worker {worker} (pid {self.processes[worker].pid})")
        return result

    def close(self) -> None:
        """End the workers: by a message those that wait for one, by a signal those that are at work."""
        idle = [i for i, waiting in enumerate(self._waiting) if not waiting]
        for i in idle:
            with contextlib.suppress(OSError):  # it has died
                self._tasks[i].send(None)
        for i in idle:
            self.processes[i].join(GRACE)
        self._stop()

    def _send(self, worker: int, message: Any) -> None:
        try:
            self._tasks[worker].send(message)
        except OSError:
            self._raise_dead(worker)

    def _receive(self, worker: int) -> Any:
        results, process = self._results[worker], self.processes[worker]
        ready = wait([results, process.sentinel], self.timeout)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds, waiting for worker {worker}")
        if results not in ready and not results.poll():
            self._raise_dead(worker)
        try:
            result = results.recv()
        except (EOFError, OSError):  # it died before, or while, it sent
            self._raise_dead(worker)
        self._waiting[worker] -= 1
        return result

    def _raise_dead(self, worker: int) -> None:
        process = self.processes[worker]
        process.join(GRACE)
        code = process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"exited with code {code}"
        raise RuntimeError(
            f"DataLoader worker {worker} (pid {process.pid}) {how} unexpectedly. Load with num_workers=0 to see an "
            "error of the dataset; SIGKILL often means that memory ran out: try fewer workers or less prefetch_factor"
        ) from None


def _terminate(owner: int, processes: list[BaseProcess], *pipes: list[Connection]) -> None:
    """End all processes now, and close all pipes."""
    if os.getpid() != owner:  # a worker that inherited this object by a fork
        return
    started = [process for process in processes if process.pid is not None]
    for process in started:
        process.terminate()
    for process in started:
        process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()
    for connection in itertools.chain(*pipes):
        connection.close()


def _raise(failure: Failure, where: str) -> None:
    """Raise a worker's exception here, with the worker's traceback as a note."""
    error = RuntimeError("a DataLoader worker failed") if failure.error is None else pickle.loads(failure.error)
    error.add_note(f"{where}:\n{failure.trace}")
    raise error


def _work(
    info: WorkerInfo,
    fetcher_args: FetcherArgs,
    init_fn: Callable[[int], None] | None,
    tasks: Connection,
    results: Connection,
    inherited: list[Connection],
) -> None:
    """The life of a worker: receive a task, fetch its batch, send it; until told to stop or left alone."""
    global _info
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then ends this one
    for connection in inherited:
        connection.close()
    backend.CPU.kernels.parallel.set_num_threads(1)
    _info = info
    outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    # A thread sends, so that this one is always ready to receive: two processes that both send would wait for ever.
    sender = threading.Thread(target=_send_all, args=(outbox, results), daemon=True)
    sender.start()
    fetch: Any = None
    while (message := _next(tasks)) is not None:
        if isinstance(message, NewEpoch):
            first, info.seed = fetch is None, message.seed + info.id
            fetch = _attempt(_start, info, fetcher_args, init_fn if first else None)
        elif isinstance(fetch, Failure):
            outbox.put(pickle.dumps(fetch))
        else:
            outbox.put(_packed(_attempt(fetch, message)))
    outbox.put(None)
    sender.join(GRACE)


def _next(tasks: Connection) -> Any:
    """The next message to this worker; None if it is to end, or if the main process has gone."""
    parent = os.getppid()
    try:
        while not tasks.poll(PARENT_CHECK):
            if os.getppid() != parent:
                return None
        return tasks.recv()
    except EOFError:
        return None


def _send_all(outbox: queue.SimpleQueue[bytes | None], results: Connection) -> None:
    """Send what comes into the outbox, until None."""
    with contextlib.suppress(BrokenPipeError):  # the main process has gone
        while (packed := outbox.get()) is not None:
            results.send_bytes(packed)


def _start(info: WorkerInfo, fetcher_args: FetcherArgs, init_fn: Callable[[int], None] | None) -> Fetcher:
    seed_all(info.seed)
    if init_fn is not None:
        init_fn(info.id)
    return Fetcher(*fetcher_args, info.seed)


def _attempt(fn: Callable, *args: Any) -> Any:
    """fn(*args), or the Failure that it ended in, for the main process to raise."""
    try:
        return fn(*args)
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)  # an exception with arguments of its own may not come back
        except Exception:
            return Failure(None, trace)
        return Failure(pickled, trace)


def _packed(result: Any) -> bytes:
    """`result` as bytes; where it cannot be pickled, the Failure that says so."""
    packed = _attempt(ForkingPickler.dumps, result)
    return bytes(ForkingPickler.dumps(packed)) if isinstance(packed, Failure) else bytes(packed)
