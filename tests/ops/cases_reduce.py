"""Reductions, running sums, softmax."""

import itertools
import math

import numpy as np
from op_case import case, integers, normal, positive

from tinygrad_mnist import ops

DIMS = [None, 0, -1, (0, 2), (0, 1, 2), ()]
ZEROS = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 4.0]])
INF_ROW = np.array([[-np.inf, -np.inf], [0.0, -np.inf], [1000.0, 1001.0]])


def _torch_norm(p, **options):
    import torch

    return lambda x: torch.linalg.vector_norm(x, p, **options)


CASES = [
    *(
        case(name, (2, 3, 4), dim=dim, keepdim=keepdim)
        for name in ["sum", "mean"]
        for dim, keepdim in itertools.product(DIMS, [False, True])
    ),
    case("sum", (2, 3), expected=lambda x: sum(float(v) for row in x for v in row)),
    *(case("sum", x) for x in [(), (0,), (3, 0), integers(3), np.array([True, True]), np.array([255, 255], np.uint8)]),
    case("sum", (3, 0), dim=1),
    case("sum_to", (4, 2, 3), ours=lambda x: ops.sum_to(x, (2, 1)), theirs=lambda x: x.sum_to_size(2, 1)),
    case("sum_to", (2, 3), ours=lambda x: ops.sum_to(x, (1, 2, 3)), expected=lambda x: x[None]),
    case("mean", (3, 0), dim=0),
    case("mean", (0,), kinks=True),
    *(
        case(name, (2, 3, 4), dim=dim, correction=correction, keepdim=keepdim)
        for name in ["var", "std"]
        for dim, correction, keepdim in [(None, 1, False), (0, 0, True), (-1, 2, False), ((0, 2), 1, True)]
    ),
    case("var", np.array([1.0, 2.0, 3.0, 6.0]), expected=14 / 3),
    case("std", np.full(3, 2.0), kinks=True, covers=("_sqrt_flat_at_zero",)),
    *(
        case(name, (1,), ours=getattr(ops, name), expected=math.nan, grad=False) for name in ["var", "std"]
    ),  # PyTorch warns
    *(
        case(
            "norm", (2, 3), ours=lambda x, p=p, o=o: ops.norm(x, p, **o), theirs=_torch_norm(p, **o), covers=("_norm",)
        )
        for p in [2, 1, math.inf, -math.inf, 0, 3, 1.5, 0.5, -1]
        for o in [{}, {"dim": 1}, {"dim": (0, 1), "keepdim": True}]
    ),
    *(
        case(
            "norm",
            np.array([[0.0, 0.0], [0.0, 3.0]]),
            ours=lambda x, p=p: ops.norm(x, p, 1),
            theirs=_torch_norm(p, dim=1),
            kinks=True,
            second=p != 2,
        )
        for p in [2, 1, 0]
    ),
    case("norm", np.array([3.0, 4.0]), expected=5.0),
    *(case("logsumexp", (2, 3, 4), dim=dim, keepdim=k) for dim, k in [(0, False), (-1, True), ((0, 2), False)]),
    case("logsumexp", np.array([1000.0, 1000.0]), dim=0, expected=1000 + math.log(2)),
    case("logsumexp", INF_ROW, dim=1, grad=False),
    case("logsumexp", np.array([np.inf, 1.0]), dim=0, grad=False),
    *(case("prod", (2, 5, 3), dim=dim, keepdim=k) for dim, k in [(0, False), (1, True), (-1, False)]),
    *(case("prod", x) for x in [(7,), (), (0,), ZEROS, integers(3)]),
    case("prod", (2, 0), dim=1),
    *(case("prod", ZEROS, dim=dim) for dim in (0, 1)),
    *(case("cumsum", x, dim=dim) for x, dim in [((2, 3), 0), ((2, 3), -1), ((0, 2), 0), (integers(3), 0), ((), 0)]),
    *(case("cumprod", x, dim=dim) for x, dim in [((2, 3), 0), ((2, 5), -1), (integers(3), 0), (ZEROS, 1), ((), 0)]),
    *(
        case(name, x, call=lambda m, x, n=name, o=o: getattr(m, n)(x, **o), grad=False)
        for name in ["all", "any"]
        for x in [ZEROS, integers(3, 2, low=0, high=2)]
        for o in [{}, {"dim": 1}, {"dim": 0, "keepdim": True}]
    ),
    *(case(name, (2, 3, 4), dim=dim) for name in ["softmax", "log_softmax"] for dim in [0, 1, -1]),
    *(case(name, x, dim=0) for name in ["softmax", "log_softmax"] for x in [(0, 2), ()]),
    *(case(name, np.array([[1000.0, 0.0], [-1000.0, 5.0]]), dim=1) for name in ["softmax", "log_softmax"]),
    case("softmax", np.log([1.0, 3.0]), dim=0, expected=[0.25, 0.75]),
    case("log_softmax", np.log([1.0, 3.0]), dim=0, expected=np.log([0.25, 0.75])),
    case("mean", positive(2, 3) * 0 + normal(3), dim=0),
]
