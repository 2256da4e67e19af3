"""The table of op checks: one line says how an op is called, and `tests/ops/test_ops.py` checks everything about it.

To add an op: write a line in the `CASES` list of `tests/ops/cases_<family>.py` (any file of that name is found):

    case("exp", (3, 4)),                                        # ops.exp and torch.exp of a random (3, 4)
    case("sum", (2, 3, 4), dim=(0, 2), keepdim=True),           # with options, the same for both
    case("pow", positive(5), call=lambda m, x: m.pow(x, 2)),    # m is `tinygrad_mnist.ops`, then torch (or its F)
    case("pad", (1, 2), ours=lambda x: ..., theirs=lambda x: ...),                     # where the two are called apart
    case("floor", np.array([1.5, -1.5]), expected=[1.0, -2.0]),                        # with a hand-worked result

An input is a shape (standard normal, from a fixed seed), or an array: floats are tried as float64 and float32 and
differentiated, integers and bools are handed over as they are. `grad=False`: nothing to differentiate.
`kinks=True`: the inputs lie where the function is not smooth, so only PyTorch's choice of gradient is compared, not
finite differences; `second=False`: where PyTorch's second derivative is NaN, or arbitrary.
`covers`: ops that no other line names and this one checks too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tinygrad_mnist as tg
from tinygrad_mnist import backend, ops
from tinygrad_mnist.autograd import Variable

_seeds = itertools.count()


class Torch:
    """torch, and what it has only in torch.nn.functional, under one roof."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name, None) or getattr(torch.nn.functional, name)


@dataclass(frozen=True)
class Case:
    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any] | None
    inputs: tuple[np.ndarray, ...]
    expected: Any
    grad: bool
    kinks: bool
    second: bool
    covers: tuple[str, ...]


def case(
    name: str,
    *inputs: Any,
    call: Callable[..., Any] | None = None,
    ours: Callable[..., Any] | None = None,
    theirs: Callable[..., Any] | None = None,
    expected: Any = None,
    grad: bool = True,
    kinks: bool = False,
    second: bool = True,
    covers: tuple[str, ...] = (),
    **options: Any,
) -> Case:
    """One line of the table; see above."""
    if call is not None:
        ours, theirs = (lambda *xs: call(ops, *xs)), (lambda *xs: call(Torch(), *xs))
    elif ours is None:
        ours = lambda *xs: getattr(ops, name)(*xs, **options)  # noqa: E731  (one line a case)
        if theirs is None and hasattr(Torch(), name):
            theirs = lambda *xs: getattr(Torch(), name)(*xs, **options)  # noqa: E731  (one line a case)
    arrays = tuple(normal(*x) if isinstance(x, tuple) else np.asarray(x) for x in inputs)
    return Case(name, ours, theirs, arrays, expected, grad, kinks, second, covers)


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return np.random.default_rng(next(_seeds)).standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    """Numbers between 0.5 and 2."""
    return np.random.default_rng(next(_seeds)).uniform(0.5, 2, shape)


def integers(*shape: int, low: int = -5, high: int = 6) -> np.ndarray:
    """Integers from low to high - 1."""
    return np.random.default_rng(next(_seeds)).integers(low, high, shape)


def variable(array: Any) -> Variable:
    """An array as a tensor on the default device, one that requires grad if it can."""
    x = tg.tensor(np.asarray(array))
    x.requires_grad = x.dtype.kind == "f"
    return x


def numpy(x: Any) -> np.ndarray:
    """The array of a tensor, on the CPU."""
    return backend.CPU.to_device(x.array)


def outputs(result: Any) -> list[Any]:
    """A tensor, or several, as a list."""
    return list(result) if isinstance(result, tuple | list) else [result]
