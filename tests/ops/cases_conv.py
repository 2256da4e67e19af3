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


def known(mean, root, weight=None, bias=None):
    """A norm whose variance is the square of root."""
    return ops.KnownNorm(mean, ops.square(root), weight, bias, 0.1)


def torch_norm(y, mean, root, weight=None, bias=None):
    y = (y - mean[:, None, None]) / torch.sqrt(root * root + 0.1)[:, None, None]
    return y if weight is None else y * weight[:, None, None] + bias[:, None, None]


def norm_and_plus(x, w, *norm_and_plus, relu):
    *norm, plus = norm_and_plus
    return ops.conv2d_norm(x, w, None, known(*norm), plus, *PLAIN, relu)


def torch_norm_and_plus(x, w, *norm_and_plus, relu):
    *norm, plus = norm_and_plus
    y = torch_norm(F.conv2d(x, w), *norm) + plus
    return F.relu(y) if relu else y


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
        "conv2d_norm",
        X,
        (6, 4, 3, 2),
        (6,),
        covers=("_conv2d_of_few_pixels", "scale_and_shift"),
        ours=lambda x, w, b: ops.conv2d_norm(x, w, b, None, None, *PLAIN, True),
        theirs=lambda x, w, b: F.relu(F.conv2d(x, w, b)),
    ),
    *(
        case(
            "conv2d_norm",
            (1, 2, 4, 4),
            (3, 2, 3, 3),
            *((3,),) * (4 if affine else 2),
            (1, 3, 2, 2),
            ours=lambda *a, relu=relu: norm_and_plus(*a, relu=relu),
            theirs=lambda *a, relu=relu: torch_norm_and_plus(*a, relu=relu),
        )
        for affine, relu in ((True, True), (False, False))
    ),
    case(
        "conv2d_norm",
        (1, 2, 4, 4),
        (3, 2, 3, 3),
        (1, 3, 2, 2),
        ours=lambda x, w, plus: ops.conv2d_norm(x, w, None, None, plus, *PLAIN, True),
        theirs=lambda x, w, plus: F.relu(F.conv2d(x, w) + plus),
    ),
    case(
        "conv2d_norm",
        (1, 2, 4, 4),
        (3, 2, 3, 3),
        (3,),
        (3,),
        ours=lambda x, w, mean, root: ops.conv2d_norm(x, w, None, known(mean, root), None, *PLAIN, False),
        theirs=lambda x, w, mean, root: torch_norm(F.conv2d(x, w), mean, root),
    ),
]
