"""Losses that need formulas of their own to stay finite or fast. The others are composed in nn.functional."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Variable, is_grad_enabled, no_grad, op
from .broadcast import expand, sum
from .elementwise import add, clamp_min, div, elementwise, mul, neg, raw, sub, where
from .shape import reshape
from .softmax import log_softmax, softmax
from .unary import log, sigmoid


@op
def softmax_cross_entropy(x: Variable, t: Variable, smoothing: float = 0.0) -> Any:
    """-log softmax(x)[t] for each row of x (M, C) and t (M,): (M,). A label below 0 gives 0. See kernels/loss.py."""
    y, lse = x.kernels.softmax_cross_entropy(x.array, t.array, smoothing)

    def gradient(g: Variable) -> Variable:
        if is_grad_enabled():
            return _composed_gradient(g, x, t.array, smoothing)
        return g.like(x.kernels.softmax_cross_entropy_grad(g.array, x.array, t.array, lse, smoothing))

    return y, gradient


@op
def mean_cross_entropy(x: Variable, t: Variable, ignore_index: int = -100, smoothing: float = 0.0) -> Any:
    """The mean of `softmax_cross_entropy` over the rows whose class is not `ignore_index`, in as few passes."""
    loss, labels, lse, count = x.kernels.mean_cross_entropy(x.array, t.array, ignore_index, smoothing)

    def gradient(g: Variable) -> Variable:
        if is_grad_enabled():
            each = expand(reshape(div(g, g.like(count)), (1,)), labels.shape)
            return _composed_gradient(each, x, labels, smoothing)
        return g.like(x.kernels.mean_cross_entropy_grad(g.array, x.array, labels, lse, count, smoothing))

    return loss, gradient


@op
def soft_cross_entropy(x: Variable, p: Variable, smoothing: float = 0.0) -> Any:
    """-sum of p log softmax(x) for each row of x and probabilities p, both (M, C): (M,). See kernels/loss.py."""
    y, lse = x.kernels.soft_cross_entropy(x.array, p.array, smoothing)

    def dx(g: Variable) -> Variable:
        if not is_grad_enabled():
            return g.like(x.kernels.soft_cross_entropy_grad(g.array, x.array, p.array, lse, smoothing))
        q = _softened(p, smoothing)
        return mul(sub(mul(softmax(x, 1), sum(q, 1, True)), q), reshape(g, (-1, 1)))

    def dp(g: Variable) -> Variable:
        return mul(log_softmax(x, 1), mul(reshape(g, (-1, 1)), smoothing - 1))

    return y, dx, dp


def _softened(p: Variable, smoothing: float) -> Variable:
    return add(mul(p, 1 - smoothing), smoothing / p.shape[1]) if smoothing else p


def _composed_gradient(g: Variable, x: Variable, labels: Any, smoothing: float) -> Variable:
    """(softmax(x) - one_hot(labels), softened) g in ops, to be differentiated again."""
    one_hot = x.like((labels[:, None] == x.xp.arange(x.shape[1])).astype(x.dtype))
    counts = reshape(x.like(labels >= 0), (-1, 1))
    return where(counts, mul(sub(softmax(x, 1), _softened(one_hot, smoothing)), reshape(g, (-1, 1))), 0.0)


@elementwise
def binary_cross_entropy_with_logits(x: Any, t: Any) -> Any:
    """-t log s - (1 - t) log(1 - s) with s = sigmoid(x), as max(x, 0) - x t + log(1 + e^-|x|): always finite."""
    xp = x.xp
    value = xp.maximum(x.array, 0) - x.array * raw(t) + xp.log1p(xp.exp(-abs(x.array)))
    return value, lambda g: mul(g, sub(sigmoid(x), t)), lambda g: neg(mul(g, x))


@elementwise
def binary_cross_entropy(x: Any, t: Any) -> Any:
    """-t log x - (1 - t) log(1 - x) for x in [0, 1], with logarithms of at least -100."""
    with no_grad():
        value = -(raw(t) * _log(x).array + (1 - raw(t)) * _log(sub(1, x)).array)

    def dx(g: Variable) -> Variable:
        return mul(g, div(sub(x, t), clamp_min(mul(x, sub(1, x)), 1e-12)))

    return value, dx, lambda g: mul(g, sub(_log(sub(1, x)), _log(x)))


def _log(x: Variable) -> Variable:
    """log x, at least -100; also at 0, where the logarithm itself is -inf."""
    return clamp_min(log(clamp_min(x, float(np.finfo(x.dtype).smallest_subnormal))), -100.0)
