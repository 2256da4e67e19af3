"""Ops that pick elements by position, and their adjoints, which put them back.

Everything here is `getitem`, `put` (its adjoint: a sum into zeros) and `setitem`; the rest builds an index for them.
An index is what NumPy takes: ints, slices, None, `...`, integer and bool arrays, with tensors allowed for arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Variable, op
from .broadcast import broadcast, broadcast_shape, expand, kept_shape, sum_to
from .dims import normalize_dim
from .elementwise import add, cast, raw, where
from .shape import reshape


def _normalize(index: Any) -> tuple[Any, ...]:
    """An index as a tuple; sequences as NumPy arrays, integer arrays of one number as ints."""
    parts = []
    for p in index if isinstance(index, tuple) else (index,):
        if isinstance(p, bool):
            p = np.asarray(p)  # a mask of no dimensions: all or nothing
        elif isinstance(p, list | tuple | range):
            p = np.asarray(p, None if len(p) else np.int64)
        if isinstance(p, float):  # CuPy would take it
            raise IndexError(f"an index must be an integer, a slice, None, ... or a tensor, got {p}")
        if hasattr(p, "dtype") and p.dtype.kind not in "iub":
            raise IndexError(f"tensors used as indices must be integers or bools, got {p.dtype}")
        array = p.array if isinstance(p, Variable) else p
        if isinstance(array, np.ndarray | np.integer) and array.ndim == 0 and array.dtype.kind != "b":
            p = int(array)
        if isinstance(p, slice) and p.step is not None and p.step <= 0:
            raise ValueError(f"slice step must be greater than zero, got {p.step}; use flip to reverse a dimension")
        parts.append(p)
    return tuple(parts)


def _is_array(part: Any) -> bool:
    return hasattr(part, "dtype")


def _part_of(array: Any, index: tuple[Any, ...], x: Variable) -> tuple[Any, tuple[Any, ...]]:
    """The view of `array` that the ints, slices and None of `index` make, and the index of arrays left for it.

    Ints go first, as in PyTorch: in NumPy they would count as arrays, and x[0, :, [1, 2]] come out transposed.
    """
    basic: list[Any] = []
    rest: list[Any] = []
    for p in index:
        if not _is_array(p):
            basic.append(p)
            rest.extend([p if p is Ellipsis else slice(None)] if not isinstance(p, int) else [])
        else:
            p = p.array if isinstance(p, Variable) else p
            basic.extend([slice(None)] * (p.ndim if p.dtype.kind == "b" else 1))
            rest.append(x.xp.asarray(p))
    if not any(p is Ellipsis for p in basic):
        basic.append(Ellipsis)  # a single element is then a view too, not a number
    view = array[tuple(basic)]
    return view, tuple(rest) if any(map(_is_array, rest)) else ()


def _has_repeats(index: tuple[Any, ...]) -> bool:
    """Whether the index may name an element twice: only integer arrays can."""
    return any(_is_array(p) and p.dtype.kind != "b" for p in index)


@op
def getitem(x: Variable, index: Any) -> Any:
    """x[index]: a view for ints and slices, a copy for arrays."""
    shape, index = x.shape, _normalize(index)
    view, rest = _part_of(x.array, index, x)
    x.kernels.check_index(view.shape, rest)
    return view[rest] if rest else view, lambda g: put(g, index, shape)


@op
def put(x: Variable, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with x added at `index` (every time that an element is named): the adjoint of getitem."""
    if _has_repeats(index):
        size = math.prod(shape)
        view, rest = _part_of(x.xp.arange(size).reshape(shape), index, x)
        value = x.kernels.scatter_sum(view[rest], x.array, size).reshape(shape)
    else:
        value = x.xp.zeros(shape, x.dtype)
        view, rest = _part_of(value, index, x)
        view[rest or ...] = x.array
    return value, lambda g: getitem(g, index)


def assign(x: Variable, index: Any, value: Any) -> None:
    """x[index] = value (a tensor or a number) in the memory of x, unrecorded."""
    index = _normalize(index)
    view, rest = _part_of(x.array, index, x)
    x.kernels.check_index(view.shape, rest)
    try:
        with np.errstate(all="ignore"):  # as in an op, what is too large for the dtype is inf
            view[rest or ...] = raw(value)
    except ValueError as error:
        raise RuntimeError(f"{error} (input of shape {tuple(x.shape)})") from None


@op
def setitem(x: Variable, index: Any, value: Any) -> Any:
    """A copy of x with `value` (a tensor or a number) at `index`."""
    index = _normalize(index)
    out = x.array.copy(order="K")
    assign(x.like(out), index, value)

    def at_value(g: Variable) -> Variable:
        return cast(sum_to(getitem(g, index), value.shape), value.dtype)

    return out, lambda g: setitem(g, index, 0), None, at_value


