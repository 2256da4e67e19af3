"""Optimizer steps: every parameter of a list updated in place, all in one call.

Arguments come as lists of arrays, one entry per parameter, in the shape and dtype of that parameter; `p` is an
entry of `params`, `g` of `grads` (never changed), the others are state that starts at zero. Numbers are Python
floats. Each formula starts from

    g <- -g if maximize;  g <- g + weight_decay p

The arrays are walked in blocks that stay in the cache, so that memory is read and written once a step, whatever the
number of operations, and temporaries are small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]
BLOCK = 16384  # elements: 64 KB in float32, so that the four or five blocks of a step fit in the L2 cache


def blocks(g: np.ndarray, *updated: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The arrays, flat and at most BLOCK elements at a time; what is written into all but the first is kept."""
    flags: Any = [["readonly"]] + [["readwrite"]] * len(updated)
    with np.nditer(
        [g, *updated], ["external_loop", "buffered", "zerosize_ok"], flags, order="K", buffersize=BLOCK
    ) as walk:
        yield from walk


def direction(g: np.ndarray, p: np.ndarray, weight_decay: float, maximize: bool) -> np.ndarray:
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
    lists = [grads, params, buffers] if momentum else [grads, params]
    for arrays in zip(*lists, strict=True):
        for g, p, *state in blocks(*arrays):
            g = direction(g, p, weight_decay, maximize)
            if momentum:
                (b,) = state
                b *= momentum
                b += (1 - dampening) * g if dampening else g
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
    lists = [grads, params, exp_avgs, exp_avg_sqs]
    if amsgrad:
        lists.append(max_exp_avg_sqs)
    for *arrays, step in zip(*lists, steps, strict=True):
        step_size = lr / (1 - beta1**step)
        scale = math.sqrt(1 - beta2**step)
        for g, p, m, v, *state in blocks(*arrays):
            if decoupled:
                p *= 1 - lr * weight_decay
            g = direction(g, p, 0.0 if decoupled else weight_decay, maximize)
            m += (1 - beta1) * (g - m)
            v *= beta2
            v += (1 - beta2) * g * g
            if amsgrad:
                (largest,) = state
                np.maximum(largest, v, out=largest)
                v = largest
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
    lists = [grads, params, square_avgs]
    if centered:
        lists.append(grad_avgs)
    if momentum:
        lists.append(buffers)
    for arrays in zip(*lists, strict=True):
        for g, p, v, *state in blocks(*arrays):
            g = direction(g, p, weight_decay, maximize)
            v *= alpha
            v += (1 - alpha) * g * g
            if centered:
                a = state[0]
                a += (1 - alpha) * (g - a)
                v = v - a * a
            d = g / (np.sqrt(v) + eps)
            if momentum:
                b = state[-1]
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
    for arrays in zip(grads, params, square_avgs, acc_deltas, strict=True):
        for g, p, v, u in blocks(*arrays):
            g = direction(g, p, weight_decay, maximize)
            v *= rho
            v += (1 - rho) * g * g
            d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
            u *= rho
            u += (1 - rho) * d * d
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
    for *arrays, step in zip(grads, params, sums, steps, strict=True):
        step_size = lr / (1 + (step - 1) * lr_decay)
        for g, p, s in blocks(*arrays):
            g = direction(g, p, weight_decay, maximize)
            s += g * g
            p -= step_size * g / (np.sqrt(s) + eps)
