"""Expand and sum, which are each other's adjoints, and the broadcasting built on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd import Variable, op
from .dims import normalize_dims
from .shape import reshape


def accumulate_dtype(dtype: np.dtype) -> np.dtype:
    """The type in which sums of `dtype` are taken: float32 for float16, int64 for integers and bool."""
    if dtype.kind == "f":
        return np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    return np.dtype(np.int64)


def kept_shape(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with 1 at the reduced `dims`."""
    return tuple(1 if i in dims else n for i, n in enumerate(shape))


def sum_array(array: Any, dims: tuple[int, ...], keepdim: bool = False) -> Any:
    """The sum of an array over `dims`: float16 accumulates in float32, integers and bool in int64."""
    total = array.sum(axis=dims, keepdims=keepdim, dtype=accumulate_dtype(array.dtype))
    return total.astype(array.dtype, copy=False) if array.dtype.kind == "f" else total


def max_array(array: Any, dims: tuple[int, ...]) -> Any:
    """The largest of an array over `dims`, which are kept; -inf of no elements. CuPy's max has no `initial`."""
    if array.size or all(array.shape[d] for d in dims):
        return array.max(axis=dims, keepdims=True)
    return array.sum(axis=dims, keepdims=True) - float("inf")


@op
def sum(x: Variable, dim: int | Iterable[int] | None = None, keepdim: bool = False) -> Any:
    """The sum over `dim` (one, several, or None for all); int64 for integers and bool."""
    before = x.shape
    dims = normalize_dims(dim, x.ndim)
    kept = kept_shape(before, dims)
    return sum_array(x.array, dims, keepdim), lambda g: expand(reshape(g, kept), before)


@op
def expand(x: Variable, shape: tuple[int, ...]) -> Any:
    """x repeated along new axes and axes of size 1, as a read-only view of `shape`; -1 keeps a size."""
    before = x.shape
    extra = len(shape) - x.ndim
    target = tuple(before[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(shape))
    try:
        value = x.xp.broadcast_to(x.array, target)
    except ValueError:
        raise RuntimeError(
            f"expand: cannot expand a tensor of shape {tuple(before)} to {tuple(shape)}; counted from the right, "
            "each size must be equal, or 1 in the tensor"
        ) from None
    return value, lambda g: sum_to(g, before)


def sum_to(x: Variable, shape: tuple[int, ...]) -> Any:
    """x summed over the axes that broadcasting from `shape` made: the adjoint of expand."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    dims = tuple(i for i in range(x.ndim) if i < extra or (shape[i - extra] == 1 and x.shape[i] != 1))
    return reshape(sum(x, dims) if dims else x, shape)


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `shapes` have in common."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        sizes = " and ".join(str(tuple(s)) for s in shapes)
        raise RuntimeError(
            f"shapes {sizes} cannot be broadcast: counted from the right, sizes must be equal or 1"
        ) from None


def broadcast(*operands: Any) -> list[Any]:
    """The operands, each Variable expanded to the shape they have in common; numbers stay numbers."""
    shape = broadcast_shape(*(x.shape for x in operands if isinstance(x, Variable)))
    return [expand(x, shape) if isinstance(x, Variable) and x.shape != shape else x for x in operands]
