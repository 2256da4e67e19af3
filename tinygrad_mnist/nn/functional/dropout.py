"""Dropout: a random part set to zero, the rest scaled up so that the mean stays."""

from __future__ import annotations

import math

from ... import ops
from ...inplace import in_place
from ...kernels.philox import blocks_for
from ...random import Generator, default_generator
from ...tensor import Tensor
from .check import check_dtype


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """x / (1 - p) with probability 1 - p, else 0; x itself unless `training`.

    Drawn from `generator`, by default the one that `manual_seed` seeds; the same on every device.
    Source: https://jmlr.org/papers/v15/srivastava14a.html
    """
    return _drop(input, tuple(input.shape), p, training, inplace, generator)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole channels of images (N, C, H, W) or (C, H, W)."""
    if input.ndim not in (3, 4):
        raise RuntimeError(f"expected images (N, C, H, W) or (C, H, W), got {tuple(input.shape)}; or use dropout")
    return _drop(input, (*input.shape[:-2], 1, 1), p, training, inplace, generator)


def check_probability(p: float) -> float:
    """p, if it is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


def _drop(
    input: Tensor, shape: tuple[int, ...], p: float, training: bool, inplace: bool, generator: Generator | None
) -> Tensor:
    check_probability(p)
    check_dtype(input)
    if not training or p == 0:
        return input
    key, block = (generator or default_generator).take(blocks_for(math.prod(shape)))
    drop = in_place(ops.dropout) if inplace else ops.dropout
    return drop(input, shape, p, key, block)
