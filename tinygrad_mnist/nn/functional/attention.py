"""Attention, and the look-up of embeddings."""

from __future__ import annotations

import math

from ... import ops
from ...random import Generator
from ...tensor import Tensor
from .check import check_dtype
from .dropout import dropout


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """softmax(scale · q kᵀ + mask) v for q (..., L, E), k (..., S, E), v (..., S, Ev): (..., L, Ev).

    A bool mask says where attention is allowed, a floating one is added; `is_causal` allows no later position.
    Where nothing is allowed the result is 0.
    `scale` is 1 / sqrt(E) by default. Source: https://arxiv.org/abs/1706.03762
    """
    return attention(query, key, value, attn_mask, dropout_p, is_causal, scale, generator)[1]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    generator: Generator | None,
) -> tuple[Tensor, Tensor]:
    """The weights (..., L, S) of `scaled_dot_product_attention`, and what it returns."""
    check_dtype(query, key, value)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (query, key, value))
        raise RuntimeError(f"attention: expected q (..., L, E), k (..., S, E), v (..., S, Ev), got {shapes}")
    scores = (query @ key.transpose(-2, -1)) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("attention: give attn_mask or is_causal=True, not both")
        xp = query.xp
        attn_mask = query.like(xp.tril(xp.ones(tuple(scores.shape[-2:]), bool)))
    if attn_mask is not None and attn_mask.dtype.kind == "b":
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    if attn_mask is None:
        weights = scores.softmax(-1)
    else:
        nothing = (scores == -math.inf).all(-1, keepdim=True)  # is allowed there: softmax would divide by 0
        weights = scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)
    weights = dropout(weights, dropout_p, generator=generator)
    return weights, weights @ value


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Row input[...] of weight (V, E) for each integer of input (*): (*, E).

    The row at `padding_idx` gets no gradient. Raises IndexError for an index outside the V rows.

    >>> from tinygrad_mnist import tensor
    >>> embedding(tensor([2, 0]), tensor([[1.0], [2.0], [3.0]]))
    tensor([[3.],
            [1.]])
    """
    if input.dtype.kind not in "iu":
        raise TypeError(f"embedding: expected integer indices, got {input.dtype}")
    rows = weight.shape[0]
    flat = input.reshape(-1)
    if flat.numel():
        least, most = flat.amin().item(), flat.amax().item()
        if least < 0 or most >= rows:
            raise IndexError(f"embedding: indices must be 0 to {rows - 1}, got {least} to {most}")
    y = ops.index_select(weight, 0, flat).reshape(*input.shape, weight.shape[1])
    if padding_idx is not None:
        padding = (input == padding_idx % rows).unsqueeze(-1)
        y = ops.where(padding, y.detach(), y)
    return y
