"""Dimension arguments, checked and made non-negative."""

from __future__ import annotations

from collections.abc import Iterable


def normalize_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the left. A tensor without dimensions takes 0 and -1, as in PyTorch."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim % n


def normalize_dims(dim: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """The dimensions to reduce, counted from the left: all of them for None and for ()."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    found = tuple(normalize_dim(d, ndim) for d in dims)
    for d in found:
        if found.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return (found or tuple(range(ndim))) if ndim else ()
