"""Parts of a dataset: random splits, the same number of samples of each class; and the statistics of a part."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import backend, creation
from ...random import Generator, default_generator
from .dataloader import DataLoader
from .dataset import Subset


def random_split(
    dataset: Any,
    lengths: Sequence[int | float],
    generator: Generator | None = None,
    *,
    stratify: Any = None,
) -> list[Subset]:
    """`dataset` in random parts without overlap, of the given lengths, or fractions that sum to 1.

    What fractions leave over after rounding down goes to the parts in turn, one sample each. With `stratify`, a
    label for each sample, every part gets its share of every class, give or take rounding.

    >>> labels = [0] * 80 + [1] * 20
    >>> train, val = random_split(range(100), [0.75, 0.25], stratify=labels)
    >>> len(train), len(val), sum(labels[i] for i in val.indices)
    (75, 25, 5)
    """
    generator = generator or default_generator
    n = len(dataset)
    sizes = _from_fractions(lengths, n) if math.isclose(sum(lengths), 1) else [int(length) for length in lengths]
    if sum(sizes) != n:
        raise ValueError(
            f"random_split: the sum of input lengths, {sum(lengths)}, does not equal the length of the input dataset, "
            f"{n}; give counts that sum to {n} or fractions that sum to 1"
        )
    order = generator.permutation(n)
    if stratify is None:
        parts = np.split(order, np.cumsum(sizes)[:-1])
    else:
        labels = _labels(stratify, n, "random_split: expected stratify")
        parts = [part[generator.permutation(len(part))] for part in _stratified(order, sizes, labels)]
    return [Subset(dataset, part.tolist()) for part in parts]


def _from_fractions(fractions: Sequence[float], n: int) -> list[int]:
    """Part sizes that sum to n, in these proportions."""
    for i, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"random_split: fraction at index {i} is not between 0 and 1, got {fraction}")
    sizes = [math.floor(n * fraction) for fraction in fractions]
    for i in range(n - sum(sizes)):
        sizes[i % len(sizes)] += 1
    for i, size in enumerate(sizes):
        if size == 0:
            warnings.warn(f"random_split: the part at index {i} is empty", stacklevel=3)
    return sizes


def _stratified(order: np.ndarray, sizes: Sequence[int], labels: np.ndarray) -> list[np.ndarray]:
    """The indices in `order`, in parts: sorted by class, each part is what stands at equal distances in the rest."""
    rest = order[np.argsort(labels[order], kind="stable")]
    parts = []
    for size in sizes:
        picked = (2 * np.arange(size) + 1) * len(rest) // (2 * max(size, 1))
        parts.append(rest[picked])
        rest = np.delete(rest, picked)
    return parts


def sample_per_class(dataset: Any, count: int, labels: Any, generator: Generator | None = None) -> Subset:
    """`count` random samples of each class that is in `labels`, which has the class of each sample.

    Raises ValueError if a class has fewer.

    >>> labels = [0] * 80 + [1] * 20
    >>> few = sample_per_class(range(100), 3, labels)
    >>> sorted(labels[i] for i in few.indices)
    [0, 0, 0, 1, 1, 1]
    """
    if count < 1:
        raise ValueError(f"sample_per_class: expected a count of at least 1, got {count}")
    classes = _labels(labels, len(dataset), "sample_per_class: expected labels")
    order = (generator or default_generator).permutation(len(classes))
    chosen = []
    for label in np.unique(classes):
        found = order[classes[order] == label]
        if len(found) < count:
            raise ValueError(
                f"sample_per_class: {count} samples of each class were asked for, but class {label} has {len(found)}; "
                f"ask for at most {np.unique(classes, return_counts=True)[1].min()}"
            )
        chosen.append(found[:count])
    return Subset(dataset, np.concatenate(chosen or [order]).tolist())


def mean_and_std(dataset: Any, batch_size: int = 1000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of a dataset's images (C, H, W): the arguments of Normalize.

    Of the training part alone, since the validation and test images must not influence what is trained.

    >>> from tinygrad_mnist.creation import tensor
    >>> from tinygrad_mnist.utils.data import TensorDataset
    >>> mean_and_std(TensorDataset(tensor([[[[0.0, 4.0]]], [[[4.0, 0.0]]]])))
    ((2.0,), (2.0,))
    """
    count: int = 0
    total: Any = 0.0  # (C,)
    squares: Any = 0.0
    loader: DataLoader[Any] = DataLoader(dataset, batch_size)
    for images, *_ in loader:
        x = backend.CPU.to_device(images.array)
        if x.ndim != 4 or x.dtype.kind != "f":
            raise ValueError(
                f"mean_and_std: expected batches of float images (N, C, H, W), got {images.dtype} {x.shape}; give the "
                "dataset transform=transforms.ToTensor()"
            )
        x = x.astype(np.float64)
        count += x.size // x.shape[1]
        total = total + x.sum((0, 2, 3))
        squares = squares + (x * x).sum((0, 2, 3))
    if count == 0:
        raise ValueError("mean_and_std: the dataset has no images")
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0)  # which rounding makes negative where all pixels are the same
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())


def _labels(labels: Any, n: int, expected: str) -> np.ndarray:
    """One label for each of n samples, as an array."""
    array: np.ndarray = backend.CPU.to_device(creation.to_array(labels))
    if array.shape != (n,):
        raise ValueError(f"{expected} to have a label for each of {n} samples, got shape {array.shape}")
    return array
