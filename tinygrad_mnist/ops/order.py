"""Ops that compare elements with each other: largest, smallest, sorted.

Ties: `amax` and `amin` share the gradient evenly among equal elements; `max(x, dim)` gives all of it to the one whose
index it returns (the first).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import Variable, op
from .broadcast import kept_shape
from .dims import normalize_dim, normalize_dims
from .elementwise import masked, mul
from .index import along, getitem
from .shape import reshape

Dim = int | Iterable[int] | None


def _refuse_empty(name: str, x: Variable, dims: tuple[int, ...]) -> None:
    """There is no largest of nothing."""
    if any(x.shape[d] == 0 for d in dims):
        raise IndexError(f"{name}(): expected the reduced dimensions to have non-zero size, got shape {tuple(x.shape)}")


@op
def amax(x: Variable, dim: Dim = None, keepdim: bool = False) -> Any:
    """The largest over `dim`, NaN if one is; equal ones share the gradient."""
    dims = normalize_dims(dim, x.ndim)
    _refuse_empty("amax", x, dims)
    return x.array.max(axis=dims, keepdims=keepdim), lambda g, y: _share(g, x, y, dims)


@op
def amin(x: Variable, dim: Dim = None, keepdim: bool = False) -> Any:
    """The smallest over `dim`, NaN if one is; equal ones share the gradient."""
    dims = normalize_dims(dim, x.ndim)
    _refuse_empty("amin", x, dims)
    return x.array.min(axis=dims, keepdims=keepdim), lambda g, y: _share(g, x, y, dims)


def _share(g: Variable, x: Variable, y: Variable, dims: tuple[int, ...]) -> Variable:
    """g in equal parts to the elements of x that equal y."""
    kept = kept_shape(x.shape, dims)
    chosen = x.array == y.array.reshape(kept)
    parts = chosen.sum(axis=dims, keepdims=True).astype(x.dtype)
    return masked(mul(reshape(g, kept), x.like(chosen / parts)), chosen)


def argmax(x: Variable, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the largest along `dim` (of the flattened x for None), the first of equal ones; int64."""
    return _arg("argmax", x, dim, keepdim)


def argmin(x: Variable, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the smallest along `dim` (of the flattened x for None), the first of equal ones; int64."""
    return _arg("argmin", x, dim, keepdim)


def _arg(name: str, x: Variable, dim: int | None, keepdim: bool) -> Variable:
    dims = normalize_dims(dim, x.ndim)
    _refuse_empty(name, x, dims)
    found = getattr(x.array, name)(axis=None if dim is None or not dims else dims[0])
    return x.like(found.reshape(kept_shape(x.shape, dims)) if keepdim else found)


def max(x: Variable, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest of all; with `dim`, (values, indices) of the largest along it."""
    return amax(x) if dim is None else _extreme(argmax(x, dim, True), x, dim, keepdim)


def min(x: Variable, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest of all; with `dim`, (values, indices) of the smallest along it."""
    return amin(x) if dim is None else _extreme(argmin(x, dim, True), x, dim, keepdim)


def _extreme(index: Variable, x: Variable, dim: int, keepdim: bool) -> tuple[Variable, Variable]:
    values = getitem(x, along(x, dim, index))
    if keepdim:
        return values, index
    axis = normalize_dim(dim, x.ndim)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return reshape(values, shape), reshape(index, shape)


def argsort(x: Variable, dim: int = -1, descending: bool = False) -> Any:
    """The indices that sort x along `dim`, int64. Equal elements keep their order; NaN counts as the largest."""
    axis = normalize_dim(dim, x.ndim)
    if not x.ndim:
        return x.like(x.xp.zeros((), "int64"))
    if not descending:
        return x.like(x.array.argsort(axis=axis, kind="stable"))
    backward = x.xp.flip(x.xp.flip(x.array, axis).argsort(axis=axis, kind="stable"), axis)
    return x.like(x.shape[axis] - 1 - backward)


def sort(x: Variable, dim: int = -1, descending: bool = False) -> tuple[Variable, Variable]:
    """(values, indices) of x sorted along `dim`; equal elements keep their order."""
    index = argsort(x, dim, descending)
    return getitem(x, along(x, dim, index)), index


def topk(x: Variable, k: int, dim: int = -1, largest: bool = True) -> tuple[Variable, Variable]:
    """(values, indices) of the k largest (or smallest) along `dim`, sorted."""
    axis = normalize_dim(dim, x.ndim)
    size = x.shape[axis] if x.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: selected index k out of range: k is {k}, dimension {dim} has size {size}")
    index = argsort(x, axis, descending=largest)
    index = index.like(index.array[(*(slice(None),) * axis, slice(k))] if x.ndim else index.array)
    return getitem(x, along(x, axis, index)), index
