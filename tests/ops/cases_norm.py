"""Normalisation and the linear map."""

import numpy as np
import torch
from op_case import case, normal

from tinygrad_mnist import ops

TF = torch.nn.functional


def batch_norm(*shape, affine=True):
    inputs = (shape, (shape[1],), (shape[1],)) if affine else (shape,)
    return case(
        "batch_norm",
        *inputs,
        ours=lambda x, w=None, b=None: ops.batch_norm(x, w, b, None, None, 0.1, 1e-3),
        theirs=lambda x, w=None, b=None: TF.batch_norm(x, None, None, w, b, True, 0.1, 1e-3),
    )


def batch_norm_relu(*shape, pool):
    def theirs(x, w, b):
        y = TF.relu(TF.batch_norm(x, None, None, w, b, True, 0.1, 1e-3))
        return TF.max_pool2d(y, 2) if pool else y

    return case(
        "batch_norm_relu",
        *(shape, shape[1:2], shape[1:2]),
        covers=("_fused_batch_norm_relu",),
        ours=lambda x, w, b: ops.batch_norm_relu(x, w, b, None, None, 0.1, 1e-3, pool),
        theirs=theirs,
    )


def channel_affine(*shape):
    per_channel = -1, *(1,) * (len(shape) - 2)
    return case(
        "channel_affine",
        *(shape, shape[1:2], shape[1:2]),
        theirs=lambda x, w, b: x * w.reshape(per_channel) + b.reshape(per_channel),
    )


def layer_norm(*shape, affine=True):
    return case(
        "layer_norm",
        *((shape, shape[1:], shape[1:]) if affine else (shape,)),
        ours=lambda x, w=None, b=None: ops.layer_norm(x, w, b, 1e-3),
        theirs=lambda x, w=None, b=None: TF.layer_norm(x, shape[1:], w, b, 1e-3),
    )


def linear_relu(*shapes):
    return case(
        "linear_relu",
        *shapes,
        ours=lambda x, w, b=None: ops.linear_relu(x, w, b),
        theirs=lambda *inputs: TF.relu(TF.linear(*inputs)),
    )


CASES = [
    *(batch_norm(*shape) for shape in [(4, 2), (3, 2, 5), (2, 3, 2, 3), (1, 2, 2, 1)]),
    batch_norm(3, 2, 2, 2, affine=False),
    case(
        "batch_norm",
        np.array([[1.0], [3.0]]),
        ours=lambda x: ops.batch_norm(x, None, None, None, None, 0.1, 0.0),
        expected=[[-1.0], [1.0]],
        grad=False,
    ),
    batch_norm_relu(3, 2, 3, 4, pool=False),
    batch_norm_relu(2, 3, 5, 4, pool=True),
    *(channel_affine(*shape) for shape in [(4, 2), (2, 3, 2, 3), (0, 2, 3), (1, 2, 2, 1)]),
    case(
        "channel_affine", np.array([[1.0, 2.0]]), np.array([3.0, 4.0]), np.array([5.0, 6.0]), expected=[[8.0, 14.0]]
    ),
    *(layer_norm(*shape) for shape in [(2, 3), (1, 5), (4, 2)]),
    layer_norm(3, 4, affine=False),
    case(
        "layer_norm",
        np.array([[1.0, 3.0], [6.0, 2.0]]),
        ours=lambda x: ops.layer_norm(x, None, None, 0.0),
        expected=[[-1.0, 1.0], [1.0, -1.0]],
        grad=False,
    ),
    case("linear", (3, 4), (2, 4), (2,)),
    case("linear", (0, 4), (2, 4), (2,)),
    case("linear", normal(4, 3).T, (2, 4), ours=lambda x, w: ops.linear(x, w, None), theirs=TF.linear),
    linear_relu((3, 4), (2, 4), (2,)),
    linear_relu((0, 4), (2, 4)),
    linear_relu((5, 3), (4, 3)),
    case(
        "linear_relu",
        np.array([[1.0, 2.0]]),
        np.array([[3.0, 4.0], [-3.0, 4.0], [3.0, -4.0]]),
        np.array([5.0, -6.0, 4.0]),
        expected=[[16.0, 0.0, 0.0]],
    ),
    case("linear", np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0]), expected=[[16.0]]),
]
