"""Ops that move elements and change none: reshape, expand, permute, flip, pad, cat."""

from __future__ import annotations

from typing import Any

from ..autograd import Variable, op
from .reduce import sum_to


@op
def expand(x: Variable, shape: tuple[int, ...]) -> Any:
    """x repeated along new axes and axes of size 1, as a read-only view of `shape`."""
    before = x.shape
    return x.xp.broadcast_to(x.array, shape), lambda g: sum_to(g, before)


@op
def reshape(x: Variable, shape: tuple[int, ...]) -> Any:
    """The elements of x in row-major order, in `shape`; a view where the memory allows."""
    before = x.shape
    return x.array.reshape(shape), lambda g: reshape(g, before)


@op
def permute(x: Variable, axes: tuple[int, ...]) -> Any:
    """Axis i of the result is axis axes[i] of x."""
    inverse = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    return x.array.transpose(axes), lambda g: permute(g, inverse)
