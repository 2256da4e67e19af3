"""random_split: a dataset in parts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import backend, creation
from ...random import Generator, default_generator
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
        labels = backend.CPU.to_device(creation.to_array(stratify))
        if labels.shape != (n,):
            raise ValueError(
                f"random_split: expected stratify to have a label for each of {n} samples, got shape {labels.shape}"
            )
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
