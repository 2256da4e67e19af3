"""The compiled optimizer steps, for float32. Contract: the functions of the same names in `optim.py`, whose operations
they do in the same order.

Numbers come as float32. A step is compiled when it is first called, so that nobody waits for those he does not use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .team_compiled import handed_over

Row = np.ndarray
_compile: Any = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
ZERO = np.float32(0)


@njit(inline="always")
def direction(g: float, p: float, weight_decay: float, maximize: bool) -> float:  # pragma: no cover
    """Choices, not branches: of them the compiler makes vector instructions. 0 times an infinite p does not count."""
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay != ZERO else g


@njit(**_compile)
def sgd_step(
    slot: int, g: Row, p: Row, b: Row, lr: float, momentum: float, taken: float, weight_decay: float, nesterov: bool,
    maximize: bool,
) -> None:  # fmt: skip  # pragma: no cover
    if handed_over(slot):
        return
    if momentum == ZERO:
        for i in range(len(p)):
            p[i] -= lr * direction(g[i], p[i], weight_decay, maximize)
        return
    for i in range(len(p)):
        d = direction(g[i], p[i], weight_decay, maximize)
        b[i] = b[i] * momentum + taken * d
        p[i] -= lr * (d + momentum * b[i] if nesterov else b[i])


@njit(**_compile)
def adam_step(
    slot: int,
    g: Row, p: Row, m: Row, v: Row, largest: Row, step_size: float, scale: float, taken1: float, kept2: float,
    taken2: float, eps: float, weight_decay: float, kept: float, amsgrad: bool, maximize: bool,
) -> None:  # fmt: skip  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(p)):
        d = direction(g[i], p[i], weight_decay, maximize)
        m[i] += taken1 * (d - m[i])
        v[i] = v[i] * kept2 + taken2 * d * d
        size = v[i]
        if amsgrad:
            largest[i] = largest[i] if largest[i] >= size or largest[i] != largest[i] else size
            size = largest[i]
        p[i] = p[i] * kept - step_size * m[i] / (np.sqrt(size) / scale + eps)


@njit(**_compile)
def rmsprop_step(
    slot: int,
    g: Row, p: Row, v: Row, a: Row, b: Row, lr: float, kept: float, taken: float, eps: float, weight_decay: float,
    momentum: float, centered: bool, maximize: bool,
) -> None:  # fmt: skip  # pragma: no cover
    if handed_over(slot):
        return
    if momentum == ZERO and not centered:
        for i in range(len(p)):
            d = direction(g[i], p[i], weight_decay, maximize)
            v[i] = v[i] * kept + taken * d * d
            p[i] -= lr * (d / (np.sqrt(v[i]) + eps))
        return
    for i in range(len(p)):
        d = direction(g[i], p[i], weight_decay, maximize)
        v[i] = v[i] * kept + taken * d * d
        variance = v[i]
        if centered:
            a[i] += taken * (d - a[i])
            variance -= a[i] * a[i]
        d /= np.sqrt(variance) + eps
        if momentum != ZERO:
            b[i] = b[i] * momentum + d
            d = b[i]
        p[i] -= lr * d


@njit(**_compile)
def adadelta_step(
    slot: int, g: Row, p: Row, v: Row, u: Row, lr: float, kept: float, taken: float, eps: float, weight_decay: float,
    maximize: bool,
) -> None:  # fmt: skip  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(p)):
        d = direction(g[i], p[i], weight_decay, maximize)
        v[i] = v[i] * kept + taken * d * d
        d = np.sqrt(u[i] + eps) / np.sqrt(v[i] + eps) * d
        u[i] = u[i] * kept + taken * d * d
        p[i] -= lr * d


@njit(**_compile)
def adagrad_step(
    slot: int, g: Row, p: Row, s: Row, step_size: float, eps: float, weight_decay: float, maximize: bool
) -> None:  # pragma: no cover
    if handed_over(slot):
        return
    for i in range(len(p)):
        d = direction(g[i], p[i], weight_decay, maximize)
        s[i] += d * d
        p[i] -= step_size * d / (np.sqrt(s[i]) + eps)