def along(x: Variable, dim: int, index: Variable) -> tuple[Any, ...]:
    """The full index that names, at each place of `index`, the element of x at index[place] along `dim`."""
    if index.ndim != x.ndim:
        raise RuntimeError(f"index has {index.ndim} dimensions, expected as many as the input: {x.ndim}")
    axis = normalize_dim(dim, x.ndim)
    for d, (n, limit) in enumerate(zip(index.shape, x.shape, strict=True)):
        if d != axis and n > limit:
            raise RuntimeError(
                f"index of shape {tuple(index.shape)} is larger than the input, {tuple(x.shape)}, in dimension {d}"
            )
    grid = np.ogrid[tuple(slice(n) for n in index.shape)]
    return tuple(index if d == axis else places for d, places in enumerate(grid)) if x.ndim else (...,)


def _checked_along(x: Variable, dim: int, index: Variable) -> tuple[Any, ...]:
    """`along` for an index from outside, where a negative number is a mistake and does not count from the end."""
    lowest = int(index.array.min()) if index.array.size else 0
    if lowest < 0:
        raise IndexError(f"index {lowest} is out of bounds for dimension {dim} of a tensor of shape {tuple(x.shape)}")
    return along(x, dim, index)


def gather(x: Variable, dim: int, index: Variable) -> Any:
    """out[i][j] = x[index[i][j]][j] for dim 0, x[i][index[i][j]] for dim 1, and so on."""
    return getitem(x, _checked_along(x, dim, index))


def scatter(x: Variable, dim: int, index: Variable, src: Any) -> Any:
    """A copy of x with src[i][j] (or the number src) at [index[i][j]][j] for dim 0, and so on."""
    return setitem(x, _checked_along(x, dim, index), _part(src, index))


def scatter_add(x: Variable, dim: int, index: Variable, src: Variable) -> Any:
    """x with src[i][j] added at [index[i][j]][j] for dim 0, and so on; repeated places add up."""
    return add(x, put(_part(src, index), _checked_along(x, dim, index), x.shape))


def _part(src: Any, index: Variable) -> Any:
    """The corner of src that `index` covers."""
    return getitem(src, tuple(slice(n) for n in index.shape)) if isinstance(src, Variable) else src


def index_select(x: Variable, dim: int, index: Variable) -> Any:
    """The slices of x along `dim` that the 1-d `index` names (or a number, as an index of one)."""
    if index.ndim == 0:
        index = reshape(index, (1,))
    if index.ndim > 1:
        raise IndexError(f"index_select(): index is supposed to be a vector, got shape {tuple(index.shape)}")
    return getitem(x, (*(slice(None),) * normalize_dim(dim, x.ndim), index))


def narrow(x: Variable, dim: int, start: int, length: int) -> Any:
    """`length` slices of x along `dim`, from `start` on (counted from the end if negative); a view."""
    axis = normalize_dim(dim, x.ndim)
    size, begin = x.shape[axis], start
    start = start + size if start < 0 else start
    if not 0 <= start <= start + length <= size:
        raise RuntimeError(f"narrow: start {begin} and length {length} exceed the size of dimension {dim}, {size}")
    return getitem(x, (*(slice(None),) * axis, slice(start, start + length)))


def take_along_dim(x: Variable, indices: Variable, dim: int | None = None) -> Any:
    """The elements of x that `indices` (broadcast against x) names along `dim`, or in the flattened x."""
    if dim is None:
        return getitem(reshape(x, (-1,)), reshape(indices, (-1,)))
    axis = normalize_dim(dim, x.ndim)
    shape = broadcast_shape(kept_shape(x.shape, (axis,)), kept_shape(indices.shape, (axis,)))
    x, indices = (expand(v, (*shape[:axis], v.shape[axis], *shape[axis + 1 :])) for v in (x, indices))
    return gather(x, axis, indices)


def masked_fill(x: Variable, mask: Variable, value: Any) -> Any:
    """x with `value` (a number, or a tensor) where `mask` is True, in the dtype of x."""
    if isinstance(value, Variable):
        value = cast(value, x.dtype)
    elif x.dtype.kind != "f":
        value = x.dtype.type(value).item()
    return where(mask, value, x)


def masked_select(x: Variable, mask: Variable) -> Any:
    """The elements of x where `mask` is True, as a 1-d tensor."""
    x, mask = broadcast(x, mask)
    return getitem(x, mask)


def nonzero(x: Variable) -> Any:
    """The indices of the elements that are not 0, one a row: (how many, x.ndim), int64."""
    return x.like(x.xp.argwhere(x.array))


def one_hot(index: Variable, num_classes: int = -1) -> Any:
    """1 at the class that `index` names, 0 elsewhere, in a new last dimension; int64. -1: as many as needed."""
    if index.dtype.kind not in "iu":
        raise RuntimeError(f"one_hot: expected an integer tensor, got {index.dtype}")
    largest = int(index.array.max()) if index.array.size else -1
    n = largest + 1 if num_classes == -1 else num_classes
    if index.array.size and int(index.array.min()) < 0:
        raise RuntimeError("one_hot: class values must be non-negative")
    if largest >= n:
        raise RuntimeError(f"one_hot: class values must be smaller than num_classes ({n}), got {largest}")
    return index.like((index.array[..., None] == index.xp.arange(n)).astype("int64"))
