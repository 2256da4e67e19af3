"""DataLoader: a dataset as an iterable of batches."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from ...random import Generator, default_generator
from .dataset import IterableDataset
from .epoch import Epoch, Here, Position
from .fetch import Collate
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .worker import Workers

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Batches of `dataset`, each pass over the loader an epoch. Arguments and defaults are PyTorch's.

    - Without a `collate_fn` a batch is `dataset.fetch_batch(indices)`, which sets that are held in memory answer in
      one go; with one it is `collate_fn([dataset[i] for i in indices])`. `batch_size=None` gives single samples.
    - The same seed gives the same batches whatever `num_workers` is: each batch is fetched with the global random
      numbers (this library's, NumPy's, Python's) seeded for it alone, and these are put back afterwards. A dataset
      should therefore draw from them, not from a generator of its own, of which every worker has a copy.
    - `generator` draws the order and the seeds of the batches (default: the default generator).
    - `state_dict()` says where in the epoch the loader is; a loader that loads it goes on with the next batch.
    - A dataset on a GPU (`dataset.to("cuda")`) gives batches that are there already; `num_workers` must be 0 then.
    - `pin_memory` is accepted and has no effect: NumPy has no pinned memory.

    Source: https://docs.pytorch.org/docs/stable/data.html

    >>> from tinygrad_mnist import arange
    >>> from tinygrad_mnist.utils.data import TensorDataset
    >>> for (x,) in DataLoader(TensorDataset(arange(5)), batch_size=2):
    ...     print(x)
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ):
        _check_worker_options(num_workers, timeout, prefetch_factor, persistent_workers)
        if num_workers and getattr(dataset, "device", "cpu") != "cpu":
            raise ValueError(
                f"DataLoader: the dataset is on {dataset.device}, which worker processes cannot use; there a batch is "
                "gathered at once: load with num_workers=0"
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            _check_iterable_options(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and not iterable:
            assert sampler is not None
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self._workers: Workers | None = None  # kept from epoch to epoch by persistent_workers
        self._position: Position | None = None  # in the latest epoch
        self._resume: Position | None = None  # where the next epoch begins

    @property
    def _indices(self) -> Any:
        """What to iterate over for the indices of each batch (or sample); None for an iterable dataset."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        """The number of batches in an epoch (for an iterable dataset: by its own __len__)."""
        if self._indices is not None:
            return len(self._indices)
        n = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[T_co]:
        generators = self._generators()
        now = [g.get_state() for g in generators]
        self._position = self._resume or Position(now)
        self._resume = None
        # The draws of an epoch that is resumed are repeated from the states that they were first made from.
        for g, state in zip(generators, self._position.start, strict=True):
            g.set_state(state)
        seed = int((self.generator or default_generator).integers(2**62, None))
        indices = None if self._indices is None else iter(self._indices)
        if self._position.batches:
            for g, state in zip(generators, now, strict=True):
                g.set_state(state)
        return Epoch(indices, seed, self._position, self._source(seed), self.persistent_workers)

    def _generators(self) -> list[Generator]:
        """Every generator that decides about the order and the seeds of batches."""
        samplers = [self.sampler, self.batch_sampler, getattr(self.batch_sampler, "sampler", None)]
        found = [self.generator, *(getattr(s, "generator", None) for s in samplers)]
        return list(dict.fromkeys(g or default_generator for g in found))

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: how many batches of the epoch it has given, and the generators' states.

        'start' are the states that the epoch started from (None between epochs), 'now' the present ones.
        """
        position = self._resume or self._position
        running = position is not None and not position.ended
        return {
            "batches": position.batches if position and running else 0,
            "start": position.start if position and running else None,
            "now": [g.get_state() for g in self._generators()],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the loader, and its generators, to where `state_dict()` was called.

        The next iteration then gives the rest of that epoch: the same batches, bit for bit.
        """
        generators = self._generators()
        if len(state_dict["now"]) != len(generators):
            raise ValueError(
                f"DataLoader: the loaded state has {len(state_dict['now'])} generators, this loader {len(generators)}; "
                "make it with the same sampler, shuffle and generator arguments"
            )
        for generator, state in zip(generators, state_dict["now"], strict=True):
            generator.set_state(state)
        start = state_dict["start"]
        self._resume = None if start is None else Position(start, state_dict["batches"])
        self._position = None

    def _source(self, seed: int) -> Here | Workers:
        """Who fetches the batches of an epoch."""
        fetcher_args = self.dataset, self.batch_size, self.drop_last, self.collate_fn
        if self.num_workers == 0:
            return Here(fetcher_args)
        if self._workers is not None and not self._workers.closed:
            return self._workers
        context = self.multiprocessing_context
        if context is None and sys.platform == "linux":
            context = "fork"
        if not isinstance(context, BaseContext):
            context = multiprocessing.get_context(context)
        ahead = self.num_workers * self.prefetch_factor
        workers = Workers(self.num_workers, ahead, fetcher_args, self.worker_init_fn, context, self.timeout, seed)
        self._workers = workers if self.persistent_workers else None
        return workers


def _check_worker_options(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            f"num_workers option should be non-negative, got {num_workers}; use num_workers=0 to load in this process"
        )
    if timeout < 0:
        raise ValueError(f"timeout option should be non-negative, got {timeout}")
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError(f"prefetch_factor option should be non-negative, got {prefetch_factor}")
    for name, given in [("timeout", timeout), ("prefetch_factor", prefetch_factor is not None),
                        ("persistent_workers", persistent_workers)]:  # fmt: skip
        if given and num_workers == 0:
            raise ValueError(f"{name} option needs num_workers > 0")


def _check_iterable_options(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    for name, value in [("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)]:
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}; "
                "the dataset itself decides about the order"
            )
