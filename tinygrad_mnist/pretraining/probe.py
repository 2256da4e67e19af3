"""How good features are: what a nearest-neighbour vote and a linear classifier make of them.

`finetune.cached_features` computes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor


def knn_accuracy(known: Any, labels: Any, x: Any, targets: Any, k: int = 10) -> float:
    """Share of rows of x (M, F) whose class in `targets` (M,) wins the vote of the `k` nearest rows of `known` (N, F).

    Nearest by the cosine; ties go to the lower class. `labels` (N,) are the classes of `known`.

    >>> from tinygrad_mnist import tensor
    >>> known, labels = tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), tensor([0, 0, 1])
    >>> knn_accuracy(known, labels, tensor([[2.0, 0.0], [0.0, 3.0]]), tensor([0, 1]), k=1)
    1.0
    """
    known, labels, x, targets = _checked("knn_accuracy", known, labels, x, targets)
    if not 1 <= k <= len(known):
        raise ValueError(f"knn_accuracy: expected k from 1 to {len(known)}, the number of known rows, got {k}")
    unit = known / (np.linalg.norm(known, axis=1, keepdims=True) + 1e-12)
    nearest = np.argpartition(-(x @ unit.T), k - 1, axis=1)[:, :k]
    votes = (labels[nearest][:, :, None] == np.arange(labels.max() + 1)).sum(1)  # (M, classes)
    return float((votes.argmax(1) == targets).mean())


def linear_probe(known: Any, labels: Any, x: Any, targets: Any, penalty: float = 1e-3) -> float:
    """Accuracy on x (M, F), `targets` (M,), of a linear classifier that is fitted to `known` (N, F), `labels` (N,).

    It is the least-squares fit of the one-hot classes to the standardised features, with `penalty` times N times the
    squared weights added: a closed form, so nothing is drawn and no learning rate is chosen. Logistic regression
    does a little better and takes much longer.
    """
    known, labels, x, targets = _checked("linear_probe", known, labels, x, targets)
    f = known.astype(np.float64)
    mean, std = f.mean(0), f.std(0) + 1e-6
    f = (f - mean) / std  # (N, F)
    wanted = np.equal.outer(labels, np.arange(labels.max() + 1)).astype(f.dtype)  # (N, classes)
    gram = f.T @ f + penalty * len(f) * np.eye(f.shape[1])
    weight = np.linalg.solve(gram, f.T @ (wanted - wanted.mean(0)))  # (F, classes)
    answers = ((x - mean) / std @ weight + wanted.mean(0)).argmax(1)
    return float((answers == targets).mean())


def _checked(name: str, *given: Tensor) -> list[Any]:
    """The arrays, on the CPU, where such a little work is done soonest."""
    known, labels, x, targets = arrays = [backend.CPU.to_device(tensor.array) for tensor in given]
    for rows, classes in ((known, labels), (x, targets)):
        if rows.ndim != 2 or classes.shape != (len(rows),) or not len(rows) or rows.shape[1:] != known.shape[1:]:
            shapes = [array.shape for array in arrays]
            raise ValueError(f"{name}: expected (N, F), (N,), (M, F) and (M,), none of them empty, got {shapes}")
    return arrays
