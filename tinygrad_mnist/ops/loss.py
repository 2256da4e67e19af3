"""Losses that need formulas of their own to stay finite or fast. The others are composed in nn.functional."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Variable, is_grad_enabled, no_grad, op
from .elementwise import clamp_min, div, elementwise, mul, neg, raw, sub, where
from .shape import reshape
from .softmax import softmax
from .unary import log, sigmoid


@op
def softmax_cross_entropy(x: Variable, t: Variable) -> Any:
    """-log softmax(x)[t] for each row of x (M, C) and t (M,): (M,). A label below 0 gives 0. See kernels/loss.py."""
    y, lse = x.kernels.softmax_cross_entropy(x.array, t.array)

    def gradient(g: Variable) -> Variable:
        if is_grad_enabled():
            return _composed_gradient(g, x, t)
        return g.like(x.kernels.softmax_cross_entropy_grad(g.array, x.array, t.array, lse))

    return y, gradient


def _composed_gradient(g: Variable, x: Variable, t: Variable) -> Variable:
    """(softmax(x) - one_hot(t)) g in ops, to be differentiated again."""
    labels = x.xp.arange(x.shape[1])
    one_hot = x.like((t.array[:, None] == labels).astype(x.dtype))
    counts = reshape(x.like(t.array >= 0), (-1, 1))
    return where(counts, mul(sub(softmax(x, 1), one_hot), reshape(g, (-1, 1))), 0.0)


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
