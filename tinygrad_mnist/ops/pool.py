"""Pooling. See kernels/pool.py for the formulas.

Gradients are ops only where they are to be differentiated again: a kernel's call takes a fifth of their Python.
A maximum is differentiated at a fixed choice: max_pool2d_at takes the chosen elements and is linear; its adjoint
puts gradients back where they were taken. Averages are linear as they are.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, is_grad_enabled, op

Pair = tuple[int, int]


@op
def max_pool2d(x: Variable, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool = False) -> Any:
    """The largest element of each window of x (N, C, H, W)."""
    x_shape = x.shape
    y, index = x.kernels.max_pool2d(x.array, kernel, stride, padding, dilation, ceil_mode)
    window = kernel, stride, padding, dilation

    def gradient(g: Variable) -> Variable:
        if is_grad_enabled():
            return max_pool2d_input_grad(g, g.like(index), x_shape, *window)
        return g.like(g.kernels.max_pool2d_input_grad(g.array, index, x_shape, *window))

    return y, gradient


def max_pool2d_with_indices(
    x: Variable, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool = False
) -> tuple[Variable, Variable]:
    """max_pool2d, and where in the image each maximum was found: h·W + w (int64)."""
    _, index = x.kernels.max_pool2d(x.array, kernel, stride, padding, dilation, ceil_mode)
    chosen = x.like(index.astype("int64"))
    return max_pool2d_at(x, chosen), chosen


@op
def max_pool2d_input_grad(
    dy: Variable, index: Variable, x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Any:
    """dx (N, C, H, W): dy where the windows' maxima were taken."""
    dx = dy.kernels.max_pool2d_input_grad(dy.array, index.array, x_shape, kernel, stride, padding, dilation)
    return dx, lambda g: max_pool2d_at(g, index)


@op
def max_pool2d_at(x: Variable, index: Variable) -> Any:
    """The elements of x (N, C, H, W) at index (N, C, OH, OW), counted h·W + w."""
    size = x.shape[2:]
    return x.kernels.max_pool2d_at(x.array, index.array), lambda g: max_unpool2d(g, index, size)


@op
def max_unpool2d(y: Variable, index: Variable, size: Pair) -> Any:
    """x (N, C, *size): zero but for y at its index; y of one index are added."""
    return y.kernels.max_unpool2d(y.array, index.array, size), lambda g: max_pool2d_at(g, index)


@op
def adaptive_max_pool2d(x: Variable, size: Pair) -> Any:
    """The largest element of each of the size[0] x size[1] windows that x (N, C, H, W) is cut into."""
    image = x.shape[2:]
    y, index = x.kernels.adaptive_max_pool2d(x.array, size)
    chosen = x.like(index)
    return y, lambda g: max_unpool2d(g, chosen, image)


def adaptive_max_pool2d_with_indices(x: Variable, size: Pair) -> tuple[Variable, Variable]:
    """adaptive_max_pool2d, and where in the image each maximum was found: h·W + w (int64)."""
    _, index = x.kernels.adaptive_max_pool2d(x.array, size)
    chosen = x.like(index.astype("int64"))
    return max_pool2d_at(x, chosen), chosen


@op
def avg_pool2d(
    x: Variable,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of x (N, C, H, W)."""
    x_shape = x.shape
    count = count_include_pad, divisor_override
    y = x.kernels.avg_pool2d(x.array, kernel, stride, padding, ceil_mode, *count)

    def gradient(g: Variable) -> Variable:
        if is_grad_enabled():
            return avg_pool2d_input_grad(g, x_shape, kernel, stride, padding, ceil_mode, *count)
        return g.like(g.kernels.avg_pool2d_input_grad(g.array, x_shape, kernel, stride, padding, *count))

    return y, gradient


@op
def avg_pool2d_input_grad(
    dy: Variable,
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """dx (N, C, H, W) from dy (N, C, OH, OW): the adjoint of avg_pool2d."""
    count = count_include_pad, divisor_override
    dx = dy.kernels.avg_pool2d_input_grad(dy.array, x_shape, kernel, stride, padding, *count)
    return dx, lambda g: avg_pool2d(g, kernel, stride, padding, ceil_mode, *count)


@op
def adaptive_avg_pool2d(x: Variable, size: Pair) -> Any:
    """The mean of each of the size[0] x size[1] windows that x (N, C, H, W) is cut into."""
    x_shape = x.shape
    return x.kernels.adaptive_avg_pool2d(x.array, size), lambda g: adaptive_avg_pool2d_input_grad(g, x_shape)


@op
def adaptive_avg_pool2d_input_grad(dy: Variable, x_shape: tuple[int, ...]) -> Any:
    """dx (N, C, H, W) from dy: the adjoint of adaptive_avg_pool2d."""
    size = dy.shape[2:]
    dx = dy.kernels.adaptive_avg_pool2d_input_grad(dy.array, x_shape)
    return dx, lambda g: adaptive_avg_pool2d(g, size)
