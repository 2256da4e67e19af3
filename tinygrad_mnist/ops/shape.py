"""Ops that give the same elements another shape or order of axes, without a copy where memory allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import Variable, op
from .dims import normalize_dim, normalize_dims


@op
def reshape(x: Variable, shape: tuple[int, ...]) -> Any:
    """The elements of x in row-major order, in `shape` (one size may be -1); a view where memory allows."""
    before = x.shape
    try:
        value = x.kernels.reshape(x.array, shape)
    except ValueError:
        raise RuntimeError(
            f"shape '{list(shape)}' is invalid for input of size {x.array.size} (shape {tuple(before)})"
        ) from None
    return value, lambda g: reshape(g, before)


@op
def permute(x: Variable, dims: Sequence[int]) -> Any:
    """Axis i of the result is axis dims[i] of x; a view."""
    order = tuple(normalize_dim(d, x.ndim) for d in dims)
    if sorted(order) != list(range(x.ndim)):
        raise RuntimeError(f"permute: expected each of the {x.ndim} dimensions once, got {tuple(dims)}")
    inverse = tuple(sorted(range(x.ndim), key=order.__getitem__))
    return x.array.transpose(order), lambda g: permute(g, inverse)


@op
def contiguous(x: Variable) -> Any:
    """x with its elements in row-major order in memory: a copy, unless they are."""
    return x.xp.ascontiguousarray(x.array) if x.ndim else x.array, lambda g: g


def transpose(x: Variable, dim0: int, dim1: int) -> Any:
    """x with two dimensions exchanged; a view."""
    i, j = normalize_dim(dim0, x.ndim), normalize_dim(dim1, x.ndim)
    order = list(range(x.ndim))
    if order:
        order[i], order[j] = j, i
    return permute(x, order)


def movedim(x: Variable, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """x with dimensions `source` moved to `destination`, the others in their order; a view."""
    sources = (source,) if isinstance(source, int) else tuple(source)
    destinations = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(sources) != len(destinations):
        raise RuntimeError(f"movedim: got {len(sources)} source and {len(destinations)} destination dimensions")
    taken = normalize_dims(sources, x.ndim)
    order = [d for d in range(x.ndim) if d not in taken]
    for to, dim in sorted(zip(normalize_dims(destinations, x.ndim), taken, strict=True)):
        order.insert(to, dim)
    return permute(x, order)


def flatten(x: Variable, start_dim: int = 0, end_dim: int = -1) -> Any:
    """x with dimensions start_dim to end_dim (both included) made one."""
    shape = x.array.shape
    start, end = normalize_dim(start_dim, len(shape)), normalize_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError(f"flatten() has invalid args: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def squeeze(x: Variable, dim: int | Sequence[int] | None = None) -> Any:
    """x without its dimensions of size 1 (or without those of them named by `dim`)."""
    dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = [normalize_dim(d, x.ndim) for d in dims]
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in dims))


def unsqueeze(x: Variable, dim: int) -> Any:
    """x with a new dimension of size 1 at `dim`."""
    at = normalize_dim(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))
