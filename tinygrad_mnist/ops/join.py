"""Ops that move or join elements and change none: flip, roll, pad, cat, split, repeat, diagonals and triangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Variable, op
from .broadcast import expand, kept_shape
from .dims import normalize_dim, normalize_dims
from .elementwise import masked, promote
from .index import getitem, index_select, narrow
from .shape import movedim, reshape, unsqueeze

Pairs = Sequence[tuple[int, int]]


@op
def flip(x: Variable, dims: int | Sequence[int]) -> Any:
    """x with the order along `dims` reversed."""
    axes = normalize_dims(dims, x.ndim) if isinstance(dims, int) or dims else ()
    return x.xp.flip(x.array, axes).copy(order="K"), lambda g: flip(g, axes)


@op
def roll(x: Variable, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """x moved by `shifts` along `dims`, what leaves at one end entering at the other; None: in the flattened x."""
    back = -shifts if isinstance(shifts, int) else tuple(-s for s in shifts)
    return x.xp.roll(x.array, shifts, dims), lambda g: roll(g, back, dims)


@op
def _pad_constant(x: Variable, pairs: Pairs, value: float = 0.0) -> Any:
    """x with pairs[d] = (before, after) elements `value` added along d; negative numbers take elements away."""
    sides = list(zip(x.shape, pairs, strict=True))
    out = x.xp.full_like(x.array, value, shape=tuple(low + n + high for n, (low, high) in sides))
    to = tuple(slice(max(low, 0), low + n + min(high, 0)) for n, (low, high) in sides)
    out[to] = x.array[tuple(slice(max(-low, 0), n + min(high, 0)) for n, (low, high) in sides)]
    back = [(-low, -high) for low, high in pairs]
    return out, lambda g: _pad_constant(g, back)


def pad(x: Variable, pairs: Pairs, mode: str = "constant", value: float = 0.0) -> Any:
    """x with pairs[d] = (before, after) elements added along each dimension d.

    mode: 'constant' (`value`; negative numbers of elements crop), 'reflect' (mirrored about the edge element),
    'replicate' (the edge element again), 'circular' (from the other end).
    """
    sizes = [low + n + high for n, (low, high) in zip(x.shape, pairs, strict=True)]
    if min(sizes, default=0) < 0:
        raise RuntimeError(f"pad: padding {list(pairs)} takes more from shape {tuple(x.shape)} than there is")
    if mode == "constant":
        return _pad_constant(x, pairs, value)
    if mode not in _SOURCES:
        raise NotImplementedError(f"pad: unrecognised mode {mode!r}, expected one of constant, {', '.join(_SOURCES)}")
    for dim, (low, high) in enumerate(pairs):
        n = x.shape[dim]
        most = {"reflect": n - 1, "circular": n, "replicate": max(low, high) if n else 0}[mode]
        if max(low, high) > most:
            raise RuntimeError(f"pad: {mode} padding of a dimension of size {n}: at most {most}, got {(low, high)}")
        if low or high:
            x = index_select(x, dim, x.like(x.xp.asarray(_SOURCES[mode](np.arange(-low, n + high), n))))
    return x


_SOURCES = {
    "reflect": lambda i, n: n - 1 - np.abs(n - 1 - np.abs(i)),
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
}


def cat(tensors: Sequence[Variable], dim: int = 0) -> Any:
    """The tensors one after the other along `dim`; their other sizes must agree.

    Of tensor([]), from which such a list often starts, nothing but the dtype counts.
    """
    if not tensors:
        raise ValueError("cat: expected a non-empty list of tensors")
    tensors = promote(*tensors)
    tensors = [x for x in tensors if x.shape != (0,)] or tensors[:1]
    first = tensors[0]
    axis = normalize_dim(dim, first.ndim)
    for i, x in enumerate(tensors):
        if x.ndim == 0:
            raise RuntimeError(f"cat: zero-dimensional tensor (at position {i}) cannot be concatenated; use stack")
        if kept_shape(x.shape, (axis,)) != kept_shape(first.shape, (axis,)):
            raise RuntimeError(
                f"cat: sizes of tensors must match except in dimension {axis}, got {tuple(first.shape)} at position 0 "
                f"and {tuple(x.shape)} at position {i}"
            )
    return _cat(*tensors, axis=axis)


@op
def _cat(*tensors: Variable, axis: int) -> Any:
    first, pieces, start = tensors[0], [], 0
    for x in tensors:
        pieces.append(_piece(axis, start, x.shape[axis]))
        start += x.shape[axis]
    return first.xp.concatenate([x.array for x in tensors], axis), *pieces


def _piece(axis: int, start: int, length: int) -> Any:
    return lambda g: narrow(g, axis, start, length)


def stack(tensors: Sequence[Variable], dim: int = 0) -> Any:
    """The tensors, all of one shape, along a new dimension `dim`."""
    if not tensors:
        raise RuntimeError("stack: expected a non-empty list of tensors")
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {tuple(tensors[0].shape)} at entry 0 "
                f"and {tuple(x.shape)} at entry {i}"
            )
    return cat([unsqueeze(x, dim) for x in tensors], normalize_dim(dim, tensors[0].ndim + 1))


def split(x: Variable, split_size_or_sections: int | Sequence[int], dim: int = 0) -> Any:
    """Consecutive parts of x along `dim`, of one size (the last may be smaller) or of the given sizes; views."""
    axis = normalize_dim(dim, x.ndim)
    n, sizes = x.shape[axis], split_size_or_sections
    if isinstance(sizes, int):
        if sizes <= 0:
            raise RuntimeError(f"split expects split_size to be positive, got {sizes}")
        sizes = [min(sizes, n - start) for start in range(0, n, sizes)] or [0]
    if np.sum(sizes) != n:
        raise RuntimeError(f"split expects the sizes {list(sizes)} to sum to {n}, the size of dimension {dim}")
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(narrow(x, axis, start, size) for start, size in zip(starts, sizes, strict=False))


def chunk(x: Variable, chunks: int, dim: int = 0) -> Any:
    """x in at most `chunks` parts of equal size along `dim` (the last may be smaller); views."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got {chunks}")
    n = x.shape[normalize_dim(dim, x.ndim)]
    return split(x, max(-(-n // chunks), 1), dim) if n else (x,) * chunks


def unbind(x: Variable, dim: int = 0) -> Any:
    """The slices of x along `dim`, without that dimension; views."""
    before = (slice(None),) * normalize_dim(dim, x.ndim)
    return tuple(getitem(x, (*before, i)) for i in range(x.shape[len(before)]))


def repeat(x: Variable, sizes: Sequence[int]) -> Any:
    """x repeated sizes[d] times along each dimension d; more sizes than dimensions make new ones in front."""
    if len(sizes) < x.ndim:
        raise RuntimeError(
            f"repeat: number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: "
            f"got {tuple(sizes)} for shape {tuple(x.shape)}"
        )
    shape = (1,) * (len(sizes) - x.ndim) + tuple(x.shape)
    apart = expand(
        reshape(x, tuple(v for n in shape for v in (1, n))),
        tuple(v for r, n in zip(sizes, shape, strict=True) for v in (r, n)),
    )
    return reshape(apart, tuple(r * n for r, n in zip(sizes, shape, strict=True)))


def tile(x: Variable, dims: Sequence[int]) -> Any:
    """Like `repeat`; fewer sizes than dimensions are filled with 1 in front."""
    return repeat(x, (1,) * (x.ndim - len(dims)) + tuple(dims))


def tril(x: Variable, diagonal: int = 0) -> Any:
    """The lower triangle of the last two dimensions, up to the given diagonal; 0 above."""
    return masked(x, x.xp.tri(*_matrix_shape("tril", x), diagonal, dtype=bool))


def triu(x: Variable, diagonal: int = 0) -> Any:
    """The upper triangle of the last two dimensions, from the given diagonal on; 0 below."""
    return masked(x, ~x.xp.tri(*_matrix_shape("triu", x), diagonal - 1, dtype=bool))


def _matrix_shape(name: str, x: Variable) -> tuple[int, ...]:
    if x.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got shape {tuple(x.shape)}")
    return x.shape[-2:]


def diagonal(x: Variable, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements x[i, i + offset] of two dimensions, in a new last dimension."""
    last = movedim(x, (dim1, dim2), (-2, -1))
    rows = np.arange(max(-offset, 0), min(last.shape[-2], last.shape[-1] - offset))
    return getitem(last, (..., rows, rows + offset))
