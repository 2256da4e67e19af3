"""Normalisation: fused kernels (kernels/norm.py) for the value and the gradient, plain ops for what comes after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Variable, is_grad_enabled, op
from .broadcast import expand, sum
from .elementwise import add, mul, sub
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
    count = x.array.size // max(x.shape[1], 1)
    if count:
        _move(running_mean, m, momentum)
        _move(running_var, v * (count / max(count - 1, 1)), momentum)
    dims = (0, *range(2, x.ndim))
    last: list = [None, ()]  # the g seen last and all gradients for it

    def gradient(i: int) -> Callable[[Variable], Variable]:
        def of_input(g: Variable) -> Variable:
            if is_grad_enabled():
                shaped = None if w is None else reshape(w, (-1, *(1,) * (x.ndim - 2)))
                return _gradients(g, x, shaped, dims, dims, eps)[i]
            if last[0] is not g:
                last[:] = g, x.kernels.batch_norm_grad(g.array, x.array, array(w), m, v, eps)
            return g.like(last[1][i])

        return of_input

    return y, gradient(0), gradient(1), gradient(2)


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
                last[:] = g, x.kernels.layer_norm_grad(g.array, x.array, array(w), m, r)
            return g.like(last[1][i])

        return of_input

    return y, gradient(0), gradient(1), gradient(2)


def array(x: Variable | None) -> Any:
    """The array of an optional tensor."""
    return None if x is None else x.array


def _move(running: Variable | None, towards: Any, momentum: float) -> None:
    if running is not None:
        running.array[...] += momentum * (towards - running.array)
        running.version[0] += 1


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
