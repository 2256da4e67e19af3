"""Optimizer steps: every parameter of a list updated in place, all in one call.

Arguments come as lists of arrays, one entry per parameter, in the shape and dtype of that parameter; `p` is an
entry of `params`, `g` of `grads` (never changed), the others are state that starts at zero. Numbers are Python
floats. Each formula starts from

    g <- -g if maximize;  g <- g + weight_decay p

The elements of all parameters together are shared out among the worker threads. Each walks its part in blocks that
stay in the cache, so that memory is read and written once a step, whatever the number of operations; or, for float32,
one element after the other in the compiled twin of the step, of the same name in `optim_compiled.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import compiled
from .fused import FLOAT32
from .parallel import BYTES, for_blocks, share_rows
from .relu import SMALL, flat

Array = np.ndarray
Arrays = Sequence[np.ndarray]
FLOAT16 = np.dtype(np.float16)
BLOCK = 65536  # elements: 256 KB in float32, so that the four or five blocks of a step fit in the L2 cache


def _update(step: Callable[..., None], lists: Sequence[Arrays], numbers: Sequence[tuple[Any, ...]]) -> None:
    """step(g, p, *state, *numbers) for each parameter; `lists` are grads, params and state, `numbers` is per parameter.

    State that a step has no use for is given as the gradients once more.
    """
    code = compiled.load("optim_compiled")
    exact: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # those of `numbers` in float32
    jobs: list[tuple[list[Array], tuple[Any, ...]]] = []  # what is left to NumPy
    copies: list[tuple[Array, Array]] = []
    for *arrays, values in zip(*lists, numbers, strict=True):
        runs, copied = _runs(arrays)
        copies += copied
        if code and runs[0].dtype == FLOAT32:
            if values not in exact:
                exact[values] = tuple(np.float32(v) if isinstance(v, float) else v for v in values)
            work = len(runs) * runs[0].nbytes / (2 * BYTES)  # small ones lie in the cache
            share_rows(getattr(code, step.__name__), runs, work, *exact[values])
        else:
            jobs.append((runs, values))

    def part(start: int, stop: int) -> None:
        """The elements start to stop of all parameters, one after the other."""
        before = 0
        for runs, values in jobs:
            first, last = max(start - before, 0), min(stop - before, runs[0].size)
            before += runs[0].size
            for i in range(first, last, BLOCK):
                step(*(a[i : min(i + BLOCK, last)] for a in runs), *values)

    total = sum(runs[0].size for runs, _ in jobs)
    if total < SMALL:
        part(0, total)
    else:
        for_blocks(part, total, blas=False)
    for a, copy in copies:
        a[...] = copy


def _runs(arrays: list[Array]) -> tuple[list[Array], list[tuple[Array, Array]]]:
    """The arrays g, p, ... as runs of memory with their elements in one order; and what was copied for that, and where.

    Copied is what does not lie as p does, all, if p is no run of memory, and what is float16: it becomes float32.
    """
    g, p = arrays[:2]
    as_one_run = [a.flags.carray for a in arrays]
    if p.dtype != FLOAT16 and all(as_one_run):  # contiguous, aligned and writeable
        return [a.reshape(-1) for a in arrays], []
    like = p if flat(p) is not None else np.empty(p.shape, p.dtype)
    runs, copies = [], []
    for a in arrays:
        half = a.dtype == FLOAT16
        if half or a.strides != like.strides or not a.flags.writeable:  # compiled code wants to be allowed to write
            copy = np.empty_like(like, np.float32 if half else a.dtype)
            copy[...] = a
            if a is not g:
                copies.append((a, copy))
            a = copy
        run = flat(a)
        assert run is not None
        runs.append(run)
    return runs, copies


def direction(g: Array, p: Array, weight_decay: float, maximize: bool) -> Array:
    """g with its sign turned if `maximize`, plus weight_decay p."""
    if maximize:
        g = -g
    return g + weight_decay * p if weight_decay else g


def sgd(
    params: Arrays,
    grads: Arrays,
    buffers: Arrays,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """b <- momentum b + (1 - dampening) g;  g <- g + momentum b if nesterov else b;  p <- p - lr g

    With momentum 0 there is no b, and `buffers` is empty.
    """
    numbers = lr, momentum, 1 - dampening, weight_decay, nesterov, maximize
    _update(sgd_step, [grads, params, buffers if momentum else grads], [numbers] * len(params))


def sgd_step(
    g: Array, p: Array, b: Array, lr: float, momentum: float, taken: float, weight_decay: float, nesterov: bool,
    maximize: bool,
) -> None:  # fmt: skip
    """taken = 1 - dampening"""
    g = direction(g, p, weight_decay, maximize)
    if momentum:
        b *= momentum
        b += g if taken == 1 else taken * g
        g = g + momentum * b if nesterov else b
    p -= lr * g


def adam(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    max_exp_avg_sqs: Arrays,
    steps: Sequence[int],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    amsgrad: bool,
    maximize: bool,
) -> None:
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g²
    p <- p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    with t the entry of `steps`, 1 at the first call. amsgrad: with the largest v so far in place of v
    (`max_exp_avg_sqs` is empty without it). decoupled (AdamW): p <- p - lr weight_decay p comes first and g gets no
    weight decay.
    """
    decay, kept = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    always = 1 - beta1, beta2, 1 - beta2, eps, decay, kept, amsgrad, maximize
    numbers = [(lr / (1 - beta1**t), math.sqrt(1 - beta2**t), *always) for t in steps]
    largest = max_exp_avg_sqs if amsgrad else grads
    _update(adam_step, [grads, params, exp_avgs, exp_avg_sqs, largest], numbers)


