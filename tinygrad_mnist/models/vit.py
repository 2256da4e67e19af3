"""Vision transformers, with torchvision's names.

Source: Dosovitskiy et al., "An image is worth 16x16 words", https://arxiv.org/abs/2010.11929
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

from .. import nn
from ..creation import zeros
from ..ops import cat
from ..tensor import Tensor
from .weights import load_weights


class EncoderBlock(nn.Module):
    """x + attention(ln(x)), then x + mlp(ln(x))."""

    def __init__(self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float, attention_dropout: float):
        super().__init__()
        self.ln_1 = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(hidden_dim, num_heads, attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(hidden_dim, eps=1e-6)
        first, second = nn.Linear(hidden_dim, mlp_dim), nn.Linear(mlp_dim, hidden_dim)
        for linear in (first, second):
            nn.init.xavier_uniform_(linear.weight)
            assert linear.bias is not None
            nn.init.normal_(linear.bias, std=1e-6)
        self.mlp = nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), second, nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.dropout(self.self_attention(normed, normed, normed, need_weights=False)[0])
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Position embeddings, blocks, a last normalisation: (N, L, hidden_dim) -> (N, L, hidden_dim)."""

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
    ):
        super().__init__()
        self.pos_embedding = nn.Parameter(zeros(1, seq_length, hidden_dim))
        nn.init.normal_(self.pos_embedding, std=0.02)
        self.dropout = nn.Dropout(dropout)
        blocks = (EncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout) for _ in range(num_layers))
        self.layers = nn.Sequential(OrderedDict((f"encoder_layer_{i}", block) for i, block in enumerate(blocks)))
        self.ln = nn.LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """Images (N, in_channels, image_size, image_size) -> logits (N, num_classes).

    The image is cut into patches; each becomes a token, a class token is put before them, and the logits are read
    off the class token at the end.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        in_channels: int = 3,
    ):
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"image_size must be divisible by patch_size, got {image_size} and {patch_size}")
        self.image_size, self.patch_size, self.hidden_dim = image_size, patch_size, hidden_dim
        self.conv_proj = nn.Conv2d(in_channels, hidden_dim, patch_size, stride=patch_size)
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (in_channels * patch_size**2)))
        assert self.conv_proj.bias is not None
        nn.init.zeros_(self.conv_proj.bias)
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        tokens = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(tokens, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        head = nn.Linear(hidden_dim, num_classes)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        self.heads = nn.Sequential(OrderedDict(head=head))

    def patch_tokens(self, x: Tensor) -> Tensor:
        """Images as a sequence of embedded patches, row by row: (N, tokens - 1, hidden_dim)."""
        if tuple(x.shape[2:]) != (self.image_size, self.image_size):
            size = self.image_size
            raise RuntimeError(f"expected images of {size}x{size}, got {tuple(x.shape)}; use transforms.Resize({size})")
        return self.conv_proj(x).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_tokens(x)
        token = self.class_token.expand(patches.shape[0], -1, -1)
        x = self.encoder(cat([token, patches], 1))
        return self.heads(x[:, 0])


def vit_b_16(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> VisionTransformer:
    """ViT-B/16 for 224x224 images, 86,567,656 parameters. `weights`: a file, an address or "IMAGENET1K_V1"."""
    kwargs = {"image_size": 224, **kwargs}
    model = VisionTransformer(patch_size=16, num_layers=12, num_heads=12, hidden_dim=768, mlp_dim=3072, **kwargs)
    return load_weights(model, weights, "vit_b_16", progress)


def vit_tiny(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> VisionTransformer:
    """A small ViT for 28x28 grey images in patches of 4, 10 classes. `weights`: a file or an address; one of an
    encoder leaves the head fresh."""
    kwargs = {"image_size": 28, "in_channels": 1, "num_classes": 10, **kwargs}
    model = VisionTransformer(patch_size=4, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128, **kwargs)
    return load_weights(model, weights, "vit_tiny", progress, head="heads.")
