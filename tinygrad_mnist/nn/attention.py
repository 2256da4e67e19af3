"""Attention layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from .. import creation, ops
from ..tensor import Tensor
from . import functional as F
from . import init
from .container import ModuleList
from .dropout import Dropout
from .functional.attention import attention
from .linear import Linear
from .module import Module
from .norm import LayerNorm
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention of `num_heads` heads, each over embed_dim / num_heads channels, between linear layers.

    query (L, N, E), key and value (S, N, E), or (N, L, E) and (N, S, E) with `batch_first`, or without N.
    Returns the attended (L, N, E) and the weights (N, L, S), which `need_weights=False` leaves out (None).
    A bool mask is True where attention is *not* allowed, as in PyTorch.
    Source: https://arxiv.org/abs/1706.03762
    """

    in_proj_bias: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.in_proj_weight = Parameter(creation.empty(3 * embed_dim, embed_dim, device=device, dtype=dtype))
        in_bias = Parameter(creation.zeros(3 * embed_dim, device=device, dtype=dtype)) if bias else None
        self.register_parameter("in_proj_bias", in_bias)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        init.xavier_uniform_(self.in_proj_weight)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values, and the weights averaged over the heads (or of each head)."""
        batched = query.ndim == 3
        q, k, v = self._projected(*(self._batch_first(x, batched) for x in (query, key, value)))
        mask = self._mask(q, attn_mask, key_padding_mask)
        causal = is_causal and mask is None
        weights, y = attention(q, k, v, mask, self.dropout if self.training else 0.0, causal, None, None)
        y = self.out_proj(y.transpose(1, 2).flatten(2))  # (N, L, E)
        if not batched:
            y, weights = y[0], weights[0]
        elif not self.batch_first:
            y = y.transpose(0, 1)
        if not need_weights:
            return y, None
        return y, weights.mean(-3) if average_attn_weights else weights

    def _batch_first(self, x: Tensor, batched: bool) -> Tensor:
        if x.shape[-1] != self.embed_dim or x.ndim != (3 if batched else 2):
            raise RuntimeError(f"expected (L, N, E) or (L, E) with E = {self.embed_dim}, got {tuple(x.shape)}")
        if not batched:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """q, k, v as (N, heads, L, E / heads)."""
        parts: Sequence[Any]
        if query is key is value:
            parts = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            weights: Sequence[Any] = self.in_proj_weight.chunk(3)
            biases: Sequence[Any] = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            parts = [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
        return [p.reshape(p.shape[0], p.shape[1], self.num_heads, -1).transpose(1, 2) for p in parts]

    def _mask(self, q: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
        """Both masks as one that is added to the scores (N, heads, L, S)."""
        masks: list[Any] = []
        if attn_mask is not None:
            per_head = attn_mask.ndim == 3  # (N · heads, L, S)
            masks.append(attn_mask.reshape(-1, self.num_heads, *attn_mask.shape[-2:]) if per_head else attn_mask)
        if key_padding_mask is not None:
            masks.append(key_padding_mask.reshape(-1, 1, 1, key_padding_mask.shape[-1]))
        if not masks:
            return None
        zero = q.like(q.xp.zeros((), q.dtype))
        added = [ops.where(m, -float("inf"), zero) if m.dtype.kind == "b" else m for m in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]


class TransformerEncoderLayer(Module):
    """x + attention(x), then x + mlp(x), each normalised after the sum, or before the part with `norm_first`.

    src (L, N, d_model), or (N, L, d_model) with `batch_first`. Source: https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        named: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
        if isinstance(activation, str) and activation not in named:
            raise RuntimeError(f"activation should be relu/gelu, not {activation}")
        self.activation = named[activation] if isinstance(activation, str) else activation

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The encoded sequence, in the shape of src."""

        def attended(x: Tensor) -> Tensor:
            masks = {"attn_mask": src_mask, "key_padding_mask": src_key_padding_mask, "is_causal": is_causal}
            return self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])

        def mlp(x: Tensor) -> Tensor:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        if self.norm_first:
            x = src + attended(self.norm1(src))
            return x + mlp(self.norm2(x))
        x = self.norm1(src + attended(src))
        return self.norm2(x + mlp(x))


class TransformerEncoder(Module):
    """Copies of an encoder layer, one after the other."""

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: Module | None = None):
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.norm = norm

    def forward(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None) -> Tensor:
        """The encoded sequence, in the shape of src."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)