def adam_step(
    g: Array, p: Array, m: Array, v: Array, largest: Array, step_size: float, scale: float, taken1: float,
    kept2: float, taken2: float, eps: float, weight_decay: float, kept: float, amsgrad: bool, maximize: bool,
) -> None:  # fmt: skip
    """step_size = lr / (1 - beta1^t), scale = sqrt(1 - beta2^t); `kept` is what p is multiplied by first."""
    g = direction(g, p, weight_decay, maximize)
    m += taken1 * (g - m)
    v *= kept2
    v += taken2 * g * g
    if amsgrad:
        np.maximum(largest, v, out=largest)
        v = largest
    p *= kept
    p -= step_size * m / (np.sqrt(v) / scale + eps)


def rmsprop(
    params: Arrays,
    grads: Arrays,
    square_avgs: Arrays,
    grad_avgs: Arrays,
    buffers: Arrays,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
) -> None:
    """v <- alpha v + (1 - alpha) g²;  d = g / (sqrt(v) + eps);  b <- momentum b + d;  p <- p - lr b

    With momentum 0 there is no b, `buffers` is empty and p <- p - lr d. centered: with v - a² in place of v, where
    a <- alpha a + (1 - alpha) g (`grad_avgs` is empty without it).
    """
    numbers = lr, alpha, 1 - alpha, eps, weight_decay, momentum, centered, maximize
    lists = [grads, params, square_avgs, grad_avgs if centered else grads, buffers if momentum else grads]
    _update(rmsprop_step, lists, [numbers] * len(params))


def rmsprop_step(
    g: Array, p: Array, v: Array, a: Array, b: Array, lr: float, kept: float, taken: float, eps: float,
    weight_decay: float, momentum: float, centered: bool, maximize: bool,
) -> None:  # fmt: skip
    """kept = alpha, taken = 1 - alpha"""
    g = direction(g, p, weight_decay, maximize)
    v *= kept
    v += taken * g * g
    if centered:
        a += taken * (g - a)
        v = v - a * a
    d = g / (np.sqrt(v) + eps)
    if momentum:
        b *= momentum
        b += d
        d = b
    p -= lr * d


def adadelta(
    params: Arrays,
    grads: Arrays,
    square_avgs: Arrays,
    acc_deltas: Arrays,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """v <- rho v + (1 - rho) g²;  d = g sqrt(u + eps) / sqrt(v + eps);  u <- rho u + (1 - rho) d²;  p <- p - lr d"""
    numbers = lr, rho, 1 - rho, eps, weight_decay, maximize
    _update(adadelta_step, [grads, params, square_avgs, acc_deltas], [numbers] * len(params))


def adadelta_step(
    g: Array, p: Array, v: Array, u: Array, lr: float, kept: float, taken: float, eps: float, weight_decay: float,
    maximize: bool,
) -> None:  # fmt: skip
    """kept = rho, taken = 1 - rho"""
    g = direction(g, p, weight_decay, maximize)
    v *= kept
    v += taken * g * g
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    u *= kept
    u += taken * d * d
    p -= lr * d


def adagrad(
    params: Arrays,
    grads: Arrays,
    sums: Arrays,
    steps: Sequence[int],
    lr: float,
    lr_decay: float,
    weight_decay: float,
    eps: float,
    maximize: bool,
) -> None:
    """s <- s + g²;  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps), t the entry of `steps`, from 1"""
    numbers = [(lr / (1 + (t - 1) * lr_decay), eps, weight_decay, maximize) for t in steps]
    _update(adagrad_step, [grads, params, sums], numbers)


def adagrad_step(
    g: Array, p: Array, s: Array, step_size: float, eps: float, weight_decay: float, maximize: bool
) -> None:
    """step_size = lr / (1 + (t - 1) lr_decay)"""
    g = direction(g, p, weight_decay, maximize)
    s += g * g
    p -= step_size * g / (np.sqrt(s) + eps)
