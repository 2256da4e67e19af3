"""Normalisation: fused kernels (kernels/norm.py) for the value and the gradient, plain ops for what comes after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Variable, is_grad_enabled, op
from ..kernels.kept import kept
from .activation import relu, relu_grad
from .broadcast import expand, sum
from .elementwise import add, mul, neg, sub
from .pool import max_pool2d, max_pool2d_input_grad
from .reduce import mean
from .shape import reshape
from .unary import rsqrt


@op
def batch_norm(
    x: Variable,
    w: Variable | None,
    b: Variable | None,
    running_mean: Variable | None,
    running_var: Variable | None,
    momentum: float,
    eps: float,
) -> Any:
    """x (N, C, ...) normalised by its own mean and variance in each channel, times w (C,), plus b (C,).

    Moves running_mean and running_var (C,) by `momentum` towards the mean and the unbiased variance.
    """
    y, m, v = x.kernels.batch_norm(x.array, array(w), array(b), eps)
    _move_statistics(x, running_mean, running_var, m, v, momentum)
    last: list = [None, ()]  # the g seen last and all gradients for it

    def gradient(i: int) -> Callable[[Variable], Variable]:
        def of_input(g: Variable) -> Variable:
            if is_grad_enabled():
                return _batch_gradients(g, x, w, eps)[i]
            if last[0] is not g:
                last[:] = None, ()  # its memory serves for the next
                last[:] = g, x.kernels.batch_norm_grad(g.array, x.array, array(w), m, v, eps)
            return g.like(last[1][i])

        return of_input

    return y, gradient(0), gradient(1), gradient(2)


def batch_norm_relu(
    x: Variable,
    w: Variable | None,
    b: Variable | None,
    running_mean: Variable | None,
    running_var: Variable | None,
    momentum: float,
    eps: float,
    pool: bool,
) -> Any:
    """relu(batch_norm(...)), and its largest elements in squares of 2 x 2 pixels if `pool`, in fewer passes."""
    fused = getattr(x.kernels, "norm_relu", None)
    if fused is not None and fused.usable(x.array):
        return _fused_batch_norm_relu(x, w, b, running_mean, running_var, momentum, eps, pool)
    y = relu(batch_norm(x, w, b, running_mean, running_var, momentum, eps))
    return max_pool2d(y, (2, 2), (2, 2), (0, 0), (1, 1)) if pool else y


@op
def _fused_batch_norm_relu(
    x: Variable,
    w: Variable | None,
    b: Variable | None,
    running_mean: Variable | None,
    running_var: Variable | None,
    momentum: float,
    eps: float,
    pool: bool,
) -> Any:
    kernels = x.kernels.norm_relu
    fused, m, v = kernels.batch_norm(x.array, array(w), array(b), eps, kernels.RELU_POOL if pool else kernels.RELU)
    _move_statistics(x, running_mean, running_var, m, v, momentum)
    last: list = [None, ()]  # the g seen last and all gradients for it

    def before(g: Variable, y: Variable) -> Variable:
        """The gradient at the normalised images."""
        g = relu_grad(g, y)
        if not pool:
            return g
        index = y.like(x.kernels.conv_direct.flat_index(fused))
        return max_pool2d_input_grad(g, index, fused.conv_shape, (2, 2), (2, 2), (0, 0), (1, 1))

    def gradient(i: int) -> Callable[[Variable, Variable], Variable]:
        def of_input(g: Variable, y: Variable) -> Variable:
            if is_grad_enabled() or not kernels.usable(g.array):
                return _batch_gradients(before(g, y), x, w, eps)[i]
            if last[0] is not g:
                last[:] = None, ()  # its memory serves for the next
                last[:] = g, kernels.batch_norm_grad(g.array, x.array, array(w), m, v, eps, fused)
            return g.like(last[1][i])

        return of_input

    return fused.y, gradient(0), gradient(1), gradient(2)


class KnownNorm(NamedTuple):
    """A batch norm by known statistics, (C,) each: (x - mean) / sqrt(var + eps) · weight + bias."""

    mean: Variable
    var: Variable
    weight: Variable | None
    bias: Variable | None
    eps: float


def scale_and_shift(norm: KnownNorm) -> tuple[Any, Any]:
    """What a batch norm by known statistics multiplies each channel by, and adds.

    On the CPU, where no gradients are wanted, both are kept for the next call.
    """
    mean, var, weight, bias, eps = norm

    def make() -> tuple[Variable, Variable]:
        scale = rsqrt(add(var, eps))
        scale = scale if weight is None else mul(scale, weight)
        return scale, mul(neg(mean), scale) if bias is None else sub(bias, mul(mean, scale))

    if is_grad_enabled() or type(var.array) is not np.ndarray:
        return make()
    return kept(make, ("scale and shift", eps), var.array, array(mean), array(weight), array(bias))


@op
def channel_affine(x: Variable, w: Variable, b: Variable) -> Any:
    """w x + b in each channel of x (N, C, ...), w and b (C,), in one pass."""
    per_channel, dims = (-1, *(1,) * (x.ndim - 2)), (0, *range(2, x.ndim))
    return (
        x.kernels.channel_affine(x.array, w.array, b.array),
        lambda g: mul(g, reshape(w, per_channel)),
        lambda g: sum(mul(g, x), dims),
        lambda g: sum(g, dims),
    )


@op
def layer_norm(x: Variable, w: Variable | None, b: Variable | None, eps: float) -> Any:
    """x (M, D) normalised by the mean and variance of each row, times w (D,), plus b (D,)."""
    y, m, r = x.kernels.layer_norm(x.array, array(w), array(b), eps)
    last: list = [None, ()]

    def gradient(i: int) -> Callable[[Variable], Variable]:
        def of_input(g: Variable) -> Variable:
            if is_grad_enabled():
                return _gradients(g, x, w, (1,), (0,), eps)[i]
            if last[0] is not g:
                last[:] = None, ()  # its memory serves for the next
                last[:] = g, x.kernels.layer_norm_grad(g.array, x.array, array(w), m, r)
            return g.like(last[1][i])

        return of_input

    return y, gradient(0), gradient(1), gradient(2)


def array(x: Variable | None) -> Any:
    """The array of an optional tensor."""
    return None if x is None else x.array


def _move_statistics(
    x: Variable, running_mean: Variable | None, running_var: Variable | None, m: Any, v: Any, momentum: float
) -> None:
    """Move the running ones towards the mean and the unbiased variance of the batch x."""
    count = x.array.size // max(x.array.shape[1], 1)
    if count:
        _move(running_mean, m, momentum)
        _move(running_var, v * (count / max(count - 1, 1)), momentum)


def _move(running: Variable | None, found: Any, momentum: float) -> None:
    if running is not None:
        change = found - running.array
        change *= momentum
        running.array += change
        running.version[0] += 1


def _batch_gradients(
    g: Variable, x: Variable, w: Variable | None, eps: float
) -> tuple[Variable, Variable, Variable]:
    """dx, dw, db of batch_norm in ops."""
    dims = (0, *range(2, x.ndim))
    shaped = None if w is None else reshape(w, (-1, *(1,) * (x.ndim - 2)))
    return _gradients(g, x, shaped, dims, dims, eps)


def _gradients(
    g: Variable, x: Variable, w: Variable | None, over: tuple[int, ...], summed: tuple[int, ...], eps: float
) -> tuple[Variable, Variable, Variable]:
    """dx, dw, db in ops: x is normalised `over` these axes, w and b are shared along the `summed` ones."""

    def centre(v: Variable) -> Variable:
        return expand(mean(v, over, keepdim=True), v.shape)

    d = sub(x, centre(x))
    r = rsqrt(add(centre(mul(d, d)), eps))
    z = mul(d, r)
    gw = g if w is None else mul(g, w)
    dx = mul(r, sub(sub(gw, centre(gw)), mul(z, centre(mul(gw, z)))))
    return dx, sum(mul(g, z), summed), sum(g, summed)
