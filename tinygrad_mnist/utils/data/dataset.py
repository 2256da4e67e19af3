"""Datasets: what a DataLoader takes samples, or whole batches, from."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ... import creation
from ...tensor import Tensor
from .collate import default_collate

T_co = TypeVar("T_co", covariant=True)


def fetch_samples(dataset: Any, indices: Sequence[int]) -> list:
    """The samples at `indices`, in order: all at once by `dataset.__getitems__` if it has that, as in PyTorch."""
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(indices)
    return [dataset[i] for i in indices]


def fetch_batch(dataset: Any, indices: Sequence[int]) -> Any:
    """The collated batch at `indices`: by `dataset.fetch_batch` where it is a Dataset, else from its samples."""
    if isinstance(dataset, Dataset):
        return dataset.fetch_batch(indices)
    return default_collate(fetch_samples(dataset, indices))


class Dataset(Generic[T_co]):
    """A set of samples that `dataset[i]` gives one at a time; subclasses write `__getitem__` and `__len__`.

    A dataset that holds its samples in memory should also write `fetch_batch`, which makes loading cheap:

    >>> class Squares(Dataset):
    ...     numbers = creation.arange(5)
    ...     def __len__(self):
    ...         return 5
    ...     def __getitem__(self, i):
    ...         return self.numbers[i] ** 2
    ...     def fetch_batch(self, indices):
    ...         return self.numbers[list(indices)] ** 2
    >>> Squares().fetch_batch([3, 1])
    tensor([9, 1])
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} is a Dataset and needs a method __getitem__(self, index)")

    def fetch_batch(self, indices: Sequence[int]) -> Any:
        """The batch of the samples at `indices`: what `default_collate([self[i] for i in indices])` gives.

        The DataLoader calls it unless it was given a `collate_fn`. This one does just that, sample by sample.
        """
        return default_collate(fetch_samples(self, indices))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A subclass that changes the samples gets batches of its own samples, not its parent's batches."""
        super().__init_subclass__(**kwargs)
        changed = {"__getitem__", "__getitems__"} & set(vars(cls))
        if changed and "fetch_batch" not in vars(cls):
            cls.fetch_batch = Dataset.fetch_batch  # type: ignore[method-assign]

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """A stream of samples: subclasses write `__iter__`, and samples come in its order.

    With several workers each iterates its own copy, so that every sample comes once per worker unless `__iter__`
    shares them out by `get_worker_info()`.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} is an IterableDataset and needs a method __iter__(self)")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of the same length: sample i is the tuple of their i-th entries.

    >>> dataset = TensorDataset(creation.tensor([[1.0], [2.0], [3.0]]), creation.tensor([0, 1, 2]))
    >>> dataset[1]
    (tensor([2.]), tensor(1))
    >>> dataset.fetch_batch([2, 0])[1]
    tensor([2, 0])
    """

    def __init__(self, *tensors: Tensor):
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor")
        sizes = [x.shape[0] if x.ndim else None for x in tensors]
        if any(n is None or n != sizes[0] for n in sizes):
            shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
            raise ValueError(f"TensorDataset: size mismatch between tensors: the first axis differs in {shapes}")
        self.tensors = tensors

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(x[index] for x in self.tensors)

    def fetch_batch(self, indices: Sequence[int]) -> list[Tensor]:
        rows = list(indices)
        return [x[rows] for x in self.tensors]

    @property
    def device(self) -> Any:
        """Where the first of the tensors is."""
        return self.tensors[0].device

    def to(self, device: Any) -> TensorDataset:
        """The tensors on `device`: batches are then gathered there."""
        return TensorDataset(*(x.to(device) for x in self.tensors))


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`."""

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> T_co:
        return self.dataset[self.indices[index]]

    @property
    def device(self) -> Any:
        """Where `dataset` is, if it says so."""
        return getattr(self.dataset, "device", "cpu")

    def fetch_batch(self, indices: Sequence[int]) -> Any:
        return fetch_batch(self.dataset, [self.indices[i] for i in indices])


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one after the other. `a + b` makes one too."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one dataset")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise ValueError("ConcatDataset does not support IterableDataset: it has no indices")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def _find(self, index: int) -> tuple[int, int]:
        """Which dataset sample `index` is in, and its index there."""
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"ConcatDataset: index {index} is out of range for {n} samples")
        index %= n
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return which, index - (self.cumulative_sizes[which - 1] if which else 0)

    def __getitem__(self, index: Any) -> T_co:
        which, inner = self._find(index)
        return self.datasets[which][inner]

    def fetch_batch(self, indices: Sequence[int]) -> Any:
        found = [self._find(i) for i in indices]
        used = sorted({which for which, _ in found})
        if len(used) == 1:
            return fetch_batch(self.datasets[used[0]], [inner for _, inner in found])
        parts = [fetch_batch(self.datasets[k], [inner for which, inner in found if which == k]) for k in used]
        if not all(isinstance(part, list | tuple) and all(isinstance(x, Tensor) for x in part) for part in parts):
            return default_collate([self[i] for i in indices])
        by_part = sorted(range(len(found)), key=lambda position: found[position][0])  # stable: order kept within
        rows = [0] * len(found)
        for row, position in enumerate(by_part):
            rows[position] = row
        return [_cat(field)[rows] for field in zip(*parts, strict=True)]


def _cat(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors, one after the other along the first axis."""
    joined: Tensor = creation.wrap(tensors[0].xp.concatenate([x.array for x in tensors]))
    return joined
