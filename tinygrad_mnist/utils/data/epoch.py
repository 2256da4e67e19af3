"""One pass over a DataLoader, and the position in it."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from .fetch import End, Fetcher, FetcherArgs, Task
from .worker import Workers


@dataclass
class Position:
    """How far an epoch has got, and the states of the generators that it started from."""

    start: list
    batches: int = 0  # that were given
    ended: bool = False


class Here:
    """Fetches batches in this process, with the interface of `Workers`."""

    num_workers = 1
    ahead = 0  # batches to ask for before they are wanted

    def __init__(self, fetcher_args: FetcherArgs):
        self._fetcher_args = fetcher_args

    def start_epoch(self, seed: int) -> None:
        self._fetch = Fetcher(*self._fetcher_args, seed)

    def submit(self, worker: int, task: Task) -> None:
        self._task = task

    def result(self, worker: int) -> Any:
        return self._fetch(self._task)

    def close(self) -> None:
        """Nothing to end."""


class Epoch:
    """The iterator over the batches of one epoch, in the order of `indices`, from `position` on.

    `indices` is None for an iterable dataset. `keep` leaves the source running when the epoch ends well.
    """

    def __init__(
        self, indices: Iterator[Any] | None, seed: int, position: Position, source: Here | Workers, keep: bool
    ):
        entries = itertools.repeat(None) if indices is None else indices
        self._tasks = (Task(seed + number, entry) for number, entry in enumerate(entries))
        self._position = position
        self._source = source
        self._keep = keep
        self._over = False
        self._turn = deque(range(source.num_workers))  # the workers that have something left, next one first
        self._pending: deque[int] = deque()  # the workers that owe a batch, in the order of the batches
        with self._closing_on_error():
            source.start_epoch(seed)
            for _ in range(position.batches):
                if indices is None:
                    self._next()
                else:
                    next(self._tasks)
            self._submit(source.ahead)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        self._over = True  # unless a batch comes
        with self._closing_on_error():
            batch = self._next()
        if batch is End:
            self._position.ended = True
            if not self._keep:
                self._source.close()
            raise StopIteration
        self._over = False
        self._position.batches += 1
        return batch

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._source.close()
            raise

    def _next(self) -> Any:
        """The next batch; End when there is none."""
        while True:
            self._submit(max(self._source.ahead, 1))
            if not self._pending:
                return End
            worker = self._pending.popleft()
            batch = self._source.result(worker)
            if batch is not End:
                self._submit(self._source.ahead)
                return batch
            if worker in self._turn:
                self._turn.remove(worker)

    def _submit(self, count: int) -> None:
        """Ask for batches until `count` are pending, or none is left."""
        while len(self._pending) < count and self._turn:
            task = next(self._tasks, None)
            if task is None:
                return
            self._source.submit(self._turn[0], task)
            self._pending.append(self._turn[0])
            self._turn.rotate(-1)
