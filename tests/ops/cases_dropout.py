"""Dropout, with a choice that does not change from call to call."""

import numpy as np
from op_case import case
from tinygrad_mnist.kernels import philox

from tinygrad_mnist import ops


def drop(shape, kept_shape, p):
    """A case whose choice is written out for PyTorch."""
    kept = philox.words32(5, 2, int(np.prod(kept_shape))).reshape(kept_shape) >= p * 2**32
    return case(
        "dropout",
        shape,
        ours=lambda x: ops.dropout(x, kept_shape, p, 5, 2),
        theirs=lambda x: x * x.new_tensor(kept) / (1 - p),
    )


KEPT = np.array([[True], [False], [True]])

CASES = [
    drop((3, 4), (3, 4), 0.25),
    drop((0, 2), (0, 2), 0.5),
    drop((2, 3, 4, 5), (2, 3, 1, 1), 0.5),
    case("dropout", (5,), ours=lambda x: ops.dropout(x, (5,), 1.0, 0, 0), theirs=lambda x: x * 0),
    case(
        "dropout_kept",
        (3, 2),
        ours=lambda x: ops.dropout_kept(x, x.xp.asarray(KEPT), 3.0),
        theirs=lambda x: x * x.new_tensor(KEPT) * 3,
    ),
]
