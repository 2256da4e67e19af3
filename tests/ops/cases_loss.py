"""Losses."""

import numpy as np
import torch
from op_case import case

from tinygrad_mnist import ops

TF = torch.nn.functional
X = np.array([0.0, 0.1, 0.5, 0.7, 1.0])


def by_hand(x, t):
    """The loss of each row, one exponential at a time."""
    losses = [-np.log(np.exp(row[label]) / sum(np.exp(v) for v in row)) for row, label in zip(x, t, strict=True)]
    return np.array(losses)


def cross_entropy(x, labels, **options):
    return case(
        "softmax_cross_entropy",
        x,
        np.array(labels, dtype=np.int64),
        theirs=lambda x, t: TF.cross_entropy(x, t, reduction="none", ignore_index=-1),
        **options,
    )


def mean_cross_entropy(x, labels, ignore_index=-100, smoothing=0.0, **options):
    return case(
        "mean_cross_entropy",
        x,
        np.array(labels, dtype=np.int64),
        ours=lambda x, t: ops.mean_cross_entropy(x, t, ignore_index, smoothing),
        theirs=lambda x, t: TF.cross_entropy(x, t, ignore_index=ignore_index, label_smoothing=smoothing),
        **options,
    )


def soft_cross_entropy(x, smoothing=0.0, **options):
    rng = np.random.default_rng(1)
    return case(
        "soft_cross_entropy",
        x,
        rng.dirichlet(np.ones(x[1]), x[0]) if x[0] else np.empty(x),
        ours=lambda x, p: ops.soft_cross_entropy(x, p, smoothing),
        theirs=lambda x, p: TF.cross_entropy(x, p, reduction="none", label_smoothing=smoothing),
        **options,
    )


CASES = [
    mean_cross_entropy((3, 4), [3, 0, 0], expected=lambda x, t: by_hand(x, t).mean()),
    mean_cross_entropy((5, 4), [3, 1, 0, 1, 1], ignore_index=1),
    mean_cross_entropy((5, 4), [3, -1, 0, 1, 1], ignore_index=-1, smoothing=0.1),
    mean_cross_entropy((2, 3), [2, 0], smoothing=1.0),
    soft_cross_entropy((3, 4), expected=lambda x, p: -(p * np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))).sum(1)),
    soft_cross_entropy((5, 3), smoothing=0.2),
    soft_cross_entropy((0, 2)),
    case(
        "softmax_cross_entropy",
        (4, 5),
        np.array([4, -1, 0, 2]),
        ours=lambda x, t: ops.softmax_cross_entropy(x, t, 0.3),
        theirs=lambda x, t: TF.cross_entropy(x, t, reduction="none", ignore_index=-1, label_smoothing=0.3),
    ),
    cross_entropy((3, 4), [3, 0, 0], expected=by_hand),
    cross_entropy((3, 4), [3, -1, 0]),
    cross_entropy((1, 1), [0]),
    cross_entropy((0, 2), []),
    cross_entropy(np.array([[1000.0, 0.0], [0.0, -1000.0]]), [1, 1], expected=[1000.0, 1000.0]),
    case(
        "binary_cross_entropy_with_logits",
        (3, 4),
        (3, 4),
        theirs=lambda x, t: TF.binary_cross_entropy_with_logits(x, t, reduction="none"),
    ),
    case(
        "binary_cross_entropy_with_logits",
        np.array([-1000.0, 0.0, 1000.0]),
        ours=lambda x: ops.binary_cross_entropy_with_logits(x, 1.0),
        theirs=lambda x: TF.binary_cross_entropy_with_logits(x, torch.ones_like(x), reduction="none"),
        expected=[1000.0, np.log(2), 0.0],
    ),
    case(
        "binary_cross_entropy",
        np.array([0.1, 0.5, 0.7]),
        np.array([0.0, 0.3, 1.0]),
        theirs=lambda x, t: TF.binary_cross_entropy(x, t, reduction="none"),
        expected=lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)),
    ),
    *(
        case(
            "binary_cross_entropy",
            X,
            ours=lambda x, t=target: ops.binary_cross_entropy(x, t),
            theirs=lambda x, t=target: TF.binary_cross_entropy(x, torch.full_like(x, t), reduction="none"),
            grad=False,  # 1e12, with PyTorch's 1e-12 in float32: compared in tests/nn/test_loss.py
        )
        for target in (0.0, 1.0)
    ),
]
