"""How one batch is taken from a dataset, in this process or in a worker."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...random import default_generator
from .collate import default_collate, default_convert
from .dataset import IterableDataset, fetch_batch, fetch_samples

Collate = Callable[[Any], Any]
FetcherArgs = tuple[Any, int | None, bool, Collate | None]  # dataset, batch_size, drop_last, collate_fn


class End:
    """What an exhausted iterable dataset gives in place of a batch."""


def seed_all(seed: int) -> None:
    """Seed every global source of random numbers that a dataset may use: ours, NumPy's and Python's."""
    default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (datasets that use it are why)
    random.seed(seed)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers drawn inside come from `seed`; those drawn after, from where they would have before."""
    before = default_generator.get_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    seed_all(seed)
    try:
        yield
    finally:
        default_generator.set_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


@dataclass
class Task:
    """One batch to fetch. Its seed makes it the same whichever process fetches it."""

    seed: int
    indices: Any  # a list, a single index where there are no batches, or None for an iterable dataset


class Fetcher:
    """Fetches the batch of a task from `dataset`.

    `batch_size` None means single samples, converted and not collated. `seed` is for the start of a stream.
    """

    def __init__(
        self, dataset: Any, batch_size: int | None, drop_last: bool, collate_fn: Collate | None, seed: int
    ):
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.samples: Iterator[Any] | None = None
        if isinstance(dataset, IterableDataset):
            with seeded(seed):
                self.samples = iter(dataset)

    def __call__(self, task: Task) -> Any:
        with seeded(task.seed):
            return self._from_map(task.indices) if self.samples is None else self._from_stream(self.samples)

    def _from_map(self, indices: Any) -> Any:
        if not isinstance(indices, list):
            return (self.collate_fn or default_convert)(self.dataset[indices])
        if self.collate_fn is None:
            return fetch_batch(self.dataset, indices)
        return self.collate_fn(fetch_samples(self.dataset, indices))

    def _from_stream(self, stream: Iterator[Any]) -> Any:
        if self.batch_size is None:
            sample = next(stream, End)
            return End if sample is End else (self.collate_fn or default_convert)(sample)
        samples = list(itertools.islice(stream, self.batch_size))
        if not samples or (self.drop_last and len(samples) < self.batch_size):
            return End
        return (self.collate_fn or default_collate)(samples)
