"""Convolution: three ops that are each other's gradients.

conv2d is linear in x and in w. Its adjoint in x is conv2d_input_grad (the transposed convolution), its adjoint
in w is conv2d_weight_grad, and the adjoints of those two are again among the three.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, op
from .reduce import sum

Pair = tuple[int, int]


def _array(x: Variable | None) -> Any:
    return None if x is None else x.array


@op
def conv2d(
    x: Variable, w: Variable, b: Variable | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW), b (O,) or None. See kernels/conv.py."""
    geometry = stride, padding, dilation, groups
    x_shape, w_shape = x.shape, w.shape
    return (
        x.kernels.conv2d(x.array, w.array, _array(b), *geometry),
        lambda g: conv2d_input_grad(g, w, x_shape, *geometry),
        lambda g: conv2d_weight_grad(g, x, w_shape, *geometry),
        lambda g: sum(g, (0, 2, 3)),
    )


@op
def conv2d_input_grad(
    dy: Variable, w: Variable, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """dx (N, C, H, W) from dy (N, O, OH, OW) and w: the adjoint of conv2d in x."""
    geometry = stride, padding, dilation, groups
    w_shape = w.shape
    return (
        dy.kernels.conv2d_input_grad(dy.array, w.array, x_shape, *geometry),
        lambda g: conv2d(g, w, None, *geometry),
        lambda g: conv2d_weight_grad(dy, g, w_shape, *geometry),
    )


@op
def conv2d_weight_grad(
    dy: Variable, x: Variable, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """dw (O, C/G, KH, KW) from dy (N, O, OH, OW) and x: the adjoint of conv2d in w."""
    geometry = stride, padding, dilation, groups
    x_shape = x.shape
    return (
        dy.kernels.conv2d_weight_grad(dy.array, x.array, w_shape, *geometry),
        lambda g: conv2d(x, g, None, *geometry),
        lambda g: conv2d_input_grad(dy, g, x_shape, *geometry),
    )
