"""Pooling, as torch.nn.functional computes it."""

import numpy as np
import torch.nn.functional as F
from op_case import case

from tinygrad_mnist import ops

X = (2, 2, 7, 5)
INDEX = np.array([[[[0, 3], [7, 11]]]])


MAX = [  # kernel, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 2), (1, 2), (1, 1), (1, 1), True),
    ((2, 2), (2, 1), (0, 0), (2, 1), False),
]
AVG = [  # kernel, stride, padding, ceil_mode, count_include_pad, divisor_override
    ((2, 2), (2, 2), (0, 0), False, True, None),
    ((3, 2), (2, 2), (1, 1), True, False, None),
    ((2, 3), (1, 2), (0, 1), False, True, 5),
]

CASES = [
    *(case("max_pool2d", X, call=lambda m, x, a=a: m.max_pool2d(x, *a)) for a in MAX),
    case("max_pool2d", (0, 1, 4, 4), call=lambda m, x: m.max_pool2d(x, *MAX[0])),
    *(
        case(
            "max_pool2d_with_indices",
            X,
            ours=lambda x, a=a: ops.max_pool2d_with_indices(x, *a),
            theirs=lambda x, a=a: F.max_pool2d(x, *a, return_indices=True),
        )
        for a in MAX
    ),
    case("max_pool2d_at", (1, 1, 4, 3), INDEX, expected=lambda x, i: np.take(x, i)),
    case(
        "max_unpool2d",
        (1, 1, 2, 2),
        INDEX,
        ours=lambda y, i: ops.max_unpool2d(y, i, (4, 3)),
        theirs=lambda y, i: F.max_unpool2d(y, i, 2, output_size=(4, 3)),
    ),
    case(
        "max_pool2d_input_grad",
        (1, 1, 2, 2),
        np.array([[[[0, 2], [12, 15]]]]),
        ours=lambda dy, i: ops.max_pool2d_input_grad(dy, i, (1, 1, 4, 4), *MAX[0][:4]),
        theirs=lambda dy, i: F.max_unpool2d(dy, i, 2),
    ),
    *(case("adaptive_max_pool2d", X, call=lambda m, x, s=s: m.adaptive_max_pool2d(x, s)) for s in [(1, 1), (3, 2)]),
    case(
        "adaptive_max_pool2d_with_indices",
        X,
        ours=lambda x: ops.adaptive_max_pool2d_with_indices(x, (3, 2)),
        theirs=lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True),
    ),
    *(case("avg_pool2d", X, call=lambda m, x, a=a: m.avg_pool2d(x, *a)) for a in AVG),
    case(
        "avg_pool2d_input_grad",
        (1, 1, 2, 2),
        ours=lambda dy: ops.avg_pool2d_input_grad(dy, (1, 1, 4, 4), *AVG[0]),
        expected=lambda dy: np.kron(dy, np.full((1, 1, 2, 2), 0.25)),
    ),
    *(case("adaptive_avg_pool2d", X, call=lambda m, x, s=s: m.adaptive_avg_pool2d(x, s)) for s in [(1, 1), (3, 2)]),
    case(
        "adaptive_avg_pool2d_input_grad",
        (1, 1, 1, 2),
        ours=lambda dy: ops.adaptive_avg_pool2d_input_grad(dy, (1, 1, 3, 4)),
        expected=lambda dy: np.kron(dy, np.full((1, 1, 3, 2), 1 / 6)),
    ),
]
