"""Launches of the kernels in optim.cu, one for all parameters; the contracts are those of kernels/optim.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cupy as cp
import numpy as np

from .launch import LaunchError, contiguous, launch

FILE = "optim.cu"
LISTS, MAX_TENSORS, CHUNK = 5, 48, 2048  # as in optim.cu
TENSORS = np.dtype(
    [
        ("arrays", np.uintp, (LISTS, MAX_TENSORS)),
        ("scales", np.float64, (2, MAX_TENSORS)),
        ("sizes", np.int32, MAX_TENSORS),
        ("first_chunk", np.int32, MAX_TENSORS + 1),
        ("count", np.int32),
    ],
    align=True,
)
Arrays = Sequence[cp.ndarray]


def _update(
    kernel: str, grads: Arrays, updated: Sequence[Arrays], scales: Sequence[Sequence[float]], *numbers: float
) -> None:
    """Run a kernel on lists of arrays: the gradients, then the lists that it updates in place (empty: not used)."""
    by_dtype: dict[np.dtype, list[int]] = {}
    for i, p in enumerate(updated[0]):
        by_dtype.setdefault(p.dtype, []).append(i)
    for dtype, indices in by_dtype.items():
        for start in range(0, len(indices), MAX_TENSORS):
            chosen = indices[start : start + MAX_TENSORS]
            arrays = [[list_[i] for i in chosen] if list_ else [] for list_ in (grads, *updated)]
            _launch(kernel, dtype, arrays, [[list_[i] for i in chosen] for list_ in scales], numbers)


def _launch(
    kernel: str, dtype: np.dtype, lists: list[list[cp.ndarray]], scales: list[list[float]], numbers: Sequence[float]
) -> None:
    """One launch: fill the table of pointers, and write back what had to be copied to be contiguous."""
    table = np.zeros((), TENSORS)
    flat = [[contiguous(a) for a in list_] for list_ in lists]
    for k, list_ in enumerate(flat):
        for i, a in enumerate(list_):
            if a.dtype != dtype or a.size != flat[1][i].size:
                found = f"list {k} has {a.dtype} with {a.size} elements"
                raise LaunchError(f"{kernel}: expected {dtype} with {flat[1][i].size} elements, {found}")
            table["arrays"][k, i] = a.data.ptr
    for k, values in enumerate(scales):
        table["scales"][k, : len(values)] = values
    sizes = [a.size for a in flat[0]]
    chunks = [-(-n // CHUNK) for n in sizes]
    table["sizes"][: len(sizes)] = sizes
    table["first_chunk"][1 : len(sizes) + 1] = np.cumsum(chunks)
    table["count"] = len(sizes)
    launch(FILE, kernel, dtype, sum(chunks), table[()], *numbers, per_block=1)
    for given, used in zip(lists[1:], flat[1:], strict=True):
        for a, b in zip(given, used, strict=True):
            if a is not b:
                a[...] = b


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
    """See kernels/optim.py."""
    lists = [params, buffers] if momentum else [params]
    _update("sgd", grads, lists, (), lr, momentum, 1 - dampening, weight_decay, int(nesterov), int(maximize))


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
    """See kernels/optim.py."""
    scales = [lr / (1 - beta1**t) for t in steps], [math.sqrt(1 - beta2**t) for t in steps]
    lists = [params, exp_avgs, exp_avg_sqs, max_exp_avg_sqs if amsgrad else []]
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    _update("adam", grads, lists, scales, 1 - beta1, beta2, 1 - beta2, eps, decay, shrink, int(amsgrad), int(maximize))


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
    """See kernels/optim.py."""
    lists = [params, square_avgs, grad_avgs if centered else [], buffers if momentum else []]
    _update(
        "rmsprop", grads, lists, (), lr, alpha, 1 - alpha, eps, weight_decay, momentum, int(centered), int(maximize)
    )


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
    """See kernels/optim.py."""
    _update(
        "adadelta", grads, [params, square_avgs, acc_deltas], (), lr, rho, 1 - rho, eps, weight_decay, int(maximize)
    )


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
    """See kernels/optim.py."""
    scales = ([lr / (1 + (t - 1) * lr_decay) for t in steps],)
    _update("adagrad", grads, [params, sums], scales, weight_decay, eps, int(maximize))
