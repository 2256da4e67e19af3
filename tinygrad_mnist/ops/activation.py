"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..autograd import Variable, is_grad_enabled, no_grad, op
from .elementwise import add, clamp_max, floating, masked, mul, sub
from .unary import erf, exp, sigmoid, tanh


@op
def relu(x: Variable) -> Any:
    """max(x, 0); its gradient at 0 is 0."""
    return x.kernels.relu(x.array), _relu_gradient


def _relu_gradient(g: Variable, y: Variable) -> Variable:
    """An op only where it is to be differentiated again: a kernel's call takes a fifth of its Python."""
    return relu_grad(g, y) if is_grad_enabled() else g.like(g.kernels.relu_grad(g.array, y.array))


@op
def add_relu(a: Variable, b: Variable) -> Any:
    """max(a + b, 0) for a and b of one shape and dtype: `add` and `relu` in one pass."""
    before = before_relu()
    return a.kernels.add_relu(a.array, b.array), before, before


def before_relu() -> Callable[[Variable, Variable], Variable]:
    """For ops that end with ReLU: (g, y) -> the gradient before it, computed once for all inputs of the op."""
    last: list = [None, None]  # the g seen last, and the gradient for it

    def before(g: Variable, y: Variable) -> Variable:
        if is_grad_enabled():
            return relu_grad(g, y)
        if last[0] is not g:
            last[:] = g, _relu_gradient(g, y)
        return last[1]

    return before


@op
def relu_grad(dy: Variable, y: Variable) -> Any:
    """dy where y, the result of relu, is above 0; else 0."""
    return dy.kernels.relu_grad(dy.array, y.array), lambda g: relu_grad(g, y)


@op
def leaky_relu(x: Variable, negative_slope: float = 0.01) -> Any:
    """x above 0, negative_slope · x elsewhere."""
    return _split(x, x.array, negative_slope * x.array), lambda g: _piecewise(g, x, mul(g, negative_slope))


@op
def elu(x: Variable, alpha: float = 1.0) -> Any:
    """x above 0, alpha · (e^x - 1) elsewhere."""
    return (
        _split(x, x.array, alpha * x.xp.expm1(x.array)),
        lambda g: _piecewise(g, x, mul(g, mul(exp(clamp_max(x, 0)), alpha))),
    )


def _split(x: Variable, above: Any, elsewhere: Any) -> Any:
    return x.xp.where(x.array > 0, above, elsewhere)


def _piecewise(above: Variable, x: Variable, elsewhere: Variable) -> Variable:
    positive = x.array > 0
    return add(masked(above, positive), masked(elsewhere, ~positive))


@floating
def silu(x: Variable) -> Any:
    """x · sigmoid(x)"""

    def gradient(g: Variable) -> Variable:
        s = sigmoid(x)
        return mul(g, mul(s, add(mul(x, sub(1, s)), 1)))

    return x.array / (1 + x.xp.exp(-x.array)), gradient


@op
def softplus(x: Variable, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta·x)) / beta; x itself where beta·x > threshold."""
    xp, scaled = x.xp, x.array * beta
    smooth = (xp.maximum(scaled, 0) + xp.log1p(xp.exp(-xp.abs(scaled)))) / beta  # e^x overflows float16 at 12
    value = xp.where(scaled > threshold, x.array, smooth)

    def gradient(g: Variable) -> Variable:
        linear = x.array * beta > threshold
        return add(masked(g, linear), masked(mul(g, sigmoid(mul(x, beta))), ~linear))

    return value, gradient


@op
def gelu(x: Variable, approximate: str = "none") -> Any:
    """x · P(Z < x) for a standard normal Z; 'tanh': its approximation by a tanh. Source: arXiv:1606.08415"""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    fused = getattr(x.kernels, "gelu", None) if approximate == "none" else None
    if fused is not None and fused.usable(x.array):
        return fused.gelu(x.array), lambda g: _normal_gelu_grad(g, x)
    cdf, slope = (_normal_cdf, _normal_density) if approximate == "none" else (_tanh_cdf, _tanh_cdf_slope)
    with no_grad():
        value = x.array * cdf(x).array
    return value, lambda g: mul(g, add(cdf(x), mul(x, slope(x))))


def _normal_gelu_grad(g: Variable, x: Variable) -> Variable:
    if is_grad_enabled():
        return mul(g, add(_normal_cdf(x), mul(x, _normal_density(x))))
    return g.like(x.kernels.gelu.gelu_grad(g.array, x.array))


def _normal_cdf(x: Variable) -> Variable:
    return mul(add(erf(mul(x, math.sqrt(0.5))), 1), 0.5)


def _normal_density(x: Variable) -> Variable:
    return mul(exp(mul(mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))


def _tanh_cdf(x: Variable) -> Variable:
    return mul(add(tanh(_tanh_argument(x)), 1), 0.5)


def _tanh_argument(x: Variable) -> Variable:
    return mul(mul(x, add(mul(mul(x, x), 0.044715), 1)), math.sqrt(2 / math.pi))


def _tanh_cdf_slope(x: Variable) -> Variable:
    t = tanh(_tanh_argument(x))
    inner = mul(add(mul(mul(x, x), 3 * 0.044715), 1), math.sqrt(2 / math.pi))
    return mul(mul(sub(1, mul(t, t)), inner), 0.5)
