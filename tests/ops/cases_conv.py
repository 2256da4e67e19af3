"""Convolutions, as torch.nn.functional computes them."""

import torch
import torch.nn.functional as F
from op_case import case

from tinygrad_mnist import ops

X, W = (2, 4, 6, 5), (6, 2, 3, 2)
PLAIN = ((1, 1), (0, 0), (1, 1), 1)
GEOMETRIES = [
    ((1, 1), (0, 0), (1, 1), 2),
    ((2, 1), (1, 2), (1, 1), 2),
    ((1, 2), (2, 1), (2, 1), 2),
]  # stride, padding, dilation, groups


def out_shape(g):
    return tuple(F.conv2d(torch.zeros(X), torch.zeros(W), None, *g).shape)


def relu_pool(x, w, b):
    return F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), 2)


CASES = [
    *(
        case("conv2d", X, W, (6,), ours=lambda *a, g=g: ops.conv2d(*a, *g), theirs=lambda *a, g=g: F.conv2d(*a, *g))
        for g in GEOMETRIES
    ),
    case("conv2d", (1, 2, 3, 3), (1, 2, 3, 3), call=lambda m, x, w: m.conv2d(x, w, None, *PLAIN)),
    case("conv2d", (0, 2, 3, 3), (1, 2, 2, 2), call=lambda m, x, w: m.conv2d(x, w, None, *PLAIN)),
    *(
        case(
            "conv2d_input_grad",
            out_shape(g),
            W,
            ours=lambda dy, w, g=g: ops.conv2d_input_grad(dy, w, X, *g),
            theirs=lambda dy, w, g=g: torch.nn.grad.conv2d_input(X, w, dy, *g),
        )
        for g in GEOMETRIES
    ),
    *(
        case(
            "conv2d_weight_grad",
            out_shape(g),
            X,
            ours=lambda dy, x, g=g: ops.conv2d_weight_grad(dy, x, W, *g),
            theirs=lambda dy, x, g=g: torch.nn.grad.conv2d_weight(x, W, dy, *g),
        )
        for g in GEOMETRIES
    ),
    case(
        "conv2d_relu",
        (1, 2, 4, 4),
        (3, 2, 3, 3),
        (3,),
        ours=lambda *a: ops.conv2d_relu(*a, *PLAIN, False),
        theirs=lambda *a: F.relu(F.conv2d(*a)),
    ),
    case(
        "conv2d_relu",
        (2, 2, 4, 4),
        (3, 2, 3, 3),
        (3,),
        covers=("_fused_conv2d_relu",),
        ours=lambda *a: ops.conv2d_relu(*a, (1, 1), (1, 1), (1, 1), 1, True),
        theirs=relu_pool,
    ),
    case(
        "conv2d_scaled",
        X,
        (6, 4, 3, 2),
        (6,),
        (6,),
        covers=("_conv2d_of_few_pixels",),
        ours=lambda *a: ops.conv2d_scaled(*a, None, *PLAIN, False),
        theirs=lambda x, w, scale, b: F.conv2d(x, w) * scale[:, None, None] + b[:, None, None],
    ),
    *(
        case(
            "conv2d_scaled",
            (1, 2, 4, 4),
            (3, 2, 3, 3),
            (3,),
            (3,),
            (1, 3, 2, 2),
            ours=lambda *a, relu=relu: ops.conv2d_scaled(*a, *PLAIN, relu),
            theirs=lambda x, w, scale, b, plus, relu=relu: (F.relu if relu else torch.clone)(
                F.conv2d(x, w) * scale[:, None, None] + b[:, None, None] + plus
            ),
        )
        for relu in (True, False)
    ),
    case(
        "conv2d_scaled",
        (1, 2, 4, 4),
        (3, 2, 3, 3),
        (3,),
        (3,),
        ours=lambda *a: ops.conv2d_scaled(*a, None, *PLAIN, True),
        theirs=lambda x, w, scale, b: F.relu(F.conv2d(x, w) * scale[:, None, None] + b[:, None, None]),
    ),
    case(
        "conv2d_scaled",
        (1, 2, 4, 4),
        (3, 2, 3, 3),
        (3,),
        (1, 3, 2, 2),
        ours=lambda x, w, b, plus: ops.conv2d_scaled(x, w, None, b, plus, *PLAIN, True),
        theirs=lambda x, w, b, plus: F.relu(F.conv2d(x, w, b) + plus),
    ),
]
