"""Matrix products of tensors of any rank, with PyTorch's rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Variable, op
from .broadcast import sum_to
from .elementwise import mul
from .shape import reshape, transpose


@op
def _matmul(x: Variable, y: Variable) -> Any:
    """x (..., n, k) · y (..., k, m), leading dimensions broadcast."""
    x_shape, y_shape = x.shape, y.shape
    return (
        x.kernels.matmul(x.array, y.array),
        lambda g: sum_to(matmul(g, transpose(y, -2, -1)), x_shape),
        lambda g: sum_to(matmul(transpose(x, -2, -1), g), y_shape),
    )


def matmul(x: Variable, y: Variable) -> Any:
    """The matrix product.

    1-d · 1-d: the inner product. 2-d · 2-d: (n, k) · (k, m) -> (n, m). A vector on the left counts as a row, on the
    right as a column, and that dimension is taken away again. More dimensions are a batch, and are broadcast.
    """
    _check("matmul", x, y)
    if x.ndim == 0 or y.ndim == 0:
        raise RuntimeError(f"matmul: both arguments need at least 1 dimension, got {x.ndim} and {y.ndim}")
    inner = y.shape[0 if y.ndim == 1 else -2]
    if x.shape[-1] != inner:
        raise RuntimeError(
            f"matmul: shapes {tuple(x.shape)} and {tuple(y.shape)} cannot be multiplied: {x.shape[-1]} columns on the "
            f"left, {inner} rows on the right"
        )
    if x.ndim == 1:
        out = matmul(reshape(x, (1, *x.shape)), y)
        return reshape(out, (*out.shape[:-2], out.shape[-1]) if y.ndim > 1 else ())
    if y.ndim == 1:
        out = matmul(x, reshape(y, (*y.shape, 1)))
        return reshape(out, out.shape[:-1])
    if x.ndim > 2 and y.ndim == 2:
        # One product of tall matrices instead of a batch: faster, and so is the gradient at y.
        rows = reshape(x, (-1 if x.array.size else int(np.prod(x.shape[:-1])), x.shape[-1]))
        return reshape(_matmul(rows, y), (*x.shape[:-1], y.shape[-1]))
    if x.ndim == y.ndim == 2:
        return _matmul(x, y)
    try:
        np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise RuntimeError(
            f"matmul: the batch dimensions of {tuple(x.shape)} and {tuple(y.shape)} must be equal or 1"
        ) from None
    return _matmul(x, y)


def _check(name: str, *operands: Variable) -> None:
    if len({x.dtype for x in operands}) > 1:
        found = " and ".join(str(x.dtype) for x in operands)
        raise RuntimeError(f"{name}: expected all tensors to have the same dtype, got {found}; use .to(dtype)")


def _check_ranks(name: str, x: Variable, x_rank: int, y: Variable, y_rank: int) -> None:
    if x.ndim != x_rank or y.ndim != y_rank:
        raise RuntimeError(
            f"{name}: expected {x_rank}-d and {y_rank}-d tensors, got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )


def mm(x: Variable, y: Variable) -> Any:
    """(n, k) · (k, m) -> (n, m)"""
    _check_ranks("mm", x, 2, y, 2)
    return matmul(x, y)


def bmm(x: Variable, y: Variable) -> Any:
    """(N, n, k) · (N, k, m) -> (N, n, m)"""
    _check_ranks("bmm", x, 3, y, 3)
    if x.shape[0] != y.shape[0]:
        raise RuntimeError(f"bmm: expected the same number of matrices, got {x.shape[0]} and {y.shape[0]}")
    return matmul(x, y)


def mv(x: Variable, y: Variable) -> Any:
    """(n, k) · (k,) -> (n,)"""
    _check_ranks("mv", x, 2, y, 1)
    return matmul(x, y)


def dot(x: Variable, y: Variable) -> Any:
    """The inner product of two vectors."""
    _check_ranks("dot", x, 1, y, 1)
    return matmul(x, y)


def outer(x: Variable, y: Variable) -> Any:
    """x (n,), y (m,) -> the products of every pair, (n, m)."""
    _check_ranks("outer", x, 1, y, 1)
    return mul(reshape(x, (-1, 1)), reshape(y, (1, -1)))
