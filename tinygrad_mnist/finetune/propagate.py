"""Label propagation: the classes of a few samples spread to the others, from neighbour to neighbour.

Sources: Zhu and Ghahramani, "Learning from labeled and unlabeled data with label propagation", 2002; on learnt
features, with their weights, Iscen et al., "Label propagation for deep semi-supervised learning",
https://arxiv.org/abs/1904.04717
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..creation import wrap
from ..tensor import Tensor

ROWS = 500  # similarities computed at once: ROWS x N


class NeighbourGraph(NamedTuple):
    """Of each of N samples the k nearest others, and how much they weigh: both (N, k), a row of weights sums to 1."""

    neighbours: Tensor
    weight: Tensor


def neighbour_graph(features: Tensor, k: int = 10) -> NeighbourGraph:
    """The `k` nearest neighbours by the cosine of features (N, F), weighing max(cosine, 0)^3, scaled to sum 1.

    It takes N^2 (F + a few) operations: for 60,000 samples of 256 features about a minute on one core.
    """
    N = len(features)
    if features.ndim != 2 or not 1 <= k < N:
        raise ValueError(
            f"neighbour_graph: expected features (N, F) and 1 <= k < N, got {tuple(features.shape)} and k={k}"
        )
    xp, x = features.xp, features.detach().array
    x = x / (xp.sqrt((x * x).sum(1, keepdims=True)) + 1e-12)
    index, weight = xp.empty((N, k), xp.int64), xp.empty((N, k), x.dtype)
    for start in range(0, N, ROWS):
        rows = xp.arange(start, min(start + ROWS, N))
        cosine = x[rows] @ x.T  # (rows, N)
        cosine[rows - start, rows] = -2  # no sample is its own neighbour
        nearest = xp.argpartition(cosine, N - k, axis=1)[:, N - k :]
        index[rows] = nearest
        weight[rows] = xp.maximum(xp.take_along_axis(cosine, nearest, 1), 1e-6) ** 3
    return NeighbourGraph(wrap(index), wrap(weight / weight.sum(1, keepdims=True)))


def propagate_labels(graph: NeighbourGraph, labels: Tensor, steps: int = 100) -> Tensor:
    """Class probabilities (N, classes) of all samples, from `labels` (N,), which are -1 where they are not known.

    At first only the labelled samples have a class. In each step every sample takes the weighted mean of its
    neighbours' probabilities, and the labelled ones their labels again. In the end, rows are scaled to sum 1; they are
    0 for samples that no label has reached.

    >>> from tinygrad_mnist import tensor
    >>> x = tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0], [0.2, 1.0]])
    >>> propagate_labels(neighbour_graph(x, k=2), tensor([0, -1, -1, 1, -1, -1])).argmax(1)
    tensor([0, 0, 0, 1, 1, 1])
    """
    N = len(graph.neighbours)
    if labels.shape != (N,):
        raise ValueError(f"propagate_labels: expected a label or -1 for each of {N} samples, got {tuple(labels.shape)}")
    xp, y = labels.xp, labels.array
    known: Any = y >= 0
    if not known.any():
        raise ValueError("propagate_labels: no label is known; all are -1")
    given = (y[:, None] == xp.arange(int(y.max()) + 1)).astype(graph.weight.dtype)  # (N, classes)
    p = given
    for _ in range(steps):
        p = xp.einsum("nk,nkc->nc", graph.weight.array, p[graph.neighbours.array])
        p[known] = given[known]
    total = p.sum(1, keepdims=True)
    return wrap(p / xp.where(total > 0, total, 1))


def surest(p: Tensor, share: float = 0.8) -> Tensor:
    """Which samples to take at their word: of each class that is the most probable one in rows of p (N, classes), the
    `share` whose probability is highest.

    >>> from tinygrad_mnist import tensor
    >>> surest(tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6]]), 0.5)
    tensor([0, 2])
    """
    if not 0 < share <= 1:
        raise ValueError(f"surest: expected a share above 0, at most 1, got {share}")
    xp, answers = p.xp, p.array.argmax(1)
    order = xp.argsort(-p.array.max(1))  # surest first
    found = [order[answers[order] == label] for label in range(p.shape[1])]
    return wrap(xp.concatenate([rows[: int(share * len(rows))] for rows in found]))
