"""From a list of samples to one batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ... import creation, dtypes
from ...tensor import Tensor


def default_convert(data: Any) -> Any:
    """NumPy arrays and numbers inside `data` as tensors, sharing their memory; everything else as it is.

    Containers are made anew; a tuple becomes a list.

    >>> default_convert({"x": np.array([1, 2]), "name": "seven"})
    {'x': tensor([1, 2]), 'name': 'seven'}
    """
    match data:
        case np.ndarray() if data.dtype.kind in "bifu":
            return creation.from_numpy(data)
        case np.generic() if data.dtype.kind in "bifu":
            return creation.from_numpy(np.asarray(data))
        case Mapping():
            return {key: default_convert(value) for key, value in data.items()}
        case tuple() | list():
            return _like(data, [default_convert(x) for x in data])
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one batch: each tensor, array or number gets a new first axis of size len(batch).

    Tensors and arrays are stacked; floats become float64, ints int64; strings and bytes stay as they are; mappings,
    named tuples, tuples and lists are collated entry by entry (a tuple becomes a list).

    >>> x, y = default_collate([(np.zeros((1, 28, 28)), 5), (np.zeros((1, 28, 28)), 0)])
    >>> tuple(x.shape), y
    ((2, 1, 28, 28), tensor([5, 0]))
    """
    if len(batch) == 0:
        raise ValueError("default_collate: expected at least one sample, got an empty list")
    first = batch[0]
    match first:
        case Tensor() | np.ndarray() | np.generic():
            return _stack(batch)
        case bool() | int():
            return creation.tensor(list(batch))
        case float():
            return creation.tensor(list(batch), dtype=dtypes.float64)
        case str() | bytes():
            return batch
        case Mapping():
            return {key: default_collate([sample[key] for sample in batch]) for key in first}
        case tuple() | list():
            sizes = sorted({len(sample) for sample in batch})
            if len(sizes) > 1:
                raise RuntimeError(
                    f"each element in list of batch should be of equal size, got sizes {sizes}; "
                    "pass a collate_fn to the DataLoader that pads or crops them"
                )
            return _like(first, [default_collate(field) for field in zip(*batch, strict=True)])
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
        f"{type(first).__qualname__}. Convert it in the dataset (transforms.ToTensor() for images) or pass a collate_fn"
    )


def _like(sample: Any, items: list) -> Any:
    """`items` as a named tuple if the sample is one; a list stays a list, and a tuple becomes one."""
    return type(sample)(*items) if hasattr(sample, "_fields") else items


def _stack(batch: Sequence[Any]) -> Tensor:
    """Tensors, arrays or NumPy numbers of one shape, stacked along a new first axis."""
    tensors = [x if isinstance(x, Tensor) else creation.from_numpy(np.asarray(x)) for x in batch]
    first = tensors[0]
    for i, x in enumerate(tensors):
        if x.shape != first.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first.shape)} at entry 0 and "
                f"{list(x.shape)} at entry {i}; bring the samples to one size with a transform, or pass a collate_fn"
            )
    promote: Callable[[np.dtype, np.dtype], np.dtype] = dtypes.promote_types
    dtype = functools.reduce(promote, (x.dtype for x in tensors))
    stacked: Tensor = creation.wrap(first.xp.stack([x.array.astype(dtype, copy=False) for x in tensors]))
    return stacked
