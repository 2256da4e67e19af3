"""How one batch is taken from a dataset, in this process or in a worker."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random.mtrand import get_bit_generator, set_bit_generator

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
    _seed_others(seed)


def _seed_others(seed: int) -> None:
    np.random.seed(seed % 2**32)  # noqa: NPY002  (datasets that use it are why)
    random.seed(seed)


@contextlib.contextmanager
def seeded(seed: int, numpys: np.random.MT19937) -> Iterator[None]:
    """Random numbers drawn inside come from `seed`; those drawn after, from where they would have before.

    `numpys` makes NumPy's meanwhile: to lend it one is quicker than to overwrite the one it has and write that back.
    """
    state, own, pythons = np.random.get_state(legacy=False), get_bit_generator(), random.getstate()  # noqa: NPY002
    try:
        set_bit_generator(numpys)
        with default_generator.seeded(seed):
            _seed_others(seed)
            yield
    finally:
        set_bit_generator(own)
        if state["has_gauss"]:  # a normal number, drawn but not given out yet, is kept outside of the bit generator
            np.random.set_state(state)  # noqa: NPY002
        random.setstate(pythons)


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
        self.numpys = np.random.MT19937()  # its own, since the dataset may fetch from another loader
        self.samples: Iterator[Any] | None = None
        if isinstance(dataset, IterableDataset):
            with seeded(seed, self.numpys):
                self.samples = iter(dataset)

    def __call__(self, task: Task) -> Any:
        with seeded(task.seed, self.numpys):
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
